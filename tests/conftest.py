"""Settings for all tests."""

import signal

import pytest
from hypothesis import settings

from tests.emulation import cpu_with  # noqa: F401

# A shell without job control starts what it puts behind itself with these ignored, and that goes on
# to every child: none could be interrupted.
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        usual = signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL
        signal.signal(ignored, usual)

# A busy machine makes a slow example, not a wrong one; speed is measured by `make bench`.
settings.register_profile("cpuprobe", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=30)  # `make quick` asks for it
settings.load_profile("cpuprobe")

# The longest files, longest first: two processes share the files in this order, and end together.
_FIRST = (
    "tests/lab/test_worlds.py",
    "tests/lab/test_verify.py",
    "tests/unit/evidence/test_captures_hostile.py",
    "tests/lab/test_suite_emulated.py",
    "tests/unit/code/test_hostile.py",
    "tests/unit/code/test_hostile_archives.py",
    "tests/versions/test_versions.py",
    "tests/fleet/test_backends.py",
    "tests/unit/check/test_check_libraries.py",
    "tests/unit/native/test_candidates.py",
    "tests/native/test_disturbed.py",
    "tests/lab/test_run_machine.py",
    "tests/fleet/test_hostile.py",
    "tests/unit/check/test_guards.py",
    "tests/native/test_native.py",
    "tests/lab/test_machine.py",
    "tests/lab/test_run_lying.py",
    "tests/install/test_wheel.py",
    "tests/runtimes/",
    "tests/lab/",
    "tests/native/",
    "tests/crash/",
    "tests/fleet/",
    "tests/unit/wasm/",
    "tests/unit/cli/",
    "tests/unit/check/",
    "tests/unit/code/",
)

# Files and variants that run wasmtime, py-cpuinfo, DuckDB or sanitized builds again and again:
# `make quick` has a minute, and the rest of the suite needs it.
_SLOW = (
    "tests/unit/code/test_a64.py::test_a_word_needs",
    "tests/unit/code/test_a64.py::test_every_mnemonic",
    "tests/unit/check/test_check_aarch64.py",
    "tests/unit/wasm/test_run.py",
    "tests/unit/wasm/test_component.py",
    "tests/unit/test_project_files.py::test_the_action",
    "tests/unit/wasm/test_bench.py",
    "tests/unit/wasm/test_verify.py",
    "tests/unit/wasm/test_check_modules.py",
    "tests/unit/check/test_check_builds.py::test_two_builds",
    "tests/unit/evidence/test_privacy.py",
    "tests/unit/fleet/test_fleet.py",
    "tests/unit/native/test_candidates.py::test_every_form_that_wasmtime_emits",
    "tests/unit/check/test_check_split.py::test_ctrl_c",
    "tests/unit/wasm/test_introspect.py::test_a_wasmtime_that",
    "tests/unit/wasm/test_introspect.py::test_the_json_report",
    "tests/unit/wasm/test_introspect.py::test_whatever_a_child_does",
    "tests/unit/report/test_report.py::test_py_cpuinfo",
    "tests/unit/report/test_report.py::test_this_machines_report",
    "tests/unit/report/test_report.py::test_a_broken_witness",
    "tests/fleet/test_texts.py::test_levels",
    "tests/unit/fleet/test_fleet_tally.py::test_the_backends_agree",
    # Products of every text and every wrapper, every field and every command.
    "tests/unit/evidence/test_machines_labelled.py::test_wrapped",
    "tests/unit/evidence/test_machines_labelled.py::test_encoded",
    "tests/unit/crash/test_wrappers.py",
    "tests/unit/cli/test_door.py",
    "tests/unit/test_schemas.py",
    "tests/unit/test_sessions.py::test_a_command_runs",
    "tests/unit/test_sessions.py::test_a_session_on_files",
    # Files made to cost time or memory, mutated ones, and the probe disturbed at random.
    "tests/unit/code/test_hostile.py",
    "tests/unit/code/test_hostile_archives.py",
    "tests/unit/crash/test_nothing_false.py::test_hostile_text",
    "tests/unit/fleet/test_fleet_reference.py::test_a_fleet_of_ones_own",
    "tests/unit/fleet/test_fleet_sources.py::test_a_million",
    "tests/unit/wasm/test_operators.py::test_the_whole_module",
    "tests/unit/facts/test_profiles.py::test_many_keys",
    "tests/unit/facts/test_features_sources.py::test_clang_14",
    "tests/unit/facts/test_profiles_sources.py::test_rustc",
    "tests/unit/facts/test_profiles_sources.py::test_gcc",
    "tests/unit/code/test_fuzz.py::test_mutations",
    "tests/unit/code/test_check_elf.py::test_mutations",
    "tests/unit/fleet/test_fleet_fuzz.py::test_mutated",
    "tests/crash/test_core_file.py::test_changed_bytes",
    "tests/unit/evidence/test_captures_hostile.py::test_mutated_captures",
    "tests/unit/evidence/text/test_lines.py::test_bounds",
    "tests/unit/crash/test_nothing_false.py::test_a_damaged_text",
    "tests/unit/check/test_check_split.py::test_searching_first",
    "tests/unit/check/test_check_split.py::test_the_decoder",
    "tests/unit/check/test_guards.py::test_what_is_spread",
    "tests/unit/emit/test_breakouts.py::test_many_flags",
    # Time has to pass in these.
    "tests/lab/test_machine.py",
    "tests/native/test_caller.py::test_memory",
    "tests/native/test_disturbed.py",
    "tests/native/test_other_machines.py",
    "tests/native/test_cache.py",
    "tests/native/test_commands.py",
    "tests/native/test_library.py",
    "tests/native/test_verdict.py",
    "tests/native/test_native.py",
    # Other programs, builds, or hundreds of rows.
    "tests/fleet/test_texts.py::test_equal",
    "tests/unit/check/test_check_cli.py::test_several_processes",
    "tests/unit/check/test_check_cli.py::test_a_folder_of_one_file",
    "tests/unit/check/test_guards.py::test_a_choice_that_guards",
    "tests/unit/check/test_guards.py::test_an_answer_guards",
    "tests/unit/check/test_guards.py::test_programs_do",
    "tests/unit/code/test_check_cwasm.py::test_what_runs_as",
    "tests/unit/code/test_check_elf.py::test_a_plain_program",
    "tests/unit/crash/test_explain.py::test_long_input",
    "tests/unit/emit/test_breakouts.py::test_every_string",
    "tests/unit/fleet/test_fleet_reference.py::test_source_date",
    "tests/unit/fleet/test_fleet_sources.py::test_broken_parquet",
    "tests/unit/fleet/test_fleet_sources.py::test_parquet_of_captures",
    "tests/unit/native/test_candidates.py::test_check_notices",
    "tests/unit/report/test_report.py::test_a_long_report",
    "tests/unit/test_files.py::test_no_command",
    "tests/unit/test_project_files.py::test_files_obey",
    "tests/unit/test_sessions.py::test_a_session",
    "tests/unit/wasm/test_cache.py::test_run_uses_it",
    "tests/unit/wasm/test_operators.py::test_no_opcode",
    "tests/unit/wasm/test_operators.py::test_every_operator_of",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks them, before pytest deselects by mark; and puts the longest first."""
    for item in items:
        if item.nodeid.startswith(_SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(
        key=lambda item: next((n for n, p in enumerate(_FIRST) if item.nodeid.startswith(p)), 99)
    )

"""Settings for all tests."""

import pytest
from hypothesis import settings

# A busy machine makes a slow example, not a wrong one; speed is measured by `make bench`.
settings.register_profile("cpuprobe", deadline=None)
settings.load_profile("cpuprobe")

# Files and variants that run wasmtime, py-cpuinfo, DuckDB or sanitized builds again and again:
# `make quick` has a minute, and the rest of the suite needs it.
_SLOW = (
    "tests/unit/wasm/test_run.py",
    "tests/unit/wasm/test_bench.py",
    "tests/unit/wasm/test_verify.py",
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
    "tests/native/test_native.py::test_core[gcc-sanitized]",
    "tests/native/test_native.py::test_core[clang-sanitized]",
    "tests/native/test_native.py::test_core[clang-plain]",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks them, before pytest deselects by mark."""
    for item in items:
        if item.nodeid.startswith(_SLOW):
            item.add_marker(pytest.mark.slow)

"""The command line's contract: options, exit codes, one-line errors, JSON."""

from __future__ import annotations

import bz2
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from tests.command import cpuprobe
from tests.every import every
from tests.fakes import V3, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import guarded, run, running
from cpuprobe.cli.app import COMMANDS, app
from cpuprobe.evidence import measure
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.share import BEGIN
from cpuprobe.facts.features import load_features
from cpuprobe.report.document import SCHEMA, make_report, to_json
from cpuprobe.version import VERSION

ROOT = Path(__file__).parents[3]
CPUPROBE = (sys.executable, "-m", "cpuprobe")

# The contract of DESIGN section 7, written out by hand: the generated schema may add to it.
CONTRACT = {
    "type": "object",
    "required": ["schema", "cpuprobe", "observation", "assessment"],
    "properties": {
        "schema": {"const": "cpuprobe.report/1"},
        "cpuprobe": {"type": "string"},
        "observation": {"type": "object"},
        "assessment": {
            "type": "object",
            "required": [
                "basis",
                "verdict",
                "level",
                "advertised_level",
                "features",
                "findings",
                "cranelift",
            ],
            "properties": {
                "basis": {"enum": ["executed", "cpuid"]},
                "verdict": {"enum": ["consistent", "mismatch"]},
                "level": {"enum": [None, *(f"x86-64-v{n}" for n in (1, 2, 3, 4))]},
                "advertised_level": {"enum": [None, *(f"x86-64-v{n}" for n in (1, 2, 3, 4))]},
                "features": {
                    "type": "object",
                    "minProperties": 80,
                    "additionalProperties": {
                        "type": "object",
                        "required": ["state", "safe", "cpuid", "os", "kernel", "ran"],
                        "properties": {
                            "state": {
                                "enum": [
                                    "usable",
                                    "absent",
                                    "withheld",
                                    "broken",
                                    "hidden",
                                    "gated",
                                    "uneven",
                                    "unverified",
                                    "unknown",
                                ]
                            },
                            "safe": {"type": "boolean"},
                            "cpuid": {"type": ["boolean", "null"]},
                            "os": {"type": ["boolean", "null"]},
                            "kernel": {"type": ["boolean", "null"]},
                            "ran": {
                                "enum": [
                                    None,
                                    "ok",
                                    "sigill",
                                    "sigsegv",
                                    "sigbus",
                                    "sigfpe",
                                    "sigtrap",
                                    "wrong",
                                    "timeout",
                                    "killed",
                                    "skipped",
                                ]
                            },
                        },
                    },
                },
                "findings": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": [
                            "code",
                            "severity",
                            "features",
                            "cpus",
                            "title",
                            "evidence",
                            "cause",
                            "remedy",
                        ],
                        "properties": {
                            "code": {"type": "string", "pattern": "^CP[0-9]{3}$"},
                            "severity": {"enum": ["error", "warning", "info"]},
                            "features": {"type": "array", "items": {"type": "string"}},
                            "cpus": {"type": "array", "items": {"type": "integer"}},
                            "title": {"type": "string"},
                            "evidence": {"type": "array", "items": {"type": "string"}},
                            "cause": {"type": "string"},
                            "remedy": {"type": "string"},
                        },
                    },
                },
                "cranelift": {"type": "object", "additionalProperties": {"type": "boolean"}},
            },
        },
    },
}


@pytest.fixture
def gds_report(tmp_path: Path) -> Path:
    path = tmp_path / "gds.json"
    path.write_bytes(to_json(make_report(gds_machine(), assess(gds_machine()))))
    return path


@pytest.fixture
def v3_report(tmp_path: Path) -> Path:
    machine = observation(group(V3), listed=V3)
    path = tmp_path / "v3.json"
    path.write_bytes(to_json(make_report(machine, assess(machine))))
    return path


def one_line(result: subprocess.CompletedProcess[bytes], code: int) -> str:
    """The error line of a failed command, after checking that it is one and nothing else is."""
    assert result.returncode == code, result
    assert result.stdout == b""
    line = result.stderr.decode()
    assert line.startswith("cpuprobe: error: ")
    assert line.count("\n") == 1
    assert "Traceback" not in line
    return line


# --- this machine --------------------------------------------------------------------------------


def test_json_keeps_the_contract():
    """`cpuprobe --json` prints one document that has every key of the contract."""
    result = cpuprobe("--json")
    document = json.loads(result.stdout)

    jsonschema.validate(document, CONTRACT)
    assert list(document["assessment"]["features"]) == list(load_features())
    assert result.stderr == b""
    errors = [f for f in document["assessment"]["findings"] if f["severity"] == "error"]
    assert result.returncode == bool(errors)


def test_the_forms_that_take_no_parser_mean_what_the_parser_would_make_of_them(monkeypatch):
    """`cpuprobe` and `cpuprobe --json` are the defaults of all options."""
    asked: list[dict[str, object]] = []

    def probe(*given, **named):
        call = inspect.signature(probing).bind(*given, **named)
        call.apply_defaults()
        asked.append(call.arguments)
        return 0

    probing = importlib.import_module("cpuprobe.cli.probing").probe
    monkeypatch.setattr("cpuprobe.cli.probing.probe", probe)
    for plain, parsed in (([], ["--root", "/"]), (["--json"], ["--json", "--repeat", "1"])):
        assert (run(plain), run(parsed)) == (0, 0)
        assert asked[-2] == asked[-1]


WORDS = (
    *running.PLAIN, "--record", "--inferred", "--wasm-features", "--on", "--nothing", "-h",
    "m.wasm", "f", "A=1", "a::b", "6", "-2", "-2.5", "-x", "-", "--", "", "--invoke=f", "--retry=1",
)  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=7))
@example(["--quiet", "m.wasm", "--invoke", "f", "6"])
@example(["m.wasm", "--env", "A=1", "--env", "B=2", "--", "--quiet"])
def test_a_run_that_takes_no_parser_means_what_the_parser_would_make_of_it(words):
    """Of any command line: what is not left to the parser is parsed as it does."""
    plain = running.plain(words)
    if plain is None:
        return
    command = typer.main.get_command(guarded.app)
    parsed = command.make_context("run", list(words)).params

    def told(value: Any) -> Any:
        return tuple(value) if isinstance(value, list | tuple) else value

    defaults = inspect.signature(running.run).parameters
    meant = {name: plain.get(name, each.default) or None for name, each in defaults.items()}
    assert {name: told(parsed[name] or None) for name in defaults} == {
        name: told(value) for name, value in meant.items()
    }


def test_usable_implies_executed():
    """Whatever this machine is: what is usable ran, and what is safe is usable."""
    features = json.loads(cpuprobe("--json").stdout)["assessment"]["features"]

    assert features["sse2"]["ran"] == "ok"
    for name, feature in features.items():
        if feature["state"] == "usable":
            assert feature["ran"] == "ok", name
            assert feature["cpuid"] is not False, name
        if feature["safe"]:
            assert feature["state"] == "usable", name


def test_without_execution_the_basis_is_cpuid():
    """--no-exec runs no candidate and says so."""
    assessment = json.loads(cpuprobe("--json", "--no-exec").stdout)["assessment"]

    assert assessment["basis"] == "cpuid"
    assert {feature["ran"] for feature in assessment["features"].values()} == {None}


def test_repeat():
    """--repeat runs that many rounds on every CPU; standard error, no terminal, stays empty."""
    done = cpuprobe("--json", "--repeat", "5")
    document = json.loads(done.stdout)

    assert {group["repeated"]["rounds"] for group in document["observation"]["groups"]} == {5}
    assert done.stderr == b""


@pytest.mark.parametrize("count", ["0", "-1", "1000000001", "many"])
def test_repeat_wants_a_number(count: str):
    """Anything else is a usage error of one line."""
    done = cpuprobe("--repeat", count)

    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1


def test_one_cpu_of_many():
    """--cpus restricts the measurement; every group holds only what was asked for."""
    cpu = min(os.sched_getaffinity(0))
    document = json.loads(cpuprobe("--json", "--cpus", str(cpu)).stdout)

    assert [group["cpus"] for group in document["observation"]["groups"]] == [[cpu]]


def test_text_is_plain_and_fits():
    """Off a terminal there is no colour, no box drawing, and no line over 100 columns."""
    result = cpuprobe(env={"FORCE_COLOR": "", "COLUMNS": "240"})
    text = result.stdout.decode()

    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    assert text.isascii()
    assert "cpuprobe flags" in text


def test_all_shows_every_feature():
    """--all has a row a feature and no line that counts the rest."""
    text = cpuprobe("--all").stdout.decode()

    first_words = {line.split()[0] for line in text.splitlines() if line.split()}
    assert set(load_features()) <= first_words
    assert "--all shows them" not in text


# --- a fake root ---------------------------------------------------------------------------------


def fake_root(folder: Path, **files: str) -> Path:
    (folder / "proc" / "sys" / "kernel").mkdir(parents=True)
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_root_replaces_proc_and_sys(tmp_path):
    """Kernel evidence comes from below --root, instructions run here."""
    root = fake_root(
        tmp_path,
        proc__cmdline="quiet gather_data_sampling=force user=alice root=/dev/secret\n",
        proc__sys__kernel__osrelease="5.4.0-fake\n",
        sys__devices__system__cpu__vulnerabilities__gather_data_sampling="Vulnerable\n",
    )
    observed = json.loads(cpuprobe("--json", "--root", str(root)).stdout)["observation"]

    assert observed["kernel"] == {"release": "5.4.0-fake"}
    assert observed["cmdline"] == ["gather_data_sampling=force"]
    assert observed["vulnerabilities"] == {"gather_data_sampling": "Vulnerable"}
    assert "cpuinfo" not in observed


def test_a_foreign_cpuinfo_under_root_is_set_aside(tmp_path):
    """A cpuinfo of another CPU withholds nothing; a note says why."""
    root = fake_root(
        tmp_path,
        proc__cpuinfo="processor\t: 0\nvendor_id\t: GenuineFake\ncpu family\t: 3\nmodel\t: 1\n"
        "stepping\t: 1\nflags\t\t: fpu\n",
    )
    assessment = json.loads(cpuprobe("--json", "--root", str(root)).stdout)["assessment"]

    assert any("another CPU" in note for note in assessment["notes"])
    assert {feature["kernel"] for feature in assessment["features"].values()} == {None}


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--cpus", "999"], 2, "999"),
        (["--cpus", "x"], 2, "CPU list"),
        (["--cpus", ""], 2, "CPU list"),
        (["--root", "/nonexistent"], 3, "/nonexistent"),
        (["--bogus"], 2, "--bogus"),
        (["nonsense"], 2, "nonsense"),
        (["flags", "--without", "avx1024"], 2, "avx512"),
        (["flags", "--wasmtime", "999"], 2, "known majors"),
        (["flags", "--wasmtime", "fifty"], 2, "known majors"),
        (["flags", "--format", "cobol"], 2, "clif"),
        (["flags", "--profile", "x86-64-v9"], 2, "x86-64-v4"),
        (["flags", "--from", "/nonexistent"], 4, "/nonexistent"),
        (["inspect"], 2, "CAPTURE"),
        (["inspect", ""], 4, "'': No such file"),
        (["check", "-"], 2, "not standard input"),
        (["inspect", "/nonexistent"], 4, "No such file"),
        (["inspect", "/"], 4, "directory"),
        (["inspect", "/dev/null"], 4, "not a regular file"),
        (["inspect", "/dev/zero"], 4, "not a regular file"),
    ],
)
def test_bad_input_gets_one_line(arguments, code, words):
    """Every refusal is one line that says what, where and what there is instead."""
    assert words.lower() in one_line(cpuprobe(*arguments), code).lower()


@pytest.mark.parametrize("command", [["inspect", "-", "-"], ["flags", "--on", "-", "--on", "-"]])
def test_standard_input_is_given_once(command):
    """The second `-` would read nothing, and be called empty."""
    read = (ROOT / "docs/examples/gds.json").read_bytes()

    assert "it can be given once" in one_line(cpuprobe(*command, stdin=read), 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flag"], ["no such command: flag", "did you mean flags?"]),
        (["explian"], ["did you mean explain?"]),
        (["zzzzzz"], ["no such command: zzzzzz"]),
        (["profile", "chek"], ["check", "try `cpuprobe profile --help`"]),
        (["--verison"], ["--version", "try `cpuprobe --help`"]),
        (["inspect", "--jsn", "x"], ["--json", "try `cpuprobe inspect --help`"]),
        (["inspect"], ["nothing to inspect", "a CAPTURE", "--help"]),
        (["diff", "a"], ["Missing argument 'B'", "try `cpuprobe diff --help`"]),
        (["flags", "--profile", "haswel"], ["did you mean", "haswell"]),
        (["run", "--quite", "m.wasm"], ["--quite; did you mean --quiet", "`cpuprobe run --help`"]),
        (["bench", "--round=9", "m.wasm"], ["--round; did you mean --rounds", "cpuprobe bench"]),
    ],
)
def test_a_slip_of_the_hand_is_answered_with_what_was_meant(arguments, words):
    """Names near what was typed, the usage where something is missing, and where to read on."""
    line = one_line(cpuprobe(*arguments), 2)

    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["profile", "check"], ["profile", "lint"]]
)
def test_help_shows_examples_and_exit_codes_a_line_each(command):
    """Each example is a line that can be copied; the codes of the contract are a list."""
    if command == ["profile"]:  # which has commands of its own
        return
    told = cpuprobe(*command, "--help").stdout.decode().splitlines()
    examples = told[told.index("  Examples:") + 1 : told.index("  Exit codes:") - 1]
    codes = [line.split()[0] for line in told[told.index("  Exit codes:") + 1 :]]

    name = " ".join(["cpuprobe", *command])
    assert all("cpuprobe" in line and len(line) <= 80 for line in examples)
    assert any(name in line for line in examples)
    assert codes in (["0", "2"], ["0", "2", "3", "4"], ["0", "1", "2", "3", "4"])


def test_the_version_has_a_short_option():
    """-V, as everywhere."""
    assert cpuprobe("-V").stdout == cpuprobe("--version").stdout == f"cpuprobe {VERSION}\n".encode()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--root", "/", "flags"], 2, "--root is no option of `cpuprobe flags`"),
        (["--cpus", "0", "inspect", "x"], 2, "--cpus is no option of `cpuprobe inspect`"),
        (["--no-exec", "report"], 2, "--no-exec is no option of `cpuprobe report`"),
        (["--json", "profile", "list"], 2, "--json is no option of `cpuprobe profile`"),
        (["--root", "/nonexistent", "report"], 3, "/nonexistent: holds no proc directory"),
    ],
)
def test_an_option_before_a_command_holds_for_it_or_is_refused(arguments, code, words):
    """It is never dropped in silence."""
    assert words in one_line(cpuprobe(*arguments), code)


def test_options_before_a_command_do_what_they_do_behind_it(gds_report):
    """--json and --all of `cpuprobe` itself are those of `inspect` as well."""
    for option in ("--json", "--all"):
        before = cpuprobe(option, "inspect", str(gds_report))
        behind = cpuprobe("inspect", str(gds_report), option)

        assert before.stdout == behind.stdout
        assert before.returncode == 1


@pytest.mark.parametrize("name", ["--on", "--from", "--against", "--flags-from"])
def test_another_machine_is_named_by_on_everywhere(name, gds_report):
    """--on is known wherever an older name of it is, and means the same."""
    commands = {
        "--from": [["flags", "--why"], ["report"]],
        "--against": [["check", "/bin/true", "--json"]],
        "--flags-from": [["verify", "--help"], ["run", "/nonexistent.wasm"]],
        "--on": [["profile", "check", "x86-64-v3"], ["explain", "c5f857c0"]],
    }
    for command in commands[name]:
        old, new = (cpuprobe(*command, each, str(gds_report)) for each in (name, "--on"))

        assert (old.stdout, old.stderr) == (new.stdout, new.stderr)
        assert b"--on" in cpuprobe(*command, "--help").stdout


def test_an_unwritable_output_is_one_line():
    """A full disk is no traceback."""
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*CPUPROBE, "--json"], stdout=full, stderr=subprocess.PIPE, timeout=60
        )

    assert result.returncode == 3
    assert result.stderr.decode() == ("cpuprobe: error: standard output: No space left on device\n")


def test_a_reader_that_goes_away_is_no_error():
    """`cpuprobe --json | head -c1` ends quietly."""
    result = subprocess.run(
        f"{sys.executable} -m cpuprobe --json | head -c 1",
        shell=True,
        capture_output=True,
        timeout=60,
    )

    assert result.stdout == b"{"
    assert result.stderr == b""


# --- inspect -------------------------------------------------------------------------------------


def test_inspect_assesses_again(gds_report):
    """A report is assessed on another machine as it was on its own."""
    result = cpuprobe("inspect", str(gds_report), "--json")
    document = json.loads(result.stdout)

    assert result.returncode == 1
    jsonschema.validate(document, CONTRACT)
    assert document["assessment"] == json.loads(gds_report.read_bytes())["assessment"]


def test_inspect_reads_standard_input_and_several(gds_report, v3_report):
    """`-` is standard input; several captures give an array in their order."""
    result = cpuprobe("inspect", str(v3_report), "-", "--json", stdin=gds_report.read_bytes())

    verdicts = [each["assessment"]["verdict"] for each in json.loads(result.stdout)]
    assert verdicts == ["consistent", "mismatch"]
    assert result.returncode == 1


def test_inspect_text_says_what_is_wrong(gds_report):
    """The first screen has verdict, cause, remedy and the command that helps till then."""
    lines = cpuprobe("inspect", str(gds_report)).stdout.decode().splitlines()
    text = " ".join(" ".join(lines).split())

    assert lines[2].startswith("  MISMATCH  avx, f16c, fma and avx2: not usable here")
    assert "why the kernel's Gather Data Sampling (GDS, Downfall) mitigation has disabled" in text
    assert "fix Install current CPU microcode" in text
    assert f"cpuprobe flags --on {gds_report.name} --only-off --format cli" in text


def test_all_says_everything_and_the_verdict_again(gds_report):
    """--all has each feature and each finding with its evidence, and ends as it began.

    Below that stands the code, as below every screen that is no terminal's.
    """
    text, _, code = cpuprobe("inspect", "--all", str(gds_report)).stdout.decode().partition(BEGIN)
    lines = text.rstrip().splitlines()
    words = {line.split()[0] for line in lines if line}

    assert lines[1].startswith("MISMATCH: avx, f16c, fma and avx2: not usable here")
    assert lines[-1] == lines[1]
    assert assess(parse_capture(f"{BEGIN}{code}".encode())).verdict == "mismatch"
    assert words >= {*load_features(), "CP101", "CP104", "evidence", "cause", "remedy", "on", "off"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   \n",
        b"hello",
        b"\x00" * 100,
        b"[]",
        b"{}",
        b'{"schema": "cpuprobe.report/1"}',
        b'{"schema": "cpuprobe.report/2", "observation": {"source": "probe", "executed": false,'
        b' "groups": [{"cpus": [0]}]}}',
        b'{"schema": "cpuprobe.report/1", "observation": {"source": "probe", "executed": false,'
        b' "groups": []}}',
        b"[" * 100000,
        b'{"a":' * 100000,
        b'{"schema": "cpuprobe.report/1", "observation": ' + b'{"groups":' * 5000,
        b"\xff\xfe" * 100,
        b'{"schema": "\xff"}',
    ],
    ids=range(14),
)
def test_inspect_refuses_what_is_no_report(content):
    """Hostile input: one line, exit code 4."""
    one_line(cpuprobe("inspect", "-", stdin=content), 4)


def test_inspect_refuses_contradictions(v3_report):
    """Outcomes without candidates, a CPU in two groups, a leaf twice: refused, not guessed."""
    document = json.loads(v3_report.read_bytes())
    group = document["observation"]["groups"][0]
    broken = []
    changes: tuple[dict[str, object], ...] = (
        {"ran": group["ran"][:-1]},
        {"cpus": []},
        {"cpuid": group["cpuid"] + group["cpuid"][:1]},
        {"cpuid": [[1, 2, 3]]},
        {"ran": ["fine"] * len(group["ran"])},
        {"xcr0": 1 << 64},
        {"xcr0": -1},
    )
    for change in changes:
        document["observation"]["groups"] = [{**group, **change}]
        broken.append(json.dumps(document).encode())
    document["observation"]["groups"] = [group, group]
    broken.append(json.dumps(document).encode())

    for content in broken:
        one_line(cpuprobe("inspect", "-", stdin=content), 4)


def test_unknown_keys_are_ignored(v3_report):
    """Reports of later versions may hold more keys; they stay readable."""
    document = json.loads(v3_report.read_bytes())
    document["later"] = {"deep": [1, 2]}
    document["observation"]["later"] = True
    document["observation"]["groups"][0]["later"] = None
    result = cpuprobe("inspect", "-", "--json", stdin=json.dumps(document).encode())

    assert result.returncode == 0
    assert json.loads(result.stdout)["assessment"] == document["assessment"]


# --- flags ---------------------------------------------------------------------------------------


def flags(*arguments: str) -> dict[str, bool]:
    result = cpuprobe("flags", "--format", "json", *arguments)
    assert result.returncode == 0, result.stderr
    return msgspec.json.decode(result.stdout, type=dict[str, bool])


def test_flags_of_a_capture(gds_report):
    """flags --from takes a report; exit code 0 although the report has errors."""
    chosen = flags("--from", str(gds_report))

    assert chosen["has_avx"] is False
    assert chosen["has_sse42"] is True


def test_flags_of_several_captures_are_what_all_share(gds_report, v3_report):
    """The intersection of a v3 machine and a GDS machine is the GDS machine's set."""
    assert flags("--from", str(gds_report), "--from", str(v3_report)) == flags(
        "--from", str(gds_report)
    )


def test_without_takes_what_builds_on_it_too(v3_report):
    """Giving up avx gives up fma and avx2; a group gives up all its features."""
    source = ("--from", str(v3_report))

    assert [flag for flag, value in flags(*source, "--without", "avx").items() if value] == [
        flag
        for flag, value in flags(*source).items()
        if value and flag not in ("has_avx", "has_avx2", "has_fma")
    ]
    assert flags(*source, "--without", "has_bmi2")["has_bmi2"] is False
    assert flags(*source, "--without", "bmi", "--without", "bmi2")["has_bmi1"] is False
    assert flags(*source, "--without", "avx512") == flags(*source)


def test_a_profile_is_a_ceiling(v3_report):
    """--profile x86-64-v2 leaves no AVX on."""
    chosen = flags("--from", str(v3_report), "--profile", "x86-64-v2")

    assert [flag for flag, value in chosen.items() if value] == [
        "has_sse3",
        "has_ssse3",
        "has_cmpxchg16b",
        "has_sse41",
        "has_sse42",
        "has_popcnt",
    ]


def test_flags_for_another_version(v3_report):
    """--wasmtime 20 writes exactly the flags that version knows."""
    chosen = flags("--from", str(v3_report), "--wasmtime", "20")

    assert "has_avx512f" in chosen
    assert not {"has_cmpxchg16b", "has_apx", "has_avx_vnni"} & set(chosen)


def test_help_has_examples():
    """Every command explains itself with examples and ends with 0."""
    for command in ((), ("flags",), ("inspect",), ("native",)):
        result = cpuprobe(*command, "--help")

        assert result.returncode == 0
        assert b"Example" in result.stdout


def test_native_tells_where_the_library_is(tmp_path, monkeypatch):
    """What a compiler and a linker need, quoted for a shell; without the library how to get it."""
    package = tmp_path / "site packages" / "cpuprobe"
    monkeypatch.setattr(measure, "__file__", str(package / "evidence" / "measure.py"))
    missing = cpuprobe("native", "--libs")
    (package / "lib").mkdir(parents=True)
    (package / "lib" / "libcpuprobe.a").touch()
    both = cpuprobe("native", "--cflags", "--libs").stdout.decode()

    assert missing.returncode == 3
    assert b"make lib" in missing.stderr
    assert both == f"'-I{package}/include' '-L{package}/lib' -lcpuprobe\n"
    assert cpuprobe("native", "--prefix").stdout.decode() == f"{package}\n"


def test_native_prints_a_program_that_answers():
    """`cpuprobe native` prints the path of an executable whose output `inspect` reads."""
    path = cpuprobe("native").stdout.decode().strip()
    output = subprocess.run([path], capture_output=True, timeout=60).stdout
    result = cpuprobe("inspect", "--json", stdin=output)  # a pipe is read without `-` too
    document = json.loads(result.stdout)

    jsonschema.validate(document, CONTRACT)
    assert document["schema"] == SCHEMA
    assert document["assessment"]["basis"] == "executed"


def test_a_python_without_a_module_is_told(tmp_path):
    """Some are built without bz2 or lzma: one line, and whatever needs them not goes on."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['_bz2', '_lzma', '_ctypes']))\n"
        "from cpuprobe.cli import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    lscpu = Path(__file__).parents[3] / "tests" / "data" / "captures" / "gds-skylake-lscpu.txt"
    packed = tmp_path / "logs.tar.bz2"
    packed.write_bytes(bz2.compress(b"x" * 99))
    answers = [
        subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60
        )
        for arguments in (["inspect", str(lscpu)], ["inspect", str(packed)])
    ]

    assert "MISMATCH" in answers[0].stdout
    assert (answers[1].returncode, answers[1].stdout) == (4, "")
    assert answers[1].stderr.count("\n") == 1
    assert "has no" in answers[1].stderr


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("explian", "; did you mean explain?"),
        ("inspct", "; did you mean inspect?"),
        ("nosuch", "; `cpuprobe --help` lists them"),
    ],
)
def test_a_command_that_is_none_is_told_with_what_is_near(word, end, capfd):
    """Only what is near is suggested; else it is said where all are."""
    from cpuprobe.cli import run

    assert run([word]) == 2
    assert capfd.readouterr().err == f"cpuprobe: error: no such command: {word}{end}\n"


def _options_with_a_value() -> Iterator[tuple[list[str], str]]:
    """Every option that takes one value, with its command's words, by the parser's tree."""
    waiting: list[tuple[list[str], Any]] = [([], typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        for option in command.params:
            if option.param_type_name == "option" and not (option.is_flag or option.multiple):
                yield from ((words, name) for name in option.opts)
        if words == []:
            waiting += [([name], command.get_command(None, name)) for name in COMMANDS]
        waiting += [
            ([*words, name], below) for name, below in getattr(command, "commands", {}).items()
        ]


@every(list(_options_with_a_value()))
def test_of_two_values_none_counts_silently(capfd, option):
    """Whatever takes one value refuses a second one, by any of its names."""
    words, name = option

    assert run([*words, name, "1", name, "2"]) == 2
    assert "is given more than once; try `cpuprobe" in capfd.readouterr().err


@every(
    [
        ["check", "x", "--against", "x86-64-v1", "--on", "x86-64-v3"],
        ["run", "--invoke", "f", "x.wasm", "--invoke", "g"],
        ["check", "x", "--format", "sarif", "--json"],
    ]
)
def test_two_names_of_one_thing_do_not_overwrite_each_other(capfd, arguments):
    """An option's other name, the plain reader of `run`, and --json beside another format."""
    assert run(arguments) == 2
    assert re.search("more than once|give one of them", capfd.readouterr().err)


def test_what_may_be_repeated_is(capfd):
    """Options of lists, and those without a value."""
    assert (
        run(
            [
                "flags",
                "--on",
                str(ROOT / "docs/examples/gds.json"),
                "--on",
                str(ROOT / "docs/examples/gds.json"),
                "--without",
                "avx",
            ]
        )
        == 0
    )
    assert run(["inspect", str(ROOT / "docs/examples/gds.json"), "--json", "--json"]) == 1


GDS = "docs/examples/gds.json"
SHOWN = (
    ["inspect", GDS],
    ["inspect", GDS, "--all"],
    ["explain", "--core", "docs/examples/app.core", "--on", GDS],
    ["explain", "62 f2 fd 08 40 c1", "--on", GDS],
    ["check", "docs/examples/app", "--against", "x86-64-v2"],
    ["diff", GDS, "tests/data/reports/qemu-user-haswell-claims-avx512.json"],
    ["profile", "show", "haswell"],
    ["profile", "check", "x86-64-v4", "haswell", "--on", GDS],
)


@pytest.mark.parametrize("width", [45, 60, 80])
@pytest.mark.parametrize("command", SHOWN, ids=lambda each: " ".join(each[:2]))
def test_lines_are_as_long_as_the_terminal_is_wide(command, width, capfd, monkeypatch):
    """Only what is to be typed or pasted is longer: a command, a line of options, a file's name."""
    monkeypatch.setattr("cpuprobe.cli.output.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(ROOT)
    assert run(command) in (0, 1)
    lines = capfd.readouterr().out.splitlines()

    assert max(map(len, lines)) > width * 3 // 4
    assert [each for each in lines if len(each) > width and " cpuprobe " not in f" {each}"] == []

"""Whatever a stranger wrote: what is printed or written does nothing to a terminal or a page."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes import V3, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import output, run
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import documents
from cpuprobe.evidence.machines.read import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.report.document import Report, make_report, to_json

GDS = gds_machine(wasmtime="50.0.1")
CPUPROBE = (sys.executable, "-m", "cpuprobe")

# ESC [, C1's CSI, right-to-left override, isolate, zero-width space, BOM, line separator.
HOSTILE = "\x1b[2J\u009b2J\u202e\u2066\u200b\ufeff\u2028evil"
BAD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every string in a document, and of every key of its open mappings."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strings(each, (*path, number))


def changed(document: Any, path: tuple[Any, ...], text: str) -> Any:
    """A copy of a document with `text` added to one string."""
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] += text
    return copy


def filled(kind: Any, depth: int = 0) -> Any:
    """A value of a type with something in every place, made from the type itself."""
    kind = msgspec.inspect.type_info(kind) if not isinstance(kind, msgspec.inspect.Type) else kind
    info = msgspec.inspect
    if isinstance(kind, info.StructType):
        return {
            field.encode_name: filled(field.type, depth + 1) for field in kind.fields if depth < 8
        }
    if isinstance(kind, info.UnionType):
        return filled(next(each for each in kind.types if not isinstance(each, info.NoneType)))
    if isinstance(kind, (info.ListType, info.VarTupleType, info.SetType, info.FrozenSetType)):
        return [filled(kind.item_type, depth + 1)]
    if isinstance(kind, info.TupleType):
        return [filled(each, depth + 1) for each in kind.item_types]
    if isinstance(kind, info.DictType):
        return {filled(kind.key_type): filled(kind.value_type, depth + 1)}
    if isinstance(kind, info.LiteralType):
        return kind.values[0]
    if isinstance(kind, (info.IntType, info.FloatType)):
        return 1
    if isinstance(kind, info.BoolType):
        return True
    return "x"


def base_document() -> dict[str, Any]:
    """A report with a value in every field that the types know: a new field is there at once."""
    real = json.loads(to_json(make_report(GDS, assess(GDS))))
    full = filled(Report)["observation"]
    observation = {**full, **real["observation"]}
    for key, value in full.items():
        if isinstance(value, dict) and isinstance(observation[key], dict):
            observation[key] = {**value, **observation[key]}
    return {**real, "observation": observation}


def accepted(document: Any) -> bool:
    with contextlib.suppress(CaptureError):
        parse_capture(json.dumps(document).encode())
        return True
    return False


def usable_base() -> dict[str, Any]:
    """The full document, without made-up places that the reader refuses for their shape."""
    base = base_document()
    real = json.loads(to_json(make_report(GDS, assess(GDS))))
    for key in list(base["observation"]):
        trial = {**base, "observation": {**real["observation"], key: base["observation"][key]}}
        if not accepted(trial):
            if key in real["observation"]:
                base["observation"][key] = real["observation"][key]
            else:
                del base["observation"][key]
    base["observation"]["isa"] = "x86_64"  # some commands are of that alone
    assert accepted(base)
    return base


BASE = usable_base()
FIELDS = [path for path in strings(BASE) if path[0] == "observation"]

COMMANDS = [
    ["inspect", "R"],
    ["inspect", "R", "--all"],
    ["inspect", "R", "R"],
    ["inspect", "--json", "R"],
    ["diff", "R", "CLEAN"],
    ["diff", "CLEAN", "R", "--json"],
    ["report", "--from", "R"],
    ["report", "--from", "R", "--format", "html"],
    ["report", "--from", "R", "--from", "CLEAN", "--format", "html"],
    ["report", "--from", "R", "--format", "json"],
    ["flags", "--why", "--from", "R"],
    *(["flags", "--format", each, "--from", "R"] for each in ("rust", "c", "python", "cli", "gcc")),
    ["explain", "62f2fd0840c1", "--on", "R"],
    ["explain", "62f2fd0840c1", "--on", "R", "--json"],
    ["profile", "check", "x86-64-v3", "--on", "R"],
    ["profile", "check", "x86-64-v3", "--on", "R", "--json"],
    ["check", "/bin/true", "--on", "R"],
    ["check", "/bin/true", "--on", "R", "--json"],
]


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """What a command prints to either stream."""
    capfd.readouterr()
    code = run(list(arguments))
    out, err = capfd.readouterr()
    return code, out + err


def test_every_field_is_tried():
    """The fields come from the types: there are strings of every kind of evidence among them."""
    tops = {path[1] for path in FIELDS}

    assert {"kernel", "cpuinfo", "vulnerabilities", "candidates", "cmdline", "wasmtime"} <= tops
    assert len(FIELDS) > 30


def tainted(value: Any, kind: Any) -> Any:
    """A copy of a value with HOSTILE behind every string that is not one of a few words."""
    info = msgspec.inspect
    if isinstance(kind, info.UnionType):
        kinds = [each for each in kind.types if not isinstance(each, info.NoneType)]
        return value if value is None else tainted(value, kinds[0])
    if isinstance(kind, info.StructType):
        fields = info.type_info(type(value)).fields  # type: ignore[attr-defined]
        changes = {each.name: tainted(getattr(value, each.name), each.type) for each in fields}
        return msgspec.structs.replace(value, **changes)
    if isinstance(kind, info.VarTupleType):
        return tuple(tainted(each, kind.item_type) for each in value)
    if isinstance(kind, info.DictType):
        return {
            tainted(key, kind.key_type): tainted(each, kind.value_type)
            for key, each in value.items()
        }
    return value + HOSTILE if isinstance(kind, info.StrType) else value


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_field_of_a_report_reaches_the_terminal_raw(arguments, tmp_path, capfd, monkeypatch):
    """Reading refuses them all; were every field hostile, what is printed would still be clean."""
    read = documents.read_report

    def read_hostile(content: bytes) -> Observation:
        found = read(content)
        if found.source != "hostile":
            return found
        # `diff` and `flags` know no such wasmtime, and say so in a line.
        hostile: Observation = tainted(found, msgspec.inspect.type_info(Observation))
        assert str(hostile).count("evil") > 5
        return msgspec.structs.replace(hostile, wasmtime=found.wasmtime)

    monkeypatch.setattr(documents, "read_report", read_hostile)
    hostile = json.loads(json.dumps(BASE))
    hostile["observation"]["source"] = "hostile"
    (tmp_path / "r.json").write_text(json.dumps(hostile))
    (tmp_path / "clean.json").write_text(json.dumps(BASE))
    names = {"R": str(tmp_path / "r.json"), "CLEAN": str(tmp_path / "clean.json")}
    code, told = printed(capfd, *(names.get(each, each) for each in arguments))

    assert code in (0, 1), told
    assert BAD.search(told) is None


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_each_field_alone_is_cleaned_or_refused(path, tmp_path, capfd):
    """What no shape lets in is refused in a line, which is clean too."""
    target = tmp_path / "r.json"
    target.write_text(json.dumps(changed(BASE, path, HOSTILE)))
    for form in (["--json"], ["--all"]):
        code, told = printed(capfd, "inspect", str(target), *form)

        assert code in (0, 1) or (code == 4 and told.count("\n") == 1)
        assert BAD.search(told) is None


# A file name holds any byte but NUL and a slash.
NAMES = [HOSTILE, "a\nb", "\udc9b2J\udcff", "\x1b]0;title\x07"]

NAMED = [
    ["inspect", "NAME"],
    ["inspect", "NAME", "NAME"],
    ["diff", "NAME", "CLEAN"],
    ["flags", "--on", "NAME", "--on", "NAME", "--why"],
    ["report", "--on", "NAME"],
    ["report", "--on", "NAME", "--format", "html"],
    ["explain", "--log", "NAME"],
    ["explain", "--core", "NAME"],
    ["explain", "--minidump", "NAME"],
    ["explain", "c5f857c0", "--on", "NAME"],
    ["explain", "NAME"],
    ["explain", "--exit-code", "NAME"],
    ["check", "NAME", "--against", "x86-64-v1"],
    ["check", "NAME", "--against", "x86-64-v1", "--json"],
    ["check", "/bin/true", "--on", "NAME", "--json"],
    ["diff", "NAME", "CLEAN", "--json"],
    ["explain", "c5f857c0", "--on", "NAME", "--json"],
    ["profile", "check", "x86-64-v1", "--on", "NAME", "--json"],
    ["report", "--on", "NAME", "--on", "NAME", "--format", "json"],
    ["check", "/bin/true", "--on", "NAME"],
    ["check", "/bin/true", "--against", "no/NAME"],
    ["profile", "check", "x86-64-v1", "--on", "NAME"],
    ["profile", "check", "NAME"],
    ["profile", "show", "NAME.toml"],
    ["profile", "lint", "NAME.toml"],
    ["profile", "list", "--kind", "NAME"],
    ["verify", "--on", "NAME.toml"],
    ["run", "NAME"],
    ["bench", "NAME", "--invoke", "f"],
    ["flags", "--format", "NAME"],
    ["flags", "--without", "NAME"],
    ["flags", "--wasmtime", "NAME"],
    ["flags", "--profile", "NAME"],
    ["report", "--format", "NAME"],
    ["report", "--on", "CLEAN", "-o", "no/NAME"],
    ["--cpus", "NAME"],
    ["--root", "NAME"],
    ["--NAME"],
    ["NAME"],
    ["fleet", "NAME.toml"],
    ["fleet", "CLEAN", "--weights", "NAME"],
]


@pytest.mark.parametrize("exists", [True, False], ids=["there", "missing"])
@pytest.mark.parametrize("arguments", NAMED, ids=" ".join)
def test_no_name_reaches_the_terminal_raw(arguments, exists, tmp_path, capfd, monkeypatch):
    """Names in answers, notes and errors, of files that are there and of files that are not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean.json").write_text(json.dumps(BASE))
    for name in NAMES:
        if exists:
            (tmp_path / name).write_text(json.dumps(BASE))
        given = [each.replace("NAME", name).replace("CLEAN", "clean.json") for each in arguments]
        _, told = printed(capfd, *given)

        assert BAD.search(told) is None


def test_a_terminal_gets_colours_of_ours_alone(tmp_path):
    """On a terminal too: what is left after taking our colours out has no control character."""
    target = tmp_path / f"{HOSTILE}.json"
    target.write_text(json.dumps(BASE))
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    child = subprocess.Popen(
        [*CPUPROBE, "inspect", str(target)], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # a terminal whose other side is closed
        while piece := os.read(ours, 65536):
            seen += piece
    child.wait(timeout=60)
    os.close(ours)
    text = seen.decode()

    assert "\x1b[1;31m" in text
    assert BAD.search(re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r\n", "\n")) is None
    assert "evil" in text


@pytest.mark.parametrize(
    ("set_to", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
    ],
)
def test_the_environment_decides_on_colours(set_to, coloured, tmp_path):
    """no-color.org and bixense.com/clicolors; the words stay the same."""
    names = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    target = tmp_path / "r.json"
    target.write_text(json.dumps(BASE))
    command = [*CPUPROBE, "inspect", str(target)]
    told = subprocess.run(command, capture_output=True, env=environment | set_to, timeout=60).stdout
    bare = subprocess.run(command, capture_output=True, env=environment, timeout=60).stdout

    assert (b"\x1b[" in told) is coloured
    assert re.sub(rb"\x1b\[[\d;]*m", b"", told) == bare


def test_no_line_of_text_is_a_command_of_a_workflow(capfd):
    """A stranger's word may come first in a line, by its wrap; our own commands are asked for."""
    output.print_text("a\n  ::stop-commands::x\n##[error]y\nstd::f\n")
    output.print_text("::error::ours\n", commands=True)
    output.print_lines(["::add-mask::z"])

    assert capfd.readouterr().out.splitlines() == [
        "a",
        "\ufffd  ::stop-commands::x",
        "\ufffd##[error]y",
        "std::f",
        "::error::ours",
        "\ufffd::add-mask::z",
    ]


def test_nothing_prints_beside_the_door():
    """No command writes to a stream by itself, so that none can forget to clean."""
    source = Path(__file__).parents[3] / "probe" / "cpuprobe"
    rooms = [path for room in ("cli", "report") for path in (source / room).rglob("*.py")]
    beside = re.compile(r"\bprint\(|\becho\(|sys\.std(?:out|err)\.|Console\(")
    found = {path.name for path in rooms if beside.search(path.read_text())}

    assert found == {"output.py", "__init__.py"}  # __init__ flushes


# --- files that are written ----------------------------------------------------------------------


@pytest.fixture
def capture(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "r.json").write_text(json.dumps(BASE))
    return str(tmp_path / "in" / "r.json")


def test_a_written_file_keeps_its_links_and_owner(capture, tmp_path):
    """-o writes into the file: a hard link shows it too, a symbolic link stays one."""
    target, hard, soft = (tmp_path / name for name in ("a.md", "hard.md", "soft.md"))
    target.write_text("old\n" * 100_000)
    os.link(target, hard)
    soft.symlink_to("a.md")
    target.chmod(0o604)
    before = os.stat(target)
    run(["report", "--on", capture, "-o", str(soft)])
    after = os.stat(target)

    assert soft.is_symlink()
    assert (after.st_ino, after.st_nlink, after.st_mode) == (before.st_ino, 2, before.st_mode)
    assert hard.read_bytes() == target.read_bytes()
    assert b"old\n" not in target.read_bytes()


def test_a_death_on_the_way_leaves_the_old_file(capture, tmp_path):
    """Killed when all is written but not yet in its place: what was there is there, whole."""
    target = tmp_path / "a.md"
    target.write_text("precious")
    program = (
        "import os, sys; from cpuprobe.cli import run, output\n"
        "output.os.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "run(sys.argv[1:])"
    )
    arguments = ["report", "--on", capture, "-o", str(target)]
    died = subprocess.run([sys.executable, "-c", program, *arguments], timeout=60)

    assert died.returncode == -9
    assert target.read_text() == "precious"
    assert run(arguments) == 0
    assert target.read_text().startswith("**")


def test_what_a_shell_has_opened_is_written_to(capture, tmp_path):
    """`-o /dev/stdout > file` writes into the file that the shell holds."""
    target = tmp_path / "a.md"
    command = f"{sys.executable} -m cpuprobe report --on {capture} -o /dev/stdout >> {target}"
    target.write_text("before\n")
    subprocess.run(["sh", "-c", command], check=True, timeout=60)

    assert target.read_text().startswith("before\n**MISMATCH**")


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_cannot_hold_it_is_as_it_was(there, capture, tmp_path):
    """No room: what was there stays, what was not there is not left behind in part."""
    target = tmp_path / "a.md"
    if there:
        target.write_text("precious")
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec {sys.executable} -m cpuprobe report --on {capture}"
         f" -o {target}"],
        capture_output=True,
        timeout=60,
    )  # fmt: skip

    assert result.returncode == 3
    assert result.stderr == f"cpuprobe: error: {target}: File too large\n".encode()
    assert (target.read_text() if there else target.exists()) == ("precious" if there else False)


# --- readers that go away ------------------------------------------------------------------------

GONE = [
    ["--help"],
    ["--version"],
    [],
    ["--json"],
    ["inspect", "R"],
    ["inspect", "R", "--json"],
    ["diff", "R", "R"],
    ["flags", "--on", "R"],
    ["report", "--on", "R"],
    ["explain", "62f2fd0840c1", "--on", "R"],
    ["check", "/bin/true", "--on", "R"],
    ["profile", "list"],
    ["profile", "show", "x86-64-v3"],
    ["profile", "check", "x86-64-v4", "--on", "R"],
    ["profile", "lint", "--no-presets"],
    ["fleet", "R"],
    ["native"],
]


@pytest.mark.parametrize("arguments", GONE, ids=lambda each: " ".join(each) or "cpuprobe")
def test_a_reader_that_has_gone_is_no_error(arguments, capture):
    """`cpuprobe ... | head -0` and `>&-`: exit code 0 and silence, whatever the answer was."""
    given = [capture if each == "R" else each for each in arguments]
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run([*CPUPROBE, *given], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)

    assert (gone.returncode, gone.stderr) == (0, b"")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *CPUPROBE, *given], stderr=subprocess.PIPE, timeout=60
    )

    assert (closed.returncode, closed.stderr) == (0, b"")


def test_head_never_sees_a_failure(tmp_path):
    """The pipe closes while it is written: twelve times, never another code than 0."""
    healthy = observation(group(V3), listed=V3)
    (tmp_path / "r.json").write_bytes(to_json(make_report(healthy, assess(healthy))))
    told = f"{sys.executable} -m cpuprobe inspect --all {'r.json ' * 20}"
    script = f'set -o pipefail; for i in $(seq 12); do {told} | head -1 >&2 || echo "$?"; done'
    result = subprocess.run(["bash", "-c", script], capture_output=True, timeout=300, cwd=tmp_path)

    assert result.stdout == b""
    assert result.stderr == b"== r.json\n" * 12


def test_an_error_is_told_though_standard_error_is_closed(tmp_path):
    """The exit code says it."""
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *CPUPROBE, "inspect", "/nonexistent"],
        stdout=subprocess.PIPE,
        timeout=60,
    )

    assert (result.returncode, result.stdout) == (4, b"")

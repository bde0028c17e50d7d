"""Files, pipes, several words and the journal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.command import cpuprobe

from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.evidence.crashes.journal import crashes_of, read_journal

FOLDER = Path(__file__).parents[2] / "data" / "crashes"
DMESG = FOLDER / "dmesg-divide-error.txt"
KERNEL = {
    "_TRANSPORT": "kernel",
    "MESSAGE": "traps: app[815] trap invalid opcode ip:556600001a3d sp:7ffe50949e18 error:0 "
    "in app[1a3d,556600001000+2000]",
}
COREDUMP = {
    "COREDUMP_SIGNAL": "4",
    "COREDUMP_SIGNAL_NAME": "SIGILL",
    "COREDUMP_PID": "900",
    "COREDUMP_COMM": "other",
    "COREDUMP_EXE": "/nonexistent/other",
    "MESSAGE": "Process 900 (other) of user 1000 dumped core.\n\nStack trace of thread 900:\n"
    "#0  0x0000561e3786e8f4 n/a (/opt/other + 0x5f0e8f4)\n",
}


JOURNAL = Path(__file__).parents[2] / "data" / "journal-of-a-guest.jsonl"


def run(*arguments: str, stdin: bytes = b"", path: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} if path else {}
    return cpuprobe("explain", *arguments, stdin=stdin, env=environment)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ((str(DMESG),), b""),
        (("-",), DMESG.read_bytes()),
        ((), DMESG.read_bytes()),
        (("--log", str(DMESG)), b""),
        (tuple(DMESG.read_text().split()), b""),
    ],
    ids=["file", "dash", "pipe", "--log", "words"],
)
def test_all_ways_give_one_answer(arguments: tuple[str, ...], stdin: bytes):
    result = run(*arguments, "--json", stdin=stdin)
    (crash,) = json.loads(result.stdout)["crashes"]

    assert (result.returncode, result.stderr) == (0, b"")
    assert (crash["verdict"], crash["module"], crash["offset"]) == ("arithmetic", "calc", 0x118B)


def test_a_machine_is_sent_to_inspect(tmp_path: Path):
    path = tmp_path / "machine.txt"
    path.write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 15\n"
        "flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 "
        "clflush mmx fxsr sse sse2 ss ht tm pbe syscall nx lm constant_tsc pni ssse3 cx16 lahf_lm\n"
    )
    result = run(str(path))

    assert result.returncode == 2
    assert b"a machine, not a crash: cpuprobe inspect" in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("name", ["nothing-here.log", "/nowhere", "./crash", "~/core.123"])
def test_a_file_that_is_not_there_is_no_text(name):
    result = run(name)

    assert result.returncode == 4
    assert b"no such file" in result.stderr


def test_the_crashes_of_a_journal():
    entries = [json.dumps(each).encode() for each in (KERNEL, COREDUMP)]
    found = {crash.program: crash for crash in crashes_of(entries)}

    assert set(found) == {"app", "other"}
    assert {crash.signal for crash in found.values()} == {"SIGILL"}
    assert (found["app"].module, found["app"].offset) == ("app", 0x1A3D)
    assert (found["other"].module, found["other"].offset) == ("other", 0x5F0E8F4)


def test_the_journal_of_a_real_system():
    """What journalctl 252 prints of a guest with Linux 6.1, journald and systemd-coredump.

    There a program executes VPXORD on an emulated Nehalem, and then UD2.
    """
    found = {crash.offset: crash for crash in crashes_of(JOURNAL.read_bytes().splitlines())}

    assert set(found) == {0x158, 0x156}
    assert {crash.program for crash in found.values()} == {"wants-avx512"}
    assert {crash.signal for crash in found.values()} == {"SIGILL"}


def test_a_message_that_is_no_text_is_read_all_the_same():
    """Journalctl writes a field that is no UTF-8 as an array of bytes."""
    entry = {"_TRANSPORT": "kernel", "MESSAGE": [*KERNEL["MESSAGE"].encode(), 0xFF]}

    assert [crash.program for crash in crashes_of([json.dumps(entry).encode()])] == ["app"]


@pytest.mark.parametrize("line", [b"no json", b"[1]", b"\xff\xfe"])
def test_what_is_no_entry_is_refused(line: bytes):
    with pytest.raises(CaptureError, match="no JSON object"):
        crashes_of([line])


def journalctl(folder: Path, script: str) -> str:
    """A journalctl of our own on the PATH, which stands for systemd's."""
    path = folder / "journalctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_the_command_reads_the_journal(tmp_path: Path):
    entries = "\n".join(json.dumps(each) for each in (KERNEL, COREDUMP))
    (tmp_path / "entries").write_text(entries + "\n")
    result = run("--journal", "--json", path=journalctl(tmp_path, f"cat {tmp_path}/entries"))

    assert {crash["program"] for crash in json.loads(result.stdout)["crashes"]} == {"app", "other"}


def test_a_quiet_journal_is_no_error(tmp_path: Path):
    result = run("--journal", path=journalctl(tmp_path, "exit 0"))

    assert (result.returncode, result.stderr) == (0, b"")
    assert b"No illegal instruction" in result.stdout


def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", journalctl(tmp_path, "echo no >&2; exit 1"))
    with pytest.raises(CannotMeasureError, match="exit code 1"):
        read_journal()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(CannotMeasureError, match="not installed"):
        read_journal()


def test_an_endless_journal_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cpuprobe.evidence.crashes.journal.MAXIMUM_OUTPUT", 1 << 16)
    monkeypatch.setenv("PATH", f"{journalctl(tmp_path, 'exec yes')}{os.pathsep}/usr/bin:/bin")

    with pytest.raises(CaptureError, match="larger"):
        read_journal()

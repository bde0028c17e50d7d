"""Guests that end well, badly, or not at all."""

from __future__ import annotations

import os
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import root, watch
from tests.lab.common import LabError
from tests.lab.machine import Guest, Program, boot, parse_frames, spec
from tests.lab.packages import Kernel
from tests.lab.programs import Runnable

CPU = "Nehalem,-hypervisor"


@pytest.fixture(scope="module")
def shell() -> root.Disk:
    """A disk with Python, and the shell and tools of this machine."""
    return root.disk(extra=[Path("/bin/sh"), Path("/bin/cat"), Path("/bin/sleep")])


def _sh(kernel: Kernel, disk: root.Disk, script: str, timeout: int = 30) -> Guest:
    program = Program(["/bin/sh", "-c", script], env=disk.env, disk=disk.image, timeout=timeout)
    return boot(kernel, program, cpu=CPU)


@pytest.mark.lab
def test_output_status_and_files_come_back(kernel: Kernel, shell: root.Disk) -> None:
    """The two outputs stay apart, and the exit status is the program's."""
    program = Program(
        ["/bin/sh", "-c", "echo out; echo err >&2; echo $WORD; exit 7"],
        env={**shell.env, "WORD": "a b\nc"},
        disk=shell.image,
        collect=["/proc/cmdline", "/not/there"],
    )
    guest = boot(kernel, program, cpu=CPU, append="lab.word=1")

    assert guest.status == "exit 7"
    assert guest.stdout == b"out\na b c\n"
    assert guest.stderr == b"err\n"
    assert guest.files["/proc/cmdline"].endswith(b" lab.word=1\n")
    assert "/not/there" not in guest.files
    assert "Linux version" in guest.console


@pytest.mark.lab
def test_two_programs_share_a_guest(kernel: Kernel, shell: root.Disk) -> None:
    """The second begins when the first has ended, with an environment and outputs of its own."""
    second = Program(
        ["/bin/sh", "-c", "cat /tmp/left; echo $WORD-$OTHER; exit 5"],
        env={**shell.env, "OTHER": "b"},
        collect=["/proc/version"],
    )
    first = Program(
        ["/bin/sh", "-c", "echo long output of the first; echo $WORD > /tmp/left; kill -4 $$"],
        env={**shell.env, "WORD": "a"},
        disk=shell.image,
        then=replace(second, disk=shell.image),
    )
    guest = boot(kernel, first, cpu=CPU)

    assert (guest.status, guest.stdout) == ("signal 4", b"long output of the first\n")
    assert guest.then is not None
    assert (guest.then.status, guest.then.stdout, guest.files) == ("exit 5", b"a\n-b\n", {})
    assert guest.then.files["/proc/version"].startswith(b"Linux version")


@pytest.mark.lab
def test_every_byte_comes_through(kernel: Kernel, shell: root.Disk) -> None:
    """A megabyte of all byte values crosses the serial port unchanged."""
    script = (
        "import os; b = bytes(range(256)) * 4096; os.write(1, b[:700000]); os.write(1, b[700000:])"
    )
    guest = boot(
        kernel, Program([shell.python, "-c", script], env=shell.env, disk=shell.image), cpu=CPU
    )

    assert bytes(range(256)) * 4096 == guest.stdout


@pytest.mark.lab
def test_a_signal_is_told_from_an_exit(kernel: Kernel, shell: root.Disk) -> None:
    """A program that dies of SIGILL is reported as such."""
    assert _sh(kernel, shell, "echo before; kill -4 $$").status == "signal 4"


@pytest.mark.lab
def test_a_hung_program_is_stopped_in_the_guest(kernel: Kernel, shell: root.Disk) -> None:
    """Its output so far is not lost."""
    guest = _sh(kernel, shell, "echo before; sleep 1000", timeout=2)

    assert guest.status == "timeout"
    assert guest.stdout == b"before\n"


@pytest.mark.lab
def test_a_missing_program_is_exit_127(kernel: Kernel) -> None:
    """As a shell says it; the reason is on stderr."""
    guest = boot(kernel, Program(["/nowhere"]), cpu=CPU)

    assert guest.status == "exit 127"
    assert guest.stderr == b"lab init: cannot execute /nowhere: errno 2\n"


@pytest.mark.lab
def test_a_hung_guest_is_killed(kernel: Kernel, probe: Runnable) -> None:
    """A guest that does not power off in time ends with its QEMU; its console is shown."""
    before = set(_children())
    with pytest.raises(
        LabError, match=r"(?s)had not powered off after 1\.5 s and was killed.*-- console:\n\[ +\d"
    ):
        boot(
            kernel,
            Program(probe.guest_argv, files=probe.files),
            cpu=CPU,
            append="maxcpus=1",
            timeout=1.5,
        )

    assert before == set(_children())


# What QEMU is for `boot`: an end, and two files of its working folder. $STARTS counts.
_FAKE = """#!/bin/sh
echo start >> %(starts)s
echo "[    2.014407] sched_clock: Marking stable" > console
STARTS=$(wc -l < %(starts)s)
%(rest)s
"""
_HANGS = "exec sleep 1000"
_ANSWERS = r"printf 'up 0\nstatus 6\nexit 0stdout 0\nstderr 0\nend 0\n' > channel"


Fake = Callable[..., Callable[[], Guest]]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a script in QEMU's place; returns what boots it."""

    def put(rest: str, limit: float = 20) -> Callable[[], Guest]:
        script = tmp_path / "qemu-system-x86_64"
        script.write_text(_FAKE % {"starts": tmp_path / "starts", "rest": rest})
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(watch, "STILL", 1.0)
        image = Kernel("6.1", tmp_path / "vmlinuz", {})
        return lambda: boot(image, Program(["/x"]), cpu=CPU, timeout=limit)

    return put


def test_a_guest_that_does_not_boot_is_started_again(fake: Fake, tmp_path: Path) -> None:
    """It hangs twice and comes up then; the result says so."""
    boots = fake(f"[ $STARTS = 3 ] || {_HANGS}\n{_ANSWERS}")
    with pytest.warns(UserWarning, match="hung in its boot and is started again: .* Marking"):
        guest = boots()

    assert guest.status == "exit 0"
    assert guest.hung == ("[    2.014407] sched_clock: Marking stable",) * 2
    assert (tmp_path / "starts").read_text() == "start\n" * 3


@pytest.mark.filterwarnings("ignore:a guest hung")
def test_a_guest_that_never_boots_is_an_error(fake: Fake, tmp_path: Path) -> None:
    """Three starts, no more; the console is shown."""
    with pytest.raises(LabError, match=r"(?s)did not boot: 3 starts of 3.*Marking stable"):
        fake(_HANGS)()

    assert (tmp_path / "starts").read_text() == "start\n" * 3


def test_a_guest_that_hangs_after_inits_first_word_is_not_started_again(
    fake: Fake, tmp_path: Path
) -> None:
    """That hang may be ours: it fails, by the limit of the whole."""
    with pytest.raises(LabError, match="had not powered off after 2 s"):
        fake(rf"printf 'up 0\n' > channel; {_HANGS}", limit=2)()

    assert (tmp_path / "starts").read_text() == "start\n"


def test_a_slow_boot_is_let_be(fake: Fake, tmp_path: Path) -> None:
    """It takes longer than it may stand still, and speaks meanwhile."""
    words = "for i in 1 2 3 4 5 6 7 8; do sleep 0.2; echo more >> console; done"
    guest = fake(f"{words}\n{_ANSWERS}")()

    assert (guest.status, guest.hung) == ("exit 0", ())
    assert (tmp_path / "starts").read_text() == "start\n"


def test_a_wait_for_a_cpu_is_not_a_guests_time() -> None:
    """Two that never rest on one CPU: each waits while the other runs."""
    cpu = str(min(os.sched_getaffinity(0)))
    busy = [
        subprocess.Popen(["taskset", "-c", cpu, "sh", "-c", "while :; do :; done"]) for _ in "ab"
    ]
    try:
        began = time.monotonic()
        while not all(watch.waited(each.pid) > 0.1 for each in busy):
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        own = time.monotonic() - began - watch.waited(busy[0].pid)
    finally:
        for each in busy:
            each.kill()
            each.wait()

    assert own < time.monotonic() - began - 0.1
    assert watch.waited(busy[0].pid) == 0


def _children() -> list[str]:
    mine = f"PPid:\t{os.getpid()}\n"
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if mine in status.read_text():
                found.append(status.parent.name)
        except OSError:
            continue  # It ended meanwhile.
    return found


@pytest.mark.lab
def test_a_dead_kernel_shows_its_console(kernel: Kernel) -> None:
    """A panic ends the boot at once and its words are in the error."""
    with pytest.raises(
        LabError, match=r"(?s)stopped before it had sent everything.*Kernel panic - not syncing"
    ):
        boot(kernel, Program(["/x"]), cpu=CPU, append="rdinit=/nowhere root=/dev/none")


@pytest.mark.lab
def test_an_unknown_cpu_shows_qemus_words(kernel: Kernel) -> None:
    """QEMU's own refusal is part of the error."""
    with pytest.raises(
        LabError, match=r"(?s)QEMU ended with 1.*unable to find CPU model 'Nonesuch'"
    ):
        boot(kernel, Program(["/x"]), cpu="Nonesuch")


@pytest.mark.lab
def test_an_init_that_fails_says_where(kernel: Kernel) -> None:
    """A cpuset of a CPU that is not there fails in the program's place, not silently."""
    with pytest.raises(LabError, match=r"init failed at: /sys/fs/cgroup/lab/cpuset.cpus"):
        boot(kernel, Program(["/x"], cpuset="nonsense"), cpu=CPU)


@pytest.mark.lab
def test_a_wheels_command_runs_in_the_guest(kernel: Kernel, tmp_path: Path) -> None:
    """Pip installs a wheel into the disk; its console script runs there."""
    wheel = tmp_path / "labhello-1-py3-none-any.whl"
    info = "labhello-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("labhello.py", "def main():\n    print('hello')\n    return 3\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: labhello\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/entry_points.txt", "[console_scripts]\nlab-hello = labhello:main\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    disk = root.disk([str(wheel)])
    guest = boot(kernel, Program(["/usr/bin/lab-hello"], env=disk.env, disk=disk.image), cpu=CPU)

    assert (guest.status, guest.stdout, guest.stderr) == ("exit 3", b"hello\n", b"")


def test_spec_records() -> None:
    """The records of /lab/spec, in the order guest/init.c needs the arguments."""
    program = Program(
        ["/p", "a b"], env={"X": "1\n2"}, disk=Path("d"), collect=["/f"], cpuset="0-1", timeout=5
    )

    assert spec(program).split(b"\0") == [
        b"timeout 5",
        b"disk /dev/nvme0n1",
        b"cpuset 0-1",
        b"arg /p",
        b"arg a b",
        b"env X=1\n2",
        b"collect /f",
        b"",
    ]


def test_nul_in_spec_is_refused() -> None:
    """NUL ends a record, so none may be inside."""
    with pytest.raises(ValueError, match="NUL"):
        spec(Program(["/p", "a\0b"]))


def test_frames() -> None:
    """Frames are told apart by length alone, whatever bytes they hold."""
    assert parse_frames(b"stdout 6\nend 0\nend 0\n") == {"stdout": b"end 0\n", "end": b""}


@pytest.mark.parametrize(
    "stream", [b"stdout 9\nshort", b"noise\n", b"stdout 3", b"a b 1\nx", b"stdout -1\n"]
)
def test_broken_frames_are_refused(stream: bytes) -> None:
    """Half an answer is an error, never an answer."""
    with pytest.raises(LabError):
        parse_frames(stream)

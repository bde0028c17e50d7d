"""Boots a kernel under QEMU, runs one program in it, and brings back what it wrote.

Two serial ports keep noise and data apart: one is the kernel's console, the other carries the
frames of guest/init.c. Never KVM: the CPU has to be the emulator's, whatever this machine is.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.lab import initramfs
from tests.lab.common import LabError, freestanding, tail, tool
from tests.lab.packages import Kernel
from tests.lab.qmp import over_socket
from tests.lab.watch import End, load, watch

# panic=-1 with -no-reboot: a dead kernel ends QEMU at once instead of hanging until the timeout.
_PANIC = "panic=-1 oops=panic"
DISK_DEVICE = "/dev/nvme0n1"
_CONSOLE_LINES = 40
_STARTS = 3


@dataclass(frozen=True)
class Program:
    """What the guest runs.

    Attributes:
        argv: argument vector; argv[0] is an absolute path in the guest.
        env: its whole environment.
        files: further members of the initramfs, guest path to entry.
        disk: an ext4 image that becomes the program's root folder, read-only.
        collect: guest files to bring back, if they exist.
        cpuset: CPUs (as in "0" or "0-2") of a cgroup v2 cpuset the program is put in.
        timeout: seconds until the guest kills it, more beside a load.
        lost: what CPUs lose between the end of the boot and the start of the program: number of the
            CPU and QEMU's property, e.g. (1, "sve").
        then: a program that runs when this one has ended, on the same disk and CPUs.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, initramfs.Entry] = field(default_factory=dict)
    disk: Path | None = None
    collect: Sequence[str] = ()
    cpuset: str | None = None
    timeout: int = 60
    lost: Sequence[tuple[int, str]] = ()
    then: Program | None = None


@dataclass(frozen=True)
class Guest:
    """What came out of a guest.

    Attributes:
        status: "exit N", "signal N" or "timeout".
        stdout: all the program wrote to file descriptor 1.
        stderr: the same of 2.
        files: the collected files that exist in the guest.
        console: the kernel's messages.
        seconds: from the start of QEMU to its end.
        hung: the last line on the console of each earlier start that hung in its boot.
        then: the same of the second program.
    """

    status: str
    stdout: bytes
    stderr: bytes
    files: Mapping[str, bytes]
    console: str
    seconds: float
    hung: tuple[str, ...] = ()
    then: Guest | None = None


def spec(program: Program) -> bytes:
    """Return /lab/spec for a program: the records guest/init.c reads.

    Raises:
        ValueError: a value holds a NUL byte.
    """
    records = [("timeout", str(program.timeout))]
    if program.disk is not None:
        records.append(("disk", DISK_DEVICE))
    if program.cpuset is not None:
        records.append(("cpuset", program.cpuset))
    if program.lost:
        records.append(("wait", ""))
    records += [("arg", word) for word in program.argv]
    records += [("env", f"{name}={value}") for name, value in program.env.items()]
    records += [("collect", path) for path in program.collect]
    if any("\0" in value for _, value in records):
        raise ValueError("a NUL byte in what the guest is to run")
    if program.then is not None:
        records.append(("next", ""))
    own = b"".join(f"{key} {value}".encode() + b"\0" for key, value in records)
    return own if program.then is None else own + spec(program.then)


def _patient(program: Program) -> Program:
    """The same with more time beside a load: the guest's clock is the host's."""
    then = program.then and _patient(program.then)
    return replace(program, timeout=math.ceil(program.timeout * load()), then=then)


def parse_frames(stream: bytes) -> dict[str, bytes]:
    """Read the frames of guest/init.c; name to content.

    Raises:
        LabError: the stream is cut short or is not made of frames.
    """
    frames: dict[str, bytes] = {}
    rest = stream
    while rest:
        header, newline, rest = rest.partition(b"\n")
        match = re.fullmatch(rb"(\S+) (\d+)", header)
        if not newline or not match:
            raise LabError(f"the guest sent no frame but {header[:60]!r}")
        name, size = match[1].decode(errors="replace"), int(match[2])
        if size > len(rest):
            raise LabError(f"the guest's {name} is cut short: {len(rest)} of {size} bytes")
        frames[name] = rest[:size]
        rest = rest[size:]
    return frames


def qemu_command(
    kernel: Kernel,
    initrd: Path,
    cpu: str,
    append: str,
    *,
    smp: str = "1",
    memory: int = 512,
    disk: Path | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Return QEMU's command line; the caller adds the character device `channel`."""
    architecture = kernel.architecture
    command = [tool(*architecture.system), *architecture.machine]
    command += ["-accel", "tcg", "-cpu", cpu, "-smp", smp, "-m", str(memory)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += [
        "-kernel",
        str(kernel.vmlinuz),
        "-initrd",
        str(initrd),
        "-append",
        f"{architecture.boot} {_PANIC} {append}".strip(),
    ]
    command += ["-serial", "file:console", *architecture.channel, *options]
    if disk is not None:
        # snapshot: writes go to a temporary file, so that many guests share one image.
        command += [
            "-drive",
            f"if=none,id=root,format=raw,snapshot=on,file={str(disk).replace(',', ',,')}",
        ]
        command += ["-device", "nvme,drive=root,serial=lab"]
    return command


def boot(
    kernel: Kernel,
    program: Program,
    *,
    cpu: str,
    append: str = "",
    smp: str = "1",
    memory: int = 512,
    options: Sequence[str] = (),
    timeout: float = 90,
) -> Guest:
    """Boot, run the program, power off.

    Args:
        kernel: from `packages.kernel`.
        program: what to run in it.
        cpu: value of QEMU's -cpu.
        append: kernel parameters, beyond the console's.
        smp: value of QEMU's -smp.
        memory: MiB.
        options: further options of QEMU.
        timeout: own seconds (see `tests.lab.watch`) until a guest that has not powered off is
            killed. One that hangs before its init has spoken is started again, twice at most.

    Raises:
        LabError: the guest hung, died, or sent no complete answer; the message ends with its
            console.
        LabMissing: QEMU or a C compiler is not installed.
    """
    if program.disk is not None and not (
        kernel.builtin("BLK_DEV_NVME") and kernel.builtin("EXT4_FS")
    ):
        raise LabError(
            f"{kernel.release} has NVMe or ext4 as a module: use a cloud kernel for a disk"
        )
    entries = {
        "init": initramfs.program(freestanding("init.c", kernel.architecture).read_bytes()),
        "lab/spec": initramfs.file(spec(_patient(program))),
        **program.files,
        **(program.then.files if program.then else {}),
    }
    with tempfile.TemporaryDirectory(prefix="cpuprobe-lab-") as name:
        folder = Path(name)
        (folder / "initrd").write_bytes(initramfs.build(entries))
        command = qemu_command(
            kernel,
            folder / "initrd",
            cpu,
            append,
            smp=smp,
            memory=memory,
            disk=program.disk,
            options=options,
        )
        run, hung = _booted(command, folder, timeout, program.lost)
    frames, trouble = _answer(run, timeout)
    if trouble is not None:
        raise LabError(
            f"{trouble}\n-- cpu: {cpu}; kernel: {kernel.release} {append}\n"
            f"-- qemu: {tail(run.complaints, 5) or '(silent)'}\n"
            f"-- console:\n{tail(run.console, _CONSOLE_LINES) or '(silent)'}"
        )
    then = _guest(frames, "next:", run, hung) if program.then else None
    return replace(_guest(frames, "", run, hung), then=then)


def _guest(frames: Mapping[str, bytes], before: str, run: _Run, hung: tuple[str, ...]) -> Guest:
    """What came of the program whose frames' names begin so."""
    file = f"{before}file:"
    return Guest(
        status=frames[f"{before}status"].decode(),
        stdout=frames[f"{before}stdout"],
        stderr=frames[f"{before}stderr"],
        files={
            name.removeprefix(file): each for name, each in frames.items() if name.startswith(file)
        },
        console=run.console,
        seconds=run.seconds,
        hung=hung,
    )


@dataclass(frozen=True)
class _Run:
    """One start of QEMU: how it ended, and what it left."""

    end: End
    code: int
    stream: bytes
    console: str
    complaints: str
    seconds: float


def _booted(
    command: Sequence[str], folder: Path, timeout: float, lost: Sequence[tuple[int, str]]
) -> tuple[_Run, tuple[str, ...]]:
    """The first start that does not hang in its boot, or the last; where the others stood still."""
    hung: list[str] = []
    while True:
        run = _run(command, folder, timeout, lost)
        if run.end is not End.NO_BOOT or len(hung) == _STARTS - 1:
            return run, tuple(hung)
        hung.append(tail(run.console, 1))
        warnings.warn(f"a guest hung in its boot and is started again: {hung[-1]}", stacklevel=3)


def _take_away(folder: Path, lost: Sequence[tuple[int, str]]) -> None:
    """Take properties from CPUs of the running QEMU, and let init go on."""
    with over_socket(folder / "qmp") as qmp:
        cpus = {cpu["cpu-index"]: cpu["qom-path"] for cpu in qmp.ask("query-cpus-fast")}
        for number, name in lost:
            qmp.ask("qom-set", path=cpus[number], property=name, value=False)
    with (folder / "channel.in").open("wb") as channel:
        channel.write(b"\n")


def _run(
    command: Sequence[str], folder: Path, timeout: float, lost: Sequence[tuple[int, str]]
) -> _Run:
    console, channel, complaints = (folder / name for name in ("console", "channel", "complaints"))
    # What an earlier start left is not this one's.
    console.write_bytes(b"")
    channel.write_bytes(b"")
    further = ["-chardev", "file,id=channel,path=channel"]
    if lost:
        # A character device of the kind `pipe` opens NAME.in and NAME.out.
        for path in (folder / "channel.in", folder / "channel.out"):
            path.unlink(missing_ok=True)
        os.mkfifo(folder / "channel.in")
        (folder / "channel.out").symlink_to(channel)
        further = ["-chardev", "pipe,id=channel,path=channel"]
        further += ["-qmp", "unix:qmp,server=on,wait=off"]
    started = time.monotonic()
    with (
        complaints.open("wb") as log,
        subprocess.Popen(
            [*command, *further],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
        ) as qemu,
    ):
        end = watch(
            qemu, console, channel, timeout, lambda: _take_away(folder, lost) if lost else None
        )
    seconds = time.monotonic() - started
    return _Run(
        end, qemu.returncode, channel.read_bytes(), _text(console), _text(complaints), seconds
    )


def _answer(run: _Run, timeout: float) -> tuple[dict[str, bytes], str | None]:
    """The frames of a run, and what was wrong with it."""
    if run.end is End.NO_BOOT:
        return {}, f"the guest did not boot: {_STARTS} starts of {_STARTS} stood still"
    if run.end is End.LATE:
        return {}, f"the guest had not powered off after {timeout:g} s and was killed"
    if run.code:
        return {}, f"QEMU ended with {run.code}"
    try:
        frames = parse_frames(run.stream)
    except LabError as error:
        return {}, str(error)
    if "error" in frames:
        return {}, f"the guest's init failed at: {frames['error'].decode(errors='replace')}"
    if "end" not in frames:
        return {}, "the guest stopped before it had sent everything"
    return frames, None


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

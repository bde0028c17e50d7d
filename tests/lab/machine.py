"""Boots a kernel under QEMU, runs one program in it, and brings back what it wrote.

Two serial ports keep noise and data apart: ttyS0 is the kernel's console, ttyS1 carries the frames
of guest/init.c. Never KVM: the CPU has to be the emulator's, whatever this machine is.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import initramfs
from tests.lab.common import LabError, freestanding, tail, tool
from tests.lab.packages import Kernel

# panic=-1 with -no-reboot: a dead kernel ends QEMU at once instead of hanging until the timeout.
CONSOLE = "console=ttyS0 panic=-1 oops=panic"
DISK_DEVICE = "/dev/nvme0n1"
_CONSOLE_LINES = 40


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
        timeout: seconds until the guest kills it.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, initramfs.Entry] = field(default_factory=dict)
    disk: Path | None = None
    collect: Sequence[str] = ()
    cpuset: str | None = None
    timeout: int = 60


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
    """

    status: str
    stdout: bytes
    stderr: bytes
    files: Mapping[str, bytes]
    console: str
    seconds: float


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
    records += [("arg", word) for word in program.argv]
    records += [("env", f"{name}={value}") for name, value in program.env.items()]
    records += [("collect", path) for path in program.collect]
    if any("\0" in value for _, value in records):
        raise ValueError("a NUL byte in what the guest is to run")
    return b"".join(f"{key} {value}".encode() + b"\0" for key, value in records)


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
) -> list[str]:
    """Return QEMU's command line; the caller adds the serial ports."""
    command = [tool("qemu-system-x86_64", "qemu-system-x86")]
    command += ["-accel", "tcg", "-cpu", cpu, "-smp", smp, "-m", str(memory)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += [
        "-kernel",
        str(kernel.vmlinuz),
        "-initrd",
        str(initrd),
        "-append",
        f"{CONSOLE} {append}".strip(),
    ]
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
        timeout: seconds until a guest that has not powered off is killed.

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
        "init": initramfs.program(freestanding("init.c").read_bytes()),
        "lab/spec": initramfs.file(spec(program)),
        **program.files,
    }
    with tempfile.TemporaryDirectory(prefix="cpuprobe-lab-") as name:
        folder = Path(name)
        console, channel, complaints = folder / "console", folder / "channel", folder / "complaints"
        (folder / "initrd").write_bytes(initramfs.build(entries))
        command = qemu_command(
            kernel, folder / "initrd", cpu, append, smp=smp, memory=memory, disk=program.disk
        )
        command += ["-serial", f"file:{console}", "-serial", f"file:{channel}"]
        started = time.monotonic()
        with (
            complaints.open("wb") as log,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "TMPDIR": name},
            ) as qemu,
        ):
            try:
                code = qemu.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                # By its handle, hence its own process id, also when the caller is interrupted.
                if qemu.poll() is None:
                    qemu.kill()
        seconds = time.monotonic() - started
        said = _text(console)
        grumbled = _text(complaints)
        stream = channel.read_bytes() if channel.exists() else b""

    trouble = None
    frames: dict[str, bytes] = {}
    if code is None:
        trouble = f"the guest had not powered off after {timeout:g} s and was killed"
    elif code:
        trouble = f"QEMU ended with {code}"
    else:
        try:
            frames = parse_frames(stream)
        except LabError as error:
            trouble = str(error)
        if "error" in frames:
            trouble = f"the guest's init failed at: {frames['error'].decode(errors='replace')}"
        elif trouble is None and "end" not in frames:
            trouble = "the guest stopped before it had sent everything"
    if trouble is not None:
        raise LabError(
            f"{trouble}\n-- cpu: {cpu}; kernel: {kernel.release} {append}\n"
            f"-- qemu: {tail(grumbled, 5) or '(silent)'}\n"
            f"-- console:\n{tail(said, _CONSOLE_LINES) or '(silent)'}"
        )
    return Guest(
        status=frames["status"].decode(),
        stdout=frames["stdout"],
        stderr=frames["stderr"],
        files={
            key.removeprefix("file:"): value
            for key, value in frames.items()
            if key.startswith("file:")
        },
        console=said,
        seconds=seconds,
    )


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

"""What a world can run, by name: how to get it, how to start it, what to make of its output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cpuprobe.assessment import assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from tests.agreement import disagreements
from tests.lab import initramfs, wheel
from tests.lab.architecture import AARCH64, X86_64, Architecture
from tests.lab.common import (
    CHECKOUT,
    LabError,
    LabMissing,
    c_compiler,
    freestanding,
    locked,
    ordinary,
    run_tool,
    tool,
)
from tests.lab.root import Disk, disk

WASMTIME = "wasmtime==50.0.1"

# The version whose flags the worlds of `native` expect, whatever is installed here.
ASSESSED_FOR = "50"


def _nothing(_: bytes) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True)
class Runnable:
    """A program ready to run.

    Attributes:
        guest_argv: how it is started in a guest.
        user_argv: how it is started on this machine, under qemu-x86_64.
        env: environment in a guest.
        files: members of the initramfs it needs.
        disk: root disk it needs.
        memory: MiB of a guest.
        derive: what follows from its standard output, added to what was seen.
    """

    guest_argv: tuple[str, ...]
    user_argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, initramfs.Entry] = field(default_factory=dict)
    disk: Path | None = None
    memory: int = 512
    derive: Callable[[bytes], Mapping[str, object]] = _nothing


def static(
    path: Path, *args: str, derive: Callable[[bytes], Mapping[str, object]] = _nothing
) -> Runnable:
    """Return a runnable for a static executable: in a guest it is the only file beside init."""
    entry = initramfs.program(path.read_bytes())
    files = {path.name: entry}
    return Runnable((f"/{path.name}", *args), (str(path), *args), files=files, derive=derive)


def on_disk(root: Disk, guest_argv: tuple[str, ...], user_argv: tuple[str, ...]) -> Runnable:
    """Return a runnable for a program of a root disk; a user world takes this machine's."""
    return Runnable(guest_argv, user_argv, env=root.env, disk=root.image, memory=1024)


def probe() -> Runnable:
    """Return the lab's own witness, guest/probe.c: does the world itself hold?"""
    return static(freestanding("probe.c"))


def assessed(output: bytes) -> dict[str, object]:
    """Return the assessment of what cpuprobe-native printed, made by the cpuprobe of this machine.

    Output that is no report gives nothing: the world's expectations then say what it was.

    Raises:
        LabError: cpuprobe-native came to another verdict by itself.
    """
    try:
        observation = parse_capture(output)
    except CaptureError:
        return {}
    # The core judges by itself on x86-64 only.
    differs = disagreements(output) if observation.isa == X86_64.isa else []
    if differs:
        raise LabError("the verdicts differ: " + "; ".join(differs))
    return {"assessment": json.loads(msgspec.json.encode(assess(observation, ASSESSED_FOR)))}


@functools.cache
def _made_native(architecture: Architecture) -> Path:
    """Bring build/cpuprobe-native, or that for another architecture, up to date, once in a run."""
    name, setting = ("native", "CC") if architecture is X86_64 else ("native-aarch64", "CROSS")
    target = CHECKOUT / "build" / f"cpuprobe-{name}"
    compiler = c_compiler(architecture)
    with locked(target):
        run_tool([tool("make", "make"), "--silent", name, f"{setting}={compiler}"], cwd=CHECKOUT)
    return target


def native_executable(architecture: Architecture = X86_64) -> Path:
    """Return cpuprobe-native: $CPUPROBE_LAB_NATIVE, else build/cpuprobe-native, made up to date.

    For aarch64 it is $CPUPROBE_LAB_NATIVE_AARCH64, else build/cpuprobe-native-aarch64.

    Raises:
        LabMissing: the one that was named is not there, or there is no make or compiler.
        LabError: it does not compile.
    """
    setting = "CPUPROBE_LAB_NATIVE" + ("" if architecture is X86_64 else "_AARCH64")
    named = os.environ.get(setting)
    if named is None:
        return _made_native(architecture)
    if not Path(named).exists():
        raise LabMissing(f"{setting}: {named} not found")
    return Path(named).absolute()


def native() -> Runnable:
    """Return cpuprobe-native; what it prints is assessed on this machine."""
    return static(native_executable(), derive=assessed)


def oracle() -> Runnable:
    """Return guest/oracle.c: what a world of aarch64 is, without help from cpuprobe."""
    return static(ordinary("oracle.c", AARCH64))


def arm_native() -> Runnable:
    """Return cpuprobe-native for aarch64; what it prints is assessed on this machine."""
    return static(native_executable(AARCH64), derive=assessed)


def full_root() -> Disk:
    """Return the one disk for all that needs Python: the wheel, what it needs, and wasmtime 50."""
    return disk([str(wheel.wheel()), WASMTIME])


def cpuprobe() -> Runnable:
    """Return the real command with Python and wasmtime; a world's `args` follow its name."""
    return on_disk(full_root(), ("/usr/bin/cpuprobe",), (sys.executable, "-m", "cpuprobe"))


def python() -> Runnable:
    """Return the Python beside that command; a world's `args` are the interpreter's."""
    root = full_root()
    return on_disk(root, (root.python,), (sys.executable,))


def this_python() -> Runnable:
    """Return the Python that runs the lab, with all that is installed for it: user worlds only."""
    return Runnable((), (sys.executable,))


PROGRAMS: Mapping[str, Callable[[], Runnable]] = {
    "probe": probe,
    "native": native,
    "oracle": oracle,
    "arm-native": arm_native,
    "cpuprobe": cpuprobe,
    "python": python,
    "this-python": this_python,
}


def get(name: str) -> Runnable:
    """Return a program by name.

    Raises:
        LabError: there is none of that name.
        LabMissing: it cannot be had here.
    """
    if name not in PROGRAMS:
        raise LabError(f"unknown program {name!r}: known are {', '.join(PROGRAMS)}")
    return PROGRAMS[name]()

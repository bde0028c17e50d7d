"""What a world can run, by name: how to get it, and how to start it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import initramfs
from tests.lab.common import LabError, LabMissing, freestanding
from tests.lab.root import Disk, disk

CHECKOUT = Path(__file__).parents[2]


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
    """

    guest_argv: tuple[str, ...]
    user_argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, initramfs.Entry] = field(default_factory=dict)
    disk: Path | None = None
    memory: int = 512


def static(path: Path, *args: str) -> Runnable:
    """Return a runnable for a static executable: in a guest it is the only file beside init."""
    entry = initramfs.program(path.read_bytes())
    return Runnable((f"/{path.name}", *args), (str(path), *args), files={path.name: entry})


def on_disk(root: Disk, guest_argv: tuple[str, ...], user_argv: tuple[str, ...]) -> Runnable:
    """Return a runnable for a program of a root disk; a user world takes this machine's."""
    return Runnable(guest_argv, user_argv, env=root.env, disk=root.image, memory=1024)


def probe() -> Runnable:
    """Return the lab's own witness, guest/probe.c: does the world itself hold?"""
    return static(freestanding("probe.c"))


def native() -> Runnable:
    """Return cpuprobe-native: $CPUPROBE_LAB_NATIVE, else what `make native` built.

    Raises:
        LabMissing: it is not built.
    """
    path = Path(os.environ.get("CPUPROBE_LAB_NATIVE") or CHECKOUT / "build" / "cpuprobe-native")
    if not path.exists():
        raise LabMissing(f"{path} not found: run `make native`")
    return static(path)


def wheel() -> Path:
    """Return the wheel of the full root: $CPUPROBE_LAB_WHEEL, else the newest dist/cpuprobe-*.whl.

    Raises:
        LabMissing: there is none.
    """
    named = os.environ.get("CPUPROBE_LAB_WHEEL")
    found = (
        [Path(named)]
        if named
        else sorted((CHECKOUT / "dist").glob("cpuprobe-*.whl"), key=lambda p: p.stat().st_mtime)
    )
    if not found or not found[-1].exists():
        raise LabMissing(f"no wheel {named or 'in dist/'}: run `make wheel`")
    return found[-1]


def cpuprobe() -> Runnable:
    """Return the real command with Python and wasmtime; a world's `args` follow its name."""
    return on_disk(disk([str(wheel())]), ("/usr/bin/cpuprobe",), (sys.executable, "-m", "cpuprobe"))


def python() -> Runnable:
    """Return a bare Python with wasmtime 50; a world's `args` are the interpreter's."""
    root = disk(["wasmtime==50.0.1"])
    return on_disk(root, (root.python,), (sys.executable,))


PROGRAMS: Mapping[str, Callable[[], Runnable]] = {
    "probe": probe,
    "native": native,
    "cpuprobe": cpuprobe,
    "python": python,
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

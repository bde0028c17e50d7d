"""Waits for QEMU, and tells a guest that hangs from one that is slow.

Time is the guest's own: seconds on the clock less those in which the system let it wait for a CPU.
So limits mean the same beside any load. A guest that hangs in its boot is mostly QEMU's doing
(kernels of 6.1 on more than one emulated CPU now and then lose an interrupt at the change of the
clock), so it is told from one that hangs after its init has spoken.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

STILL = 15.0
"""Own seconds without a word on the console after which a boot hangs; the longest pause of one that
comes up is about a second."""

_LOOK = 0.25


class End(Enum):
    """How the wait ended."""

    ENDED = "ended"
    LATE = "late"
    NO_BOOT = "no boot"


def load() -> float:
    """Return how many times longer than alone a program takes now, at least 1.

    From what has run or waited in the last minute, for each CPU this process may use.
    """
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def waited(pid: int) -> float:
    """Return the seconds that a process's threads were ready and had no CPU: the longest of them.

    From /proc/PID/task/*/schedstat (Documentation/scheduler/sched-stats.rst), 0 where there is none
    or the process has ended.
    """
    longest = 0
    for row in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            longest = max(longest, int(row.read_text().split()[1]))
        except (OSError, IndexError):
            continue  # The thread ended meanwhile.
    return longest / 1e9


def watch(
    qemu: subprocess.Popen[bytes],
    console: Path,
    channel: Path,
    timeout: float,
    booted: Callable[[], None] = lambda: None,
) -> End:
    """Wait for the end of a guest, and kill one that hangs or is late.

    Args:
        qemu: the process.
        console: the kernel's messages; while they grow the guest boots.
        channel: what init sends; a byte there and the guest has booted.
        timeout: own seconds that the guest has in all.
        booted: called when the guest has booted.
    """
    started = time.monotonic()
    spoke, said, up = 0.0, -1, False
    try:
        while True:
            try:
                qemu.wait(_LOOK)
                return End.ENDED
            except subprocess.TimeoutExpired:
                own = time.monotonic() - started - waited(qemu.pid)
            if own > timeout:
                return End.LATE
            if up:
                continue
            if _size(channel):
                up = True
                booted()
                continue
            if said != _size(console):
                spoke, said = own, _size(console)
            elif own - spoke > STILL:
                return End.NO_BOOT
    finally:
        # By its handle, hence its own process id, also when the caller is interrupted.
        if qemu.poll() is None:
            qemu.kill()
            qemu.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

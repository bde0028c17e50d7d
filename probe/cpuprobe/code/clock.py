"""The last resort where a file costs more than its steps tell: CPU time.

Steps are what bounds work (code.budget, code.archives.allowance), so that no verdict depends on
how fast a machine is. Real files take a tenth of this time; the largest of static libraries,
OpenBLAS' with 15,108 objects, four fifths of it on a machine that is busy with others' work.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cpuprobe.code.archives.allowance import SpentError

SECONDS = 17
"""Of CPU time, over all threads, that any file may take."""
PER_MIB = 0.3
"""Where that is more: for each MiB of it. Debian's Chromium takes 0.1; most packages 0.03."""
_AGAIN = 1
"""Seconds until it is said again, should somebody not have listened."""


class Clock:
    """Of one file.

    Attributes:
        late: it has used up its time. Threads have to ask; the main one is told.
    """

    late: bool = False


_clock = Clock()


def current() -> Clock:
    """That of the file which is read now."""
    return _clock


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Ends what reads a file of so many bytes, holes left out, when that takes too long.

    Only in a process's main thread, which alone can be told; elsewhere there is no such limit.

    Raises:
        SpentError: it does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _clock  # noqa: PLW0603
    clock = _clock = Clock()

    def tell(number: int, frame: FrameType | None) -> None:
        if clock is _clock:  # else it has ended meanwhile
            clock.late = True
            raise SpentError("it takes too long to read")

    before = signal.signal(signal.SIGPROF, tell)
    try:
        signal.setitimer(signal.ITIMER_PROF, max(SECONDS, PER_MIB * size / (1 << 20)), _AGAIN)
        yield
    finally:
        _clock = Clock()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)

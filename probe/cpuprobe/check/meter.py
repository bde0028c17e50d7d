"""How far a check has come: bytes of files that are judged, over all processes.

It is for a bar on a terminal: two processes that count at once may lose one of two counts.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
_watchers: list[Callable[[int], None]] = []


def count(size: int) -> None:
    """So many bytes are done."""
    _shared[0] += size
    tell()


def tell() -> None:
    """Tells whoever watches in this process."""
    for watcher in _watchers:
        watcher(_shared[0])


@contextmanager
def watched(watcher: Callable[[int], None]) -> Iterator[None]:
    """From zero on, and until it ends, `watcher` is told of the bytes that are done."""
    _shared[0] = 0
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def unwatched() -> None:
    """In a process that was forked from the one that shows it."""
    _watchers.clear()

"""The bytes of a large file: read once, straight to where they stay, while other work is done.

A file is not mapped into memory: one that somebody cuts while it is read would kill the process.
"""

from __future__ import annotations

import contextlib
import mmap
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from cpuprobe.code.threads import begun, taken

LARGE = 2 << 20
"""Bytes from which it pays: those of a large page."""


class Fills(Protocol):
    """A file whose bytes can be put somewhere."""

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`."""

    def into(self, offset: int, room: memoryview) -> int:
        """Fills memory with the bytes at `offset`; returns how many there were."""


def begin_reading(source: Fills, offset: int, size: int) -> tuple[bytes, Callable[[], int]]:
    """Bytes of a file, or memory for many of them that is filled from now on.

    Returns:
        Them, and what waits until all are there and tells how many the file had. It has to be
        called before the file is closed.

    Raises:
        MemoryError: there is no room for so many.
    """
    if size < LARGE:
        small = source.some(offset, size)
        return small, small.__len__
    made = room_for(size)
    room = memoryview(made)

    pieces = deque(range(0, size, LARGE))

    def fill() -> int:
        filled = 0
        for start in taken(pieces):
            at, end, got = start, min(start + LARGE, size), 1
            while at < end and got:
                got = source.into(offset + at, room[at:end])
                at += got
                filled += got
        return filled

    other = begun(fill)
    return made, lambda: fill() + other.result()


class _Room(mmap.mmap):
    """Memory whose bytes are gone over as numbers, as those of bytes are."""

    def __iter__(self) -> Iterator[int]:
        return iter(memoryview(self))


def room_for(size: int) -> bytes:
    """Memory that is only read once it is filled, as bytes are.

    In large pages, where the system has them: most of the time would go into small ones.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)  # type: ignore[return-value]
    try:
        # Linux aligns a mapping to large pages if its size is a multiple of theirs (6.7, 6.12).
        made = _Room(-1, size + -size % LARGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        made.resize(size)
    except OSError:
        raise MemoryError from None
    with contextlib.suppress(OSError):  # the system has none
        made.madvise(mmap.MADV_HUGEPAGE)
    return made  # type: ignore[return-value]

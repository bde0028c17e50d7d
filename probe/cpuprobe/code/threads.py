"""Work on one file in as many threads as there are CPUs: while C works, Python's lock is let go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

ALONE = 4 << 20
"""Bytes of code below which a second thread costs more than it saves."""


def parts(size: int) -> int:
    """In how many parts so many bytes of code are worked on: one a CPU, where that pays."""
    return min(len(os.sched_getaffinity(0)), size // ALONE) or 1


def at_once(work: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """What work comes to for each of some items, each in a thread of its own."""
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))

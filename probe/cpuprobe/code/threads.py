"""Work on one file in as many threads as there are CPUs: while C works, Python's lock is let go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

ALONE = 2 << 20
"""Bytes of code below which a second thread costs more than it saves."""


def parts(size: int) -> int:
    """In how many parts so many bytes of code are worked on: one a CPU, where that pays."""
    return min(len(os.sched_getaffinity(0)), size // ALONE) or 1


def at_once(work: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """What work comes to for each of some items: of the last in this thread, the others in theirs.

    A thread more would take the place of this one, which waits.
    """
    *others, mine = items
    if not others:
        return [work(mine)]
    with ThreadPoolExecutor(len(others)) as pool:
        begun = pool.map(work, others)
        done = work(mine)
        return [*begun, done]


def beside(work: Callable[[], U]) -> Callable[[], U]:
    """Begins with work in a thread of its own; what is returned waits for what it comes to."""
    pool = ThreadPoolExecutor(1)
    begun = pool.submit(work)

    def wait() -> U:
        with pool:
            return begun.result()

    return wait

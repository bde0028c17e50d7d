"""Work on one file in as many threads as there are CPUs: while C works, Python's lock is let go."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

ALONE = 2 << 20
"""Bytes of code below which a second thread costs more than it saves."""
_MOST = 256
"""Threads; there are as many as are at work at once: one a CPU, and a few that wait for these."""


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that stay: who starts one waits for a CPU to wake, which can take milliseconds."""
    return ThreadPoolExecutor(_MOST)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # which has none of them


def parts(size: int) -> int:
    """In how many parts so many bytes of code are worked on: one a CPU, where that pays."""
    return min(len(os.sched_getaffinity(0)), size // ALONE) if size >= ALONE else 1


def begun(work: Callable[[], U]) -> Future[U]:
    """Begins with work in a thread of its own; where the system gives none, it is done first."""
    turn = [work]

    def once() -> U:  # the executor keeps what it could start no thread for
        return turn.pop()()

    try:
        return _threads().submit(once)
    except RuntimeError:
        made = Future[U]()
        made.set_result(once())
        return made


def taken(left: deque[T]) -> Iterator[T]:
    """Takes what is left, one by one; other threads do so at the same time."""
    while left:
        try:
            item = left.popleft()
        except IndexError:  # another one was faster
            return
        yield item


def at_once(work: Callable[[T], U], items: Sequence[T], threads: int) -> list[U]:
    """What work comes to for each of some items.

    So many threads, of which this is one, take them in order: one that starts late takes fewer.
    """
    left = deque(enumerate(items))
    found: dict[int, U] = {}

    def take() -> None:
        for at, item in taken(left):
            found[at] = work(item)

    those = [begun(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        wait(those)
    for each in those:
        each.result()
    return [found[at] for at in range(len(items))]

"""Work on files in several processes, whatever becomes of one of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import Empty, SimpleQueue
from typing import TypeVar

from cpuprobe.check import meter

T = TypeVar("T")
_GLANCE = 0.2
"""Seconds between two looks at how far they are."""


def results(
    work: Callable[[str], T], paths: list[str], processes: int
) -> Iterator[tuple[str, T | str]]:
    """Works on files in several processes; yields each with what was found, as they end.

    Args:
        work: what is to be done with each.
        paths: all of them.
        processes: how many.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("fork"), initializer=_worker
    )
    finished = False
    try:
        futures = _begun(pool, work, paths)
        begun = bool(futures)
        yield from _ended(futures)
        finished = begun
    finally:
        if not finished:  # Ctrl-C, say: nobody waits for what they do now
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
                child.join()
        with contextlib.suppress(RuntimeError):  # there was no thread for it
            pool.shutdown(cancel_futures=True)
    if not finished:
        yield from ((path, work(path)) for path in paths)


def _begun(
    pool: ProcessPoolExecutor, work: Callable[[str], T], paths: list[str]
) -> dict[Future[T], str]:
    """Hands out the files; none where the system gives no process more."""
    # Python swallows a Ctrl-C that comes while it forks: it waits until all workers are there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {_submit(pool, work, path): path for path in paths}
    except (OSError, RuntimeError):
        return {}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(futures: dict[Future[T], str]) -> Iterator[tuple[str, T | str]]:
    """What each file came to, as they end."""
    ended: SimpleQueue[Future[T]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    while futures:
        future = _next(ended)
        path = futures.pop(future)
        try:
            yield path, future.result()
        except BrokenProcessPool:
            yield path, "the process that read it, or one beside it, was killed"


def _next(ended: SimpleQueue[Future[T]]) -> Future[T]:
    """The next that has ended; meanwhile it is told how far they are."""
    while True:
        try:
            return ended.get(timeout=_GLANCE)
        except Empty:
            meter.tell()


def _submit(pool: ProcessPoolExecutor, work: Callable[[str], T], path: str) -> Future[T]:
    try:
        return pool.submit(work, path)
    except BrokenProcessPool as error:  # killed before all files were handed out
        future: Future[T] = Future()
        future.set_exception(error)
        return future


def _worker() -> None:
    """Ctrl-C reaches every process of a terminal. The workers die of it without a word."""
    meter.unwatched()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

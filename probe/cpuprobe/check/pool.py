"""Work on files in several processes, whatever becomes of one of them."""

from __future__ import annotations

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
Task = tuple[str, tuple[str, ...]]
"""A file, and the features of which every function is listed."""


def results(
    work: Callable[..., T], tasks: list[Task], processes: int
) -> Iterator[tuple[str, T | str]]:
    """Does the tasks in several processes; yields each file with what was found, as they end.

    Args:
        work: what is to be done with each.
        tasks: all of them.
        processes: how many.
    """
    context = multiprocessing.get_context("fork")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_worker)
    ended: SimpleQueue[Future[T]] = SimpleQueue()
    finished = False
    try:
        # Python swallows a Ctrl-C that comes while it forks: it waits until all workers are there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {_submit(pool, work, task): task for task in tasks}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in futures:
            future.add_done_callback(ended.put)
        for _ in tasks:
            future = _next(ended)
            path, _sought = futures.pop(future)
            try:
                yield path, future.result()
            except BrokenProcessPool:
                yield path, "the process that read it, or one beside it, was killed"
        finished = True
    finally:
        if not finished:  # Ctrl-C: nobody waits for what they do now
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _next(ended: SimpleQueue[Future[T]]) -> Future[T]:
    """The next that has ended; meanwhile it is told how far they are."""
    while True:
        try:
            return ended.get(timeout=_GLANCE)
        except Empty:
            meter.tell()


def _submit(pool: ProcessPoolExecutor, work: Callable[..., T], task: Task) -> Future[T]:
    try:
        return pool.submit(work, *task)
    except BrokenProcessPool as error:  # killed before all tasks were handed out
        future: Future[T] = Future()
        future.set_exception(error)
        return future


def _worker() -> None:
    """Ctrl-C reaches every process of a terminal. The workers die of it without a word."""
    meter.unwatched()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

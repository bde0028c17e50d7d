"""Many files at once: folders are walked, files are read in several processes.

Large files are read in parts, so that a single one keeps all processes busy. Each process reads the
file for itself and scans its part: what passes between processes is small.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from cpuprobe.check.against import HostCapabilities
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code.budget import Budget
from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.forms import forms, searches
from cpuprobe.code.kinds import ELF, OTHER, kind_of
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import Stamp, complete, opened
from cpuprobe.code.tally import Scan

SMALL = 1 << 20
"""Below as many bytes in all a second process costs more than it saves."""
PART = 4 << 20
"""Bytes of a file that one process scans at once."""
MOST_PARTS = 64
"""A very large file is scanned in fewer and larger parts: every process may have to read it."""


class Found(NamedTuple):
    """What is meant by some paths.

    Attributes:
        files: those that can be read, in order, each once; and whether it was named itself.
        unread: how many files in folders are of what other kind.
    """

    files: list[tuple[str, bool]]
    unread: Counter[str]


def expand(paths: Iterable[str]) -> Found:
    """The files that are meant.

    Args:
        paths: files, and folders, of which all ELF files are taken. Links inside a folder are not
            followed: what they point to is counted where it lies, or does not belong to it.
    """
    found: dict[str, bool] = {}
    unread: Counter[str] = Counter()
    for path in paths:
        if not os.path.isdir(path):
            found[path] = True
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                inside = os.path.join(folder, name)
                kind = None if os.path.islink(inside) else kind_of(inside)
                if kind == ELF:
                    found.setdefault(inside, False)
                elif kind is not None:
                    unread[kind] += 1
    return Found(list(found.items()), unread)


def check(
    files: list[tuple[str, bool]],
    against: HostCapabilities,
    processes: int,
    progress: Callable[[int, int], None],
    sought: Collection[str] = (),
) -> list[Fit]:
    """Reads files and holds each against a machine.

    Args:
        files: as `expand` finds them.
        against: the machine.
        processes: how many may work at once.
        progress: called with the number of files that are done and of all.
        sought: features of which every function is listed, in `Needs.functions`.

    Returns:
        In the order of `files`. Files for other architectures that were only met in a folder are
        left out.
    """
    done: dict[str, Needs | str] = {}
    for path, result in _results([path for path, _ in files], processes, tuple(sought)):
        done[path] = result
        progress(len(done), len(files))
    fits = []
    for path, named in files:
        needs = done[path]
        if isinstance(needs, str):
            fits.append(_unread(path, needs))
            continue
        fit = judge(path, needs, against)
        if named or fit.expectation != "foreign":
            fits.append(fit)
    return fits


def _unread(path: str, error: str) -> Fit:
    kind = kind_of(path)
    if kind in (None, ELF, OTHER):
        return Fit(path=path, expectation="unreadable", error=error)
    return Fit(path=path, expectation="unread", error=f"{kind}: not read")


_Task = tuple[str, int, int, tuple[str, ...]]
"""A file, which part of it, of how many, and the features of which every function is listed."""


class _Part(NamedTuple):
    """What a process found in one part of a file; the first part has what is not scanned."""

    stamp: Stamp
    needs: Needs | None
    scan: Scan | None


_cached = functools.lru_cache(maxsize=1)(opened)


def read_part(path: str, number: int, of: int, sought: tuple[str, ...] = ()) -> _Part | str:
    """One part of a file, or why it cannot be read."""
    try:
        if of == 1:
            _cached.cache_clear()
            reading = opened(path)
        else:
            reading = _cached(path)
        needs = None if number else reading.needs()
        return _Part(reading.stamp, needs, reading.scan(number, of, sought))
    except ArtifactError as error:
        return str(error)


def whole(parts: list[_Part | str]) -> Needs | str:
    """The parts of a file, in their order, made one; or why it cannot be read."""
    scans: list[Scan] = []
    needs: Needs | None = None
    for part in parts:
        if isinstance(part, str):
            return part
        needs = needs or part.needs
        scans += [] if part.scan is None else [part.scan]
    if needs is None or len({part.stamp for part in parts if not isinstance(part, str)}) > 1:
        return "it was changed while it was read"
    try:
        return complete(needs, scans)
    except ArtifactError as error:
        return str(error)


def _results(
    paths: list[str], processes: int, sought: tuple[str, ...]
) -> Iterator[tuple[str, Needs | str]]:
    sizes = {path: _size(path) for path in paths}
    counts = {path: _parts(size) for path, size in sizes.items()}
    processes = min(processes, sum(counts.values()))
    if processes < 2 or sum(sizes.values()) < SMALL:
        for path in paths:
            _cached.cache_clear()
            # In the same parts as by several: their steps, and so the answer, are the same.
            yield path, whole(_in_turn(path, counts[path], sought))
        return
    # Made once, before the others are forked from this process.
    forms()
    searches()
    left = sorted(paths, key=lambda path: -sizes[path])  # the largest first: all end together
    tasks = [
        (path, number, counts[path], sought) for path in left for number in range(counts[path])
    ]
    found: dict[str, dict[int, _Part | str]] = {path: {} for path in paths}
    over: set[str] = set()
    for (path, number, of, _), part in _done(tasks, over, processes):
        if path in over:
            continue
        found[path][number] = part
        refused = _refused(found[path].values())
        if refused is not None:
            over.add(path)
            yield path, refused
        elif len(found[path]) == of:
            parts = found.pop(path)
            yield path, whole([parts[number] for number in range(of)])


def _in_turn(path: str, of: int, sought: tuple[str, ...]) -> list[_Part | str]:
    parts: list[_Part | str] = []
    while len(parts) < of and _refused(parts) is None:
        parts.append(read_part(path, len(parts), of, sought))
    return parts


def _refused(parts: Collection[_Part | str]) -> str | None:
    """Why what is known of a file's parts is enough to refuse it; None: it is not."""
    budget = Budget()
    try:
        for part in parts:
            if isinstance(part, str):
                return part
            budget.spend(part.scan.steps if part.scan else 0)
    except ArtifactError as error:
        return str(error)
    return None


def _done(
    tasks: list[_Task], over: Collection[str], processes: int
) -> Iterator[tuple[_Task, _Part | str]]:
    """Does the tasks in several processes; yields what each found, as they end.

    Args:
        tasks: all of them.
        over: files of which no further part is needed; it may grow meanwhile.
        processes: how many.
    """
    context = multiprocessing.get_context("fork")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_worker)
    finished = False
    try:
        # Python swallows a Ctrl-C that comes while it forks: it waits until all workers are there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {_submit(pool, task): task for task in tasks}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in as_completed(futures):
            task = futures.pop(future)
            if future.cancelled():
                continue
            try:
                yield task, future.result()
            except BrokenProcessPool:
                yield task, "the process that read it, or one beside it, was killed"
            if task[0] in over:
                for other, (path, *_) in futures.items():
                    if path == task[0]:
                        other.cancel()
        finished = True
    finally:
        if not finished:  # Ctrl-C: nobody waits for what they do now
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, task: _Task) -> Future[_Part | str]:
    try:
        return pool.submit(read_part, *task)
    except BrokenProcessPool as error:  # killed before all tasks were handed out
        future: Future[_Part | str] = Future()
        future.set_exception(error)
        return future


def _worker() -> None:
    """Ctrl-C reaches every process of a terminal. The workers die of it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _parts(size: int) -> int:
    """In how many parts a file is scanned that has as many bytes."""
    return max(1, min(MOST_PARTS, size // PART))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0

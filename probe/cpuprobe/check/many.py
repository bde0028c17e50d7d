"""Many files at once: folders are walked, files are read in several processes.

Large files are read in parts, so that a single one keeps all processes busy. Each process reads the
file for itself and scans its part: what passes between processes is small.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from cpuprobe.check.against import HostCapabilities
from cpuprobe.check.contents import Contents, Met, contents
from cpuprobe.check.judge import Fit, judge
from cpuprobe.check.pool import Task, results
from cpuprobe.code.archives.table import Kind, kind_of_file
from cpuprobe.code.budget import Budget
from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.forms import forms, searches
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
        files: those that may hold code, in order, each once; and whether it was named itself.
        unread: how many files in folders are of what other kind.
    """

    files: list[tuple[str, bool]]
    unread: Counter[str]


def expand(paths: Iterable[str]) -> Found:
    """The files that are meant.

    Args:
        paths: files, and folders, of which all is taken that may hold code. Links inside a folder
            are not followed: what they point to is counted where it lies, or does not belong to it.
    """
    found: dict[str, bool] = {}
    unread: Counter[str] = Counter()
    for path in paths:
        if not os.path.isdir(path):
            found[path] = True
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            if kind_of_file(folder) is not None:  # an image: one thing, whatever lies in it
                found.setdefault(folder, folder == path)
                folders.clear()
                continue
            for name in sorted(files):
                inside = os.path.join(folder, name)
                kind = None if os.path.islink(inside) else kind_of_file(inside)
                if kind is not None and kind.named:
                    found.setdefault(inside, False)
                elif kind is not None:
                    unread[kind.name] += 1
    return Found(list(found.items()), unread)


def check(
    files: list[tuple[str, bool]],
    against: HostCapabilities,
    processes: int,
    progress: Callable[[int, int], None],
    sought: Collection[str] = (),
    unread: Counter[str] | None = None,
) -> list[Fit]:
    """Reads files, and all that they hold, and holds each against a machine.

    Args:
        files: as `expand` finds them.
        against: the machine.
        processes: how many may work at once.
        progress: called with the number of files that are done and of all.
        sought: features of which every function is listed, in `Needs.functions`.
        unread: what is met and not read is counted here by kind.

    Returns:
        In the order of `files`, what one holds in its place. Files for other architectures that
        were not named, but met in a folder or in a file, are counted in `unread` alone.
    """
    unread = Counter() if unread is None else unread
    done: dict[str, _Answer] = {}
    for path, result in _results([path for path, _ in files], processes, tuple(sought)):
        done[path] = result
        progress(len(done), len(files))
    fits = []
    for path, named in files:
        answer = done[path]
        if isinstance(answer, Contents):
            fits += [_fit(met, against, False, unread) for met in answer.met]
            unread += answer.unread
        elif isinstance(answer, Kind):
            fits.append(_fit(Met(path, unread=answer.name), against, named, unread))
        elif isinstance(answer, str):
            fits.append(_fit(Met(path, error=answer), against, named, unread))
        else:
            fits.append(_fit(Met(path, answer), against, named, unread))
    return [fit for fit in fits if fit is not None]


def _fit(met: Met, against: HostCapabilities, named: bool, unread: Counter[str]) -> Fit | None:
    """What is told of one file; None: no more than a count in `unread`."""
    if met.needs is not None:
        fit = judge(met.name, met.needs, against)
        if named or fit.expectation != "foreign":
            return fit
        unread[f"{met.needs.architecture} file"] += 1
        return None
    if met.error:
        return Fit(path=met.name, expectation="unreadable", error=met.error)
    unread[met.unread] += 1
    error = f"{met.unread}: not read" if named else None
    return Fit(path=met.name, expectation="unread", reason=f"{met.unread}: not read", error=error)


_Answer = Needs | Contents | Kind | str
"""What is needed of a file, what it holds, the kind that is not read, why it cannot be."""


class _Part(NamedTuple):
    """What a process found in one part of a file; the first part has what is not scanned."""

    stamp: Stamp
    needs: Needs | None
    scan: Scan | None


_cached = functools.lru_cache(maxsize=1)(opened)


_Piece = _Part | Contents | str


def read_part(path: str, number: int, of: int, sought: tuple[str, ...] = ()) -> _Piece:
    """One part of a file, or why it cannot be read; of 0 parts all that it holds."""
    try:
        if of == 0:
            return contents(path, sought)
        if of == 1:
            _cached.cache_clear()
            reading = opened(path)
        else:
            reading = _cached(path)
        needs = None if number else reading.needs()
        return _Part(reading.stamp, needs, reading.scan(number, of, sought))
    except ArtifactError as error:
        return str(error)


def whole(parts: list[_Piece]) -> Needs | Contents | str:
    """The parts of a file, in their order, made one; or why it cannot be read."""
    scans: list[Scan] = []
    stamps: set[Stamp] = set()
    needs: Needs | None = None
    for part in parts:
        if not isinstance(part, _Part):
            return part
        stamps.add(part.stamp)
        needs = needs or part.needs
        scans += [] if part.scan is None else [part.scan]
    if needs is None or len(stamps) > 1:
        return "it was changed while it was read"
    try:
        return complete(needs, scans)
    except ArtifactError as error:
        return str(error)


def _results(
    paths: list[str], processes: int, sought: tuple[str, ...]
) -> Iterator[tuple[str, _Answer]]:
    kinds = {path: kind_of_file(path) for path in paths}
    yield from ((path, kind) for path, kind in kinds.items() if kind and kind.unread)
    left = [path for path, kind in kinds.items() if not (kind and kind.unread)]
    sizes = {path: _size(path) for path in left}
    left.sort(key=lambda path: -sizes[path])  # the largest first: all end together
    counts = {path: _parts(kinds[path], sizes[path]) for path in left}
    processes = min(processes, sum(max(1, count) for count in counts.values()))
    if processes < 2 or sum(sizes.values()) < SMALL:
        for path in left:
            _cached.cache_clear()
            # In the same parts as by several: their steps, and so the answer, are the same.
            yield path, whole(_in_turn(path, counts[path], sought))
        return
    # Made once, before the others are forked from this process.
    forms()
    searches()
    tasks: list[Task] = [
        (path, number, counts[path], sought)
        for path in left
        for number in range(max(1, counts[path]))
    ]
    found: dict[str, dict[int, _Piece]] = {path: {} for path in left}
    over: set[str] = set()
    for (path, number, of, _), part in results(read_part, tasks, over, processes):
        if path in over:
            continue
        found[path][number] = part
        refused = _refused(found[path].values())
        if refused is not None:
            over.add(path)
            yield path, refused
        elif len(found[path]) == max(1, of):
            parts = found.pop(path)
            yield path, whole([parts[number] for number in sorted(parts)])


def _in_turn(path: str, of: int, sought: tuple[str, ...]) -> list[_Piece]:
    parts: list[_Piece] = []
    while len(parts) < max(1, of) and _refused(parts) is None:
        parts.append(read_part(path, len(parts), of, sought))
    return parts


def _refused(parts: Collection[_Piece]) -> str | None:
    """Why what is known of a file's parts is enough to refuse it; None: it is not."""
    budget = Budget()
    try:
        for part in parts:
            if isinstance(part, str):
                return part
            if isinstance(part, _Part) and part.scan:
                budget.spend(part.scan.steps)
    except ArtifactError as error:
        return str(error)
    return None


def _parts(kind: Kind | None, size: int) -> int:
    """In how many parts a file is scanned that has as many bytes; 0: it holds files."""
    if kind is not None and kind.opens is not None:
        return 0
    return max(1, min(MOST_PARTS, size // PART))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0

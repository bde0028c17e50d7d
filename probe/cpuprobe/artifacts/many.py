"""Many files at once: folders are walked, files are read in several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from cpuprobe.artifacts.against import Against
from cpuprobe.artifacts.forms import forms
from cpuprobe.artifacts.judge import judge
from cpuprobe.artifacts.model import ArtifactReadError, Fit, Needs
from cpuprobe.artifacts.read import is_candidate, read_needs

SMALL = 1 << 20
"""Below as many bytes in all a second process costs more than it saves."""


def expand(paths: Iterable[str]) -> list[tuple[str, bool]]:
    """The files that are meant, in order, each once.

    Args:
        paths: files, and folders, of which all ELF files are taken. Links inside a folder are not
            followed: what they point to is counted where it lies, or does not belong to it.

    Returns:
        Each path, and whether it was named itself.
    """
    found: dict[str, bool] = {}
    for path in paths:
        if not os.path.isdir(path):
            found[path] = True
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                inside = os.path.join(folder, name)
                if not os.path.islink(inside) and is_candidate(inside):
                    found.setdefault(inside, False)
    return list(found.items())


def _read(path: str) -> Needs | str:
    try:
        return read_needs(path)
    except ArtifactReadError as error:
        return str(error)


def check(
    files: list[tuple[str, bool]],
    against: Against,
    processes: int,
    progress: Callable[[int, int], None],
) -> list[Fit]:
    """Reads files and holds each against a machine.

    Args:
        files: what `expand` returned.
        against: the machine.
        processes: how many may work at once.
        progress: called with the number of files that are done and of all.

    Returns:
        In the order of `files`. Files for other architectures that were only met in a folder are
        left out.
    """
    done: dict[str, Needs | str] = {}
    for path, result in _results([path for path, _ in files], processes):
        done[path] = result
        progress(len(done), len(files))
    fits = []
    for path, named in files:
        needs = done[path]
        if isinstance(needs, str):
            fits.append(Fit(path=path, error=needs))
            continue
        fit = judge(path, needs, against)
        if named or fit.expectation != "foreign":
            fits.append(fit)
    return fits


def _results(paths: list[str], processes: int) -> Iterator[tuple[str, Needs | str]]:
    sizes = {path: _size(path) for path in paths}
    processes = min(processes, len(paths))
    if processes < 2 or sum(sizes.values()) < SMALL:
        for path in paths:
            yield path, _read(path)
        return
    forms()  # made once, before the others are forked from this process
    context = multiprocessing.get_context("fork")
    left = sorted(paths, key=lambda path: -sizes[path])  # the largest first: all end together
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = {pool.submit(_read, path): path for path in left}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                yield futures[future], "the process that read it, or one beside it, was killed"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0

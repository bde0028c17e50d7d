"""Many files at once: folders are walked, files are read in several processes.

What passes between processes is small. A single large file is scanned in several threads instead
(cpuprobe.code.scan).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from cpuprobe.check import meter
from cpuprobe.check.against import HostCapabilities
from cpuprobe.check.contents import Contents, Met, contents
from cpuprobe.check.judge import Fit, judge
from cpuprobe.check.launchers import MOST, Launcher, launcher
from cpuprobe.check.pool import results
from cpuprobe.code.archives.table import SCRIPT, Kind, kind_of_file
from cpuprobe.code.archives.walk import MOST_OF_SCRIPT
from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.forms import forms
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import complete, opened
from cpuprobe.files import open_regular

SMALL = 1 << 20
"""Below as many bytes in all a second process costs more than it saves."""

APPENDED = 64 << 10
"""Bytes behind a program from which on they are told of: an installer's, say."""


class Found(NamedTuple):
    """What is meant by some paths.

    Attributes:
        files: those that may hold code, in order, each once; and whether it was named itself.
        unread: how many files in folders are of what other kind.
        launchers: scripts in folders that ask what the CPU can do.
    """

    files: list[tuple[str, bool]]
    unread: Counter[str]
    launchers: list[Launcher]


def expand(paths: Iterable[str]) -> Found:
    """The files that are meant.

    Args:
        paths: files, and folders, of which all is taken that may hold code. Links inside a folder
            are not followed: what they point to is counted where it lies, or does not belong to it.
    """
    found: dict[str, bool] = {}
    unread: Counter[str] = Counter()
    launchers: list[Launcher] = []
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
                if kind is SCRIPT and len(launchers) < MOST:
                    launchers += _launcher(inside)
    return Found(list(found.items()), unread, launchers)


def _launcher(path: str) -> list[Launcher]:
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            return launcher(path, file.read(MOST_OF_SCRIPT) or b"")
    except OSError:
        return []


def check(
    files: list[tuple[str, bool]],
    against: HostCapabilities,
    processes: int,
    progress: Callable[[int, int, int], None],
    sought: Collection[str] = (),
    unread: Counter[str] | None = None,
    modules: list[tuple[Fit, bytes]] | None = None,
    launchers: list[Launcher] | None = None,
) -> list[Fit]:
    """Reads files, and all that they hold, and holds each against a machine.

    Args:
        files: as `expand` finds them.
        against: the machine.
        processes: how many may work at once.
        progress: called with the number of files that are done, of all, and of bytes judged.
        sought: features of which every function is listed, in `Needs.functions`.
        unread: what is met and not read is counted here by kind.
        modules: WebAssembly modules that files hold come here, each with what stands in its place;
            None: they are not read.
        launchers: scripts that ask what the CPU can do, which files hold, come here.

    Returns:
        In the order of `files`, what one holds in its place. Files for other architectures that
        were not named, but met in a folder or in a file, are counted in `unread` alone.
    """
    unread = Counter() if unread is None else unread
    done: dict[str, _Answer] = {}
    with meter.watched(lambda read: progress(len(done), len(files), read)):
        for path, result in _results(
            [path for path, _ in files], processes, tuple(sought), against.isa
        ):
            done[path] = result
            meter.tell()
    fits: list[Fit | None] = []
    for path, named in files:
        answer = done[path]
        if isinstance(answer, Contents):
            for met in answer.met:
                if met.module and modules is not None:
                    fit = Fit(path=met.name, expectation="unread")
                    modules.append((fit, met.module))
                    fits.append(fit)
                else:
                    fits.append(_fit(met, against, False, unread))
            unread += answer.unread
            if launchers is not None:
                launchers += answer.launchers
        elif isinstance(answer, Kind):
            fits.append(_fit(Met(path, unread=answer.name), against, named, unread))
        elif isinstance(answer, str):
            fits.append(_fit(Met(path, error=answer), against, named, unread))
        else:
            fits.append(_fit(Met(path, answer), against, named, unread))
    return [fit for fit in fits if fit is not None]


def of_x86(modules: Iterable[str], isa: str) -> list[Fit]:
    """WebAssembly modules against a machine for which they are not compiled here."""
    why = f"wasmtime compiles it here for x86-64; check the .cwasm of {isa}"
    return [Fit(path=path, expectation="unread", reason=why, error=why) for path in modules]


def _fit(met: Met, against: HostCapabilities, named: bool, unread: Counter[str]) -> Fit | None:
    """What is told of one file; None: no more than a count in `unread`."""
    if met.needs is not None:
        if met.needs.appended >= APPENDED:
            unread["appended archive"] += 1
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


def read(path: str, sought: tuple[str, ...] = (), isa: str = "x86-64") -> Needs | Contents | str:
    """What a file needs or holds of an instruction set, or why it cannot be read."""
    kind = kind_of_file(path)
    try:
        if kind is not None and kind.opens is not None:
            return contents(path, sought, isa)
        reading = opened(path, isa)
        needs = complete(reading, reading.scan(sought))
        meter.count(_size(path))
        return needs
    except ArtifactError as error:
        return str(error)
    except MemoryError:
        return "it takes more memory than there is"


def _results(
    paths: list[str], processes: int, sought: tuple[str, ...], isa: str
) -> Iterator[tuple[str, _Answer]]:
    kinds = {path: kind_of_file(path) for path in paths}
    yield from ((path, kind) for path, kind in kinds.items() if kind and kind.unread)
    left = [path for path, kind in kinds.items() if not (kind and kind.unread)]
    sizes = {path: _size(path) for path in left}
    left.sort(key=lambda path: -sizes[path])  # the largest first: all end together
    processes = min(processes, len(left))
    if processes < 2 or sum(sizes.values()) < SMALL:
        yield from ((path, read(path, sought, isa)) for path in left)
        return
    forms()  # made once, before the others are forked from this process
    yield from results(partial(read, isa=isa), [(path, sought) for path in left], processes)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0

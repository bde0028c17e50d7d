"""Many files at once: folders are walked, files are read in several processes.

What passes between processes is small. A single large file is scanned in several threads instead
(cpuprobe.code.scan).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from cpuprobe.check import meter
from cpuprobe.check.against import HostCapabilities
from cpuprobe.check.contents import Asked, Contents, Met, contents
from cpuprobe.check.judge import Fit, judge
from cpuprobe.check.launchers import MOST, Launcher, launcher
from cpuprobe.check.patterns import excluder
from cpuprobe.check.pool import results
from cpuprobe.code import clock
from cpuprobe.code.archives.table import MOST_OF_SCRIPT, SCRIPT, Kind, kind_of_file
from cpuprobe.code.archives.walk import BETWEEN
from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.forms import forms
from cpuprobe.code.hidden import UnreadError
from cpuprobe.code.library import alone
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import complete, opened
from cpuprobe.files import OpenedFile, below, open_regular, size_of

SMALL = 1 << 20
"""Below as many bytes in all a second process costs more than it saves."""

APPENDED = 64 << 10
"""Bytes behind a program from which on they are told of: an installer's, say."""
_BEHIND = "(appended)"
"""What these are called, where files in a file have names."""


class Found(NamedTuple):
    """What is meant by some paths.

    Attributes:
        files: those that may hold code, in order, each once; and whether it was named itself.
        unread: how many files are of what other kind, or excluded.
        launchers: scripts in folders that ask what the CPU can do.
    """

    files: list[tuple[str, bool]]
    unread: Counter[str]
    launchers: list[Launcher]


def expand(paths: Iterable[str], excluded: Sequence[str] = ()) -> Found:
    """The files that are meant.

    Args:
        paths: files, and folders, of which all is taken that may hold code. Links inside a folder
            are not followed: what they point to is counted where it lies, or, if that is elsewhere,
            as such a link.
        excluded: patterns of names that are not looked into (`excluder`).
    """
    found: dict[str, bool] = {}
    unread: Counter[str] = Counter()
    launchers: list[Launcher] = []
    given = list(paths)
    places = [os.path.abspath(path) for path in given]
    excludes = excluder(excluded)

    def is_image(folder: str) -> bool:
        """An image is one thing, whatever lies in it."""
        if excludes(folder) or kind_of_file(folder) is None:
            return False
        found.setdefault(folder, folder in given)
        return True

    for path in given:
        if not os.path.isdir(path):
            if out := excludes(path):
                unread[out] += 1
            else:
                found[path] = True
            continue
        for inside, sort in below(path, is_image):
            if sort == "link" and _leads_out(inside, places):
                unread["link to elsewhere"] += 1
            if sort in ("link", "other"):
                continue
            if out := excludes(inside):
                unread[out] += 1
                continue
            kind = kind_of_file(inside)
            if kind is None or kind.named:  # what cannot be read is told by whoever reads it
                found.setdefault(inside, False)
            else:
                unread[kind.name] += 1
            if kind is SCRIPT and len(launchers) < MOST:
                launchers += _launcher(inside)
    return Found(list(found.items()), unread, launchers)


def _leads_out(link: str, places: Collection[str]) -> bool:
    """Whether a link points to what lies in none of some places, going by its words alone."""
    try:
        target = os.path.join(os.path.dirname(os.path.abspath(link)), os.readlink(link))
    except OSError:
        return False
    target = os.path.join(os.path.normpath(target), "")
    return not any(target.startswith(os.path.join(place, "")) for place in places)


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
    excluded: Sequence[str] = (),
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
        excluded: patterns of names that are not looked into (`excluder`).

    Returns:
        In the order of `files`, what one holds in its place. Files for other architectures that
        were not named, but met in a folder or in a file, are counted in `unread` alone.
    """
    unread = Counter() if unread is None else unread
    done: dict[str, _Answer] = {}
    with meter.watched(lambda read: progress(len(done), len(files), read)):
        asked = Asked(tuple(sought), against.isa, tuple(excluded))
        for path, result in _results([path for path, _ in files], processes, asked):
            done[path] = result
            meter.tell()
    fits: list[Fit] = []
    for path, named in files:
        answer = done[path]
        if isinstance(answer, Contents):
            for met in answer.met:
                if met.module and modules is not None:
                    fit = Fit(path=met.name, expectation="unread")
                    modules.append((fit, met.module))
                    fits.append(fit)
                else:
                    fits += _fits(met, against, False, unread)
            unread += answer.unread
            if launchers is not None:
                launchers += answer.launchers
        elif isinstance(answer, Kind):
            fits += _fits(Met(path, unread=answer.name), against, named, unread)
        elif isinstance(answer, str):
            fits += _fits(Met(path, error=answer), against, named, unread)
        else:
            fits += _fits(Met(path, answer), against, named, unread)
    return fits


def of_x86(modules: Iterable[str], isa: str) -> list[Fit]:
    """WebAssembly modules against a machine for which they are not compiled here."""
    why = f"wasmtime compiles it here for x86-64; check the .cwasm of {isa}"
    return [Fit(path=path, expectation="unread", reason=why, error=why) for path in modules]


def _fits(met: Met, against: HostCapabilities, named: bool, unread: Counter[str]) -> Iterator[Fit]:
    """What is told of one file; of what is only counted, in `unread`, nothing."""
    if met.needs is not None:
        fit = judge(met.name, met.needs, against)
        if named or fit.expectation != "foreign":
            yield fit
        else:
            unread[f"{met.needs.architecture} file"] += 1
        if met.needs.appended >= APPENDED:
            behind = Met(f"{met.name}{BETWEEN}{_BEHIND}", unread="appended archive")
            yield from _fits(behind, against, False, unread)
    elif met.error:
        yield Fit(path=met.name, expectation="unreadable", error=met.error)
    else:
        unread[met.unread] += 1
        why = f"{met.unread}: not read"
        yield Fit(path=met.name, expectation="unread", reason=why, error=why if named else None)


_Answer: TypeAlias = Needs | Contents | Kind | str
"""What is needed of a file, what it holds, the kind that is not read, why it cannot be."""


def read(path: str, asked: Asked) -> _Answer:
    """What a file needs or holds of an instruction set, or why it is not read, or cannot be."""
    kind = kind_of_file(path)
    if kind is None and os.path.isdir(path):
        return "a folder that cannot be listed"
    try:
        with clock.limited(size_of(path)):
            if kind is not None and kind.opens is not None:
                return contents(path, asked)
            return _needs(path, asked)
    except UnreadError as error:
        return Kind(str(error))
    except ArtifactError as error:
        return str(error)
    except MemoryError:
        return "it takes more memory than there is"


def _needs(path: str, asked: Asked) -> Needs:
    reading = opened(path, asked.isa)
    needs = complete(reading, reading.scan(asked.sought))
    if needs.kind == "object":
        with OpenedFile(path) as file:
            needs, _ = alone(needs, file)
    meter.count(_size(path))
    return needs


def _results(paths: list[str], processes: int, asked: Asked) -> Iterator[tuple[str, _Answer]]:
    kinds = {path: kind_of_file(path) for path in paths}
    yield from ((path, kind) for path, kind in kinds.items() if kind and kind.unread)
    left = [path for path, kind in kinds.items() if not (kind and kind.unread)]
    sizes = {path: _size(path) for path in left}
    left.sort(key=lambda path: -sizes[path])  # the largest first: all end together
    processes = min(processes, len(left))
    if processes < 2 or sum(sizes.values()) < SMALL:
        yield from ((path, read(path, asked)) for path in left)
        return
    forms()  # made once, before the others are forked from this process
    yield from results(partial(read, asked=asked), left, processes)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0

"""Everything that a file holds, however deep: one by one, in order, under one allowance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpuprobe.code.archives.allowance import MOST_NESTED, Allowance, SpentError
from cpuprobe.code.archives.images import DESCRIBES, LAYER, MOST_SAID, describes
from cpuprobe.code.archives.streams import Cursor, Entry, Link, Stream
from cpuprobe.code.archives.table import (
    LIBRARY,
    MODULE,
    MOST_OF_SCRIPT,
    OTHER,
    SCRIPT,
    TEXT,
    Kind,
    kind_of,
    kind_of_script,
)
from cpuprobe.code.elf import ArtifactError, Source
from cpuprobe.errors import CaptureError
from cpuprobe.files import HEAD, OpenedFile, below

BETWEEN = "!"
"""Stands between the name of what holds files and the name in it: `app.whl!app/core.so`."""
TOO_DEEP = Kind("archive nested too deep")
LINK = Kind("link or folder", named=False)
NAMELESS = Kind("name of an excluded file")
"""A hard link to one, whose content stands there alone."""
TOO_LARGE = Kind("program too large for memory in an archive")
Excluded = Callable[[str], str]
"""What a file is called because of its name, which is then not read; empty: it is read."""


class Member(NamedTuple):
    """One file that was met.

    Attributes:
        name: with those of what it lies in.
        kind: what it is.
        source: its bytes, valid until the next member is asked for; None: it is not to be judged.
        error: why it, or the rest of what it holds, cannot be read.
        said: the content of what may describe an image, the beginning of a script, or of a layer
            of no known kind.
        link: what it is another name for, if it is a link.
        library: the name of the static library that it lies in; empty: in none.
    """

    name: str
    kind: Kind
    source: Source | None = None
    error: str = ""
    said: bytes = b""
    link: Link | None = None
    library: str = ""


def members(
    source: Source,
    name: str,
    allowance: Allowance | None = None,
    excluded: Excluded = lambda name: "",
) -> Iterator[Member]:
    """What a file holds; of what holds no files, the file itself.

    Args:
        source: the file.
        name: what it is called.
        allowance: what it may cost; None: what any of its size may.
        excluded: asked of everything in it.

    Raises:
        SpentError: it has used up what one file may.
    """
    yield from _members(Cursor(source), name, 0, allowance or Allowance(source.size), excluded)


def members_of_folder(folder: str, allowance: Allowance, excluded: Excluded) -> Iterator[Member]:
    """Likewise, what an image as a folder holds.

    Raises:
        SpentError: it has used up what one file may.
        CaptureError: a file cannot be read.
    """
    for path, sort in sorted(below(folder)):
        if sort == "unlisted":
            raise CaptureError(f"{path}: a folder that cannot be listed")
        if sort != "other":
            with OpenedFile(path) as file:
                name = f"{folder}{BETWEEN}{os.path.relpath(path, folder)}"
                yield from _members(Cursor(file), name, 0, allowance, excluded)


def _members(
    stream: Stream, name: str, depth: int, allowance: Allowance, excluded: Excluded
) -> Iterator[Member]:
    allowance.enter()
    if out := excluded(name):
        yield Member(name, Kind(out, named=False))
        return
    kind = kind_of(stream.peek(HEAD), name)
    if kind.code or (kind is MODULE and depth):
        yield from _code(stream, name, kind, allowance)
    elif kind is SCRIPT:
        said = stream.read(MOST_OF_SCRIPT)
        kind = kind_of_script(said)
        yield Member(name, kind, said=said if kind is SCRIPT else b"")
    elif kind.opens is None:
        yield Member(name, kind, said=_said(stream, name, kind))
    elif depth == MOST_NESTED:
        yield Member(name, TOO_DEEP)
    else:
        try:
            for entry in kind.opens(stream, allowance):
                found = _entry(entry, name, depth + 1, allowance, excluded)
                if kind is LIBRARY:
                    yield from (member._replace(library=name) for member in found)
                else:
                    yield from found
        except SpentError:
            raise
        except ArtifactError as error:
            yield Member(name, kind, error=str(error))


def _entry(
    entry: Entry, holder: str, depth: int, allowance: Allowance, excluded: Excluded
) -> Iterator[Member]:
    name = f"{holder}{BETWEEN}{entry.name}" if entry.name else holder
    if entry.stream is not None:
        yield from _members(entry.stream, name, depth, allowance, excluded)
    elif entry.unread:
        yield Member(name, Kind(entry.unread))
    else:
        allowance.enter()
        hard = entry.link.path if entry.link and entry.link.hard else ""
        hidden = hard and excluded(f"{holder}{BETWEEN}{hard}") and not excluded(name)
        yield Member(name, NAMELESS if hidden else LINK, link=entry.link)


def _said(stream: Stream, name: str, kind: Kind) -> bytes:
    """The content of what may describe an image, the beginning of a layer of no known kind."""
    path = name.partition(BETWEEN)[2]
    if kind is TEXT and (path in DESCRIBES or LAYER.fullmatch(path)):
        content = stream.read(MOST_SAID + 1)
        return content if describes(path, content) else b""
    return stream.peek(HEAD) if kind is OTHER and LAYER.fullmatch(path) else b""


def _code(stream: Stream, name: str, kind: Kind, allowance: Allowance) -> Iterator[Member]:
    source = stream.whole(allowance)
    if source is None:
        yield Member(name, TOO_LARGE)
        return
    try:
        yield Member(name, kind, source)
    finally:
        if stream.holds:
            allowance.hold(-source.size)

"""Everything that a file holds, however deep: one by one, in order, under one allowance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code.archives.allowance import MOST_NESTED, Allowance, SpentError
from cpuprobe.code.archives.streams import Cursor, Entry, Stream
from cpuprobe.code.archives.table import Kind, kind_of
from cpuprobe.code.elf import ArtifactError, Source
from cpuprobe.files import HEAD

BETWEEN = "!"
"""Stands between the name of what holds files and the name in it: `app.whl!app/core.so`."""
TOO_DEEP = Kind("archive nested too deep")
TOO_LARGE = Kind("program too large for memory where it lies")


class Member(NamedTuple):
    """One file that was met.

    Attributes:
        name: with those of what it lies in.
        kind: what it is.
        source: its bytes, valid until the next member is asked for; None: it is not to be judged.
        error: why it, or the rest of what it holds, cannot be read.
    """

    name: str
    kind: Kind
    source: Source | None = None
    error: str = ""


def members(source: Source, name: str) -> Iterator[Member]:
    """What a file holds; of what holds no files, the file itself.

    Raises:
        SpentError: it has used up what one file may.
    """
    yield from _members(Cursor(source), name, 0, Allowance(source.size))


def _members(stream: Stream, name: str, depth: int, allowance: Allowance) -> Iterator[Member]:
    allowance.enter()
    kind = kind_of(stream.peek(HEAD), name)
    if kind.code:
        yield from _code(stream, name, kind, allowance)
    elif kind.opens is None:
        yield Member(name, kind)
    elif depth == MOST_NESTED:
        yield Member(name, TOO_DEEP)
    else:
        try:
            for entry in kind.opens(stream, allowance):
                yield from _entry(entry, name, depth + 1, allowance)
        except SpentError:
            raise
        except ArtifactError as error:
            yield Member(name, kind, error=str(error))


def _entry(entry: Entry, holder: str, depth: int, allowance: Allowance) -> Iterator[Member]:
    name = f"{holder}{BETWEEN}{entry.name}" if entry.name else holder
    if entry.stream is not None:
        yield from _members(entry.stream, name, depth, allowance)
    elif entry.unread:
        yield Member(name, Kind(entry.unread))
    else:
        allowance.enter()  # a folder, a link


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

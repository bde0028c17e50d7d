"""Bytes in order: of a file, of a piece of one, or unpacked on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.elf import ArtifactError, Held, Source

_PIECE = 1 << 20
_LONGEST_NAME = 1024


class Window:
    """A piece of a file as a file of its own."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        """Takes what there is of so many bytes."""
        self._source = source
        self._start = start
        self.size = max(0, min(size, source.size - start))

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        if offset < 0:
            return b""
        return self._source.some(self._start + offset, min(size, self.size - offset))

    def into(self, offset: int, room: memoryview) -> int:
        """Fills memory with the bytes at `offset`."""
        return self._source.into(self._start + offset, room[: max(0, self.size - offset)])


class Stream(ABC):
    """Bytes that are read once, from start to end."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._ahead = b""

    @abstractmethod
    def _more(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end, without reading them."""
        while len(self._ahead) < size and (more := self._more(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(piece) == size:
            return piece
        pieces = [piece]
        left = size - len(piece)
        while left and (more := self._more(min(left, _PIECE))):
            pieces.append(more)
            left -= len(more)
        return pieces[1] if len(pieces) == 2 and not piece else b"".join(pieces)

    def exactly(self, size: int, what: str) -> bytes:
        """The next `size` bytes; ArtifactError, naming `what`, if there are not so many."""
        piece = self.read(size)
        if len(piece) < size:
            raise ArtifactError(f"{what} is cut short")
        return piece

    def skip(self, size: int) -> None:
        """Goes on by `size` bytes, or to the end."""
        while size > 0 and (piece := self.read(min(size, _PIECE))):
            size -= len(piece)

    def part(self, size: int) -> Stream:
        """The next `size` bytes as a stream, valid until this one is used again."""
        return Part(self, size)

    def finish(self) -> None:
        """Goes to the end; of a part, ArtifactError if the stream that it is of ended before."""
        while self.read(_PIECE):
            pass

    def whole(self, allowance: Allowance) -> Source | None:
        """What is left, to be read in any order; None if that is too much for memory.

        What it takes is to be given back by `allowance.hold(-size)`; `holds` tells whether it does.
        """
        content = bytearray()
        while piece := self.read(_PIECE):
            if len(content) + len(piece) > allowance.free:
                return None
            content += piece
        allowance.hold(len(content))
        return Held(memoryview(content))

    @property
    def holds(self) -> bool:
        """Whether `whole` takes memory."""
        return True


class Cursor(Stream):
    """A file that can be read in any order."""

    def __init__(self, source: Source, claimed: int = 0) -> None:
        """Begins at the start.

        Args:
            source: the file.
            claimed: the bytes that it should have.
        """
        super().__init__()
        self._source = source
        self._at = 0
        self._claimed = claimed

    def _more(self, size: int) -> bytes:
        piece = self._source.some(self._at, size)
        self._at += len(piece)
        return piece

    def skip(self, size: int) -> None:
        """Goes on without reading."""
        self._at += size - len(self._ahead)
        self._ahead = b""

    def part(self, size: int) -> Stream:
        """Without a byte of memory."""
        start = self._at - len(self._ahead)
        self.skip(size)
        return Cursor(Window(self._source, start, size), claimed=size)

    def whole(self, allowance: Allowance) -> Source:
        """Without a byte of memory."""
        start = self._at - len(self._ahead)
        return Window(self._source, start, self._source.size - start)

    def finish(self) -> None:
        """ArtifactError if it has not the bytes that it should have."""
        if self._source.size < self._claimed:
            raise ArtifactError("cut short")

    @property
    def holds(self) -> bool:
        """It does not."""
        return False


class Part(Stream):
    """The next bytes of another stream, and no more."""

    def __init__(self, stream: Stream, size: int) -> None:
        """Takes `size` bytes."""
        super().__init__()
        self._stream = stream
        self._left = size

    def _more(self, size: int) -> bytes:
        piece = self._stream.read(min(size, self._left))
        self._left -= len(piece)
        return piece

    def finish(self) -> None:
        """Goes to the end; ArtifactError if the stream ended before."""
        self.skip(self._left + len(self._ahead))
        if self._left:
            raise ArtifactError("cut short")


class Link(NamedTuple):
    """Another name for a file in the same container.

    Attributes:
        path: the file's.
        hard: it is the file as much as the other name is.
    """

    path: str
    hard: bool


class Entry(NamedTuple):
    """A file in a container.

    Attributes:
        name: its path there; empty for the only one; a folder's ends in a slash.
        stream: its bytes, valid until the next entry is asked for.
        unread: why there are none: a kind of file that is not read; empty: there are.
        link: what it is another name for.
    """

    name: str
    stream: Stream | None
    unread: str = ""
    link: Link | None = None


def name_of(raw: bytes) -> str:
    """A path in a container as text, without the dots that some tools begin it with."""
    return raw[:_LONGEST_NAME].decode("utf-8", "replace").removeprefix("./").lstrip("/")

"""Archives and compressed files, read from start to end; nothing is unpacked to disk.

What is read of one header or between two members is bounded: a stranger's archive may be built to
do harm. `tarfile` asks for bytes here and is given no more than a sane header has.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from cpuprobe.errors import CaptureError
from cpuprobe.files import HEAD, compression, is_tar
from cpuprobe.fleet.lines import text_pieces
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.parquet import parquet_pieces
from cpuprobe.fleet.piece import Budget, Piece, label_of, why_of

MAXIMUM_HEADER = 256 << 10
"""Bytes of headers before one member of an archive; a path is at most 4 KiB long."""

_PIECE = 1 << 20
_BUFFER = 64 << 10
_DAMAGED = (
    *(tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError),
    *(lzma.LZMAError, zlib.error),
)
_UNPACKED = frozenset({"gzip", "bzip2", "xz", "zstd"})
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst)$")


def is_container(head: bytes, label: str) -> bool:
    """Whether a file that starts like this is more than text."""
    return head.startswith(b"PAR1") or compression(head) in _UNPACKED or _is_tar(head, label)


def pieces_of(file: Any, label: str, budget: Budget) -> Iterator[Piece | Skipped]:
    """What a readable thing holds: an archive, Parquet, JSON lines, an array or one capture.

    Args:
        file: with `peek`, `readline`, `read` and `seekable`.
        label: what to call it.
        budget: what it may cost.
    """
    try:
        head = bytes(file.peek(HEAD)[:HEAD])
        packing = compression(head)
        if head.startswith(b"PAR1"):
            yield from parquet_pieces(file, label, budget)
        elif packing in _UNPACKED:
            yield from _packed(file, label, packing, budget)
        elif _is_tar(head, label):
            yield from _archive(file, label, file.seekable(), budget)
        else:
            yield from text_pieces(file, label, label.lower(), budget)
    except CaptureError as error:
        yield Skipped(label, str(error), "damaged")
    except MemoryError:
        yield Skipped(label, "given up: needs more memory than any capture does", "damaged")


def _packed(file: Any, label: str, packing: str, budget: Budget) -> Iterator[Piece | Skipped]:
    """A compressed archive, or compressed text."""
    name = _PACKED.sub("", label.lower())
    try:
        inside = io.BufferedReader(_unpacked(file, packing), _BUFFER)
        if _is_tar(inside.peek(HEAD)[:HEAD], name):
            yield from _archive(inside, label, False, budget)
        else:
            yield from text_pieces(inside, label, name, budget)
    except _DAMAGED as error:
        yield Skipped(label, f"damaged ({packing}): {why_of(error)}", "damaged")


def _archive(file: Any, label: str, seekable: bool, budget: Budget) -> Iterator[Piece | Skipped]:
    members = 0
    try:
        window = _Window(file, seekable, budget)
        with tarfile.open(fileobj=window, mode="r:", errors="surrogateescape") as tar:  # type: ignore[call-overload]
            while True:
                window.allow(MAXIMUM_HEADER)
                member = tar.next()
                if member is None:
                    break
                tar.members = []  # the module keeps them all
                members += 1
                yield from _member(window, member, f"{label}:{label_of(member.name)}", budget)
    except _DAMAGED as error:
        why = f"no tar archive, or damaged after {members} members: {why_of(error)}"
        yield Skipped(label, why, "damaged")
    except CaptureError as error:
        yield Skipped(label, f"after {members} members: {error}", "damaged")


def _member(
    window: _Window, member: tarfile.TarInfo, label: str, budget: Budget
) -> Iterator[Piece | Skipped]:
    if member.isdir() or member.issym() or os.path.basename(member.name).startswith("."):
        budget.waste(items=1)
        return
    if not member.isreg() or member.issparse():
        budget.waste(items=1)
        why = "a link, a device or a file with holes: not read from an archive"
        yield Skipped(label, why, "file")
        return
    budget.earn()
    window.seek(member.offset_data)
    inside = io.BufferedReader(_Member(window, member.size), _BUFFER)
    if inside.peek(4)[:4] == b"PAR1":
        yield Skipped(label, "Parquet can be read from a file, not from an archive", "file")
    else:
        yield from text_pieces(inside, label, label.lower(), budget)


def _is_tar(head: bytes, name: str) -> bool:
    """By its start, or one from before POSIX by its name."""
    return is_tar(head) or name.endswith((".tar", ".tgz", ".txz", ".tbz2"))


def _unpacked(file: Any, packing: str) -> Any:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if packing == "bzip2":
        return bz2.BZ2File(file)
    if packing == "xz":
        return lzma.LZMAFile(file)
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        raise CaptureError("zstd: reading it needs Python 3.14: unpack it first") from None
    return module.ZstdFile(file)


class _Window:
    """The bytes of an archive, forward only, with a bound on what headers may take."""

    def __init__(self, source: Any, seekable: bool, budget: Budget) -> None:
        """Start where `source` stands; `seekable` if going forward in it costs nothing."""
        self._source = source
        self._budget = budget
        self._at = 0
        self._allowed = MAXIMUM_HEADER
        self._seekable = seekable

    def allow(self, size: int) -> None:
        """How many bytes `read` may give from now on."""
        self._allowed = size

    def tell(self) -> int:
        """The position, from the start of the archive."""
        return self._at

    def seek(self, position: int) -> int:
        """Goes forward."""
        gap = position - self._at
        if gap < 0:
            raise tarfile.ReadError("a member that overlaps the one before it")
        if self._seekable and gap:
            self._source.seek(gap, io.SEEK_CUR)
            self._at = position
        while self._at < position:
            skipped = self.data(min(_PIECE, position - self._at))
            if not skipped:
                break
            self._budget.waste(len(skipped))
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes of a header, as `tarfile` asks for them."""
        if not 0 <= size <= self._allowed:
            raise CaptureError(f"a header larger than {MAXIMUM_HEADER >> 10} KiB, none is")
        self._allowed -= size
        content = b""
        while len(content) < size:
            more = self.data(size - len(content))
            if not more:
                break
            content += more
        return content

    def data(self, size: int) -> bytes:
        """At most so many bytes of a member."""
        content: bytes = self._source.read(size)
        self._at += len(content)
        return content


class _Member(io.RawIOBase):
    """One member of an archive as a file."""

    def __init__(self, window: _Window, size: int) -> None:
        """Reads the next `size` bytes of `window`."""
        self._window = window
        self._left = max(0, size)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer."""
        content = self._window.data(min(len(buffer), self._left))
        self._left -= len(content)
        buffer[: len(content)] = content
        return len(content)

"""Where captures come from: folders, patterns, archives, JSON lines, arrays, Parquet, a pipe.

One capture at a time, so that memory does not grow with their number. What a file holds shows by
its content. Nothing is unpacked to disk, links are not followed, and what is read of one capture,
one line or one header is bounded: a stranger's archive may be built to do harm.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import importlib
import io
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.read import MAXIMUM_BYTES
from cpuprobe.files import compression, open_regular, standard_input
from cpuprobe.fleet.backends import arrow
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.tables import is_ingested
from cpuprobe.words import plain

MAXIMUM_HEADER = 256 << 10
"""Bytes of headers before one member of an archive; a path is at most 4 KiB long."""
MAXIMUM_GAP = 4 << 30
"""Bytes that are unpacked only to be left out; an archive that wants more is given up."""
MAXIMUM_LABEL = 300

_PIECE = 1 << 20
_BUFFER = 64 << 10
_HEAD = 512
# What would tell a user's name in an archive of a whole home directory.
_HOME = re.compile(r"^(?:\.?/)*(?:(?:home|Users)/[^/]+|root)/")
_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, lzma.LZMAError)
_UNPACKED = frozenset({"gzip", "bzip2", "xz", "zstd"})
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst)$")


class Piece(NamedTuple):
    """One capture.

    Attributes:
        label: what to call it: relative to what the user named.
        content: its bytes, or a line of JSON that holds it.
        wrapped: whether the content may be an object with `capture`, `weight` and `machine`.
        weight: what it counts, where its source says so.
    """

    label: str
    content: bytes
    wrapped: bool = False
    weight: object = None


class Argument(NamedTuple):
    """One file or folder to be read.

    Attributes:
        path: where it lies; `-` is standard input.
        label: what to call it.
        named: whether the user named it himself, and not by a pattern.
    """

    path: str
    label: str
    named: bool


def expand(paths: Iterable[str]) -> tuple[list[str], list[Argument]]:
    """Sorts out what the user named.

    Args:
        paths: files, folders, patterns that no shell has expanded, `-`.

    Returns:
        Folders that `fleet ingest` made, and all else, in the order given.

    Raises:
        CaptureError: something is not there.
    """
    ingested: list[str] = []
    arguments: list[Argument] = []
    for path in paths:
        for argument in _matches(path):
            if argument.path != "-" and is_ingested(argument.path):
                ingested.append(argument.path)
            else:
                arguments.append(argument)
    if sum(argument.path == "-" for argument in arguments) > 1:
        raise CaptureError("standard input can be read only once")
    return ingested, arguments


def _matches(path: str) -> list[Argument]:
    if path == "-":
        return [Argument(path, "standard input", True)]
    if os.path.lexists(path) or "\0" in path or not glob.has_magic(path):
        try:
            os.stat(path)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}") from None
        except ValueError:
            raise CaptureError(f"{path}: not a file name") from None
        base = os.path.basename(os.path.normpath(path))
        return [Argument(path, "" if os.path.isdir(path) else base, True)]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise CaptureError(f"{path}: no such file, and as a pattern it matches none")
    fixed = path[: min(path.index(sign) for sign in "*?[" if sign in path)]
    start = os.path.dirname(fixed)
    return [Argument(each, os.path.relpath(each, start or os.curdir), False) for each in found]


def label_of(text: str) -> str:
    """A name from outside as one short harmless line without a home directory in it."""
    return plain(_HOME.sub("", text))[:MAXIMUM_LABEL]


class Reading:
    """Reads captures from arguments, and knows how far it is."""

    def __init__(self, arguments: Iterable[Argument]) -> None:
        """Nothing is read before `pieces` is asked."""
        self._arguments = list(arguments)
        self._done = 0
        self._current: BinaryIO | None = None

    @property
    def done(self) -> int:
        """Bytes of input that have been read."""
        if self._current is None or self._current.closed or not self._current.seekable():
            return self._done
        return self._done + self._current.tell()

    def total(self) -> int | None:
        """Bytes of input in all; None where a pipe is among it."""
        total = 0
        for argument in self._arguments:
            if os.path.isdir(argument.path):
                for path, _, problem in _walk(argument.path, ""):
                    total += 0 if problem else _size(path)
            elif argument.path == "-" or not os.path.isfile(argument.path):
                return None
            else:
                total += _size(argument.path)
        return total

    def pieces(self) -> Iterator[Piece | Skipped]:
        """Every capture in order, or why it cannot be had."""
        for argument in self._arguments:
            if argument.path == "-":
                self._current = standard_input()
                yield from self._stream(self._current, argument.label)
            elif os.path.isdir(argument.path):
                for path, label, problem in _walk(argument.path, argument.label):
                    if problem is not None:
                        yield Skipped(label, problem)
                    else:
                        yield from self._file(path, label, named=False)
            else:
                yield from self._file(argument.path, label_of(argument.label), argument.named)

    def _file(self, path: str, label: str, named: bool) -> Iterator[Piece | Skipped]:
        try:
            with open(open_regular(path, or_handed=named), "rb") as file:
                self._current = file
                try:
                    yield from self._stream(file, label, path)
                finally:
                    self._current = None
                self._done += _size(path)
        except OSError as error:
            yield Skipped(label, error.strerror or "cannot be read")

    def _stream(
        self, file: Any, label: str, path: str | None = None, *, archive: bool = True
    ) -> Iterator[Piece | Skipped]:
        """What a readable thing holds: an archive, Parquet, JSON lines, an array or one capture."""
        head = bytes(file.peek(_HEAD)[:_HEAD])
        packing = compression(head)
        if head.startswith(b"PAR1"):
            if path is None or not file.seekable():
                yield Skipped(label, "Parquet can be read from a file, not from a pipe or archive")
            else:
                yield from _parquet(path, label)
        elif archive and packing in _UNPACKED:
            yield from self._packed(file, label, packing)
        elif archive and _is_tar(head, label):
            yield from self._archive(file, label, seekable=file.seekable())
        else:
            yield from _text(file, label)

    def _packed(self, file: Any, label: str, packing: str) -> Iterator[Piece | Skipped]:
        """A compressed archive, or compressed text."""
        try:
            inside = io.BufferedReader(_unpacked(file, packing), _BUFFER)
            if _is_tar(inside.peek(_HEAD)[:_HEAD], _PACKED.sub("", label.lower())):
                yield from self._archive(inside, label, seekable=False)
            else:
                yield from _text(inside, label)
        except (*_DAMAGED, zlib.error) as error:
            yield Skipped(label, f"damaged ({packing}): {_why(error)}")
        except CaptureError as error:
            yield Skipped(label, str(error))

    def _archive(self, file: Any, label: str, *, seekable: bool) -> Iterator[Piece | Skipped]:
        members = 0
        try:
            window = _Window(file, seekable)
            with tarfile.open(fileobj=window, mode="r:", errors="surrogateescape") as tar:  # type: ignore[call-overload]
                while True:
                    window.allow(MAXIMUM_HEADER)
                    member = tar.next()
                    if member is None:
                        break
                    tar.members = []  # the module keeps them all
                    members += 1
                    yield from self._member(window, member, f"{label}:{label_of(member.name)}")
        except (*_DAMAGED, zlib.error) as error:
            yield Skipped(
                label, f"no tar archive, or damaged after {members} members: {_why(error)}"
            )
        except CaptureError as error:
            yield Skipped(label, f"after {members} members: {error}")

    def _member(
        self, window: _Window, member: tarfile.TarInfo, label: str
    ) -> Iterator[Piece | Skipped]:
        if member.isdir() or member.issym() or _hidden(member.name):
            return
        if not member.isreg() or member.issparse():
            yield Skipped(label, "a link, a device or a file with holes: not read from an archive")
            return
        window.seek(member.offset_data)
        inside = io.BufferedReader(_Member(window, member.size), _BUFFER)
        yield from self._stream(inside, label, archive=False)


def _is_tar(head: bytes, name: str) -> bool:
    """POSIX archives have a word at 257 (pax, "ustar Interchange Format"); older ones a name."""
    return head[257:262] == b"ustar" or name.endswith((".tar", ".tgz", ".txz", ".tbz2"))


def _why(error: BaseException) -> str:
    return plain(str(error))[:120] or type(error).__name__


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def _walk(top: str, prefix: str) -> Iterator[tuple[str, str, str | None]]:
    """The files of a folder: path, label, and why one is not read.

    By name, files before subfolders. Hidden ones are left out, and so are symbolic links: what they
    point to is counted where it lies, or does not belong to the folder.
    """
    pending = [(top, prefix)]
    while pending:
        folder, start = pending.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, label_of(start or os.path.basename(folder)), error.strerror
            continue
        below = []
        for entry in listed:
            label = f"{start}/{entry.name}" if start else entry.name
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if is_ingested(entry.path):
                    yield entry.path, label_of(label), "ingested tables: name this folder itself"
                else:
                    below.append((entry.path, label))
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, label_of(label), None
            else:
                yield entry.path, label_of(label), "not a regular file"
        pending.extend(reversed(below))


# --- text: one capture, several lines, an array ---


def _text(file: Any, label: str) -> Iterator[Piece | Skipped]:
    if _PACKED.sub("", label.lower()).endswith((".jsonl", ".ndjson")):
        yield from _lines(file, label, 1)
        return
    first = file.readline(MAXIMUM_BYTES + 1)
    # A report on one line, and another behind it, or an object that wraps a capture.
    if first.lstrip()[:1] == b"{" and len(first) <= MAXIMUM_BYTES and _is_json(first):
        number, second = 2, file.readline(MAXIMUM_BYTES + 1)
        while second and not second.strip():
            number, second = number + 1, file.readline(MAXIMUM_BYTES + 1)
        if not second:
            yield Piece(label, first, wrapped=True)
            return
        if second.lstrip()[:1] == b"{":
            yield Piece(f"{label}:1", first, wrapped=True)
            yield from _line(file, second, label, number)
            yield from _lines(file, label, number + 1)
            return
        first += second
    content = first + file.read(max(0, MAXIMUM_BYTES + 1 - len(first)))
    if len(content) > MAXIMUM_BYTES:
        yield Skipped(label, f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
        return
    if content.lstrip()[:1] == b"[":
        elements = _array(content)
        if elements is not None:
            for number, element in enumerate(elements, 1):
                yield Piece(f"{label}:{number}", bytes(element), wrapped=True)
            return
    yield Piece(label, content)


def _lines(file: Any, label: str, number: int) -> Iterator[Piece | Skipped]:
    while line := file.readline(MAXIMUM_BYTES + 1):
        yield from _line(file, line, label, number)
        number += 1


def _line(file: Any, line: bytes, label: str, number: int) -> Iterator[Piece | Skipped]:
    if len(line) > MAXIMUM_BYTES:
        while line and not line.endswith(b"\n"):
            line = file.readline(_PIECE)
        yield Skipped(f"{label}:{number}", f"longer than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    elif line.strip():
        yield Piece(f"{label}:{number}", line, wrapped=True)


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _array(content: bytes) -> list[msgspec.Raw] | None:
    """The objects of an array; None if it is none, but for instance a log of the kernel."""
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    return elements if all(bytes(each[:1]) == b"{" for each in map(bytes, elements)) else None


# --- archives ---


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

    def __init__(self, source: Any, seekable: bool) -> None:
        """Start where `source` stands; `seekable` if going forward in it costs nothing."""
        self._source = source
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
        elif gap > MAXIMUM_GAP:
            raise CaptureError(f"something larger than {MAXIMUM_GAP >> 30} GiB lies in between")
        while self._at < position:
            if not self.data(min(_PIECE, position - self._at)):
                break
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


# --- Parquet ---


def _parquet(path: str, label: str) -> Iterator[Piece | Skipped]:
    """The rows of a table with a column `capture`, and perhaps `weight` and `machine`."""
    pa, pq = arrow()
    try:
        names = set(pq.read_schema(path).names)
        if "capture" not in names:
            yield Skipped(
                label,
                "Parquet without a column `capture` (tables of fleet ingest: name the folder)",
            )
            return
        with pq.ParquetFile(
            path, read_dictionary=["capture"], buffer_size=_PIECE, pre_buffer=False
        ) as table:
            wanted = [name for name in ("capture", "weight", "machine") if name in names]
            number = 0
            for batch in table.iter_batches(batch_size=16, columns=wanted, use_threads=False):
                for row in range(batch.num_rows):
                    number += 1
                    yield _row({name: batch.column(name)[row] for name in wanted}, label, number)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Skipped(label, f"not Parquet that can be read: {plain(str(error))[:120]}")


def _row(scalars: dict[str, Any], label: str, number: int) -> Piece | Skipped:
    place = f"{label}:{number}"
    content = scalars["capture"]
    if hasattr(content, "dictionary"):
        content = content.value  # many rows may refer to one text
    machine = scalars["machine"].as_py() if "machine" in scalars else None
    if machine is not None:
        place = label_of(str(machine)) or place
    if not content.is_valid or not hasattr(content, "as_buffer"):
        return Skipped(place, "no text in column `capture`")
    content = content.as_buffer()
    if content.size > MAXIMUM_BYTES:
        return Skipped(place, f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    weight = scalars["weight"].as_py() if "weight" in scalars else None
    if isinstance(weight, float):
        weight = Decimal(repr(weight))
    return Piece(place, content.to_pybytes(), weight=weight)

"""A stranger's file or standard input: opened without waiting, read no further than a bound.

Only regular files are opened, and pipes that the caller's shell has opened itself (`<(command)`
names one `/dev/fd/63`): opening any other pipe waits for its writer, and a device may act.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple

from cpuprobe.errors import CaptureError

MAXIMUM_PIECE = 32 << 20
"""More than this is never read at once: the notes of a core with thousands of threads are less."""

_MOST_EXTENTS = 4096
"""Pieces of a file between holes that are looked for: no archive has so many."""

_HANDED = re.compile(r"/dev/stdin|(?:/dev|/proc/self)/fd/\d+")

_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
)

HEAD = 512
"""Bytes from the start of a file that tell what it is: one block of a tar archive."""

_TAR_AT = 257
_TAR = (b"ustar\0", b"ustar  \0")  # POSIX and GNU: with the NUL that no text has


def open_regular(path: str | os.PathLike[str], *, or_handed: bool = False) -> int:
    """A descriptor for reading; the caller closes it.

    Args:
        path: the file.
        or_handed: a pipe that the shell has opened will do too: it can be read but once.

    Raises:
        OSError: it may not be read, is no regular file, or its name cannot be one; `strerror` says
            which.
    """
    try:
        # Asked before it is opened, for opening a device may already do something.
        mode = os.stat(path).st_mode
        handed = or_handed and stat.S_ISFIFO(mode) and _HANDED.fullmatch(os.fspath(path))
        if not (stat.S_ISREG(mode) or handed):
            raise OSError(0, "a directory" if stat.S_ISDIR(mode) else "not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:  # a NUL byte
        raise OSError(0, "not a file name") from None
    if handed:
        os.set_blocking(descriptor, True)
    elif not stat.S_ISREG(os.fstat(descriptor).st_mode):  # something else has come into its place
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


class Below(NamedTuple):
    """What lies in a folder.

    Attributes:
        path: its own, the folder's included.
        kind: a regular file, a symbolic link, something else (a pipe, a device), or a folder that
            cannot be listed.
    """

    path: str
    kind: Literal["file", "link", "other", "unlisted"]


def below(folder: str, passes: Callable[[str], bool] = lambda folder: False) -> Iterator[Below]:
    """All that lies in a folder and in those in it, in order; no link is followed.

    Args:
        folder: where to begin.
        passes: asked of each folder; those that it is true of are not gone into.
    """
    pending = [folder]
    while pending:
        place = pending.pop()
        if passes(place):
            continue
        try:
            with os.scandir(place) as found:
                inside = sorted((entry.path, _sort(entry)) for entry in found)
        except OSError:
            yield Below(place, "unlisted")
            continue
        yield from (Below(path, sort) for path, sort in inside if sort != "folder")
        pending += [path for path, sort in reversed(inside) if sort == "folder"]


def _sort(entry: os.DirEntry[str]) -> Literal["file", "link", "other", "folder"]:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


@contextmanager
def refusals(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a CaptureError that names the file of every OSError on the way."""
    try:
        yield
    except OSError as error:
        name = os.fspath(path) or "''"
        raise CaptureError(f"{name}: {error.strerror or 'cannot be read'}") from None


_taken: list[BinaryIO] = []


def standard_input() -> BinaryIO:
    """Standard input as bytes, for one reader.

    Raises:
        CaptureError: the caller has closed it, or it was asked for before.
    """
    if sys.stdin is None:
        raise CaptureError("standard input: closed")
    if sys.stdin.buffer in _taken:
        raise CaptureError("standard input: it can be given once")
    _taken[:] = [sys.stdin.buffer]
    return sys.stdin.buffer


def size_of(path: str) -> int:
    """Bytes of a file, or of all in a folder, holes left out; of what cannot be opened none."""
    total = 0
    for each, sort in below(path) if os.path.isdir(path) else [(path, "file")]:
        if sort == "file":
            with suppress(CaptureError), OpenedFile(each) as file:
                total += file.filled()
    return total


def read_bounded(path: str | os.PathLike[str], maximum: int, advice: str = "") -> tuple[str, bytes]:
    """Reads a file.

    Args:
        path: the file; `-` is standard input.
        maximum: the most bytes that are accepted.
        advice: ends the refusal of a larger file.

    Returns:
        What to call it in errors, and its content.

    Raises:
        CaptureError: it cannot be read or is too large.
    """
    name = os.fspath(path)
    if name == "-":
        name = "standard input"
        with refusals(name):
            content = standard_input().read(maximum + 1)
    else:
        with refusals(name), open(open_regular(name, or_handed=True), "rb") as file:
            content = file.read(maximum + 1) or b""  # none yet: /proc/kmsg
    if len(content) > maximum:
        raise CaptureError(f"{name}: larger than {maximum >> 20} MiB{advice}")
    return name, content


class OpenedFile:
    """A regular file; anything else (a pipe, a device) is refused, so that nothing can block.

    Attributes:
        size: in bytes.
    """

    def __init__(self, path: str) -> None:
        """Opens `path`; CaptureError if it is no regular file or may not be read."""
        with refusals(path):
            self._descriptor = open_regular(path)
            self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> OpenedFile:
        """The file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        os.close(self._descriptor)

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`: fewer at the end of the file, none beyond it."""
        if size <= 0 or offset < 0 or offset >= self.size:
            return b""
        wanted = min(size, MAXIMUM_PIECE, self.size - offset)
        whole = os.pread(self._descriptor, wanted, offset)
        if len(whole) == wanted:
            return whole
        pieces = bytearray(whole)
        while len(pieces) < wanted:
            piece = os.pread(self._descriptor, wanted - len(pieces), offset + len(pieces))
            if not piece:
                break
            pieces += piece
        return bytes(pieces)

    def filled(self) -> int:
        """Bytes of it that are no holes: a hole costs nobody anything, and may be a terabyte."""
        total = end = 0
        for _ in range(_MOST_EXTENTS):
            try:
                start = os.lseek(self._descriptor, end, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                # No data beyond this place, or a file system that does not know of holes.
                return total if error.errno == errno.ENXIO else self.size
            total += end - start
        return total

    def into(self, offset: int, room: memoryview) -> int:
        """Fills memory with the bytes at `offset`; returns how many there were: maybe not all."""
        return os.preadv(self._descriptor, [room], offset)

    def exactly(self, offset: int, size: int, what: str) -> bytes:
        """`size` bytes at `offset`; CaptureError, naming `what`, if the file has not got them."""
        if size > MAXIMUM_PIECE:
            raise CaptureError(f"{what} claims {size:,} bytes, no such file has so many")
        piece = self.some(offset, size)
        if len(piece) != size:
            raise CaptureError(f"{what} reaches past the end of the file")
        return piece


@contextmanager
def opened(path: str) -> Iterator[OpenedFile]:
    """The file at `path`; a CaptureError raised while it is read gets the path put before it."""
    with OpenedFile(path) as file:
        try:
            yield file
        except CaptureError as error:
            raise CaptureError(f"{path}: {error}") from None


def compression(start: bytes) -> str | None:
    """How a file that starts like this is compressed; None if it is not."""
    return next((name for magic, name in _COMPRESSED if start.startswith(magic)), None)


def is_tar(start: bytes) -> bool:
    """Whether a file that starts like this is a tar archive (pax, "ustar Interchange Format").

    Those from before POSIX have no mark and are not known by their start.
    """
    return start.startswith(_TAR, _TAR_AT)


def refuse_compressed(start: bytes) -> None:
    """CaptureError if a file that starts like this is compressed."""
    name = compression(start)
    if name is not None:
        raise CaptureError(f"compressed ({name}): unpack it first")

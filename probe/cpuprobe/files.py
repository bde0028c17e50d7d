"""A stranger's file or standard input, read whole but never more than a bound."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO

from cpuprobe.errors import CaptureError


def read_bounded(path: str | os.PathLike[str], maximum: int, advice: str) -> tuple[str, bytes]:
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
    try:
        if name == "-":
            return "standard input", _bounded(sys.stdin.buffer, "standard input", maximum, advice)
        with open(name, "rb") as file:
            return name, _bounded(file, name, maximum, advice)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from None
    except ValueError:  # open() on a name with a NUL byte
        raise CaptureError(f"{name!r}: not a file name") from None


def _bounded(file: BinaryIO, name: str, maximum: int, advice: str) -> bytes:
    content = file.read(maximum + 1)
    if len(content) > maximum:
        raise CaptureError(f"{name}: larger than {maximum >> 20} MiB{advice}")
    return content


MAXIMUM_PIECE = 32 << 20
"""More than this is never read at once: the notes of a core with thousands of threads are less."""

_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
)


class OpenedFile:
    """A regular file; anything else (a pipe, a device) is refused, so that nothing can block."""

    def __init__(self, path: str) -> None:
        """Opens `path`; CaptureError if it is no regular file or may not be read."""
        try:
            # Asked before it is opened, for opening a device may already do something.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise CaptureError(f"{path}: not a regular file")
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror}") from None
        except ValueError:  # a NUL byte
            raise CaptureError(f"{path!r}: not a file name") from None
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise CaptureError(f"{path}: not a regular file")

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
        pieces = bytearray()
        while len(pieces) < wanted:
            piece = os.pread(self._descriptor, wanted - len(pieces), offset + len(pieces))
            if not piece:
                break
            pieces += piece
        return bytes(pieces)

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


def refuse_compressed(start: bytes) -> None:
    """CaptureError if a file that starts like this is compressed."""
    for magic, name in _COMPRESSED:
        if start.startswith(magic):
            raise CaptureError(f"compressed ({name}): unpack it first")

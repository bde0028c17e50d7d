"""A stranger's file or standard input, read whole but never more than a bound."""

from __future__ import annotations

import os
import sys
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

"""Reads a capture: a report of cpuprobe or the output of cpuprobe-native.

Bounds: no more than MAXIMUM_BYTES of a file are ever read, and what is decoded is validated against
the types of `cpuprobe.observation` as it is decoded.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.observation import Document, Observation

MAXIMUM_BYTES = 64 << 20
_SCHEMA = "cpuprobe.report/"
_KNOWN_MAJOR = "1"


def read_capture(path: str | os.PathLike[str]) -> Observation:
    """Reads a capture.

    Args:
        path: the file; `-` is standard input.

    Returns:
        What was measured on that machine.

    Raises:
        CaptureError: it cannot be read, is too large, or is no capture.

    Example:
        >>> read_capture("/dev/null")
        Traceback (most recent call last):
        ...
        cpuprobe.errors.CaptureError: /dev/null: empty
    """
    name = os.fspath(path)
    try:
        if name == "-":
            content = _bounded(sys.stdin.buffer)
            name = "standard input"
        else:
            with open(name, "rb") as file:
                content = _bounded(file)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from None
    except ValueError:  # open() on a name with a NUL byte
        raise CaptureError(f"{name!r}: not a file name") from None
    try:
        return parse_capture(content)
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def _bounded(file: BinaryIO) -> bytes:
    content = file.read(MAXIMUM_BYTES + 1)
    if len(content) > MAXIMUM_BYTES:
        raise CaptureError(f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    return content


def parse_capture(content: bytes) -> Observation:
    """The observation in the bytes of a capture.

    Raises:
        CaptureError: the bytes are no capture; one line that says what is wrong.
    """
    if not content.strip():
        raise CaptureError("empty")
    try:
        document = msgspec.json.decode(content, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise CaptureError(f"not a cpuprobe report: {reason}") from None
    except RecursionError:
        raise CaptureError("not a cpuprobe report: nested too deeply") from None
    major = document.schema.removeprefix(_SCHEMA).partition(".")[0]
    if not document.schema.startswith(_SCHEMA) or major != _KNOWN_MAJOR:
        raise CaptureError(
            f"schema {document.schema!r} is not known to this cpuprobe (it reads {_SCHEMA}1)"
        )
    return document.observation

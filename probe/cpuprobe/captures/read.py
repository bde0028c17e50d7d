"""Reads a capture of any known kind.

Bounds: no more than MAXIMUM_BYTES of a file are ever read, every line is read once by expressions
that cannot backtrack far, and CPUs, leaves and lines are counted (text.py, dump.py). JSON is
validated against the types of `cpuprobe.observation` as it is decoded.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from cpuprobe.captures.combine import read_lines
from cpuprobe.captures.lscpu import Listing
from cpuprobe.captures.report import embedded_documents, read_document
from cpuprobe.captures.text import to_text, without_tags
from cpuprobe.errors import CaptureError
from cpuprobe.observation import Observation

MAXIMUM_BYTES = 64 << 20
_UNKNOWN = (
    "no capture of a known kind (cpuprobe report, cpuid -r, AIDA64, libcpuid, /proc/cpuinfo, lscpu)"
)


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
    """The observation in the bytes of a capture, whose kind shows by its content.

    Known are cpuprobe's report, `cpuid -r`, dumps of AIDA64 and of libcpuid, /proc/cpuinfo, lscpu
    as text and as JSON, each alone or inside another text: an issue, a mail, a web page.

    Raises:
        CaptureError: the bytes are no capture; one line that says what is wrong.
    """
    if len(content) > MAXIMUM_BYTES:
        raise CaptureError(f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    if not content.strip():
        raise CaptureError("empty")
    text = to_text(content)
    listings: list[Listing] = []
    failure: CaptureError | None = None
    if text.lstrip()[:1] in ("{", "["):
        document = read_document(text.encode("latin-1"))
        if isinstance(document, Observation):
            return document
        listings.append(document)
        text = ""
    else:
        reports: list[Observation] = []
        documents, failure = embedded_documents(text)
        for found in documents:
            if isinstance(found, Listing):
                listings.append(found)
            elif found not in reports:
                reports.append(found)
        if len(reports) > 1:
            raise CaptureError("holds several different cpuprobe reports: give one")
        if reports:
            return reports[0]
    plain = without_tags(text)
    observation = read_lines(text if plain is None else plain, listings)
    if observation is None:
        raise failure or CaptureError(_UNKNOWN)
    return observation

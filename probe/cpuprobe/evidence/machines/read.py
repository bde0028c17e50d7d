"""Reads a capture of any known kind.

Bounds: no more than MAXIMUM_BYTES of a file are ever read, every line is read once by expressions
that cannot backtrack far, and CPUs, leaves and lines are counted (text/lines.py, dump.py). JSON is
validated against the types of `cpuprobe.evidence.observation` as it is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.documents import (
    MAXIMUM_EMBEDDED,
    embedded_documents,
    find_documents,
    parts_of,
)
from cpuprobe.evidence.machines.isa import X86
from cpuprobe.evidence.machines.join import Machine, machines_in, words_of
from cpuprobe.evidence.machines.registry import FALLBACKS, Row, rows_for
from cpuprobe.evidence.machines.sighting import Paste, Sighting
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.text.decode import decoded
from cpuprobe.evidence.text.lines import clean
from cpuprobe.files import read_bounded
from cpuprobe.words import plain

MAXIMUM_BYTES = 64 << 20
_UNKNOWN = (
    "no capture of a known kind (cpuprobe report, cpuid -r, lscpu, /proc/cpuinfo and others, see"
    " docs/captures.md); best is the output of `cpuprobe report` or `lscpu | cat` of that machine"
)
_RUN_INSTEAD = "run `cpuprobe report` or `lscpu | cat` on that machine instead"


class UnjudgedError(CaptureError):
    """A capture that was read, of a machine that is not judged.

    Attributes:
        kind: `isa` (of another instruction set), or `identity` (nothing but its name is told).
        what: the instruction set, or an empty string.
    """

    def __init__(self, message: str, kind: Literal["isa", "identity"], what: str = "") -> None:
        """One line, and what it says as values."""
        super().__init__(message)
        self.kind, self.what = kind, what


def read_capture(path: str | os.PathLike[str]) -> Observation:
    """Reads a capture.

    Args:
        path: the file; `-` is standard input.

    Returns:
        What was measured on that machine.

    Raises:
        CaptureError: it cannot be read, is too large, or is no capture.

    Example:
        >>> read_capture("/dev/zero")
        Traceback (most recent call last):
        ...
        cpuprobe.errors.CaptureError: /dev/zero: not a regular file
    """
    name, content = read_bounded(path, MAXIMUM_BYTES, ", no capture is")
    try:
        return parse_capture(content)
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def parse_capture(content: bytes) -> Observation:
    """The observation in the bytes of a capture, whose kind shows by its content.

    Known are the formats of the registry, each alone or inside another text: an issue, a mail, a
    web page.

    Raises:
        CaptureError: the bytes are no capture, or one of several machines; one line that says what
            is wrong.
    """
    if len(content) > MAXIMUM_BYTES:
        raise CaptureError(f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    if not content.strip():
        raise CaptureError("empty")
    reports, documents, rest, failure = find_documents(decoded(content))
    if reports:
        if any(each != reports[0] for each in reports):
            raise CaptureError("holds several different cpuprobe reports: give one")
        return reports[0]
    seen, unknown = _in_documents(documents)
    text = clean("\n".join([rest, *unknown]) if unknown else rest)
    del rest  # as large as the file
    if not seen and "{" in text and len(text) <= MAXIMUM_EMBEDDED:
        # What was wrapped in prefixes or a string is a document only now.
        again = embedded_documents(text)
        if again.reports:
            return again.reports[0]
        seen, unknown = _in_documents(again.others)
        text = "\n".join([again.rest, *unknown])
    rows, fallbacks = list(rows_for(text)), list(rows_for(text, FALLBACKS))
    paste = Paste(text)
    del text
    seen += _seen_by(rows, paste)
    if not any(each.tells_features or each.nothing for each in seen):
        seen += _seen_by(fallbacks, paste)
    machines = machines_in([each for each in seen if each.nothing is None])
    if not any(machine.tells_features for machine in machines):
        for each in seen:
            if each.nothing is not None:
                raise CaptureError(f"{each.nothing}; {_RUN_INSTEAD}")
    if not machines:
        raise failure or CaptureError(_unknown(documents))
    if len(machines) > 1:
        raise CaptureError(_several(machines))
    machine = machines[0]
    if machine.isa is not None and machine.isa not in X86:
        raise UnjudgedError(
            f"describes another instruction set ({words_of(machine.identity, machine.isa)}):"
            " cpuprobe judges x86-64 only",
            "isa",
            machine.isa,
        )
    if not machine.tells_features:
        raise UnjudgedError(
            f"tells of no CPU feature, only that the CPU is {words_of(machine.identity)}:"
            f" {_RUN_INSTEAD}",
            "identity",
        )
    return machine.observation()


def _unknown(documents: Sequence[Any]) -> str:
    if not documents:
        return _UNKNOWN
    keys = [key for each in documents if isinstance(each, dict) for key in each]
    named = ", ".join(plain(key)[:30] for key in keys[:5]) or "none"
    return f"JSON of no kind that is known (its keys: {named}); {_RUN_INSTEAD}"


def _several(machines: Sequence[Machine]) -> str:
    names = [words_of(each.identity, each.isa)[:80] for each in machines[:3]]
    alike = ", which differ in features" if len(set(names)) == 1 else ""
    return (
        f"tells of {len(machines)} different machines ({' and '.join(names)}{alike}):"
        " give one at a time"
    )


def _in_documents(documents: Sequence[Any]) -> tuple[list[Sighting], list[str]]:
    """What is seen in JSON documents; those that are no format's own as text, a line a value."""
    seen: list[Sighting] = []
    unknown: list[str] = []
    for document in documents:
        text = msgspec.json.format(msgspec.json.encode(document), indent=1).decode()
        readers = [row.load().read_document for row in rows_for(text)]
        found: list[Sighting] = []
        for part in parts_of(document):
            for read in readers:
                found = found or (list(read(part)) if read is not None else [])
        seen += found
        unknown += [] if found else [text]
    return seen, unknown


def _seen_by(rows: Sequence[Row], paste: Paste) -> list[Sighting]:
    return [sighting for row in rows for sighting in row.load().read(paste)]

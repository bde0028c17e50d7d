"""Reads a capture of any known kind.

Bounds: no more than MAXIMUM_BYTES of a file are ever read, every line is read once by expressions
that cannot backtrack far, and CPUs, leaves and lines are counted (text/lines.py, dump.py). JSON is
validated against the types of `cpuprobe.evidence.observation` as it is decoded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Literal

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.isa import JUDGED, X86
from cpuprobe.evidence.machines.join import UNNAMED, Machine, machines_in, words_of
from cpuprobe.evidence.machines.seen import MAXIMUM_BYTES, RUN_INSTEAD, Seen, see
from cpuprobe.evidence.machines.sighting import Paste
from cpuprobe.evidence.observation import Observation
from cpuprobe.files import read_bounded

__all__ = [
    "MAXIMUM_BYTES",
    "UnjudgedError",
    "parse_capture",
    "read_capture",
    "read_machines",
    "read_together",
]

_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]+)?(\S.{2,120}?)[ \t]*:?[ \t]*$")
_COMMAND = re.compile(r"[ \t]*(?:[$%>]|\S*[@~]\S*[#$]|#[ ]\S+$)")
_LINES_ABOVE = 4
_JUDGES = "cpuprobe judges x86-64, and aarch64 by the kernel's list or its own probe"


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
    seen = see(content)
    return seen.report if seen.report is not None else _only(_machines(seen))


def read_machines(path: str | os.PathLike[str]) -> list[tuple[str, Observation]]:
    """Reads a capture that may be of several machines, each with features and under a heading.

    Args:
        path: the file; `-` is standard input.

    Returns:
        Each machine's heading, empty where it is the only one, and what was measured on it.

    Raises:
        CaptureError: it cannot be read, is too large, or does not say which machine is which.
    """
    name, content = read_bounded(path, MAXIMUM_BYTES, ", no capture is")
    try:
        seen = see(content)
        if seen.report is not None:
            return [("", seen.report)]
        machines = _machines(seen)
        headings = [_heading(machine, seen.paste) for machine in machines]
        told = all(machine.tells_features for machine in machines) and all(headings)
        if len(machines) > 1 and told and len(set(headings)) == len(machines):
            pairs = zip(headings, machines, strict=True)
            return [(heading, _judged(machine)) for heading, machine in pairs]
        return [("", _only(machines))]
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def read_together(paths: Sequence[str]) -> Observation:
    """Reads several captures of one machine as one.

    Raises:
        CaptureError: one cannot be read, or they are not of one machine.
    """
    sightings = []
    for path in paths:
        name, content = read_bounded(path, MAXIMUM_BYTES, ", no capture is")
        try:
            seen = see(content)
        except CaptureError as error:
            raise CaptureError(f"{name}: {error}") from None
        if seen.report is not None:
            raise CaptureError(f"{name}: a cpuprobe report is whole: give it alone")
        sightings += seen.sightings
    together = Seen(None, sightings, Paste(""), CaptureError("nothing that is known in any"))
    return _only(_machines(together))


def _machines(seen: Seen) -> list[Machine]:
    machines = machines_in([each for each in seen.sightings if each.nothing is None])
    if not any(each.tells_features and not each.weak for each in seen.sightings):
        for each in seen.sightings:
            if each.nothing is not None:
                raise CaptureError(f"{each.nothing}; {RUN_INSTEAD}")
    if not machines:
        raise seen.nothing
    return machines


def _only(machines: Sequence[Machine]) -> Observation:
    if len(machines) > 1:
        raise CaptureError(_several(machines))
    return _judged(machines[0])


def _judged(machine: Machine) -> Observation:
    foreign = machine.isa is not None and machine.isa not in X86
    if foreign and not (machine.isa in JUDGED and machine.tells_features):
        raise UnjudgedError(
            f"describes another instruction set ({words_of(machine.identity, machine.isa)}):"
            f" {_JUDGES}",
            "isa",
            machine.isa or "",
        )
    if not machine.tells_features:
        raise UnjudgedError(
            f"tells of no CPU feature, {_who(machine)}: {RUN_INSTEAD}",
            "identity",
        )
    return machine.observation()


def _who(machine: Machine) -> str:
    words = words_of(machine.identity)
    return "nor which CPU it is" if words == UNNAMED else f"only that the CPU is {words}"


def _heading(machine: Machine, paste: Paste) -> str:
    """The words above a machine's data that say which one it is; empty where there are none."""
    above = paste.lines[max(machine.line - _LINES_ABOVE, 0) : machine.line]
    for line in reversed(list(above)):
        match = _HEADING.match(line)
        if match is not None and " :" not in line and not _COMMAND.match(line):
            return match[1] if line.rstrip().endswith(":") or line.lstrip()[:1] == "#" else ""
    return ""


def _several(machines: Sequence[Machine]) -> str:
    names = [words_of(each.identity, each.isa)[:80] for each in machines[:3]]
    alike = ", which differ in features" if len(set(names)) == 1 else ""
    return (
        f"tells of {len(machines)} different machines ({' and '.join(names)}{alike}):"
        " give one at a time"
    )

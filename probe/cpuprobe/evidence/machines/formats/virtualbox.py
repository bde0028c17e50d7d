"""VirtualBox: the CPUID dump of VBox.log. `Gst:` is what the guest sees, `Hst:` the host.

A log is a guest's: what runs in it sees the guest's leaves. The host's count where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump
from cpuprobe.evidence.machines.guest import guest_sighting
from cpuprobe.evidence.machines.names import both_ways, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims

_ROW = re.compile(
    r"\b(Gst|Hst): +(?:([0-9a-f]{8})(?:/([0-9a-f]{4,8}))? +)?"
    r"([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})\b"
)
_BEGIN = re.compile(r"[ \t]*[A-Z][A-Za-z0-9_.-]{1,20} - \S")
# The guest's bit stands first: a row that breaks off behind it has told all that counts.
_DECODED = re.compile(r"[ \t]*([A-Z][A-Za-z0-9_.-]{1,20}) - \S.{2,60}?[ ]+= ([01])(?:[ \t]*$| \()")
_NAMES = {"FPU": "x87", "ABM": "lzcnt", "LahfSahf": "sahf", "CLFSH": "", "LM": "", "HTT": ""}


def _read(paste: Paste) -> Iterator[Sighting]:
    guest, host = CpuDump(), CpuDump()
    leaf = subleaf = 0
    for number, match in paste.matches(_ROW):
        if match[2] is not None:
            leaf, subleaf = int(match[2], 16), int(match[3] or "0", 16)
        eax, ebx, ecx, edx = (int(word, 16) for word in match.groups()[3:])
        dump = guest if match[1] == "Gst" else host
        if (leaf, subleaf) != (0, 0) or not dump.has(0, 0):
            dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
    machines = guest.machines() or host.machines()
    for line, groups in machines:
        yield guest_sighting("virtualbox", line, groups)
    if not machines:
        yield from _decoded(paste)


def _decoded(paste: Paste) -> Iterator[Sighting]:
    """The rows behind the words: `AVX2 - Advanced Vector Extensions 2 = 0 (1)`, guest (host)."""
    answers: dict[str, bool] = {}
    first: int | None = None
    rows = [number for number, line in enumerate(paste.lines) if _BEGIN.match(line)]
    for number in rows:
        match = _DECODED.match(_whole(paste, number))
        feature = feature_named(match[1], _NAMES) if match is not None else None
        if match is not None and feature is not None:
            answers.setdefault(feature, match[2] == "1")
            first = number if first is None else first
    if first is not None:
        for number in rows:  # those that break off too: Coreinfo's dash means no
            paste.take(number)
        yes, no = both_ways(answers)
        claims = Claims(source="virtualbox", witness="cpuid", yes=yes, no=no)
        yield Sighting(source="virtualbox", line=first, claims=(claims,))


def _whole(paste: Paste, number: int) -> str:
    """A row, with the line below it where its value was wrapped."""
    line = paste.lines[number]
    below = paste.lines[number + 1] if number + 1 < len(paste.lines) else ""
    if _DECODED.match(line) or _BEGIN.match(below):
        return line
    return f"{line.rstrip()} {below.strip()}"


FORMAT = Format(
    title="VirtualBox: the CPUID dump in VBox.log",
    carries="CPUID of the guest, all of it; from a part of the log its decoded rows, both ways",
    evidence="cpuid",
    read=_read,
)

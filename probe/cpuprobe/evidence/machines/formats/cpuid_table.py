"""`cpuid` of the BSDs' ports (misc/cpuid): a table of leaf and registers in plain hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_HEAD = re.compile(r"^\s*eax in\s+eax\s+ebx\s+ecx\s+edx\s*$")
_ROW = re.compile(r"^\s*([0-9a-f]{8})" + r"\s+([0-9a-f]{8})" * 4 + r"\s*$")
# It sets no ECX: of these nobody knows which subleaf it was told.
_WITH_SUBLEAVES = frozenset({0x4, 0x7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1F})


class CpuidTableReader:
    """Reads the rows below the table's head."""

    def __init__(self) -> None:
        """A reader that has seen no head."""
        self.dump = CpuDump()
        self._inside = False

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a row of the table."""
        if _HEAD.match(line) is not None:
            self._inside = True
            return False
        match = _ROW.match(line) if self._inside else None
        if match is None:
            self._inside = False
            return False
        leaf, eax, ebx, ecx, edx = (int(text, 16) for text in match.groups())
        if leaf not in _WITH_SUBLEAVES:
            self.dump.add(leaf, 0, (eax, ebx, ecx, edx), number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("cpuid-table", CpuidTableReader(), paste)


FORMAT = Format(
    title="`cpuid` of the BSDs' ports",
    carries="CPUID without leaves that have subleaves, so nothing of leaf 7; no XCR0",
    evidence="cpuid",
    make="",
    read=_read,
)

"""Tables of CPUID in plain hexadecimal: leaf, perhaps subleaf, and four registers a row.

`cpuid` of the BSDs' ports (misc/cpuid) has no subleaf, and sets no ECX: of leaves with subleaves
nobody knows which one it was told. `VBoxManage list hostcpuids` prints subleaf 0 of each leaf.
CoreFreq prints `leaf:subleaf`, and a head for each CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import WITH_SUBLEAVES, CpuDump, CpuHeader, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_HEAD = re.compile(
    r"^\s*(?:eax in|CPU #(\d{1,5})\s+function|(leaf no\.))\s+eax\s+ebx\s+ecx\s+edx\s*$",
    re.IGNORECASE,
)
_ROW = re.compile(
    r"^\W{0,12}([0-9a-f]{8})(?::([0-9a-f]{8}))?" + r"\s+([0-9a-f]{8})" * 4 + r"\s*$", re.IGNORECASE
)
# What CoreFreq puts between its rows.
_ASIDE = re.compile(r"^\W{0,12}Largest ")


class CpuidTableReader:
    """Reads the rows below a table's head."""

    def __init__(self) -> None:
        """A reader that has seen no head."""
        self.dump = CpuDump()
        self._inside = self._subleaf_0 = False

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a row of a table."""
        head = _HEAD.match(line)
        if head is not None:
            self._inside, self._subleaf_0 = True, head[2] is not None
            if head[1] is not None:
                self.dump.begin(CpuHeader(int(head[1])))
            return False
        match = _ROW.match(line) if self._inside else None
        if match is None:
            self._inside = self._inside and _ASIDE.match(line) is not None
            return False
        leaf = int(match[1], 16)
        eax, ebx, ecx, edx = (int(text, 16) for text in match.groups()[2:])
        if match[2] is not None or self._subleaf_0 or leaf not in WITH_SUBLEAVES:
            self.dump.add(leaf, int(match[2] or "0", 16), (eax, ebx, ecx, edx), number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("cpuid-table", CpuidTableReader(), paste)


FORMAT = Format(
    title="tables of CPUID: `cpuid` of the BSDs' ports, CoreFreq, `VBoxManage list hostcpuids`",
    carries="CPUID, of the first without leaves that have subleaves; no XCR0",
    evidence="cpuid",
    make="",
    read=_read,
)

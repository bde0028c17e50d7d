"""`cpuid -r` of Todd Allen's cpuid(1): a line a leaf, under `CPU 0:` or, for one CPU, `CPU:`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

# Versions before 2006 print no subleaf.
_LEAF = re.compile(
    r"0x([0-9a-f]{8})(?: 0x([0-9a-f]{2,8}))?: "
    r"eax=0x([0-9a-f]{8}) ebx=0x([0-9a-f]{8}) ecx=0x([0-9a-f]{8}) edx=0x([0-9a-f]{8})",
    re.IGNORECASE,
)


class CpuidRawReader:
    """Reads the lines of `cpuid -r`."""

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self.dump = CpuDump()

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a leaf of this format."""
        match = _LEAF.search(line) if "eax=0x" in line else None
        if match is None:
            return False
        leaf, subleaf, eax, ebx, ecx, edx = (int(text or "0", 16) for text in match.groups())
        self.dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("cpuid-r", CpuidRawReader(), paste)


FORMAT = Format(
    title="`cpuid -r` of Todd Allen's cpuid",
    carries="CPUID, all that stands in it; no XCR0, but the size of the enabled state",
    evidence="cpuid",
    make="cpuid -r",
    read=_read,
)

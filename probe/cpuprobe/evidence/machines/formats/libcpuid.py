"""libcpuid's raw dumps (cpuid_serialize_raw_data): arrays of leaves, `basic_cpuid[1]=...`.

Every array holds a fixed number of leaves, whatever the CPU's maximum; which of them count is the
business of `evidence.cpuid`. Subleaf 1 of leaf 7 and leaf 0DH beyond subleaf 0 are never recorded.
Files of libcpuid's test collection may hold AIDA64 dumps instead, and end in the expected results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_WORD = r"([0-9a-f]{8})"
_LEAF = re.compile(
    rf"([a-z]+_[a-z]*(?:8000001dh|80000026h|12h|14h|11|4)?)\[(\d{{1,3}})\]="
    rf"{_WORD} {_WORD} {_WORD} {_WORD}",
    re.IGNORECASE,
)
# libcpuid/libcpuid.h, struct cpu_raw_data_t: the leaf of an array's first element, and whether
# the index counts leaves or subleaves.
_LEAVES = {"basic_cpuid": 0x0, "ext_cpuid": 0x80000000}
_SUBLEAVES = {
    "intel_fn4": 0x4,
    "intel_fn11": 0xB,
    "intel_fn12h": 0x12,
    "intel_fn14h": 0x14,
    "amd_fn8000001dh": 0x8000001D,
    "amd_fn80000026h": 0x80000026,
}


class LibcpuidReader:
    """Reads the lines of a libcpuid raw dump."""

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self.dump = CpuDump()

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a leaf of this format."""
        match = _LEAF.search(line) if "]=" in line else None
        if match is None:
            return False
        array, index = match[1], int(match[2])
        eax, ebx, ecx, edx = (int(text, 16) for text in match.groups()[2:])
        if array in _LEAVES:
            self.dump.add(_LEAVES[array] + index, 0, (eax, ebx, ecx, edx), number)
        elif array in _SUBLEAVES:
            self.dump.add(_SUBLEAVES[array], index, (eax, ebx, ecx, edx), number)
        else:
            return False
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("libcpuid", LibcpuidReader(), paste)


FORMAT = Format(
    title="raw dumps of libcpuid",
    carries="CPUID, all that stands in it; no XCR0, but the size of the enabled state",
    evidence="cpuid",
    make="cpuid_tool --raw",
    read=_read,
)

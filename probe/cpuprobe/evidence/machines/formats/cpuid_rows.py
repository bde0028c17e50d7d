"""CPUID a line a leaf: libvirt's `<cpudata>` (its tests, `virsh` at debug level), hwloc's files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_WORD = r"(?:0x)?([0-9a-f]{1,8})"
_ROWS = (
    re.compile(
        rf"<cpuid eax_in=['\"]{_WORD}['\"](?: ecx_in=['\"]{_WORD}['\"])?"
        + "".join(rf" e{name}x=['\"]{_WORD}['\"]" for name in "abcd"),
        re.IGNORECASE,
    ),
    # hwloc-gather-cpuid: which of EAX to EDX were set, these four, and what came of it
    re.compile(
        r"^\s{0,8}[0-9a-f]{1,2}((?: [0-9a-f]{1,8}){4}) =>((?: [0-9a-f]{1,8}){4})\s{0,8}$",
        re.IGNORECASE,
    ),
)


class _Reader:
    """Reads rows of either kind."""

    def __init__(self) -> None:
        """A reader that has seen no row."""
        self.dump = CpuDump()

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a leaf."""
        row = next((match for each in _ROWS if (match := each.search(line)) is not None), None)
        if row is None:
            return False
        words = [int(word, 16) for group in row.groups() for word in (group or "0").split()]
        if len(words) == len("abcd") * 2:
            leaf, _, subleaf, _, *registers = words
        else:
            leaf, subleaf, *registers = words
        eax, ebx, ecx, edx = registers
        self.dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("cpuid-rows", _Reader(), paste)


FORMAT = Format(
    title="a leaf a line: libvirt's `<cpudata>`, hwloc-gather-cpuid",
    carries="CPUID, all that stands in it; no XCR0",
    evidence="cpuid",
    make="",
    read=_read,
)

"""Dumps of AIDA64, EVEREST and InstLatx64: `CPUID 00000001: eax-ebx-ecx-edx [SL 00] [text]`.

Old versions separate with spaces or a tab, leave the colon out, and give no subleaf (SL) at all:
several lines of one leaf are then its subleaves, of which some may have been left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_WORD = r"([0-9A-F]{8})"
_LEAF = re.compile(
    rf"\bCPUID[ \t]{{1,4}}{_WORD}[ \t]{{0,4}}:?[ \t]{{0,4}}{_WORD}[- ]{_WORD}[- ]{_WORD}[- ]{_WORD}"
    r"(?![0-9A-F])(?:[ \t]{0,4}\[SL ([0-9A-F]{2,8})\])?",
    re.IGNORECASE,
)
# Leaves whose subleaves follow one another without gaps (SDM vol. 2A, CPUID: one counts up until
# a subleaf says that it is the last), so that unnumbered lines can be numbered.
_CONSECUTIVE = frozenset({0x4, 0x7, 0xB, 0x14, 0x17, 0x18, 0x1F, 0x20, 0x8000001D, 0x80000026})
# Subleaves of these may be missing, so that a second unnumbered line is of unknown subleaf. Leaf 2
# is one of them because the first CPUs with it had to be asked several times.
_WITH_GAPS = frozenset({0x2, 0xD, 0xF, 0x10, 0x12, 0x19, 0x1B, 0x1D, 0x23, 0x80000020})
# The one subleaf of leaf 0DH that shows by its value: YMM state, 256 bytes at offset 576, fixed by
# the standard format of the XSAVE area (SDM vol. 1, 13.4.2).
_YMM_STATE = (0x100, 0x240, 0, 0)


class Aida64Reader:
    """Reads the lines of an AIDA64, EVEREST or InstLatx64 dump."""

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self.dump = CpuDump()
        self._unnumbered: tuple[int, int] = (0, 0)  # leaf, subleaf of the last unnumbered line

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` is a leaf of this format."""
        match = _LEAF.search(line) if "PUID" in line or "cpuid" in line else None
        if match is None:
            return False
        leaf, eax, ebx, ecx, edx = (int(text, 16) for text in match.groups()[:5])
        registers = (eax, ebx, ecx, edx)
        if match[6] is not None:
            self.dump.add(leaf, int(match[6], 16), registers, number)
            return True
        last, subleaf = self._unnumbered
        again = leaf == last and leaf != 0 and self.dump.has(leaf)
        self._unnumbered = (leaf, 0)
        if again and leaf in _CONSECUTIVE:
            self._unnumbered = (leaf, subleaf + 1)
            self.dump.add(leaf, subleaf + 1, registers, number)
        elif again and leaf == 0xD and registers == _YMM_STATE and not self.dump.has(leaf, 2):
            self.dump.add(leaf, 2, registers, number)
        elif not (again and leaf in _WITH_GAPS):
            self.dump.add(leaf, 0, registers, number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("aida64", Aida64Reader(), paste)


FORMAT = Format(
    title="dumps of AIDA64, EVEREST and InstLatx64",
    carries="CPUID, all that stands in it; no XCR0, but the size of the enabled state",
    evidence="cpuid",
    make="",
    read=_read,
)

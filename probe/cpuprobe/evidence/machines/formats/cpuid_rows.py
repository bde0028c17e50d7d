"""CPUID a line a leaf: libvirt's `<cpudata>`, hwloc's files, FreeBSD's cpucontrol, x86info.

libvirt prints it in its tests, and `virsh` at debug level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import WITH_SUBLEAVES, CpuDump, dump_sightings
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
    # cpucontrol -i LEAF[,SUBLEAF] /dev/cpuctl0
    re.compile(
        rf"\bcpuid level {_WORD}(?:, level_type {_WORD})?:" + rf" {_WORD}" * 4 + r"\s*$",
        re.IGNORECASE,
    ),
)
# x86info. It sets no ECX, so that of leaves with subleaves nobody knows which one it was told.
_X86INFO = re.compile(
    rf"^\s{{0,8}}eax in: {_WORD}, eax = {_WORD} ebx = {_WORD} ecx = {_WORD} edx = {_WORD}\s*$",
    re.IGNORECASE,
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
            return self._of_x86info(line, number)
        words = [int(word, 16) for group in row.groups() for word in (group or "0").split()]
        if len(words) == len("abcd") * 2:
            leaf, _, subleaf, _, *registers = words
        else:
            leaf, subleaf, *registers = words
        eax, ebx, ecx, edx = registers
        self.dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
        return True

    def _of_x86info(self, line: str, number: int) -> bool:
        row = _X86INFO.match(line)
        if row is None:
            return False
        leaf, eax, ebx, ecx, edx = (int(word, 16) for word in row.groups())
        if leaf not in WITH_SUBLEAVES:
            self.dump.add(leaf, 0, (eax, ebx, ecx, edx), number)
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("cpuid-rows", _Reader(), paste)


FORMAT = Format(
    title="a leaf a line: libvirt's `<cpudata>`, hwloc-gather-cpuid, FreeBSD's cpucontrol, x86info",
    carries="CPUID, all that stands in it; no XCR0",
    evidence="cpuid",
    make="",
    read=_read,
)

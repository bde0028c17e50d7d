"""What the readers of CPUID dumps share: CPUs as they come, kept as groups of equal leaves."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Protocol

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.cpuid import XEN_SIGNATURE, Registers, clear_topology, clear_xen_ids
from cpuprobe.evidence.machines.sighting import Paste, Sighting
from cpuprobe.evidence.observation import CpuGroup, CpuidLeaf

MAXIMUM_CPUS = 65536
MAXIMUM_CPU_NUMBER = 0xFFFFFF
MAXIMUM_LEAVES = 4096
MAXIMUM_GROUPS = 4096
MAXIMUM_LEAVES_OF_ALL_GROUPS = 400_000
MAXIMUM_MACHINES = 8

_RECORD = struct.Struct("<6I")
_NO_REGISTERS: Registers = (0, 0, 0, 0)
_SERIAL_NUMBER_LEAF = 0x3

# The lines that begin a CPU, in whichever dump:
#   cpuid -r   "CPU 0:", "CPU:"
#   AIDA64     "------[ CPUID Registers / Logical CPU #0 ]------", "------[ Logical CPU #0 ]------",
#              "CPUID Registers (CPU #1):" (counted from 1), "CPU#000 AffMask: 0x...",
#              "Group: 0x00 Affinity mask: 0x..."; "Virtual" is the second thread of a core
#   libcpuid   "_________________ Logical CPU #0 _________________"
_HEADER = re.compile(
    r"CPU (?P<plain>\d{1,8}):$|(?P<nameless>CPU:$|Group: 0x[0-9A-Fa-f]+ Affinity mask)"
    r"|[-_]{3,}[^A-Za-z]{0,4}(?:CPUID Registers / )?Logical CPU #(?P<logical>\d{1,8})"
    r"|CPUID Registers \(CPU #(?P<from_one>\d{1,8})"
    r"|CPU#(?P<mask>\d{1,8}) AffMask"
)
# A leaf whose end stands on the next line.
_BROKEN = re.compile(
    r"\beax=0x(?!.*\bedx=0x[0-9a-f]{8}).{0,70}$"
    r"|\bCPUID [0-9A-F]{8}:? (?!(?:[0-9A-F]{8}[- ]){3}[0-9A-F]{8})[0-9A-F]{8}.{0,30}$"
)


class CpuHeader:
    """A line that begins the data of a CPU; `number` is None where it gives none."""

    def __init__(self, number: int | None) -> None:
        """A header with the CPU's number, counted from 0."""
        self.number = number


def cpu_header(line: str) -> CpuHeader | None:
    """The header in a line, if it is one."""
    match = _HEADER.match(line) if line[0] in "CG-_" else None
    if match is None:
        return None
    if match["from_one"]:
        return CpuHeader(max(int(match["from_one"]) - 1, 0))
    digits = match["plain"] or match["logical"] or match["mask"]
    return CpuHeader(int(digits) if digits else None)


WITH_SUBLEAVES = frozenset({0x4, 0x7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1F})
"""Leaves of which nobody knows what a program was told that set no ECX."""


class CpuDump:
    """The CPUs of the dumps in a text, added line by line.

    Another machine's dump begins where a CPU's number comes again with other leaves, or where a CPU
    without a number has another vendor or signature than the ones before it.
    """

    def __init__(self) -> None:
        """An empty dump."""
        self._header: CpuHeader | None = None
        self._leaves: dict[tuple[int, int], Registers] = {}
        self._done: list[tuple[int, tuple[CpuGroup, ...]]] = []
        self._line = self._first_line = 0
        self._begin_machine()

    def _begin_machine(self) -> None:
        self._next = 0
        self._who: tuple[Registers | None, int | None] | None = None
        self._kinds: dict[bytes, int] = {}  # packed leaves -> place in _cpus
        self._cpus: list[list[int]] = []
        self._kind_of: dict[int, int] = {}  # CPU number -> place in _cpus
        self._size = 0

    def begin(self, header: CpuHeader) -> None:
        """The leaves that follow are those of another CPU."""
        self._end_cpu()
        self._header = header

    def add(self, leaf: int, subleaf: int, registers: Registers, line: int = 0) -> None:
        """A leaf of the current CPU, on a line of the text. Leaf 0 once more begins the next CPU.

        Raises:
            CaptureError: the CPU has this leaf already, with another value.
        """
        if (leaf, subleaf) == (0, 0) and (0, 0) in self._leaves:
            self._end_cpu()
        if leaf == _SERIAL_NUMBER_LEAF:
            return
        registers = clear_topology(leaf, registers)
        if not self._leaves:
            self._line = line
        known = self._leaves.setdefault((leaf, subleaf), registers)
        if known != registers:
            raise CaptureError(
                f"CPUID leaf {leaf:#x}, subleaf {subleaf:#x} stands twice in one CPU, "
                "with different values"
            )
        if len(self._leaves) > MAXIMUM_LEAVES:
            raise CaptureError(f"more than {MAXIMUM_LEAVES} CPUID leaves in one CPU")

    def has(self, leaf: int, subleaf: int = 0) -> bool:
        """Whether the current CPU has this leaf already."""
        return (leaf, subleaf) in self._leaves

    def _end_cpu(self) -> None:
        header, self._header = self._header, None
        if not self._leaves:
            return
        if self._leaves.get((0x40000000, 0), _NO_REGISTERS)[1] == XEN_SIGNATURE:
            clear_xen_ids(self._leaves)
        packed = b"".join(
            _RECORD.pack(*key, *registers) for key, registers in sorted(self._leaves.items())
        )
        zero = self._leaves.get((0, 0))
        who = (zero and (0, *zero[1:]), self._leaves.get((1, 0), (None,))[0])
        self._leaves = {}
        nameless = header is None or header.number is None
        number = self._next if header is None or header.number is None else header.number
        if number > MAXIMUM_CPU_NUMBER:
            raise CaptureError(f"no CPU has the number {number}")
        known = self._kind_of.get(number)
        if known is not None and known == self._kinds.get(packed):
            return
        if known is not None or (nameless and self._who is not None and self._who != who):
            self._end_machine()
            number = 0 if nameless else number
        if not self._kind_of:
            self._first_line = self._line
        self._who = who
        self._next = max(self._next, number + 1)
        place = self._kinds.setdefault(packed, len(self._kinds))
        if place == len(self._cpus):
            self._cpus.append([])
            self._size += len(packed) // _RECORD.size
        self._cpus[place].append(number)
        self._kind_of[number] = place
        if len(self._kind_of) > MAXIMUM_CPUS:
            raise CaptureError(f"more than {MAXIMUM_CPUS:,} CPUs")
        if len(self._kinds) > MAXIMUM_GROUPS or self._size > MAXIMUM_LEAVES_OF_ALL_GROUPS:
            raise CaptureError("more kinds of CPUs than any machine has")

    def _end_machine(self) -> None:
        if self._kinds:
            groups = tuple(
                CpuGroup(
                    cpus=tuple(sorted(self._cpus[place])),
                    cpuid=tuple(CpuidLeaf(*record) for record in _RECORD.iter_unpack(packed)),
                )
                for packed, place in self._kinds.items()
            )
            self._done.append((self._first_line, groups))
        if len(self._done) > MAXIMUM_MACHINES:
            raise CaptureError(f"more than {MAXIMUM_MACHINES} different machines: give one")
        self._begin_machine()

    def machines(self) -> list[tuple[int, tuple[CpuGroup, ...]]]:
        """Each machine's first line and its CPUs, those with equal leaves together."""
        self._end_cpu()
        self._end_machine()
        return self._done


class DumpReader(Protocol):
    """What knows the lines of one kind of dump."""

    dump: CpuDump

    def take(self, line: str, number: int) -> bool:
        """Takes a line with its number; whether it is a leaf of this kind."""


def dump_sightings(source: str, reader: DumpReader, paste: Paste) -> Iterator[Sighting]:
    """The machines whose leaves a reader finds in a text.

    A leaf whose line a mail program broke, at a blank or inside a number, is joined.
    """
    lines = paste.lines
    for number, line in enumerate(lines):
        stripped = line.strip()
        header = cpu_header(stripped) if stripped else None
        if header is not None:
            reader.dump.begin(header)
        elif not reader.take(line, number) and _BROKEN.search(line) is not None:
            rest = lines[number + 1].strip() if number + 1 < len(lines) else ""
            if not reader.take(f"{stripped} {rest}", number):
                reader.take(f"{stripped}{rest}", number)
    for line_number, groups in reader.dump.machines():
        yield Sighting(source=source, line=line_number, groups=groups)

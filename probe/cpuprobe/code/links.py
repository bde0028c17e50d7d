"""How the parts of a file refer to each other: direct calls, addresses in data, imported names."""

from __future__ import annotations

import functools
import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from cpuprobe.code.elf import text
from cpuprobe.code.program import Binary, Relocations

_RELATIVE_32 = struct.Struct("<i").unpack_from
# CALL and JMP (E8, E9), JCC (0F 80 to 0F 8F), each with 32 bits relative to what follows; LEA of
# such an address (REX.W 8D, ModRM 00 reg 101).
_CALLS = (re.compile(rb"[\xe8\xe9]"), 1), (re.compile(rb"\x0f[\x80-\x8f]"), 2)
_LEAS = re.compile(rb"[\x48\x4c][\x8b\x8d][\x05\x0d\x15\x1d\x25\x2d\x35\x3d]")
_LEA = 0x8D
# MOV of an address as an immediate (B8 to BF; C7 /0, to memory too), in programs that do not move.
_IMMEDIATES = re.compile(
    rb"[\xb8-\xbf]|\xc7(?:[\xc0-\xc7\x00-\x03\x06\x07]|\x04.|[\x40-\x43\x45-\x47].|\x44.."
    rb"|[\x05\x80-\x83\x85-\x87].{4}|\x84.{5})",
    re.DOTALL,
)
_UNSIGNED_32 = struct.Struct("<I").unpack_from
_CPUID = re.compile(rb"\x0f\xa2|\x0f\x01\xd0")
_TABLE = 32
"""Slots of a table of functions that are looked at."""
_R_64, _R_GLOB_DAT, _R_JUMP_SLOT, _R_RELATIVE, _R_IRELATIVE = 1, 6, 7, 8, 37


class Links:
    """Of one file, found when they are asked for.

    Attributes:
        starts: where functions begin, in order.
        pointers: slots in data that hold an address of this file.
        names: slots in data that hold the address of something of another file, by its name.
    """

    def __init__(self, file: Binary) -> None:
        """Reads relocations."""
        self._file = file
        self._ends: dict[int, int] = {}
        for functions in file.functions.values():
            for start, function in functions.items():
                self._ends[start] = function.end
        self.starts = sorted(self._ends)
        self.pointers: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._read(file.relocations)
        self._targets: array[int] | None = None
        self._sites = array("Q")
        self._taken: array[int] | None = None
        self._takers = array("Q")

    def _read(self, found: Relocations) -> None:
        rows = list(struct.iter_unpack("<IBBHQQ", found.symbols[: len(found.symbols) // 24 * 24]))
        for table in found.tables:
            for place, info, addend in struct.iter_unpack("<QQQ", table):
                kind, number = info & 0xFFFFFFFF, info >> 32
                if kind in (_R_RELATIVE, _R_IRELATIVE):
                    self.pointers[place] = addend
                elif kind in (_R_64, _R_GLOB_DAT, _R_JUMP_SLOT) and number < len(rows):
                    name, _, _, section, value, _ = rows[number]
                    if section:
                        self.pointers[place] = value + (addend if kind == _R_64 else 0)
                    else:
                        self.names[place] = text(found.strings, name)
        for address, content in found.words:
            size = len(content) & ~7
            for at, word in enumerate(struct.unpack(f"<{size // 8}Q", content[:size])):
                if word and self._file.code_at(word) is not None:
                    self.pointers.setdefault(address + 8 * at, word)

    def function(self, address: int) -> tuple[int, int] | None:
        """The function that holds an address: its start, and the address behind it."""
        at = bisect_right(self.starts, address) - 1
        if at < 0:
            return None
        start = self.starts[at]
        following = self.starts[at + 1] if at + 1 < len(self.starts) else 1 << 64
        code = self._file.code_at(start)
        if code is None:
            return None
        limit = min(following, code.address + len(code.data))
        end = self._ends[start]
        end = min(end, limit) if end else limit
        return (start, end) if address < end else None

    def begins(self, address: int) -> bool:
        """Whether a function begins there."""
        return address in self._ends

    def after(self, address: int) -> int | None:
        """Where the next function begins."""
        at = bisect_right(self.starts, address)
        return self.starts[at] if at < len(self.starts) else None

    def callers(self, target: int) -> Iterator[int]:
        """The addresses at or near which a function is called, or jumped to."""
        targets = self._targets if self._targets is not None else self._collect()
        for at in range(bisect_left(targets, target), bisect_right(targets, target)):
            yield self._sites[at]

    def _collect(self) -> array[int]:
        starts = self._ends.keys()
        found: list[tuple[int, int]] = []
        for code in self._file.code:
            data, base = code.data, code.address
            for pattern, length in _CALLS:
                ahead = base + length + 4
                for match in pattern.finditer(data, 0, max(len(data) - 4, 0)):
                    at = match.start()
                    target = ahead + at + _RELATIVE_32(data, at + length)[0]
                    if target in starts:
                        found.append((target, base + at))
        found.sort()
        self._targets = array("Q", [target for target, _ in found])
        self._sites = array("Q", [site for _, site in found])
        return self._targets

    def asking(self) -> Iterator[int]:
        """The addresses of bytes that may be CPUID or XGETBV."""
        for code in self._file.code:
            for match in _CPUID.finditer(code.data):
                yield code.address + match.start()

    def takers(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Addresses in a range that code takes, with those of instructions that may take them."""
        taken = self._taken if self._taken is not None else self._collect_taken()
        for at in range(bisect_left(taken, max(low, 0)), bisect_left(taken, high)):
            yield taken[at], self._takers[at]

    def nearest(self, low: int, high: int) -> int | None:
        """The last address between two, both included, that code takes."""
        taken = self._taken if self._taken is not None else self._collect_taken()
        at = bisect_right(taken, max(high, 0)) - 1
        return taken[at] if at >= 0 and taken[at] >= low else None

    def table(self, slot: int) -> int | None:
        """Where the table begins that a slot is in: the address nearest before it that is taken."""
        return self.nearest(slot - 8 * _TABLE, slot)

    def _collect_taken(self) -> array[int]:
        found: list[tuple[int, int]] = []
        for code in self._file.code:
            data, base = code.data, code.address
            for match in _LEAS.finditer(data, 0, max(len(data) - 4, 0)):
                at = match.start()
                target: int | None = base + at + 7 + _RELATIVE_32(data, at + 3)[0]
                if data[at + 1] != _LEA:  # what the slot holds
                    target = self.pointers.get(target or 0)
                if target is not None:
                    found.append((target, base + at))
            if self._file.relocations.words:
                low, high = self._span
                for match in _IMMEDIATES.finditer(data, 0, max(len(data) - 4, 0)):
                    at = match.start()
                    target = _UNSIGNED_32(data, match.end())[0]
                    if low <= target < high and (target in self._ends or self._has_slot(target)):
                        found.append((target, base + at))
        found = [row for row in found if 0 <= row[0] < 1 << 64]
        found.sort()
        self._taken = array("Q", [target for target, _ in found])
        self._takers = array("Q", [site for _, site in found])
        return self._taken

    @functools.cached_property
    def _span(self) -> tuple[int, int]:
        every = [*self.starts[:1], *self.starts[-1:], *self.pointers]
        return min(every, default=0), max(every, default=0) + 1

    def _has_slot(self, address: int) -> bool:
        return any(address + 8 * at in self.pointers for at in range(4))

    def slots(self, address: int) -> tuple[int, ...]:
        """Where in data an address stands."""
        return tuple(self._reverse.get(address, ()))

    @functools.cached_property
    def _reverse(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for slot, target in self.pointers.items():
            if target in self._ends:
                found.setdefault(target, []).append(slot)
        return found

    def imported(self, target: int) -> str | None:
        """The name of another file's function, if a PLT entry for it begins there."""
        code = self._file.code_at(target)
        if code is None or not (code.name.startswith(".plt") or not code.name):
            return None
        data = code.between(target, target + 16)
        at = data.find(b"\xff\x25")
        if not 0 <= at <= 5 or at + 6 > len(data):
            return None
        return self.names.get(target + at + 6 + _RELATIVE_32(data, at + 2)[0])

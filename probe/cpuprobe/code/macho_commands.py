"""The load commands of a Mach-O file, and the sections of which they tell.

Layout: Apple, <mach-o/loader.h>.
"""

from __future__ import annotations

import functools
import operator
import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code.elf import ArtifactError, Bounded, Source, text

MOST_COMMANDS = 4 << 20
"""Bytes of load commands; a large browser has some 10,000."""
MOST_SECTIONS = 1 << 12
_MOST_TABLES = 1 << 20
INSTRUCTIONS = 0x80000400
"""S_ATTR_PURE_INSTRUCTIONS, S_ATTR_SOME_INSTRUCTIONS: of a section's flags."""
CONSTRUCTORS = 9
"""S_MOD_INIT_FUNC_POINTERS: a section's type, the lowest byte of its flags."""
EXTERNAL, PRIVATE = 0x01, 0x10
"""N_EXT, N_PEXT: of a symbol's type."""
SYMTAB, SEGMENT_64 = 0x2, 0x19
_DATA_IN_CODE = 0x29
Segment = tuple[int, int, int]
"""Address, offset in the file, and size there."""
_ADDRESS, _OFFSET = operator.itemgetter(0), operator.itemgetter(1)


class Section(NamedTuple):
    """A section_64, as far as it matters.

    Attributes:
        relocations: where its relocations stand in the file, and `rows` how many there are.
        indirect: reserved1, of slots and stubs the first of their indirect symbols.
    """

    name: str
    address: int
    size: int
    offset: int
    relocations: int
    rows: int
    flags: int
    indirect: int


class MachoFile(Bounded):
    """A file for x86-64.

    Attributes:
        is_object: it is not linked yet.
        found: the first load command of each number, without that and its size.
        segments: in the order of the file.
        sections: likewise; their numbers in symbols count from 1.
        base: where __TEXT is: offsets count from there.
    """

    def __init__(self, source: Source) -> None:
        """Reads them; ArtifactError if they are damaged."""
        super().__init__(source, "Mach-O")
        self.is_object = self.read(12, 4, "the header") == b"\1\0\0\0"  # MH_OBJECT
        self.segments: list[Segment] = []
        self.sections: list[Section] = []
        self.base = 0
        self.found: dict[int, bytes] = {}
        for command, body in self._commands():
            self.found.setdefault(command, body)
            if command == SEGMENT_64:
                self._segment(body)

    def linked(self, number: int, what: str) -> bytes:
        """What a linkedit_data_command points to; nothing without it."""
        body = self.found.get(number, b"")
        offset, size = struct.unpack_from("<II", body) if len(body) >= 8 else (0, 0)
        return self.read(offset, size, what)

    def data_in_code(self) -> Iterator[tuple[int, int]]:
        """Address and size of jump tables."""
        table = self.linked(_DATA_IN_CODE, "the table of data in code")
        if len(table) > 8 * _MOST_TABLES:
            raise ArtifactError(f"Mach-O: more than {_MOST_TABLES} tables in code are not read")
        for offset, size, _ in struct.iter_unpack("<IHH", table[: len(table) & ~7]):
            address = offset if self.is_object else self._address(offset)
            if address is not None and size:
                yield address, size

    def segment_at(self, address: int) -> Segment | None:
        """The segment that holds an address, of the bytes in the file."""
        number = bisect_right(self._by_address, address, key=_ADDRESS) - 1
        found = self._by_address[number] if number >= 0 else (0, 0, 0)
        return found if address - found[0] < found[2] else None

    def _address(self, place: int) -> int | None:
        """The address of a place in the file."""
        number = bisect_right(self._by_offset, place, key=_OFFSET) - 1
        address, offset, size = self._by_offset[number] if number >= 0 else (0, 0, 0)
        return address + place - offset if place - offset < size else None

    @functools.cached_property
    def _by_address(self) -> list[Segment]:
        return sorted(each for each in self.segments if each[2])

    @functools.cached_property
    def _by_offset(self) -> list[Segment]:
        return sorted((each for each in self.segments if each[2]), key=_OFFSET)

    def _commands(self) -> Iterator[tuple[int, bytes]]:
        count, size = struct.unpack("<II", self.read(16, 8, "the header"))
        if size > MOST_COMMANDS:
            raise ArtifactError("Mach-O: more load commands than any file has")
        table = self.read(32, size, "the load commands")
        at = 0
        for _ in range(min(count, size // 8)):
            if at + 8 > size:
                return
            command, length = struct.unpack_from("<II", table, at)
            if length < 8 or at + length > size:
                raise ArtifactError("Mach-O: a load command of an impossible size")
            yield command, table[at + 8 : at + length]
            at += length

    def _segment(self, body: bytes) -> None:
        if len(body) < 64:
            raise ArtifactError("Mach-O: a segment is cut short")
        raw, address, _, offset, size, _, _, count, _ = struct.unpack_from("<16s4QiiII", body)
        self.segments.append((address, offset, size))
        if raw.rstrip(b"\0") == b"__TEXT":
            self.base = address
        for at in range(64, min(len(body) - 79, 64 + 80 * count), 80):
            name, *numbers = struct.unpack_from("<16s16xQQI4xIIII", body, at)
            self.sections.append(Section(text(name, 0)[:16], *numbers))
        if len(self.sections) > MOST_SECTIONS:
            raise ArtifactError(f"Mach-O: more than {MOST_SECTIONS} sections: no file has so many")

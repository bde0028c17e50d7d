"""COFF objects (Windows .obj, and in static .lib): executable bytes, functions by symbol.

Written for hostile input, as the reader of PE files. Layout: Microsoft, "PE Format", COFF file
header, section table and symbol table; winnt.h, ANON_OBJECT_HEADER_BIGOBJ. An object has no
addresses: here its code stands at its offset in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code.elf import ArtifactError, Bounded, Source, text
from cpuprobe.code.functions import MOST_ROWS, FunctionTable, Name, Range
from cpuprobe.code.hidden import LTO, refuse_unmade
from cpuprobe.code.program import Binary, CodeBytes

MAGIC = b"\x64\x86"
BIG_MAGIC = b"\0\0\xff\xff\2\0\x64\x86"
MOST_SECTIONS = 1 << 17
"""Each function of a C++ template has one of its own."""

_CODE, _NO_BYTES = 0x20, 0x80
FUNCTION = 0x20
"""A symbol's kind."""
_EXTERNAL = 2  # a symbol's storage class


class _Layout(NamedTuple):
    """Where the counts stand, how long the header is, and what a symbol looks like."""

    counts: struct.Struct
    header: int
    symbol: struct.Struct


PLAIN = struct.Struct("<8sIhHBB")
_PLAIN = _Layout(struct.Struct("<2xH4xII"), 20, PLAIN)
_BIG = _Layout(struct.Struct("<44xIII"), 56, struct.Struct("<8sIiHBB"))


class Symbol(NamedTuple):
    """A row of a symbol table, without what stands beside it.

    Attributes:
        name: where its text is.
        value: its place in the section.
        section: the section's number, from 1; 0: it is elsewhere.
        kind: FUNCTION, or others.
        storage: its class.
    """

    name: Name
    value: int
    section: int
    kind: int
    storage: int


def symbols(table: bytes, form: struct.Struct, strings: int, short: bytearray) -> Iterator[Symbol]:
    """The rows of a symbol table.

    Args:
        table: it.
        form: of a row: PLAIN, or that of large objects.
        strings: the number of the string table; the one behind it has short names.
        short: which come here: up to eight letters stand in the row.

    Raises:
        ArtifactError: they are too many.
    """
    if len(table) > form.size * MOST_ROWS:
        raise ArtifactError(f"COFF: more than {MOST_ROWS} symbols are not read")
    skip = 0
    for raw, value, section, kind, storage, auxiliary in form.iter_unpack(table):
        if skip:
            skip -= 1
            continue
        skip = auxiliary
        name = strings, int.from_bytes(raw[4:], "little")
        if any(raw[:4]):
            name = strings + 1, len(short)
            short += raw + b"\0"
        yield Symbol(name, value, section, kind, storage)


def read_coff(source: Source) -> Binary:
    """Reads an object for x86-64.

    Args:
        source: the file.

    Raises:
        UnreadError: it has no code before it is linked.
        ArtifactError: cut off, or an offset points outside of it.
    """
    return Coff(source).binary()


class Coff(Bounded):
    """One object."""

    def __init__(self, source: Source) -> None:
        """Reads the header; ArtifactError if it is cut off."""
        super().__init__(source, "COFF")
        is_big = source.some(0, 8) == BIG_MAGIC
        self._layout = _BIG if is_big else _PLAIN
        header = self.read(0, self._layout.header, "the header")
        self._sections, self._symbols, self._count = self._layout.counts.unpack_from(header)
        # What stands between header and section table; objects have none.
        self._optional = 0 if is_big else int.from_bytes(header[16:18], "little")

    def binary(self) -> Binary:
        """Everything that a scan needs."""
        file = Binary("x86-64", "object")
        places = self._read_code(file)
        functions: dict[int, dict[int, Range]] = {}
        undefined: set[Name] = set()
        for symbol in self._read_symbols(file):
            if symbol.storage == _EXTERNAL and symbol.section == 0 and not symbol.value:
                undefined.add(symbol.name)
            code = places.get(symbol.section)
            if code is None or symbol.kind != FUNCTION or symbol.value >= len(code.data):
                continue
            start = code.address + symbol.value
            found = Range(start, 0, symbol.name, "symbol", False)
            functions.setdefault(code.index, {})[start] = found
        # The names of its sections do not fit into eight letters.
        refuse_unmade(bool(file.code), any(LTO.encode() in each for each in file.strings))
        file.functions = FunctionTable.of(functions)
        file.undefined = frozenset(map(file.name, undefined))
        return file

    def _read_code(self, file: Binary) -> dict[int, CodeBytes]:
        """Reads executable bytes; by the number of their section."""
        if not self._sections:
            raise ArtifactError("COFF: it has no sections: there is nothing to read")
        if self._sections > MOST_SECTIONS:
            raise ArtifactError(f"COFF: {self._sections} sections: no object has so many")
        place = self._layout.header + self._optional
        table = self.read(place, 40 * self._sections, "the section table")
        found = []
        for number, row in enumerate(struct.iter_unpack("<8s8xII12xI", table), 1):
            name, size, offset, flags = row
            if flags & _CODE and size and not flags & _NO_BYTES:
                found.append((offset, size, text(name, 0), number))
        places, end = {}, 0
        for offset, size, name, number in sorted(found):
            if offset < end:
                raise ArtifactError("COFF: executable sections overlap")
            end = offset + size
            places[number] = CodeBytes(len(file.code), name, offset, self.read(offset, size, name))
            file.code.append(places[number])
        return places

    def _read_symbols(self, file: Binary) -> Iterator[Symbol]:
        if not self._symbols or not self._count:
            return
        width = self._layout.symbol.size
        table = self.read(self._symbols, width * self._count, "the symbol table")
        behind = self._symbols + len(table)
        size = int.from_bytes(self.read(behind, 4, "the string table"), "little")
        file.strings += [self.read(behind, max(size, 4), "the string table"), b""]
        short = bytearray()
        yield from symbols(table, self._layout.symbol, 0, short)
        file.strings[1] = bytes(short)

"""What a linker needs of an object for Windows, in the form that ELF has for it.

Layout: Microsoft, "PE Format", COFF relocations and symbol table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cpuprobe.code import elf as abi
from cpuprobe.code.coff import FUNCTION, Coff
from cpuprobe.code.elf import text
from cpuprobe.code.parts import Part, PartSection

MOST_RELOCATIONS = 1 << 18
"""Of a section; an object of a megabyte has some thousands."""
_CODE, _NO_BYTES, _DISCARDABLE = 0x20, 0x80, 0x02000000  # a section's flags
_EXTERNAL, _WEAK = 2, 105  # a symbol's storage class
_CONSTRUCTORS = (".CRT$XC", ".CRT$XI", ".ctors")
_UNWINDING = (".pdata", ".xdata", ".debug")
_ROW = struct.Struct("<IIH")
_RELA = struct.Struct("<QQq")
_SYMBOL = struct.Struct("<" + abi.SYMBOL)
_ADDR64, _ADDR32, _REL32, _REL32_5 = 1, 2, 4, 9  # IMAGE_REL_AMD64_*
_R_64, _R_PC32, _R_32 = 1, 2, 10  # what they are in ELF
_ABSOLUTE, _COMMON, _NOWHERE = 0xFFF1, 0xFFF2, 0xFFFE  # of st_shndx
_FIRST_RESERVED = 0xFF00


class CoffPart(Coff):
    """One object."""

    def part(self) -> Part:
        """What a linker needs; ArtifactError if it is damaged."""
        place = self._layout.header + self._optional
        table = self.read(place, 40 * self._sections, "the section table")
        sections = [
            self._section(number, *row)
            for number, row in enumerate(struct.iter_unpack("<8s8xIIIxxxxHxxI", table), 1)
            if row[1] and not row[-1] & _DISCARDABLE and not row[0].startswith(_SKIPPED)
        ]
        symbols, strings = self._elf_symbols()
        return Part(sections, symbols, strings, [], is_windows=True, is_remade=True)

    def _section(self, number: int, name: bytes, *row: int) -> PartSection:
        size, offset, relocations, count, flags = row
        content = b"" if flags & _NO_BYTES or not offset else self.read(offset, size, "a section")
        rows = b""
        if content and count < MOST_RELOCATIONS:
            table = self.read(relocations, _ROW.size * count, "relocations")
            rows = b"".join(_relocations(table, content))
        code = bytearray(content) if flags & _CODE and content else None
        starts = text(name, 0).startswith(_CONSTRUCTORS)
        return PartSection(number, offset if code else 0, size, code, rows, starts)  # type: ignore[arg-type]

    def _elf_symbols(self) -> tuple[bytes, bytes]:
        """The symbols as Elf64_Sym, with a row for each that stands beside one, and their names."""
        if not self._symbols or not self._count:
            return b"", b"\0"
        width = self._layout.symbol.size
        table = self.read(self._symbols, width * self._count, "the symbol table")
        behind = self._symbols + len(table)
        size = int.from_bytes(self.read(behind, 4, "the string table"), "little")
        strings = bytearray(b"\0" + self.read(behind, max(size, 4), "the string table")[1:])
        rows = bytearray()
        skip = 0
        for raw, value, section, kind, storage, auxiliary in self._layout.symbol.iter_unpack(table):
            if skip:
                skip -= 1
                rows += bytes(_SYMBOL.size)
                continue
            skip = auxiliary
            name = int.from_bytes(raw[4:], "little")
            if any(raw[:4]):
                name = len(strings)
                strings += raw.rstrip(b"\0") + b"\0"
            is_global = storage in (_EXTERNAL, _WEAK)
            info = is_global << 4 | (abi.STT_FUNC if kind == FUNCTION else abi.STT_NOTYPE)
            rows += _SYMBOL.pack(name & 0xFFFFFFFF, info, 0, *_place(section, value))
        return bytes(rows), bytes(strings)


def _place(section: int, value: int) -> tuple[int, int, int]:
    """What st_shndx, st_value and st_size are."""
    if section == 0 and value:
        return _COMMON, 0, value
    if section == -1:
        return _ABSOLUTE, value, 0
    return (section if 0 <= section < _FIRST_RESERVED else _NOWHERE), value, 0


_SKIPPED = tuple(each.encode() for each in _UNWINDING)


def _relocations(table: bytes, content: bytes) -> Iterator[bytes]:
    """As Elf64_Rela: what is added stands in the section, and places count from what follows."""
    for at, symbol, kind in _ROW.iter_unpack(table):
        if kind == _ADDR64:
            added, of = int.from_bytes(content[at : at + 8], "little", signed=True), _R_64
        elif kind == _ADDR32:
            added, of = int.from_bytes(content[at : at + 4], "little", signed=True), _R_32
        elif _REL32 <= kind <= _REL32_5:
            added = int.from_bytes(content[at : at + 4], "little", signed=True) - kind
            of = _R_PC32
        else:
            continue
        yield _RELA.pack(at, symbol << 32 | of, added)

"""What a linker needs of an object for macOS, in the form that ELF has for it.

Layout: Apple, <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/reloc.h>, <mach-o/x86_64/reloc.h>.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from cpuprobe.code import elf as abi
from cpuprobe.code.macho_commands import (
    CONSTRUCTORS,
    EXTERNAL,
    INSTRUCTIONS,
    PRIVATE,
    SYMTAB,
    MachoFile,
    Section,
)
from cpuprobe.code.parts import Part, PartSection

_UNWINDING = "__eh_frame"
_DEBUG = 0x02000000  # S_ATTR_DEBUG
_NO_BYTES = (1, 0xC, 0x12)  # S_ZEROFILL, S_GB_ZEROFILL, S_THREAD_LOCAL_ZEROFILL
_FOR_DEBUGGERS, _WEAK_DEFINITION = 0xE0, 0x80  # N_STAB, N_WEAK_DEF
_UNDEFINED, _AT_ADDRESS, _IN_SECTION = 0, 2, 0xE  # of N_TYPE
_NLIST = struct.Struct("<IBBHQ")
_ROW = struct.Struct("<II")
_RELA = struct.Struct("<QQq")
_SYMBOL = struct.Struct("<" + abi.SYMBOL)
# X86_64_RELOC_*: from the next instruction on (SIGNED, BRANCH, SIGNED_n); to a slot with the
# address (GOT_LOAD, GOT, TLV); and what they are in ELF.
_UNSIGNED, _SUBTRACTOR = 0, 5
_R_64, _R_PC32, _R_GOTPCREL, _R_32 = 1, 2, 9, 10
_RELATIVE = {
    **dict.fromkeys((1, 2, 6, 7, 8), _R_PC32),
    **dict.fromkeys((3, 4, 9), _R_GOTPCREL),
}
_ABSOLUTE, _COMMON = 0xFFF1, 0xFFF2  # of st_shndx
_STRONG, _WEAK = 1, 2  # of st_info
_HIDDEN = 2  # of st_other
_LAST = (1 << 64) - 1


class MachoPart(MachoFile):
    """One object."""

    def part(self) -> Part:
        """What a linker needs; ArtifactError if it is damaged."""
        rows, strings = self._symbols()
        count = len(rows)
        # Relocations count from symbols or from sections: each section gets a symbol.
        rows += [_SYMBOL.pack(0, 0, 0, at, 0, 0) for at in range(len(self.sections) + 1)]
        rows += self._tables()
        sections = [
            self._section(number, each, count)
            for number, each in enumerate(self.sections, 1)
            if each.size and not each.flags & _DEBUG and each.name != _UNWINDING
        ]
        return Part(sections, b"".join(rows), strings, [], is_remade=True)

    def _section(self, number: int, section: Section, symbols: int) -> PartSection:
        has_bytes = section.flags & 0xFF not in _NO_BYTES
        content = self.read(section.offset, section.size, "a section") if has_bytes else b""
        table = self.read(section.relocations, _ROW.size * section.rows, "relocations")
        rows = b"".join(self._relocations(section, table, content, symbols))
        code = bytearray(content) if section.flags & INSTRUCTIONS and content else None
        starts = section.flags & 0xFF == CONSTRUCTORS
        return PartSection(number, section.address, section.size, code, rows, starts)  # type: ignore[arg-type]

    def _symbols(self) -> tuple[list[bytes], bytes]:
        """The symbols as Elf64_Sym, and their names, without the underscore of C's."""
        body = self.found.get(SYMTAB, b"")
        if len(body) < 16:
            return [], b"\0"
        offset, count, strings_at, strings_size = struct.unpack_from("<IIII", body)
        table = self.read(offset, _NLIST.size * count, "the symbol table")
        strings = self.read(strings_at, strings_size, "the string table")
        rows = []
        for name, kind, section, said, value in _NLIST.iter_unpack(table):
            place = self._place(kind, section, value)
            binding = (_WEAK if said & _WEAK_DEFINITION else _STRONG) * (kind & EXTERNAL)
            seen = _HIDDEN * bool(kind & PRIVATE)
            skip = strings[name : name + 1] == b"_"
            rows.append(_SYMBOL.pack(name + skip, binding << 4 | abi.STT_FUNC, seen, *place))
        return rows, strings

    def _place(self, kind: int, section: int, value: int) -> tuple[int, int, int]:
        """What st_shndx, st_value and st_size are."""
        defined = kind & 0xE
        if kind & _FOR_DEBUGGERS or section > len(self.sections):
            return 0, 0, 0
        if defined == _IN_SECTION and section:
            return section, value - self.sections[section - 1].address & _LAST, 0
        if defined == _AT_ADDRESS:
            return _ABSOLUTE, value, 0
        return (_COMMON, 0, value) if defined == _UNDEFINED and value else (0, 0, 0)

    def _tables(self) -> Iterator[bytes]:
        """Jump tables in code, as symbols of objects."""
        order = sorted(enumerate(self.sections, 1), key=lambda each: each[1].address)
        starts = [each.address for _, each in order]
        for place, size in self.data_in_code():
            after = bisect_right(starts, place)
            if after:
                number, section = order[after - 1]
                yield _SYMBOL.pack(0, abi.STT_OBJECT, 0, number, place - section.address, size)

    def _relocations(
        self, section: Section, table: bytes, content: bytes, symbols: int
    ) -> Iterator[bytes]:
        """As Elf64_Rela: what is added stands in the section."""
        before = _UNSIGNED
        for at, word in _ROW.iter_unpack(table):
            number, size, kind = word & 0xFFFFFF, 1 << (word >> 25 & 3), word >> 28
            # Of the difference of two addresses the second row is the other one.
            is_difference, before = before == _SUBTRACTOR, kind
            of = _RELATIVE.get(kind, {4: _R_32, 8: _R_64}.get(size) if not kind else None)
            if of is None or is_difference:
                continue
            added = int.from_bytes(content[at : at + size], "little", signed=True)
            if word >> 27 & 1:  # r_extern
                added -= 4 * (kind in _RELATIVE)
            elif 0 < number <= len(self.sections):  # an address of this object stands there
                added += (section.address + at) * (kind in _RELATIVE)
                added -= self.sections[number - 1].address
                number += symbols
            else:
                continue
            yield _RELA.pack(at, number << 32 | of, _signed(added))


def _signed(value: int) -> int:
    return (value + (1 << 63) & _LAST) - (1 << 63)

"""PE files (Windows programs and libraries): executable bytes, functions, what every load runs.

Written for hostile input, as the reader of ELF files. Layout: Microsoft, "PE Format"; for .pdata
"x64 exception handling", RUNTIME_FUNCTION and UNWIND_INFO.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code import coff, go
from cpuprobe.code.elf import ArtifactError, Bounded, Source, text
from cpuprobe.code.functions import MOST_ROWS, NAMELESS, FunctionTable, Name, Range
from cpuprobe.code.go_program import read_other
from cpuprobe.code.hidden import UPX, UnreadError
from cpuprobe.code.jump_tables import jump_tables
from cpuprobe.code.pe_constructors import constructors
from cpuprobe.code.pe_links import imports, pointers, words
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.relocations import imported, moved

MACHINES = {
    0x14C: "i386",
    0x1C0: "ARM",
    0x1C2: "ARM",
    0x1C4: "ARM",
    0x200: "Itanium",
    0x5064: "RISC-V",
    0x6264: "LoongArch",
    0xA641: "AArch64",
    0xA64E: "AArch64",
    0xAA64: "AArch64",
}
"""IMAGE_FILE_MACHINE_*; those of which binaries are found."""
MOST_CODE = 256 << 20
"""Bytes of executable sections, and of any section: those of data are held as well."""
MOST_SECTIONS = 96
"""What the loader of Windows takes."""

_AMD64 = 0x8664
_DLL = 0x2000
_EXECUTE = 0x20000000
_EXPORT, _IMPORT, _EXCEPTION, _SECURITY, _RELOCATIONS, _TLS, _CLR = 0, 1, 3, 4, 5, 9, 14
_HANDLERS, _CHAINED = 3, 4  # UNW_FLAG_EHANDLER and UHANDLER, UNW_FLAG_CHAININFO
_HIGHEST_BASE = (1 << 64) - (1 << 34)  # addresses and sizes in an image have 32 bits
_MOST_INITIAL = 1024


class _Section(NamedTuple):
    name: str
    address: int
    size: int
    offset: int
    flags: int


def read_pe(source: Source) -> Binary:
    """Reads a PE file. Of other machines than x86-64 nothing but the header is read.

    Args:
        source: the file.

    Raises:
        UnreadError: it is packed.
        ArtifactError: not a PE file, cut off, or an offset points outside of it.
    """
    return _Pe(source).binary()


class _Pe(Bounded):
    def __init__(self, source: Source) -> None:
        super().__init__(source, "PE")
        start = self.read(0, 64, "the DOS header")
        (self._header,) = struct.unpack_from("<I", start, 60)
        head = source.some(self._header, 24)
        if start[:2] != b"MZ" or head[:4] != b"PE\0\0" or len(head) < 24:
            raise ArtifactError("not a PE file: a program for DOS or 16-bit Windows")
        self._bodies: dict[_Section, bytes] = {}
        self._functions: dict[int, dict[int, Range]] = {}  # by range of code, then start
        row = struct.unpack_from("<HHxxxxIIHH", head, 4)
        self._machine, self._sections_count, self._symbols, self._symbol_count = row[:4]
        self._optional_size, self._characteristics = row[4:]

    def binary(self) -> Binary:
        """Everything that a scan needs."""
        optional = self.read(self._header + 24, self._optional_size, "the optional header")
        if self._machine != _AMD64 or len(optional) < 112 or optional[:2] != b"\x0b\x02":
            managed = optional[:2] == b"\x0b\x01" and _directory(optional[96:], _CLR)[0]
            known = MACHINES.get(self._machine, f"PE machine {self._machine:#x}")
            return Binary("CIL" if managed else known, "other")
        entry, self._base = struct.unpack_from("<I4xQ", optional, 16)
        if self._base > _HIGHEST_BASE:
            raise ArtifactError("PE: its image reaches past the end of memory")
        self._directories = optional[112:]
        self._sections = self._read_sections()
        if self._sections and self._sections[0].name == "UPX0":
            raise UnreadError(UPX)
        library = bool(self._characteristics & _DLL)
        begin = self._base + entry if entry else 0
        file = Binary("x86-64", "library" if library else "executable", entry=begin)
        self._read_code(file)
        first = {begin: 0} if library and begin else {}
        file.initial = tuple(first | dict.fromkeys(self._callbacks()))
        self._read_exports(file)
        self._read_symbols(file)
        self._read_unwind(file)
        found = constructors(file, self._parts(".text", ".rdata", ".ctors"), self._there)
        file.constructors = tuple(
            e for e in found if self._function(file, e - self._base, NAMELESS)
        )
        file.objects = {code.index: self._tables(code) for code in file.code}
        file.functions = FunctionTable.of(self._functions)
        self._read_links(file)
        self._read_go(file)
        signed = sum(_directory(self._directories, _SECURITY))  # an offset, unlike all others
        file.appended = max(0, self._source.size - max(self._end, signed))
        return file

    def _read_sections(self) -> list[_Section]:
        if not 0 < self._sections_count <= MOST_SECTIONS:
            raise ArtifactError(f"PE: {self._sections_count} sections: no program has that many")
        place = self._header + 24 + self._optional_size
        table = self.read(place, 40 * self._sections_count, "the section table")
        sections, self._end = [], 0
        for row in struct.iter_unpack("<8sIIII12xI", table):
            name, memory, address, size, offset, flags = row
            self._end = max(self._end, offset + size)
            # What is behind the memory's size is padding, what is behind the file's are zeros.
            sections.append(
                _Section(text(name, 0), address, min(size, memory or size), offset, flags)
            )
        return sections

    def _read_code(self, file: Binary) -> None:
        found = [each for each in self._sections if each.flags & _EXECUTE and each.size]
        if sum(each.size for each in found) > MOST_CODE:
            raise ArtifactError(f"PE: more than {MOST_CODE >> 20} MiB of code are not read")
        found.sort(key=lambda each: each.address)
        end = 0
        for number, each in enumerate(found):
            if each.address < end:
                raise ArtifactError("PE: executable sections overlap")
            end = each.address + each.size
            file.code.append(
                CodeBytes(number, each.name, self._base + each.address, self._body(each))
            )

    def _section(self, rva: int) -> _Section | None:
        return next((s for s in self._sections if 0 <= rva - s.address < s.size), None)

    def _body(self, section: _Section) -> bytes:
        """The bytes of a section, which are read once."""
        if section not in self._bodies:
            if section.size > MOST_CODE:
                raise ArtifactError(f"PE: a section of more than {MOST_CODE >> 20} MiB")
            self._bodies[section] = self.read(section.offset, section.size, "a section")
        return self._bodies[section]

    def _at(self, rva: int, size: int) -> bytes:
        """Up to `size` bytes at an address that counts from the image's start; none: nowhere."""
        section = self._section(rva)
        if section is None:
            return b""
        inside = rva - section.address
        return self._body(section)[inside : inside + size]

    def _read_directory(self, number: int) -> bytes:
        rva, size = _directory(self._directories, number)
        return self._at(rva, size) if rva else b""

    def _callbacks(self) -> Iterator[int]:
        """The functions that the loader calls for each thread, the first included."""
        directory = self._read_directory(_TLS)
        if len(directory) < 32:
            return
        (callbacks,) = struct.unpack_from("<Q", directory, 24)
        table = self._at(callbacks - self._base, 8 * _MOST_INITIAL)
        for (address,) in struct.iter_unpack("<Q", table[: len(table) & ~7]):
            if not address:
                return
            yield address

    def _read_exports(self, file: Binary) -> None:
        rva, size = _directory(self._directories, _EXPORT)
        directory, section = self._at(rva, 40) if rva else b"", self._section(rva)
        if len(directory) < 40 or section is None:
            return
        count, named, *tables = struct.unpack_from("<IIIII", directory, 20)
        if max(count, named) > MOST_ROWS:
            raise ArtifactError(f"PE: more than {MOST_ROWS} exports are not read")
        addresses, names, ordinals = (
            self._at(each, width * rows)
            for each, width, rows in zip(tables, (4, 4, 2), (count, named, named), strict=True)
        )
        file.strings.append(self._body(section))
        name_of: dict[int, Name] = {}
        for name, ordinal in zip(words(names, "I"), words(ordinals, "H"), strict=False):
            if 0 <= name - section.address < section.size:
                name_of[ordinal] = (len(file.strings) - 1, name - section.address)
        exports: dict[int, list[Name]] = {}
        for ordinal, address in enumerate(words(addresses, "I")):
            if not rva <= address < rva + size:  # else it is a name: another library has it
                known = name_of.get(ordinal, NAMELESS)
                if self._function(file, address, known):
                    exports.setdefault(self._base + address, []).append(known)
        file.exports = exports

    def _tables(self, code: CodeBytes) -> list[tuple[int, int]]:
        return list(jump_tables(code, self._base, self._functions.get(code.index, {})))

    def _read_symbols(self, file: Binary) -> None:
        """The COFF symbols that MinGW leaves in."""
        if not self._symbols or not self._symbol_count:
            return
        table = self.read(self._symbols, 18 * self._symbol_count, "the symbol table")
        place = self._symbols + len(table)
        size = int.from_bytes(self.read(place, 4, "the string table"), "little")
        strings = self.read(place, size, "the string table")
        self._end = max(self._end, place + size)
        file.strings.append(strings)
        short = bytearray()
        for each in coff.symbols(table, coff.PLAIN, len(file.strings) - 1, short):
            if each.kind == coff.FUNCTION and 0 < each.section <= len(self._sections):
                section = self._sections[each.section - 1]
                self._function(file, section.address + each.value, each.name)
        file.strings.append(bytes(short))

    def _function(self, file: Binary, rva: int, name: Name) -> bool:
        """Takes in a function; whether there is code at all."""
        address = self._base + rva
        code = file.code_at(address)
        functions = self._functions.setdefault(code.index, {}) if code is not None else {}
        known = functions.get(address)
        if known is None or known.name == NAMELESS:
            functions[address] = Range(address, 0, name, "symbol", False)
        return code is not None

    def _read_unwind(self, file: Binary) -> None:
        table = self._read_directory(_EXCEPTION)
        if len(table) > 12 * MOST_ROWS:
            raise ArtifactError(f"PE: more than {MOST_ROWS} functions are not read")
        low, high, last, content = 0, 0, (0, 0), b""
        code: CodeBytes | None = None
        rows = struct.iter_unpack("<III", table[: len(table) // 12 * 12])
        for begin, end, unwind in sorted(rows):
            if not low <= unwind < high:
                section = self._section(unwind)
                if section is None:
                    continue
                low, high = section.address, section.address + section.size
                content = self._body(section)
            flags = content[unwind - low] >> 3
            start = self._base + begin
            if code is None or not 0 <= start - code.address < len(code.data):
                code = file.code_at(start)
                if code is None:
                    continue
            functions = self._functions.setdefault(code.index, {})
            known = functions.get(start)
            before = functions.get(last[0])
            if flags & _CHAINED and known is None and before is not None and last[1] == begin:
                # It goes on where the one before it ends.
                functions[last[0]] = before._replace(end=self._base + end)
                last = last[0], end
                continue
            name, source = (NAMELESS, "unwind") if known is None else (known.name, known.source)
            lsda = bool(flags & _HANDLERS)
            functions[start] = Range(start, self._base + end, name, source, lsda)
            last = start, end

    def _parts(self, *names: str) -> list[tuple[str, int, bytes]]:
        """Sections by their names, with their addresses and contents."""
        found = [each for each in self._sections if each.name in names]
        return [(each.name, self._base + each.address, self._body(each)) for each in found]

    def _there(self, address: int, size: int) -> bytes:
        return self._at(address - self._base, size)

    def _read_go(self, file: Binary) -> None:
        """Of a Go program, whose data begin with what its linker says of it."""
        parts = self._parts(".data", ".rdata")
        if any(body[: len(go.MAGIC)] == go.MAGIC for _, _, body in parts):
            read_other(file, parts, not self._read_directory(_RELOCATIONS))

    def _read_links(self, file: Binary) -> None:
        directory = self._read_directory(_IMPORT)
        names = {self._base + slot: name for slot, name in imports(directory, self._at)}
        imported(names.items(), file.relocations)
        file.undefined = frozenset(names.values())
        table = self._read_directory(_RELOCATIONS)
        moved(pointers(table, self._at, self._base), file.relocations)
        file.is_windows = file.linked = True


def _directory(directories: bytes, number: int) -> tuple[int, int]:
    """The address and size of one of the data directories; zeros where there is none."""
    row = directories[8 * number : 8 * number + 8]
    return struct.unpack("<II", row) if len(row) == 8 else (0, 0)

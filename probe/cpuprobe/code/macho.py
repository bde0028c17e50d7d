"""Mach-O files (macOS): executable bytes, functions, what every load runs.

Written for hostile input, as the reader of ELF files. Layout: Apple, <mach-o/loader.h>,
<mach-o/nlist.h>, <mach-o/fixup-chains.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cpuprobe.code.elf import ArtifactError, Source, text
from cpuprobe.code.elf_program import MOST_CODE
from cpuprobe.code.functions import MOST_ROWS, NAMELESS, FunctionTable, Name, Range
from cpuprobe.code.go_program import read_other
from cpuprobe.code.hidden import refuse_unmade
from cpuprobe.code.macho_commands import (
    CONSTRUCTORS,
    EXTERNAL,
    INSTRUCTIONS,
    PRIVATE,
    SEGMENT_64,
    SYMTAB,
    MachoFile,
    Segment,
)
from cpuprobe.code.macho_links import chained, rebased
from cpuprobe.code.needs import Confidence, Kind
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.relocations import imported, moved

MAGIC = b"\xcf\xfa\xed\xfe"
FURTHER_MAGIC = (b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce")
"""Of 32 bits, and of big-endian processors."""
MACHINES = {7: "i386", 12: "ARM", 18: "PowerPC", 0x0100000C: "AArch64", 0x01000012: "PowerPC64"}
"""cputype; those of which binaries are found."""
X86_64 = 0x01000007
_MOST_INITIAL = 1024
_MOST_UNDEFINED = 1 << 16
_MOST_IMPORTS = 1 << 18
"""Slots with addresses of other files' functions; Chromium has some thousand."""

_UNIXTHREAD, _DYSYMTAB = 0x5, 0xB
_DYLD_INFO, _DYLD_INFO_ONLY, _CHAINED_FIXUPS = 0x22, 0x80000022, 0x80000034
_FUNCTION_STARTS, _ENCRYPTION_64, _MAIN = 0x26, 0x2C, 0x80000028
_STUBS, _INIT_OFFSETS, _ZEROFILL = 8, 0x16, 1
_SLOTS = (6, 7)  # S_NON_LAZY_SYMBOL_POINTERS, S_LAZY_SYMBOL_POINTERS
_PIE = 0x200000  # MH_PIE
_LTO = b"__GNU_LTO\0"  # a segment's name, of each section (GCC, simple-object-mach-o.c)
_GO_DATA = {"__gopclntab", "__go_buildinfo", "__rodata", "__itablink", "__noptrdata", "__data"}
_TARGET = (1 << 36) - 1  # what a pointer in a chain of fixups points to
_KINDS: dict[int, Kind] = {1: "object", 2: "executable", 6: "library", 8: "library", 11: "library"}


def read_macho(source: Source) -> Binary:
    """Reads a Mach-O file. Of other machines than x86-64 nothing but the header is read.

    Args:
        source: the file; of a fat one a slice.

    Raises:
        UnreadError: it has no code before it is linked.
        ArtifactError: not a Mach-O file, cut off, or an offset points outside of it.
    """
    start = source.some(0, 32)
    order = ">" if start[:2] == b"\xfe\xed" else "<"
    if len(start) < 28:
        raise ArtifactError("a Mach-O file cut short")
    machine, _, kind = struct.unpack_from(f"{order}III", start, 4)
    if machine != X86_64 or start[:4] != MAGIC:
        return Binary(MACHINES.get(machine, f"Mach-O machine {machine:#x}"), "other")
    if kind not in _KINDS:
        raise ArtifactError(f"Mach-O: neither program, library nor object file (type {kind})")
    return _Macho(source, _KINDS[kind]).file


class _Macho(MachoFile):
    def __init__(self, source: Source, kind: Kind) -> None:
        super().__init__(source)
        self.file = Binary("x86-64", kind)
        self._functions: dict[int, dict[int, Range]] = {}  # by range of code, then start
        self._contents: dict[Segment, bytes] = {}
        self._table = b""  # of symbols
        if not self.sections:
            raise ArtifactError("Mach-O: it has no sections: there is nothing to read")
        self._read_code()
        found = self.found
        is_for_linker = kind == "object" and _LTO in found.get(SEGMENT_64, b"")
        refuse_unmade(bool(self.file.code), is_for_linker)
        if any(found.get(_ENCRYPTION_64, b"")[8:12]):
            raise ArtifactError("Mach-O: its code is encrypted")
        self.file.entry = self._entry(found)
        self.file.initial = tuple(dict.fromkeys(self._initial()))
        self._data()
        starts = self._function_starts()
        for address in starts:
            self._function(address, NAMELESS, "unwind")
        self._symbols(found.get(SYMTAB, b""), starts)
        self.file.functions = FunctionTable.of(self._functions)
        if kind != "object":
            self._links(found)
        if any(each.name == "__gopclntab" for each in self.sections):
            self._read_go()

    def _read_code(self) -> None:
        found = [
            each
            for each in self.sections
            if each.flags & INSTRUCTIONS and each.size and each.flags & 0xFF != _ZEROFILL
        ]
        if sum(each.size for each in found) > MOST_CODE:
            raise ArtifactError(f"Mach-O: more than {MOST_CODE >> 20} MiB of code are not read")
        end = 0
        for number, each in enumerate(sorted(found, key=lambda each: each.address)):
            if each.address < end or each.address + each.size >= 1 << 64:
                raise ArtifactError("Mach-O: executable sections overlap")
            end = each.address + each.size
            body = self.read(each.offset, each.size, "an executable section")
            # Jumps to other files: what is followed ends there, as in an ELF file's table.
            name = ".plt" if each.flags & 0xFF == _STUBS else each.name
            self.file.code.append(CodeBytes(number, name, each.address, body))

    def _entry(self, found: dict[int, bytes]) -> int:
        if len(body := found.get(_MAIN, b"")) >= 8:
            (offset,) = struct.unpack_from("<Q", body)
            return self.base + int(offset)
        if len(body := found.get(_UNIXTHREAD, b"")) >= 8 + 21 * 8:
            return int(struct.unpack_from("<Q", body, 8 + 16 * 8)[0])  # x86_thread_state64_t.rip
        return 0

    def _initial(self) -> Iterator[int]:
        """What dyld calls when it has loaded the file: constructors."""
        for each in self.sections:
            kind = each.flags & 0xFF
            width = {CONSTRUCTORS: 8, _INIT_OFFSETS: 4}.get(kind)
            if width is None or self.file.kind == "object":
                continue
            count = min(each.size // width, _MOST_INITIAL)
            table = self.read(each.offset, width * count, "the constructors")
            for (word,) in struct.iter_unpack("<Q" if width == 8 else "<I", table):
                if kind == _INIT_OFFSETS:
                    yield self.base + word
                else:
                    target = word & _TARGET
                    known = self.file.is_code(target)
                    yield target if known else self.base + target

    def _data(self) -> None:
        """Jump tables."""
        for place, size in self.data_in_code():
            code = self.file.code_at(place)
            if code is not None:
                self.file.objects.setdefault(code.index, []).append((place, place + size))

    def _function_starts(self) -> dict[int, None]:
        """The addresses, each as a number of seven bits a byte from the one before."""
        starts: dict[int, None] = {}
        address, value, shift = self.base, 0, 0
        end = max((each.end for each in self.file.code), default=0)
        for byte in self.linked(_FUNCTION_STARTS, "the table of function starts"):
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte & 0x80:
                if shift > 63:
                    raise ArtifactError("Mach-O: a function starts past the end of memory")
                continue
            address += value
            if not value or address >= end:  # zeros fill the rest
                break
            starts[address] = None
            if len(starts) > MOST_ROWS:
                raise ArtifactError(f"Mach-O: more than {MOST_ROWS} functions are not read")
            value = shift = 0
        return starts

    def _symbols(self, body: bytes, starts: dict[int, None]) -> None:
        if len(body) < 16:
            return
        place, count, strings_at, strings_size = struct.unpack_from("<IIII", body)
        self._table = table = self.read(place, 16 * count, "the symbol table")
        strings = self.read(strings_at, strings_size, "the string table")
        self.file.strings.append(strings)
        undefined: set[str] = set()
        exports: dict[int, list[Name]] = {}
        for name, kind, section, _, value in struct.iter_unpack("<IBBHQ", table):
            if kind & 0xE0:  # for debuggers
                continue
            if kind & 0xE == 0 and len(undefined) < _MOST_UNDEFINED:
                undefined.add(text(strings, name).removeprefix("_"))
            # Where the linker lists functions, other symbols in code are labels.
            elif kind & 0xE == 0xE and section and (not starts or value in starts):
                # C's names begin with an underscore here.
                skip = strings[name : name + 1] == b"_"
                known = len(self.file.strings) - 1, name + skip
                self._function(value, known, "symbol")
                seen = kind & EXTERNAL and not kind & PRIVATE
                if seen and self.file.kind == "library" and self.file.is_code(value):
                    exports.setdefault(value, []).append(known)
        self.file.exports, self.file.undefined = exports, frozenset(undefined)

    def _function(self, address: int, name: Name, source: Confidence) -> None:
        code = self.file.code_at(address)
        if code is None:
            return
        functions = self._functions.setdefault(code.index, {})
        if len(functions) >= MOST_ROWS:
            raise ArtifactError(f"Mach-O: more than {MOST_ROWS} functions are not read")
        functions[address] = Range(address, 0, name, source, False)

    def _links(self, found: dict[int, bytes]) -> None:
        relocations = self.file.relocations
        imported(self._imports(found), relocations)
        info = _DYLD_INFO if _DYLD_INFO in found else _DYLD_INFO_ONLY
        opcodes = self.linked(info, "the table of addresses in data")
        moved(self._pointers(opcodes), relocations)
        fixups = self.linked(_CHAINED_FIXUPS, "the table of addresses in data")
        moved(chained(fixups, self.segments, self._content, self.base), relocations)
        self.file.linked = self.file.kind == "executable" or bool(self.file.exports)

    def _read_go(self) -> None:
        data = (each for each in self.sections if each.name in _GO_DATA)
        parts = [(s.name, s.address, self.read(s.offset, s.size, "a section")) for s in data]
        (flags,) = struct.unpack("<I", self.read(24, 4, "the header"))
        read_other(self.file, parts, not flags & _PIE)

    def _imports(self, found: dict[int, bytes]) -> Iterator[tuple[int, str]]:
        """The slots with the addresses of other files' functions, and their names."""
        numbers = found.get(_DYSYMTAB, b"")
        if len(numbers) < 56 or not self.file.strings:
            return
        offset, count = struct.unpack_from("<II", numbers, 48)
        indirect = memoryview(self.read(offset, 4 * count, "the indirect symbols")).cast("I")
        (strings,) = self.file.strings
        left = _MOST_IMPORTS
        for each in self.sections:
            if each.flags & 0xFF not in _SLOTS:
                continue
            self.file.relocations.of_code.append((each.address, each.address + each.size))
            numbered = indirect[each.indirect : each.indirect + min(each.size // 8, left)]
            left -= len(numbered)
            for slot, number in enumerate(numbered):
                if 16 * number < len(self._table):  # else it is one of this file
                    name, kind = struct.unpack_from("<IB", self._table, 16 * number)
                    if kind & 0xE == 0:
                        yield each.address + 8 * slot, text(strings, name).removeprefix("_")

    def _pointers(self, opcodes: bytes) -> Iterator[tuple[int, int]]:
        """The slots that the loader moves, and the addresses that they hold."""
        segment: Segment = (0, 0, 0)
        content = b""
        for slot in rebased(opcodes, self.segments, self._source.size // 8):
            if not 0 <= slot - segment[0] < segment[2]:
                segment = self.segment_at(slot) or segment
                content = self._content(segment)
            word = content[slot - segment[0] : slot - segment[0] + 8]
            if len(word) == 8:
                yield slot, int.from_bytes(word, "little")

    def _content(self, segment: Segment) -> bytes:
        """The bytes of a segment, which are read once."""
        if segment not in self._contents:
            self._contents[segment] = self.read(segment[1], segment[2], "a segment")
        return self._contents[segment]

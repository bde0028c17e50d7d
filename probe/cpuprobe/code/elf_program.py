"""A reader of 64-bit x86 ELF files: what is executable, which functions there are, which notes.

Written for hostile input: every offset is checked against the file's length, nothing is allocated
from a number in the file. (`code.elf_sections` reads wasmtime's artifacts, which are simpler.)

Layout: System V ABI, edition 4.1, chapters 4 and 5; x86 notes: x86-64 psABI, "Program Property".
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cpuprobe.code.eh_frame import read_unwind
from cpuprobe.code.needs import ArtifactReadError, Confidence
from cpuprobe.words import plain

MACHINES = {
    3: "i386",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC64",
    22: "s390x",
    40: "ARM",
    62: "x86-64",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}
"""e_machine (System V ABI, registry of machines); the common ones."""

ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
_EM_X86_64 = 62
_OSABI_WASMTIME = 200  # wasmtime, crates/environ/src/obj.rs, ELFOSABI_WASMTIME

_SHT_SYMTAB, _SHT_NOTE, _SHT_NOBITS, _SHT_DYNSYM, _SHT_RELA = 2, 7, 8, 11, 4
_SHF_EXECINSTR = 4
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_PT_GNU_EH_FRAME, _PT_GNU_PROPERTY = 0x6474E550, 0x6474E553
_PF_X = 1
_STT_NOTYPE, _STT_OBJECT, _STT_FUNC, _STT_GNU_IFUNC = 0, 1, 2, 10
_STB_GLOBAL = 1
_NT_GNU_PROPERTY_TYPE_0 = 5
_X86_ISA_1_NEEDED, _X86_ISA_1_USED = 0xC0008002, 0xC0010002
_DT_SONAME, _DT_RELA, _DT_RELASZ = 14, 7, 8
_R_X86_64_IRELATIVE = 37
_LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_XINDEX = 0xFFFF


@dataclass(frozen=True, slots=True)
class CodeBytes:
    """Executable bytes, from a section, or from a segment where there are no sections."""

    index: int
    name: str
    address: int
    data: bytes

    def between(self, start: int, end: int) -> bytes:
        """The bytes from one address to another."""
        return self.data[start - self.address : end - self.address]


Name = tuple[int, int]
"""Which string table, and where in it: most names are never looked at."""
NAMELESS: Name = (-1, 0)


class Range(NamedTuple):
    """A function, or bytes that no function claims.

    Attributes:
        start: its first address.
        end: the address behind it; 0 where the file does not say.
        name: NAMELESS where it has none.
        source: how it is known; None: it is not.
        lsda: as in Unwind.
    """

    start: int
    end: int
    name: Name
    source: Confidence | None
    lsda: bool


@dataclass(slots=True)
class ElfFile:
    """What the scan needs of a file.

    Attributes:
        machine: e_machine.
        kind: e_type.
        wasmtime: whether the OS ABI is wasmtime's own.
        entry: e_entry.
        interpreter: it names a dynamic loader.
        soname: it has a name as a library.
        code: executable bytes.
        functions: by index of `code`, then start address.
        objects: ranges of data inside executable bytes, by index of `code`.
        isa_needed: psABI levels.
        isa_used: likewise.
        ifuncs: how many functions are chosen at load time.
        undefined: names of undefined symbols.
        strings: string tables.
        ordered: `code` by address, once it was asked for.
    """

    machine: int
    kind: int
    wasmtime: bool
    entry: int
    interpreter: bool = False
    soname: bool = False
    code: list[CodeBytes] = field(default_factory=list)
    functions: dict[int, dict[int, Range]] = field(default_factory=dict)
    objects: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    isa_needed: tuple[str, ...] = ()
    isa_used: tuple[str, ...] = ()
    ifuncs: int = 0
    undefined: frozenset[str] = frozenset()
    strings: list[bytes] = field(default_factory=list)
    ordered: list[CodeBytes] = field(default_factory=list)

    def code_at(self, address: int) -> CodeBytes | None:
        """The executable bytes that hold an address; None where there are none."""
        if not self.ordered:
            self.ordered = sorted(self.code, key=lambda code: code.address)
        place = bisect_right(self.ordered, address, key=lambda code: code.address) - 1
        if place < 0:
            return None
        code = self.ordered[place]
        return code if address < code.address + len(code.data) else None

    def name(self, name: Name) -> str:
        """The text of a name, empty for NAMELESS; fit to print."""
        table, offset = name
        return _text(self.strings[table], offset) if table >= 0 else ""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class _Segment:
    type: int
    flags: int
    offset: int
    address: int
    size: int


def _slice(data: memoryview, offset: int, size: int, what: str) -> memoryview:
    if offset > len(data) or size > len(data) - offset:
        raise ArtifactReadError(f"ELF: {what} reaches past the end of the file")
    return data[offset : offset + size]


def _text(table: bytes, offset: int) -> str:
    """A name, made fit to print: at most 300 characters, none of them a control character."""
    end = table.find(b"\0", offset, offset + 300)
    return plain(table[offset : end if end >= 0 else offset + 300].decode("utf-8", "replace"))


def read_elf(content: bytes | memoryview) -> ElfFile:
    """Reads an ELF file. Of other machines than x86-64 nothing but the header is read.

    Args:
        content: the whole file.

    Raises:
        ArtifactReadError: not an ELF file, cut off, or an offset points outside of it.
    """
    data = memoryview(content)
    if len(data) < 4 or bytes(data[:4]) != b"\x7fELF":
        raise ArtifactReadError("not an ELF file")
    if len(data) < 20:
        raise ArtifactReadError("ELF: the header is cut off")
    order = {1: "<", 2: ">"}.get(data[5])
    if order is None or data[4] not in (1, 2):
        raise ArtifactReadError("ELF: neither 32-bit nor 64-bit, or of no known byte order")
    kind, machine = struct.unpack_from(order + "HH", data, 16)
    wasmtime = data[7] == _OSABI_WASMTIME
    if machine != _EM_X86_64 or data[4] != 2 or order != "<":
        # The x32 ABI (x86-64 code in a 32-bit file) is not for us either.
        return ElfFile(-1 if machine == _EM_X86_64 else machine, kind, wasmtime, 0)
    if len(data) < 64:
        raise ArtifactReadError("ELF: the header is cut off")
    header = struct.unpack_from("<QQQIHHHHHH", data, 24)
    entry, segment_offset, section_offset, _, _, segment_size, segments, size, count, names = header
    file = ElfFile(machine, kind, wasmtime, entry)
    if kind not in (ET_REL, ET_EXEC, ET_DYN):
        raise ArtifactReadError(f"ELF: neither program, library nor object file (type {kind})")
    loaded = _segments(data, segment_offset, segment_size, segments)
    sections = _sections(data, section_offset, size, count, names)
    _code(file, data, sections, loaded)
    _symbols(file, data, sections)
    if kind != ET_REL:  # the addresses in an object file's .eh_frame wait for relocation
        _unwind(file, data, sections, loaded)
    _notes(file, data, sections, loaded)
    _dynamic(file, data, sections, loaded)
    return file


def _segments(data: memoryview, offset: int, size: int, count: int) -> list[_Segment]:
    if count == 0:
        return []
    if size != 56:
        raise ArtifactReadError(f"ELF: program headers of {size} bytes instead of 56")
    table = _slice(data, offset, size * count, "the program-header table")
    return [
        _Segment(row[0], row[1], row[2], row[3], row[5])
        for row in struct.iter_unpack("<IIQQQQQQ", table)
    ]


def _sections(data: memoryview, offset: int, size: int, count: int, names: int) -> list[_Section]:
    if offset == 0:
        return []
    if size != 64:
        raise ArtifactReadError(f"ELF: section headers of {size} bytes instead of 64")
    if count == 0 or names == _XINDEX:  # extended numbering: the null section holds the numbers
        first = struct.unpack("<IIQQQQIIQQ", _slice(data, offset, 64, "the section-header table"))
        count = count or first[5]
        names = first[6] if names == _XINDEX else names
    table = _slice(data, offset, 64 * count, "the section-header table")
    rows = list(struct.iter_unpack("<IIQQQQIIQQ", table))
    text = b""
    if names < len(rows):
        text = bytes(_slice(data, rows[names][4], rows[names][5], "the section names"))
    return [
        _Section(_text(text, row[0]), row[1], row[2], row[3], row[4], row[5], row[6])
        for row in rows
    ]


def _code(
    file: ElfFile, data: memoryview, sections: list[_Section], segments: list[_Segment]
) -> None:
    found = [
        (index, each.name, each.address, each.offset, each.size)
        for index, each in enumerate(sections)
        if each.flags & _SHF_EXECINSTR and each.type != _SHT_NOBITS and each.size
    ]
    if not found:
        found = [
            (-1 - index, "", each.address, each.offset, each.size)
            for index, each in enumerate(segments)
            if each.type == _PT_LOAD and each.flags & _PF_X and each.size
        ]
    if sum(each[4] for each in found) > len(data):
        raise ArtifactReadError("ELF: its executable sections are larger than the file")
    for index, name, address, offset, size in found:
        body = _slice(data, offset, size, "an executable section")
        if address + size >= 1 << 64:
            raise ArtifactReadError("ELF: an executable section lies past the end of memory")
        file.code.append(CodeBytes(index, name, address, bytes(body)))


def _symbols(file: ElfFile, data: memoryview, sections: list[_Section]) -> None:
    by_section = {each.index: number for number, each in enumerate(file.code)}
    undefined: set[str] = set()
    tables = [each for each in sections if each.type in (_SHT_SYMTAB, _SHT_DYNSYM)]
    # One table of each type is all that the ABI allows; a file with thousands is an attack.
    for table in tables[:2]:
        if table.link >= len(sections) or table.size % 24:
            raise ArtifactReadError("ELF: damaged symbol table")
        names = sections[table.link]
        text = bytes(_slice(data, names.offset, names.size, "a string table"))
        rows = _slice(data, table.offset, table.size, "a symbol table")
        file.strings.append(text)
        for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", rows):
            kind = info & 0xF
            if section == 0:
                if name and len(undefined) < 65536:
                    undefined.add(_text(text, name))
                continue
            number = by_section.get(section)
            if number is None or kind not in (
                _STT_NOTYPE,
                _STT_OBJECT,
                _STT_FUNC,
                _STT_GNU_IFUNC,
            ):
                continue
            code = file.code[number]
            start = value + code.address if file.kind == ET_REL else value
            if not code.address <= start < code.address + len(code.data):
                continue
            if kind == _STT_OBJECT:
                if size:
                    file.objects.setdefault(number, []).append((start, start + size))
                continue
            if kind == _STT_NOTYPE and (info >> 4 != _STB_GLOBAL or size):
                continue  # labels inside a function, or of data
            file.ifuncs += kind == _STT_GNU_IFUNC
            functions = file.functions.setdefault(number, {})
            known = functions.get(start)
            if known is None or (size and not known.end):
                end = start + size if size else 0
                functions[start] = Range(start, end, (len(file.strings) - 1, name), "symbol", False)
    file.undefined = frozenset(undefined)


def _unwind(
    file: ElfFile, data: memoryview, sections: list[_Section], segments: list[_Segment]
) -> None:
    where = [
        (each.address, each.offset, each.size)
        for each in sections
        if each.name == ".eh_frame" and each.type != _SHT_NOBITS
    ][:1] or list(_eh_frame_by_header(data, segments))
    ordered = sorted((code.address, number) for number, code in enumerate(file.code))
    starts = [*(start for start, _ in ordered), 1 << 64]
    for address, offset, size in where:
        body = bytes(_slice(data, offset, size, ".eh_frame"))
        low = high = 0
        functions: dict[int, Range] = {}
        for start, end, lsda in read_unwind(body, address):
            if not low <= start < high:  # in another section than the entry before
                place = bisect_right(starts, start) - 1
                if place < 0:
                    continue
                low, number = ordered[place]
                high = min(low + len(file.code[number].data), starts[place + 1])
                functions = file.functions.setdefault(number, {})
                if start >= high:
                    continue
            known = functions.get(start)
            if known is None:
                functions[start] = Range(start, end, NAMELESS, "unwind", lsda)
            elif lsda or not known.end:
                functions[start] = Range(start, known.end or end, known.name, known.source, lsda)


def _eh_frame_by_header(
    data: memoryview, segments: list[_Segment]
) -> Iterator[tuple[int, int, int]]:
    """Finds .eh_frame through PT_GNU_EH_FRAME (LSB core, section 10.6.2), without sections."""
    for header in segments:
        if header.type != _PT_GNU_EH_FRAME or header.size < 8:
            continue
        version, encoding, _, _, pointer = struct.unpack_from(
            "<BBBBi", _slice(data, header.offset, 8, "the header of .eh_frame")
        )
        if version != 1 or encoding != 0x1B:  # relative to itself, 32 bits: what linkers write
            continue
        address = header.address + 4 + pointer
        for segment in segments:
            if (
                segment.type == _PT_LOAD
                and segment.address <= address < segment.address + segment.size
            ):
                skip = address - segment.address
                yield address, segment.offset + skip, segment.size - skip
                return


def _notes(
    file: ElfFile, data: memoryview, sections: list[_Section], segments: list[_Segment]
) -> None:
    where = [(each.offset, each.size) for each in segments if each.type == _PT_GNU_PROPERTY]
    where = where or [
        (each.offset, each.size)
        for each in sections
        if each.type == _SHT_NOTE and each.name == ".note.gnu.property"
    ]
    needed = used = 0
    for offset, size in where[:4]:
        body = _slice(data, offset, size, "a note")
        position = 0
        while position + 16 <= len(body):
            name_size, length, kind = struct.unpack_from("<III", body, position)
            start = position + 12 + (name_size + 3 & ~3)
            if name_size > len(body) or length > len(body) - start:
                raise ArtifactReadError("ELF: a note reaches past its end")
            owner = bytes(body[position + 12 : position + 12 + name_size])
            if owner == b"GNU\0" and kind == _NT_GNU_PROPERTY_TYPE_0:
                for key, value in _properties(body[start : start + length]):
                    needed |= value if key == _X86_ISA_1_NEEDED else 0
                    used |= value if key == _X86_ISA_1_USED else 0
            position = start + (length + 7 & ~7)
    file.isa_needed = tuple(name for bit, name in enumerate(_LEVELS) if needed >> bit & 1)
    file.isa_used = tuple(name for bit, name in enumerate(_LEVELS) if used >> bit & 1)


def _properties(body: memoryview) -> Iterator[tuple[int, int]]:
    position = 0
    while position + 8 <= len(body):
        key, size = struct.unpack_from("<II", body, position)
        if size > len(body) - position - 8:
            raise ArtifactReadError("ELF: a property reaches past its note")
        if size == 4:
            yield key, struct.unpack_from("<I", body, position + 8)[0]
        position += 8 + (size + 7 & ~7)


def _dynamic(
    file: ElfFile, data: memoryview, sections: list[_Section], segments: list[_Segment]
) -> None:
    for segment in segments:
        if segment.type == _PT_INTERP:
            file.interpreter = True
        elif segment.type == _PT_DYNAMIC:
            body = _slice(data, segment.offset, segment.size & ~15, "the dynamic section")
            file.soname |= any(tag == _DT_SONAME for tag, _ in struct.iter_unpack("<QQ", body))
    for section in sections:
        if section.type == _SHT_RELA and file.kind != ET_REL and section.size % 24 == 0:
            body = _slice(data, section.offset, section.size, "a relocation table")
            # r_info is the second of three words, its low 32 bits the type.
            kinds = memoryview(bytes(body)).cast("I")[2::6].tolist()
            file.ifuncs += kinds.count(_R_X86_64_IRELATIVE)

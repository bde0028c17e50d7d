"""The reader of ELF files: programs, libraries, objects, cores, wasmtime's artifacts.

Written for hostile input. Every offset is checked against the file's length, every byte that a
table makes the reader look at is counted, and a file whose tables claim its bytes many times over
is refused; of each kind of table the first alone is read, as the ABI allows no more.

Layout: System V ABI, edition 4.1, chapters 4 and 5 (Elf64_Ehdr, Elf64_Shdr, Elf64_Phdr, Elf64_Sym).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cpuprobe.code.large import begin_reading
from cpuprobe.errors import CaptureError

MAXIMUM_SEGMENTS = 1 << 17
"""The kernel gives a process 65,530 mappings unless told otherwise (vm.max_map_count)."""
MAXIMUM_SECTIONS = 1 << 18
"""An object file has one for each function; the largest known have some ten thousand."""
LONGEST_NAME = 300
"""Characters of a name that are read."""
_PIECE = 16 << 20

EM_X86_64, EM_AARCH64 = 62, 183
ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_PROPERTY = 0x6474E550, 0x6474E552, 0x6474E553
PF_X, PF_W = 1, 2
SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 1, 2, 4, 7, 8, 11
SHT_INIT_ARRAY, SHT_PREINIT_ARRAY, SHT_GROUP, SHT_RELR = 14, 16, 17, 19
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS = 1, 2, 4, 1024
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 0, 1, 2, 10
_XINDEX = 0xFFFF  # SHN_XINDEX and PN_XNUM: section 0 has the number
_BYTE_ORDER = {1: "<", 2: ">"}


class ArtifactError(CaptureError):
    """A file that cannot be read as what it should be; one line, without the file's name."""


class Source(Protocol):
    """A file, open or in memory: `cpuprobe.files.OpenedFile`, or `Held`."""

    size: int

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`."""

    def into(self, offset: int, room: memoryview) -> int:
        """Fills memory with the bytes at `offset`; returns how many there were."""


class Held:
    """A file in memory."""

    def __init__(self, content: bytes | memoryview) -> None:
        """Takes it as it is."""
        self._content = memoryview(content)
        self.size = len(content)

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        return bytes(self._content[offset : offset + size])

    def into(self, offset: int, room: memoryview) -> int:
        """Fills memory with the bytes at `offset`."""
        found = self._content[offset : offset + len(room)]
        room[: len(found)] = found
        return len(found)


class Segment(NamedTuple):
    """An ELF program header: p_type, p_flags, p_offset, p_vaddr, p_filesz, p_memsz."""

    type: int
    flags: int
    offset: int
    address: int
    size: int
    memory_size: int


class Bounded:
    """A file whose tables are read, and the same bytes not many times over."""

    def __init__(self, source: Source, format: str) -> None:
        """Nothing is read yet; `format` begins every error."""
        self._source = source
        self._format = format
        self._left = 3 * source.size + _PIECE

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Bytes of the file.

        Raises:
            ArtifactError: there are not so many, naming `what`, or more have been read in all than
                a file has whose tables do not overlap.
        """
        content, wait = self.begin(offset, size, what)
        wait()
        return content

    def begin(self, offset: int, size: int, what: str) -> tuple[bytes, Callable[[], None]]:
        """As `read`, but all is there only when the second of what is returned has been called."""
        if size > self._source.size or offset > self._source.size - size:
            raise ArtifactError(f"{self._format}: {what} reaches past the end of the file")
        self._left -= size
        if self._left < 0:
            raise ArtifactError(f"{self._format}: its tables claim the same bytes many times over")
        content, count = begin_reading(self._source, offset, size)

        def wait() -> None:
            if count() != size:
                raise ArtifactError("it became shorter while it was read")

        return content, wait


class Section(NamedTuple):
    """An ELF section header: its number, and sh_type to sh_info but for sh_name.

    wasmtime leaves the address 0, so that the values of symbols are offsets into the section. What
    it reads itself from is not the Elf, which holds it: cycles are never looked for (cli/check.py).
    """

    file: Bounded
    names: Callable[[], bytes]
    number: int
    name_offset: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int

    @property
    def name(self) -> str:
        """From the string table of section names, fit to print; empty without one."""
        return text(self.names(), self.name_offset)

    @property
    def data(self) -> bytes:
        """The contents; empty for SHT_NOBITS. They are read anew each time."""
        if self.type == SHT_NOBITS:
            return b""
        return self.file.read(self.offset, self.size, f"section {self.number}")


SYMBOL = "IBBHQQ"
"""An Elf64_Sym: st_name, st_info, st_other, st_shndx, st_value, st_size."""


class _Header(NamedTuple):
    entry: int
    segments: int
    sections: int
    segment_size: int
    segment_count: int
    section_size: int
    section_count: int
    names: int


class Elf:
    """One file.

    Attributes:
        order: `<` or `>`, as the struct module writes it.
        wide: it is a 64-bit file; of others no table is read.
        kind: e_type.
        machine: e_machine.
        read: as Bounded has it, and so is `begin`.
        abi: e_ident[EI_OSABI].
    """

    def __init__(self, source: Source) -> None:
        """Reads the header.

        Raises:
            ArtifactError: not an ELF file, or cut short.
        """
        self._file = Bounded(source, "ELF")
        self.read, self.begin = self._file.read, self._file.begin
        start = source.some(0, 64)
        if start[:4] != b"\x7fELF":
            raise ArtifactError("not an ELF file")
        if len(start) < 20:
            raise ArtifactError("an ELF file cut short")
        if start[5] not in _BYTE_ORDER or start[4] not in (1, 2):
            raise ArtifactError("ELF: not a 64-bit file nor a 32-bit one of a known byte order")
        self.order = _BYTE_ORDER[start[5]]
        self.wide = start[4] == 2
        self.abi = start[7]
        self.kind, self.machine = struct.unpack_from(self.order + "HH", start, 16)
        self._start = start

    @property
    def entry(self) -> int:
        """e_entry."""
        return self._header.entry

    @functools.cached_property
    def _header(self) -> _Header:
        if not self.wide:
            raise ArtifactError("ELF: a 32-bit file, not a 64-bit file")
        if len(self._start) < 64:
            raise ArtifactError("an ELF file cut short")
        row = struct.unpack_from(self.order + "QQQIHHHHHH", self._start, 24)
        return _Header(*row[:3], *row[5:])

    @functools.cached_property
    def _first_section(self) -> tuple[int, ...]:
        if self._header.sections == 0:
            raise ArtifactError("ELF: no section header has the number of the others")
        first = self.read(self._header.sections, 64, "the section-header table")
        return struct.unpack(self.order + "IIQQQQIIQQ", first)

    @functools.cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The program headers; ArtifactError if they cannot be."""
        header = self._header
        count = header.segment_count
        if count == _XINDEX:
            count = self._first_section[7]
        if count and header.segment_size != 56:
            raise ArtifactError(f"ELF: program headers of {header.segment_size} bytes, not 56")
        if count > MAXIMUM_SEGMENTS:
            raise ArtifactError(f"ELF: {count} program headers: no file has so many")
        table = self.read(header.segments, 56 * count, "the program-header table")
        return tuple(
            Segment._make((*row[:4], *row[5:7]))
            for row in struct.iter_unpack(self.order + "IIQQQQQQ", table)
        )

    @functools.cached_property
    def sections(self) -> tuple[Section, ...]:
        """The section headers, the null section included; ArtifactError if they cannot be."""
        header = self._header
        if header.sections == 0:
            return ()
        if header.section_size != 64:
            raise ArtifactError(f"ELF: section headers of {header.section_size} bytes, not 64")
        count = header.section_count or self._first_section[5]
        if count > MAXIMUM_SECTIONS:
            raise ArtifactError(f"ELF: {count} section headers: no file has so many")
        table = self.read(header.sections, 64 * count, "the section-header table")
        rows = [*struct.iter_unpack(self.order + "IIQQQQIIQQ", table)]
        index = self._first_section[6] if header.names == _XINDEX else header.names
        is_there = index < count and rows[index][1] != SHT_NOBITS
        start, size = rows[index][4:6] if is_there else (0, 0)
        names = functools.cache(functools.partial(self.read, start, size, f"section {index}"))
        return tuple(Section(self._file, names, at, *row[:8]) for at, row in enumerate(rows))

    def segment(self, kind: int) -> Segment | None:
        """The first segment of a type."""
        return next((segment for segment in self.segments if segment.type == kind), None)

    def section(self, kind: int) -> Section | None:
        """The first section of a type."""
        return next((section for section in self.sections if section.type == kind), None)

    def loaded(self, address: int) -> tuple[int, int] | None:
        """Where in the file the bytes at an address stand, and how many; None if nowhere."""
        for segment in self.segments:
            inside = address - segment.address
            if segment.type == PT_LOAD and 0 <= inside < segment.size:
                return segment.offset + inside, segment.size - inside
        return None

    def symbols(self, table: Section) -> tuple[bytes, bytes]:
        """The string table of a symbol table, and the table (rows of SYMBOL, of this byte order).

        Raises:
            ArtifactError: one of them is damaged.
        """
        if table.link >= len(self.sections) or table.size % 24:
            raise ArtifactError("ELF: damaged symbol table")
        names = self.sections[table.link].data
        return names, table.data


def text(table: bytes, offset: int) -> str:
    """A name in a string table, fit to print: bounded, without a control character."""
    end = table.find(b"\0", offset, offset + LONGEST_NAME)
    raw = table[offset : end if end >= 0 else offset + LONGEST_NAME].decode("utf-8", "replace")
    return raw if raw.isprintable() else "".join(c if c.isprintable() else "?" for c in raw)


def read_sections(content: bytes | memoryview) -> tuple[Section, ...]:
    """The sections of a file in memory; ArtifactError if it is no 64-bit ELF file."""
    return Elf(Held(content)).sections

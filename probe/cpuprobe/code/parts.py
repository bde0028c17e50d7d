"""What a linker needs of an object file: sections, relocations, symbols.

Layout: System V ABI, edition 4.1, chapter 4; of groups of sections, "Section Groups" there.
"""

from __future__ import annotations

from typing import NamedTuple

from cpuprobe.code import elf as abi
from cpuprobe.code.cpuinfo import questions
from cpuprobe.code.elf import EM_X86_64, Elf, Section, Source

MOST_CONSTANTS = 1 << 20
"""Bytes of constants of one object in which the name of /proc/cpuinfo is looked for."""
_CONSTRUCTORS = (".init_array", ".ctors", ".preinit_array")
_UNWINDING = ".eh_frame"
_GROUP_COMDAT = 1
_SECTION = 400
"""Bytes that are held of a section beside its own, by measurement."""


class PartSection(NamedTuple):
    """A section that is loaded.

    Attributes:
        number: in its object.
        address: what its object numbers it from.
        size: in bytes.
        code: of executable ones the bytes, which may be changed.
        table: its relocations, as Elf64_Rela.
        starts: every run executes the functions whose addresses stand in it.
        questions: where in it the name of /proc/cpuinfo stands.
    """

    number: int
    address: int
    size: int
    code: bytes | None
    table: bytes
    starts: bool = False
    questions: tuple[int, ...] = ()


class Part(NamedTuple):
    """One object.

    Attributes:
        sections: those that are loaded.
        symbols: its table of Elf64_Sym.
        strings: their names.
        groups: sections of which a linker takes those of one object: where the group's name is,
            and their numbers.
        is_windows: its functions call each other as on Windows.
        is_remade: its tables were put into this form, which takes time.
    """

    sections: list[PartSection]
    symbols: bytes
    strings: bytes
    groups: list[tuple[int, list[int]]]
    is_windows: bool = False
    is_remade: bool = False

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        held = sum(len(each.code or b"") + _SECTION for each in self.sections)
        tables = len(self.symbols) + sum(len(each.table) for each in self.sections)
        return held + len(self.strings) + tables * (4 if self.is_remade else 1)


def part(source: Source) -> Part | None:
    """What a linker needs of an object for x86-64; None for other files.

    Raises:
        ArtifactError: it is damaged.
    """
    if source.some(0, 4) != b"\x7fELF":
        return None
    elf = Elf(source)
    if elf.kind != abi.ET_REL or elf.machine != EM_X86_64 or not elf.wide or elf.order != "<":
        return None
    symbols = elf.section(abi.SHT_SYMTAB)
    if symbols is None:
        return None
    strings, rows = elf.symbols(symbols)
    tables = {each.info: each for each in elf.sections if each.type == abi.SHT_RELA}
    asked: dict[int, list[int]] = {}
    for section, at in questions(elf, MOST_CONSTANTS):
        asked.setdefault(section.number, []).append(at)
    sections = [
        PartSection(
            each.number,
            each.address,
            each.size,
            _code(each),
            tables[each.number].data if each.number in tables else b"",
            each.name.startswith(_CONSTRUCTORS),
            tuple(asked.get(each.number, ())),
        )
        for each in elf.sections
        if each.flags & abi.SHF_ALLOC and each.size and not each.name.startswith(_UNWINDING)
    ]
    return Part(sections, rows, strings, _groups(elf, rows))


def _code(section: Section) -> bytes | None:
    """The bytes of a section of code, of which relocation changes some."""
    if not section.flags & abi.SHF_EXECINSTR or section.type == abi.SHT_NOBITS:
        return None
    return bytearray(section.data)  # type: ignore[return-value]


def _groups(elf: Elf, rows: bytes) -> list[tuple[int, list[int]]]:
    found = []
    left = 8 * len(elf.sections)  # each is in one group, of which each has a word before
    for each in elf.sections:
        left -= each.size if each.type == abi.SHT_GROUP else 0
        if left < 0:
            return []
        if each.type == abi.SHT_GROUP and 24 * each.info + 24 <= len(rows):
            words = memoryview(each.data[: each.size & ~3]).cast("I").tolist()
            if words and words[0] & _GROUP_COMDAT:
                start = int.from_bytes(rows[24 * each.info : 24 * each.info + 4], "little")
                found.append((start, words[1:]))
    return found

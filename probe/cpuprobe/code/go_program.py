"""What Go's linker put into a file: the level that it was built for, its functions."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable

from cpuprobe.code import elf as abi
from cpuprobe.code import go
from cpuprobe.code.elf import Elf
from cpuprobe.code.functions import HIGHEST
from cpuprobe.code.making import maker
from cpuprobe.code.program import Binary

_GO_TABLE = "__gopclntab"  # in Mach-O
_MOST_SECTIONS = _MOST_TABLES = 4
"""Sections that may have the table, and places in one that may be its beginning."""


def read_go(file: Binary, elf: Elf) -> None:
    """Takes in what Go's linker says, and the functions that no symbol tells of."""
    for section in elf.sections:
        if section.name == ".go.buildinfo" and section.type == abi.SHT_PROGBITS:
            content = elf.read(section.offset, min(section.size, go.MOST), ".go.buildinfo")
            file.go = go.level(content) or ""
    held = dict(file.relocations.words)
    sections = itertools.islice(_go_sections(elf), _MOST_SECTIONS)
    parts = ((each.address, held.get(each.address) or each.data) for each in sections)
    _read_table(file, parts, lambda table: _go_text(file, elf, table))


def read_other(file: Binary, sections: Iterable[tuple[str, int, bytes]], is_fixed: bool) -> None:
    """Likewise of a Windows or macOS program, which is Go's.

    Args:
        file: the program.
        sections: of data: name, address, content.
        is_fixed: it does not move.
    """
    held = list(sections)
    for _, _, content in held:
        file.go = file.go or go.level(content) or ""
    tables = [(at, content) for name, at, content in held if name in (".rdata", _GO_TABLE)]
    text = file.code[0].address if file.code else 0
    _read_table(file, tables, lambda _: text)
    if is_fixed:
        file.relocations.words = [(at, content) for name, at, content in held if name != _GO_TABLE]


def _read_table(
    file: Binary, parts: Iterable[tuple[int, bytes]], text: Callable[[int], int]
) -> None:
    """Takes in the functions of the first table that is one.

    Args:
        file: the program.
        parts: address and content of what may hold it.
        text: the address that a table's functions are counted from, by its own.
    """
    for address, content in parts:
        for match in itertools.islice(go.TABLE.finditer(content), _MOST_TABLES):
            at = match.start()
            table = go.read_table(content[at:] if at else content, text(address + at))
            if table is not None and _is_taken_in(file, table):
                return


def _go_sections(elf: Elf) -> list[abi.Section]:
    """Where Go's table of functions may be: a section of its own; others where lld has linked."""
    data = [section for section in elf.sections if section.type == abi.SHT_PROGBITS]
    own = [section for section in data if section.name.endswith(".gopclntab")]
    is_go = any(section.name == ".go.buildinfo" for section in data)
    return own or [each for each in data if is_go and each.name in (".data.rel.ro", ".rodata")]


def _go_text(file: Binary, elf: Elf, table: int) -> int:
    """The address that Go's functions are counted from; 0 where it is not found."""
    slots = {table + go.TEXT_OF_TABLE: 0}
    for section in elf.sections:
        if section.name.endswith(".go.module") and section.type == abi.SHT_PROGBITS:
            content = section.data[go.TEXT_OF_MODULE : go.TEXT_OF_MODULE + 8]
            slots[section.address + go.TEXT_OF_MODULE] = int.from_bytes(content, "little")
    for content in file.relocations.tables:
        for slot in slots:
            at = content.find(struct.pack("<Q", slot & HIGHEST))
            if at >= 0 and at % 24 == 0 and at + 24 <= len(content):
                slots[slot] = int.from_bytes(content[at + 16 : at + 24], "little")
    text = next((code.address for code in file.code if code.name == ".text"), 0)
    return next(filter(None, slots.values()), text)


def _is_taken_in(file: Binary, table: go.Table) -> bool:
    """Takes in the functions of Go's own table; whether it is one. Symbols come before it."""
    make, number = maker(), len(file.strings)
    found = make.go(table, number, [each.span for each in file.code])
    if found is None:
        return False  # damaged; or its addresses wait for relocation
    rows, file.go_code = found
    file.strings.append(table.content)
    file.functions = make.settled([file.functions.rows, rows])
    return True

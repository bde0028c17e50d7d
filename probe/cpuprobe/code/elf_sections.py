"""A reader of just enough of a 64-bit ELF file: section contents and function symbols.

Wasmtime's artifacts are such files (an OS ABI of their own, no program headers), see
crates/environ/src/obj.rs in wasmtime. Written for hostile input: every offset is checked against
the file's length and nothing is allocated from a number in the file.

Layout: System V ABI, edition 4.1, chapter 4 (Elf64_Ehdr, Elf64_Shdr, Elf64_Sym).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SECTIONS = 4096
"""More sections than this are refused; wasmtime writes about fifteen."""

_HEADER = "16sHHIQQQIHHHHHH"
_SECTION = "IIQQQQIIQQ"
_SYMBOL = "IBBHQQ"
_HEADER_SIZE = 64
_SECTION_SIZE = 64
_SYMBOL_SIZE = 24
_BYTE_ORDER = {1: "<", 2: ">"}
_SHT_SYMTAB = 2
_SHT_NOBITS = 8
_STT_FUNC = 2


class ArtifactError(ValueError):
    """The file is not a wasmtime artifact that can be read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section header, with the names of the System V ABI.

    Attributes:
        name: from the section-header string table.
        type: sh_type.
        address: sh_addr; wasmtime leaves it 0, so symbol values are offsets into the section.
        data: the contents; empty for SHT_NOBITS.
        link: sh_link, for a symbol table the index of its string table.
        byte_order: ``<`` or ``>``, as the struct module writes it.
    """

    name: str
    type: int
    address: int
    data: memoryview
    link: int
    byte_order: str


@dataclass(frozen=True, slots=True)
class FunctionSymbol:
    """A symbol of type STT_FUNC: the bytes from ``value`` to ``value + size`` of its section."""

    name: str
    section: int
    value: int
    size: int


def _text(table: memoryview, offset: int, what: str) -> str:
    """The NUL-terminated string at an offset of a string table, at most 4096 bytes."""
    if offset >= len(table):
        raise ArtifactError(f"ELF: the name of {what} lies outside the string table")
    raw = bytes(table[offset : offset + 4096])
    end = raw.find(b"\0")
    if end < 0:
        raise ArtifactError(f"ELF: the name of {what} has no end")
    return raw[:end].decode("utf-8", "replace")


def _slice(data: memoryview, offset: int, size: int, what: str) -> memoryview:
    if offset > len(data) or size > len(data) - offset:
        raise ArtifactError(f"ELF: {what} reaches past the end of the file")
    return data[offset : offset + size]


def read_sections(artifact: bytes | memoryview) -> tuple[Section, ...]:
    """Reads the section headers.

    Args:
        artifact: the whole file.

    Returns:
        All sections in file order, the null section included, so that indices fit.

    Raises:
        ArtifactError: not a 64-bit ELF file, or an offset points outside of it.
    """
    data = memoryview(artifact)
    if len(data) < _HEADER_SIZE or bytes(data[:4]) != b"\x7fELF":
        raise ArtifactError("not an ELF file")
    order = _BYTE_ORDER.get(data[5])
    if data[4] != 2 or order is None:
        raise ArtifactError("ELF: not a 64-bit file")
    header = struct.unpack_from(order + _HEADER, data)
    table_offset, entry_size, count, names_index = header[6], header[11], header[12], header[13]
    if count == 0 or count > MAX_SECTIONS:
        raise ArtifactError(f"ELF: {count} section headers (1 to {MAX_SECTIONS} can be read)")
    if entry_size != _SECTION_SIZE:
        raise ArtifactError(f"ELF: section headers of {entry_size} bytes instead of 64")
    if names_index >= count:
        raise ArtifactError("ELF: no section-header string table")
    table = _slice(data, table_offset, count * _SECTION_SIZE, "the section-header table")
    rows = list(struct.iter_unpack(order + _SECTION, table))
    contents = [
        data[:0] if row[1] == _SHT_NOBITS else _slice(data, row[4], row[5], f"section {index}")
        for index, row in enumerate(rows)
    ]
    names = contents[names_index]
    return tuple(
        Section(_text(names, row[0], f"section {index}"), row[1], row[3], body, row[6], order)
        for index, (row, body) in enumerate(zip(rows, contents, strict=True))
    )


def function_symbols(sections: tuple[Section, ...]) -> Iterator[FunctionSymbol]:
    """Yields the function symbols of every symbol table.

    Args:
        sections: what ``read_sections`` returned.

    Raises:
        ArtifactError: a symbol table, a name or a symbol's range is out of bounds.
    """
    for table in sections:
        if table.type != _SHT_SYMTAB:
            continue
        if table.link >= len(sections) or len(table.data) % _SYMBOL_SIZE:
            raise ArtifactError("ELF: damaged symbol table")
        names = sections[table.link].data
        for index, row in enumerate(struct.iter_unpack(table.byte_order + _SYMBOL, table.data)):
            name, info, _, section, value, size = row
            if info & 0xF != _STT_FUNC or section == 0 or section >= len(sections):
                continue
            body = len(sections[section].data)
            if value > body or size > body - value:
                raise ArtifactError(f"ELF: symbol {index} reaches past the end of its section")
            yield FunctionSymbol(_text(names, name, f"symbol {index}"), section, value, size)

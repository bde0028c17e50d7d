"""How the parts of a PE file refer to each other, in the form that ELF files have for it.

So one search serves both (cpuprobe.code.links). Layout: Microsoft, "PE Format", ".reloc".
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator

from cpuprobe.code.program import Relocations

MOST_WORDS = 1 << 22
"""Addresses in data; Chromium has a million."""
_DIR64 = 10  # IMAGE_REL_BASED_DIR64
_RELATIVE, _SLOT = 8, 7  # R_X86_64_RELATIVE, R_X86_64_JUMP_SLOT
_SYMBOL = struct.Struct("<IBBHQQ")
Read = Callable[[int, int], bytes]
"""Up to so many bytes at an address that counts from the image's start."""


def pointers(table: bytes, read: Read, base: int) -> bytes:
    """The addresses in data, as a table of Elf64_Rela.

    Args:
        table: the base relocations.
        read: reads the image.
        base: its preferred address.
    """
    made = array("Q")
    for page, offsets in _blocks(table):
        # A word may begin on the page's last byte.
        content = read(page, 4096 + 8)
        for offset in offsets:
            word = content[offset & 0xFFF : (offset & 0xFFF) + 8]
            if offset >> 12 == _DIR64 and len(word) == 8 and len(made) < 3 * MOST_WORDS:
                place = base + page + (offset & 0xFFF)
                made.extend((place, _RELATIVE, int.from_bytes(word, "little")))
    return made.tobytes()


def _blocks(table: bytes) -> Iterator[tuple[int, array[int]]]:
    """The pages, each with its relocations."""
    at = 0
    while at + 8 <= len(table):
        page, size = struct.unpack_from("<II", table, at)
        if size < 8:
            return
        offsets = array("H")
        offsets.frombytes(table[at + 8 : at + size][: size - 8 & ~1])
        yield page, offsets
        at += size


def imported(slots: Iterable[tuple[int, str]], into: Relocations) -> None:
    """Takes in the names of other libraries' functions, by the slots with their addresses."""
    table, symbols, strings = array("Q"), bytearray(), bytearray(b"\0")
    for slot, name in slots:
        table.extend((slot, len(symbols) // _SYMBOL.size << 32 | _SLOT, 0))
        symbols += _SYMBOL.pack(len(strings), 0, 0, 0, 0, 0)
        strings += name.encode() + b"\0"
    into.tables.append(table.tobytes())
    into.symbols, into.strings = bytes(symbols), bytes(strings)

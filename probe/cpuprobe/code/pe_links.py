"""Addresses in a PE file's data, and names of other libraries' functions.

Layout: Microsoft, "PE Format", ".reloc" and ".idata".
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator

from cpuprobe.code.elf import text

MOST_WORDS = 1 << 22
"""Addresses in data; Chromium has a million."""
_MOST_IMPORTS = 1 << 16
_MOST_LIBRARIES = 1 << 12
_DIR64 = 10  # IMAGE_REL_BASED_DIR64
Read = Callable[[int, int], bytes]
"""Up to so many bytes at an address that counts from the image's start."""


def pointers(table: bytes, read: Read, base: int) -> Iterator[tuple[int, int]]:
    """The slots with addresses, by their own, and these.

    Args:
        table: the base relocations.
        read: reads the image.
        base: its preferred address.
    """
    left = MOST_WORDS
    for page, offsets in _blocks(table):
        if not (left and offsets):
            continue
        content = read(page, 4096 + 8)  # a word may begin on the page's last byte
        for offset in offsets:
            word = content[offset & 0xFFF : (offset & 0xFFF) + 8]
            if offset >> 12 == _DIR64 and len(word) == 8 and left:
                left -= 1
                yield base + page + (offset & 0xFFF), int.from_bytes(word, "little")


def _blocks(table: bytes) -> Iterator[tuple[int, array[int]]]:
    """The pages, each with its relocations."""
    at = 0
    while at + 8 <= len(table):
        page, size = struct.unpack_from("<II", table, at)
        if size < 8:
            return
        offsets = array("H")
        body = table[at + 8 : at + size]
        offsets.frombytes(body[: len(body) & ~1])
        yield page, offsets
        at += size


def imports(directory: bytes, read: Read) -> Iterator[tuple[int, str]]:
    """The slots with the addresses of other libraries' functions, and their names.

    Args:
        directory: the import directory.
        read: reads the image.
    """
    left = _MOST_IMPORTS
    for row in range(0, min(len(directory), 20 * _MOST_LIBRARIES) // 20 * 20, 20):
        names, _, _, _, bound = struct.unpack_from("<5I", directory, row)
        thunks = read(names or bound, 8 * left) if names or bound else b""
        for number, thunk in enumerate(words(thunks, "Q")):
            if not thunk or not left:
                break
            left -= 1
            if not thunk >> 63:  # else it is a number
                yield bound + 8 * number, text(read(thunk + 2 & 0x7FFFFFFF, 64), 0)


def words(table: bytes, form: str) -> Iterator[int]:
    """The numbers in a table, in a form of the struct module; what is cut short is left out."""
    size = struct.calcsize(form)
    for (word,) in struct.iter_unpack(f"<{form}", table[: len(table) // size * size]):
        yield word

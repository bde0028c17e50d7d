"""The addresses in a PE file's data. Layout: Microsoft, "PE Format", ".reloc"."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator

MOST_WORDS = 1 << 22
"""Addresses in data; Chromium has a million."""
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
        offsets.frombytes(table[at + 8 : at + size][: size - 8 & ~1])
        yield page, offsets
        at += size

"""PE and Mach-O files, made byte by byte: what no linker would write."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

CODE, DATA = 0x60000020, 0x40000040
"""IMAGE_SCN_*: of sections of code, and of those with data."""
BASE = 0x180000000

SectionOf = tuple[int, bytes, int]
"""VirtualAddress, the bytes, and the flags."""


def pe(sections: Sequence[SectionOf], directories: Mapping[int, tuple[int, int]]) -> bytes:
    """A DLL for x86-64 (Microsoft, "PE Format").

    Args:
        sections: one after another in the file.
        directories: address and size of some, by number.
    """
    rows = b"".join(struct.pack("<II", *directories.get(number, (0, 0))) for number in range(16))
    optional = struct.pack("<H14xIIQ", 0x20B, 0, 0x1000, BASE).ljust(108, b"\0")
    optional += struct.pack("<I", 16) + rows
    head = struct.pack("<HH12xHH", 0x8664, len(sections), len(optional), 0x2022) + optional
    first = 64 + 4 + len(head) + 40 * len(sections)
    table, body = b"", b"".join(content for _, content, _ in sections)
    for address, content, flags in sections:
        row = (b".any", len(content), address, len(content), first, flags)
        table += struct.pack("<8sIIII12xI", *row)
        first += len(content)
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + head + table + body


def macho(commands: Sequence[bytes], body: bytes) -> bytes:
    """A dylib for x86-64 (Apple, <mach-o/loader.h>): its load commands, and what is behind."""
    size = sum(map(len, commands))
    row = (0xFEEDFACF, 0x1000007, 3, 6, len(commands), size, 0, 0)
    return struct.pack("<8I", *row) + b"".join(commands) + body


def segment(
    name: bytes,
    address: int,
    offset: int,
    size: int,
    sections: Sequence[tuple[int, int, int, int]] = (),
) -> bytes:
    """An LC_SEGMENT_64; sections are address, size, offset and flags."""
    rows = b"".join(
        struct.pack("<32xQQI12xI12x", at, length, place, flags)
        for at, length, place, flags in sections
    )
    head = (0x19, 72 + len(rows), name, address, size, offset, size, 7, 7, len(sections), 0)
    return struct.pack("<II16s4Q4I", *head) + rows


def linked(command: int, offset: int, size: int) -> bytes:
    """A linkedit_data_command."""
    return struct.pack("<IIII", command, 16, offset, size)

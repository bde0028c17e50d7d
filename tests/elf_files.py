"""ELF files, minidumps and the like, made byte by byte: what no linker would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence

HEADER = 64
"""Where the body of `elf` begins."""

Segment = tuple[int, int, int, int, int]
"""p_type, p_flags, p_offset, p_vaddr, p_filesz."""
Section = tuple[int, int, int, int, int, int, int]
"""sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link."""


def elf(
    body: bytes = b"",
    segments: Sequence[Segment] = (),
    sections: Sequence[Section] = (),
    *,
    kind: int = 3,
    abi: int = 0,
    names: int = 0,
) -> bytes:
    """A 64-bit x86-64 file (System V ABI, chapters 4 and 5).

    Args:
        body: behind the header.
        segments: the program headers, behind the body.
        sections: the section headers behind those; the null section is added.
        kind: e_type.
        abi: e_ident[EI_OSABI].
        names: e_shstrndx, counting the null section.
    """
    first = HEADER + len(body)
    table = first + 56 * len(segments)
    count = len(sections) + 1 if sections else 0
    # Numbers that do not fit stand in the null section.
    many, more = count >= 0xFF00, len(segments) >= 0xFFFF
    null = (0, 0, 0, 0, 0, count if many else 0, 0, len(segments) if more else 0, 0, 0)
    header = b"\x7fELF\x02\x01\x01" + bytes([abi]) + bytes(8)
    header += struct.pack("<HHIQ", kind, 62, 1, 0)
    header += struct.pack("<QQI", first if segments else 0, table if sections else 0, 0)
    numbers = 56, 0xFFFF if more else len(segments), 64, 0 if many else count, names
    header += struct.pack("<HHHHHH", 64, *numbers)
    rows = [
        struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, size, size, 1)
        for kind, flags, offset, address, size in segments
    ]
    heads = [struct.pack("<IIQQQQIIQQ", *row, 0, 1, 24) for row in sections]
    tail = struct.pack("<IIQQQQIIQQ", *null) if sections else b""
    return header + body + b"".join(rows) + tail + b"".join(heads)


def symbol(name: int, info: int, section: int, value: int, size: int) -> bytes:
    """An Elf64_Sym."""
    return struct.pack("<IBBHQQ", name, info, 0, section, value, size)


def note(kind: int, content: bytes, owner: bytes = b"CORE\0") -> bytes:
    """A note of a core file."""
    padded = owner + bytes(-len(owner) % 4)
    return (
        struct.pack("<III", len(owner), len(content), kind)
        + padded
        + content
        + bytes(-len(content) % 4)
    )

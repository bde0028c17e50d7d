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


def go_table(starts: Sequence[int], names: Sequence[bytes], magic: int, text: int = 0) -> bytes:
    """Go's table of functions (runtime/symtab.go), as releases with this magic number write it.

    Args:
        starts: where the functions begin, counted from `text`; the last is where the code ends.
        names: of each; if they are fewer, they are used again.
        magic: 0xFFFFFFFB (Go 1.2), 0xFFFFFFFA (1.16), 0xFFFFFFF0 (1.18) or 0xFFFFFFF1 (1.20).
        text: the address that the starts count from.
    """
    short, old = magic in (0xFFFFFFF0, 0xFFFFFFF1), magic == 0xFFFFFFFB
    count, word = len(starts) - 1, "I" if short else "Q"
    base = 0 if short else text
    head = 16 if old else 72 if short else 64
    at = dict(zip(names, _offsets(names), strict=True))
    strings = b"\0".join(names) + b"\0"
    width = 8 if short else 16
    rows_at = width * count + width // 2 + (head if old else 0)
    strings_at = head + (rows_at - (head if old else 0)) + (8 if short else 12) * len(names)
    pairs, rows = [], []
    for number, start in enumerate(starts[:-1]):
        which = number % len(names)
        pairs += [base + start, rows_at + (8 if short else 12) * which]
    for name in names:
        offset = at[name] + (strings_at if old else 0)
        rows.append(struct.pack("<II" if short else "<QI", 0, offset))
    table = struct.pack(f"<{len(pairs) + 1}{word}", *pairs, base + starts[-1]) + b"".join(rows)
    words = [count]
    if not old:
        words += [0, *([text] if short else []), strings_at, 0, 0, 0, head]
    header = struct.pack(f"<IHBB{len(words)}Q", magic, 0, 1, 8, *words).ljust(head, b"\0")
    return header + table + strings


def _offsets(names: Sequence[bytes]) -> list[int]:
    return [sum(len(name) + 1 for name in names[:at]) for at in range(len(names))]


def go_program(
    code: bytes, starts: Sequence[int], names: Sequence[bytes], data: bytes = b""
) -> bytes:
    """A program of Go 1.20 without symbols: its code at 64, its table of functions, its data."""
    table = go_table([*starts, len(code)], names, 0xFFFFFFF1, HEADER)
    labels = b"\0.text\0.gopclntab\0.data\0.shstrtab\0"
    body = code + table + data + labels
    at = [HEADER]
    for part in (code, table, data):
        at.append(at[-1] + len(part))
    sections = [
        (1, 1, 6, HEADER, at[0], len(code), 0),
        (7, 1, 2, at[1], at[1], len(table), 0),
        (18, 1, 3, at[2], at[2], len(data), 0),
        (24, 3, 0, 0, at[3], len(labels), 0),
    ]
    return elf(body, (), sections, kind=2, names=4)

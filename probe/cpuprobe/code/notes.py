"""The notes of ELF files: programs tell of what they need in them, cores of how they ended."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def notes(body: bytes, alignment: int) -> Iterator[tuple[bytes, int, bytes]]:
    """The owner, the type and the content of each note.

    Args:
        body: of a PT_NOTE or an SHT_NOTE; what is cut short ends it.
        alignment: of contents, 4 or 8.
    """
    at = 0
    while at + 12 <= len(body):
        name_size, size, kind = struct.unpack_from("<III", body, at)
        start = at + 12 + (name_size + 3 & ~3)
        if start + size > len(body):
            return
        yield body[at + 12 : at + 12 + name_size], kind, body[start : start + size]
        at = start + (size + alignment - 1 & -alignment)


def properties(body: bytes) -> Iterator[tuple[int, int]]:
    """The type and the value of each program property that is a word, of an x86-64 file.

    Args:
        body: the content of a note NT_GNU_PROPERTY_TYPE_0 (x86-64 psABI, "Program Property").
    """
    position = 0
    while position + 8 <= len(body):
        key, size = struct.unpack_from("<II", body, position)
        if size == 4 and position + 12 <= len(body):
            yield key, struct.unpack_from("<I", body, position + 8)[0]
        position += 8 + (size + 7 & ~7)

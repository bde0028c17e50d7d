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

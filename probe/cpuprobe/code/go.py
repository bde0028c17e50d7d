"""What a Go program says of itself: the CPUs that it was built for, and its functions.

The linker puts the build's settings into .go.buildinfo (Go 1.18 and later; Go, debug/buildinfo). A
program built for more than GOAMD64=v1 tests the CPU before anything else, and ends
(runtime/asm_amd64.s, bad_cpu): its levels are the psABI's (cmd/compile, GOAMD64).

The runtime finds functions by a table of its own, which stripped programs have too
(runtime/symtab.go, pcHeader and moduledata).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

MAGIC = b"\xff Go buildinf:"
_INLINE = 2  # bit of the flags: the strings stand here, from offset 32 on
_SETTING = re.compile(rb"\tGOAMD64=(v[1-4])\n")
MOST = 1 << 20
"""Bytes of the section that are looked at."""

_WORD = struct.Struct("<Q")
# By the table's first four bytes, before what tells of instructions of one byte at least and of
# addresses of eight: whether addresses are offsets of 32 bits, and how many words there
# are before the names' offset. Go 1.16, 1.18, 1.20.
_TABLES = {0xFFFFFFFA: (False, 2), 0xFFFFFFF0: (True, 3), 0xFFFFFFF1: (True, 3)}
_OLD = 0xFFFFFFFB
"""Go 1.2: names and functions are in one table."""
TABLE = re.compile(rb"[\xfa\xf0\xf1\xfb]\xff\xff\xff\x00\x00\x01\x08")
"""How the table begins."""
TEXT_OF_TABLE, TEXT_OF_MODULE = 24, 176
"""Where the address stands that offsets count from: in the table from Go 1.18 on, in what describes
the module from 1.26 on, where that of the table is 0."""
MOST_FUNCTIONS = 1 << 20
"""Functions of a table that is read; kubectl's has 80,000."""


def level(content: bytes) -> str | None:
    """The psABI level that a Go program was built for; None where it does not say.

    Args:
        content: of .go.buildinfo.
    """
    if content[: len(MAGIC)] != MAGIC or len(content) < 32 or not content[15] & _INLINE:
        return None
    found = _SETTING.search(content[:MOST])
    return None if found is None else f"x86-64-{found[1].decode()}"


class Table(NamedTuple):
    """Where a program's functions are in its table (`struct go_table` of native/scan/functions.h).

    Attributes:
        content: all of it.
        rows: where the rows begin.
        functions: how many there are.
        base: the address that functions count from.
        entries: what the places count from that rows tell of.
        names: where names begin.
        width: bytes of a row: half of them an address, half a place where more is told.
    """

    content: bytes
    rows: int
    functions: int
    base: int
    entries: int
    names: int
    width: int


def read_table(content: bytes, text: int) -> Table | None:
    """What the head of a table of functions tells; None where it is no such table, or damaged.

    Args:
        content: .gopclntab.
        text: the address that offsets count from, where the table does not say.
    """
    if len(content) < 72 or TABLE.match(content) is None:
        return None
    magic = int.from_bytes(content[:4], "little")
    words = [word for (word,) in _WORD.iter_unpack(content[8:72])]
    count = words[0]
    if magic == _OLD:
        short, names, first, at = False, 0, 0, 16
    elif magic in _TABLES:
        short, before = _TABLES[magic]
        names, first = words[before], words[before + 4]
        at = first
    else:
        return None
    width = 8 if short else 16
    most = (len(content) - at - width // 2) // width
    if not 0 < count <= min(MOST_FUNCTIONS, most):
        return None
    return Table(content, at, count, (words[2] or text) if short else 0, first, names, width)

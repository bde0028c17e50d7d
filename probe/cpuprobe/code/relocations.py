"""Puts what a PE or Mach-O file's loader writes into memory into the form that ELF has for it.

So one search serves all three (cpuprobe.code.links).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable

from cpuprobe.code.program import Relocations

_RELATIVE, _SLOT = 8, 7  # R_X86_64_RELATIVE, R_X86_64_JUMP_SLOT
_SYMBOL = struct.Struct("<IBBHQQ")
_ADDRESS = (1 << 64) - 1  # where a damaged file's base leads beyond it, it goes on from zero


def moved(pointers: Iterable[tuple[int, int]], into: Relocations) -> None:
    """Takes in the addresses of the file itself, by the slots in data that hold them."""
    table = array("Q")
    for slot, address in pointers:
        table.extend((slot & _ADDRESS, _RELATIVE, address & _ADDRESS))
    into.tables.append(table.tobytes())


def imported(slots: Iterable[tuple[int, str]], into: Relocations) -> None:
    """Takes in the names of other libraries' functions, by the slots with their addresses."""
    table, symbols, strings = array("Q"), bytearray(), bytearray(b"\0")
    for slot, name in slots:
        table.extend((slot & _ADDRESS, len(symbols) // _SYMBOL.size << 32 | _SLOT, 0))
        symbols += _SYMBOL.pack(len(strings), 0, 0, 0, 0, 0)
        strings += name.encode() + b"\0"
    into.tables.append(table.tobytes())
    into.symbols, into.strings = bytes(symbols), bytes(strings)

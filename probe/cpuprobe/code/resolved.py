"""What the names in objects stand for, once their sections have addresses."""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

from cpuprobe.code import elf as abi
from cpuprobe.code.functions import Name

MOST_NAMES = 96 << 20
"""Bytes of names that may be looked at."""
LONGEST_NAME = 4096
FIRST, END = 1 << 16, 1 << 31
"""Addresses are between, so that each reaches every other by 32 bits."""
ALIGNMENT, WORD = 64, 8
ENTRY = struct.Struct("<2sixx")
"""An entry of the procedure linkage table: a jump through a slot."""
_JUMP, _JUMP_SIZE = b"\xff\x25", 6
MODEL = b"__cpu_model"
ANSWERS = {MODEL, b"__cpu_features2"}
"""The variables of libgcc and compiler-rt; these are seldom among the objects."""
_IMPORTED = b"__imp_"  # of Windows, before the name: what has its address
_R_JUMP_SLOT, _R_RELATIVE, _R_IRELATIVE = 7, 8, 37


class TooLargeError(Exception):
    """They are more than is linked."""


class Room:
    """Addresses, one after another."""

    def __init__(self) -> None:
        """None is taken."""
        self._next = FIRST

    def take(self, size: int, alignment: int = ALIGNMENT) -> int:
        """Where so many bytes have room; TooLargeError: nowhere."""
        start = -(-self._next // alignment) * alignment
        self._next = start + size
        if self._next >= END:
            raise TooLargeError
        return start


class Definition(NamedTuple):
    """Where a name is defined.

    Attributes:
        address: the place.
        is_weak: another definition goes before it.
        kind: of the symbol.
        is_seen: other files may use it.
        name: itself, where its object has it.
    """

    address: int
    is_weak: bool
    kind: int
    is_seen: bool
    name: Name


class Symbol(NamedTuple):
    """What a name stands for, as `struct relocate_symbol` has it.

    Attributes:
        address: of the place.
        slot: of what has that address; 0: it is each object's own.
        foreign: of what no object defines, one more than its number; else 0.
    """

    address: int
    slot: int = 0
    foreign: int = 0


class Names:
    """The names of some objects.

    Attributes:
        known: those that one defines.
        foreign: those that none does, in the order of their numbers.
        rows: what a loader would fill for them, as Elf64_Rela.
    """

    def __init__(self, room: Room) -> None:
        """Nothing is known yet; slots take room."""
        self.known: dict[bytes, Definition] = {}
        self.foreign: list[bytes] = []
        self.rows = array("Q")
        self._room = room
        self._met: dict[bytes, Symbol] = {}
        self._slots: list[int] = []  # of the entries
        self._entries = 0
        self._left = MOST_NAMES

    def read(self, strings: bytes, start: int) -> bytes:
        """A name in a string table; TooLargeError: these are more than any."""
        end = strings.find(b"\0", start, start + LONGEST_NAME)
        name = bytes(strings[start : end if end >= 0 else start + LONGEST_NAME])
        self._left -= len(name)
        if self._left < 0:
            raise TooLargeError
        return name

    def define(self, name: bytes, found: Definition) -> None:
        """Takes in where a name is defined: the first strong one counts, else the first."""
        known = self.known.get(name)
        if known is None or (known.is_weak and not found.is_weak):
            self.known[name] = found

    def begin(self, most: int) -> None:
        """Takes room for the entries; all that defines names has been read.

        Args:
            most: names, at most, that will be asked for.
        """
        self._entries = self._room.take(ENTRY.size * most)

    def meaning(self, name: bytes) -> Symbol:
        """What a name stands for."""
        if name not in self._met:
            self._met[name] = self._found(name)
        return self._met[name]

    def _found(self, name: bytes) -> Symbol:
        known = self.known.get(name)
        if known is not None and known.kind != abi.STT_GNU_IFUNC:
            return Symbol(known.address)
        if known is None and name in ANSWERS:
            address = self._room.take(ALIGNMENT)
            self.known[name] = Definition(address, False, abi.STT_OBJECT, False, (0, 0))
            return Symbol(address)
        slot = self._room.take(WORD, WORD)
        if known is not None:
            self.rows.extend((slot, _R_IRELATIVE, known.address))
            return Symbol(self._entry(slot))
        if name.startswith(_IMPORTED):
            of = self.known.get(name.removeprefix(_IMPORTED))
            if of is not None:
                self.rows.extend((slot, _R_RELATIVE, of.address))
            else:
                self._fill(slot, name.removeprefix(_IMPORTED))
            return Symbol(slot)
        self._fill(slot, name)
        return Symbol(self._entry(slot), slot, len(self.foreign))

    def _fill(self, slot: int, name: bytes) -> None:
        self.rows.extend((slot, len(self.foreign) << 32 | _R_JUMP_SLOT, 0))
        self.foreign.append(name)

    def _entry(self, slot: int) -> int:
        self._slots.append(slot)
        return self._entries + ENTRY.size * (len(self._slots) - 1)

    def entries(self) -> tuple[int, bytes]:
        """The procedure linkage table: where it begins, and its bytes."""
        ends = range(self._entries + _JUMP_SIZE, self._room.take(0), ENTRY.size)
        rows = zip(self._slots, ends, strict=False)
        return self._entries, b"".join(ENTRY.pack(_JUMP, slot - end) for slot, end in rows)

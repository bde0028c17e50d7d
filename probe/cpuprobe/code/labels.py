"""What is known of values: labels on registers, on the stack and in static memory.

A label is a bit: ANSWER for what came from CPUID, or from what is known to hold such a value, and
one for each argument of the function. A value that is made of labelled ones has their labels.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

from iced_x86 import Instruction, Register, RegisterInfo

ANSWER = 1
"""It may tell what the CPU can do."""
ARGUMENTS: tuple[int, ...] = tuple(
    map(int, (Register.RDI, Register.RSI, Register.RDX, Register.RCX, Register.R8, Register.R9))
)
"""Of the System V ABI, in order; the label of the first is 2, of the next 4."""
FLAG = 1 << 7
"""It is, or was tested as, a flag or a small number in an object, or was handed over on the stack:
in a file that asks, such are what objects know of the CPU."""
WORD = 1 << 8
"""It is 32 bits of an object, or 64."""
CHOICE = ANSWER | FLAG
NEAR = 64
"""Bytes behind an address that was handed on which may be part of what it points to."""
_STACK = (int(Register.RSP), int(Register.RBP))
_MOST_SLOTS = 256
"""Places on the stack that are known at once; a function with more is made to be odd."""

Slot = tuple[int, int]
"""A place on the stack: the register it is counted from, and how far."""
_Key = TypeVar("_Key")


@dataclass
class Known:
    """What is known of the whole file.

    Attributes:
        statics: addresses of static memory that hold an answer.
        regions: where static memory begins that was handed to a function that asks.
        fields: how far behind a pointer answers were put.
        foreign: slots with the address of another file's variable that holds an answer.
        pointers: what static memory holds that the loader fills with addresses.
    """

    statics: set[int] = field(default_factory=set)
    regions: set[int] = field(default_factory=set)
    fields: set[int] = field(default_factory=set)
    foreign: Collection[int] = ()
    pointers: dict[int, int] = field(default_factory=dict)

    def holds(self, address: int) -> bool:
        """Whether static memory holds an answer there."""
        if any(at in self.statics for at in range(address - 3, address + 4)):
            return True
        return any(at in self.regions for at in range(address - NEAR + 1, address + 1))


@dataclass(slots=True)
class State:
    """What registers and stack hold at one place.

    Attributes:
        labels: of registers; what has none is not there.
        slots: likewise of the stack.
        points: static addresses that registers hold.
        frame: places of the stack whose address was taken.
        flags: labels of the flags.
    """

    labels: dict[int, int] = field(default_factory=dict)
    slots: dict[Slot, int] = field(default_factory=dict)
    points: dict[int, int] = field(default_factory=dict)
    frame: frozenset[Slot] = frozenset()
    flags: int = 0

    def copy(self) -> State:
        """The same, to be changed."""
        return State({**self.labels}, {**self.slots}, {**self.points}, self.frame, self.flags)

    def join(self, other: State) -> bool:
        """Takes in what another way brings; whether that was anything new."""
        changed = _joined(self.labels, other.labels)
        changed |= _joined(self.slots, other.slots)
        for register in [each for each, to in self.points.items() if other.points.get(each) != to]:
            del self.points[register]
            changed = True
        if other.frame - self.frame or other.flags & ~self.flags:
            self.frame |= other.frame
            self.flags |= other.flags
            changed = True
        return changed


def _joined(mine: dict[_Key, int], theirs: dict[_Key, int]) -> bool:
    if theirs.items() <= mine.items():  # as nearly always, and told without a loop of ours
        return False
    changed = False
    for key, labels in theirs.items():
        known = mine.get(key, 0)
        if labels & ~known and (known or len(mine) < _MOST_SLOTS):
            mine[key] = known | labels
            changed = True
    return changed


ENTRY = State(dict(zip(ARGUMENTS, (2 << at for at in range(6)), strict=True)))
"""Where a function begins."""


@functools.cache
def whole(register: int) -> int:
    """The full register that one is a part of; -1 for none."""
    return int(RegisterInfo(register).full_register) if register else -1  # type: ignore[arg-type]


@dataclass(slots=True)
class Memory:
    """A place in memory that an instruction names: static, on the stack, or behind a pointer."""

    static: int | None
    slot: Slot | None
    displacement: int
    base: int
    index: int


def memory(each: Instruction, state: State, framed: bool = True) -> Memory:
    """The memory operand of an instruction."""
    if each.is_ip_rel_memory_operand:
        return Memory(each.ip_rel_memory_address, None, 0, -1, -1)
    base, index = whole(each.memory_base), whole(each.memory_index)
    displacement = each.memory_displacement
    if displacement >= 1 << 63:
        displacement -= 1 << 64
    static = slot = None
    if base < 0:
        if each.segment_prefix == Register.NONE:
            static = displacement
    elif base in state.points:
        static = state.points[base] + displacement
    elif base in _STACK[: 1 + framed]:
        slot = base, displacement
    elif index in state.points and each.memory_index_scale == 1:
        static = state.points[index] + displacement
    return Memory(static, slot, displacement, base, index)

"""Where a value that tells what the CPU can do goes to inside of one function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from iced_x86 import Instruction, MemorySize, Mnemonic, OpKind, Register

from cpuprobe.code.labels import (
    ANSWER,
    ARGUMENTS,
    FLAG,
    NEAR,
    WORD,
    Known,
    Slot,
    State,
    memory,
    whole,
)

_KEPT = frozenset(
    map(int, (Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15))
)
_ANSWERING = (Register.RAX, Register.RBX, Register.RCX, Register.RDX)
"""What CPUID writes."""
_MOST_FRAME = 64
"""Places on the stack whose addresses are known at once."""
_ADDRESSES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)
_MOVES = (Mnemonic.MOV, Mnemonic.MOVZX, Mnemonic.MOVSX, Mnemonic.MOVSXD)
_FLAGS_ONLY = (Mnemonic.CMP, Mnemonic.TEST, Mnemonic.BT, Mnemonic.UCOMISD, Mnemonic.PTEST)
_CLEARS = (Mnemonic.XOR, Mnemonic.SUB, Mnemonic.PXOR)
_TESTS = (Mnemonic.TEST, Mnemonic.AND, Mnemonic.BT)
_IMMEDIATES = (
    OpKind.IMMEDIATE8,
    OpKind.IMMEDIATE16,
    OpKind.IMMEDIATE32,
    OpKind.IMMEDIATE8TO32,
    OpKind.IMMEDIATE8TO64,
    OpKind.IMMEDIATE32TO64,
)
_SIZES = {
    int(MemorySize.UINT8): 1,
    int(MemorySize.INT8): 1,
    int(MemorySize.UINT32): 4,
    int(MemorySize.INT32): 4,
    int(MemorySize.UINT64): 8,
    int(MemorySize.INT64): 8,
}


@dataclass
class Flow:
    """Goes over instructions one by one.

    Attributes:
        known: of the whole file.
        written: places on the stack that the function writes to, or whose address it takes.
        framed: it counts places on the stack from RBP as well.
        statics: static memory that an answer was put into.
        fields: how far behind a pointer an answer was put.
    """

    known: Known
    written: set[Slot] = field(default_factory=set)
    framed: bool = True
    statics: set[int] = field(default_factory=set)
    fields: set[int] = field(default_factory=set)

    def look(self, every: Iterable[Instruction]) -> None:
        """Finds out what the function does with the stack, before it is gone over."""
        self.framed = False
        for each in every:
            if each.mnemonic == Mnemonic.MOV and each.op0_register == Register.RBP:
                self.framed |= each.op1_register == Register.RSP
            takes = each.mnemonic == Mnemonic.LEA
            if takes or each.op0_kind == OpKind.MEMORY:
                place = memory(each, State())
                if place.slot is not None:
                    self.written.add(place.slot)

    def read(self, each: Instruction, state: State) -> int:
        """The labels of what an instruction reads from memory."""
        place = memory(each, state, self.framed)
        labels = state.labels.get(place.base, 0) & ANSWER
        labels |= state.labels.get(place.index, 0)
        if place.static is not None:
            holds = place.static in self.known.foreign or self.known.holds(place.static)
            return labels | (ANSWER if holds else 0)
        if place.slot is not None:
            base, offset = place.slot
            found = state.slots.get(place.slot, 0)
            for at in range(offset - 7, offset):
                found |= state.slots.get((base, at), 0)
            if not any((base, at) in self.written for at in range(offset - 7, offset + 1)):
                found |= FLAG if _SIZES.get(each.memory_size, 0) in (1, 4) else 0  # an argument
            return labels | found
        if place.displacement in self.known.fields:
            labels |= ANSWER
        if place.base >= 0:
            size = _SIZES.get(each.memory_size, 0)
            labels |= FLAG if size == 1 else WORD if size else 0
        return labels

    def step(self, each: Instruction, state: State, guarded: bool) -> None:
        """Goes over one instruction that is no branch and no call.

        Args:
            each: the instruction.
            state: before it; afterwards what is behind it.
            guarded: a choice leads here: what is set here tells of the answer.
        """
        mnemonic = each.mnemonic
        first = each.op0_kind
        target = whole(each.op0_register) if first == OpKind.REGISTER else -1
        if mnemonic in (Mnemonic.CPUID, Mnemonic.XGETBV):
            for register in map(int, _ANSWERING):
                self._set(state, register, state.labels.get(register, 0) | ANSWER)
            return
        if mnemonic == Mnemonic.LEA:
            self._address(each, state, target)
            if guarded:
                state.labels[target] = ANSWER
            return
        immediate = mnemonic == Mnemonic.MOV and each.op1_kind in _ADDRESSES
        labels = ANSWER if guarded else 0
        clears = mnemonic in _CLEARS and target >= 0 and each.op1_kind == OpKind.REGISTER
        if clears and each.op0_register == each.op1_register:
            self._set(state, target, labels)
            return
        labels |= self._operands(each, state)
        if labels & WORD and mnemonic in _TESTS and each.op1_kind in _IMMEDIATES:
            labels |= FLAG
        if each.rflags_read:
            labels |= state.flags
        if each.rflags_modified:
            state.flags = labels
        if mnemonic in _FLAGS_ONLY:
            return
        if first == OpKind.MEMORY:
            self._store(each, state, labels)
        elif target >= 0:
            point = self._point(each, state, immediate)
            if mnemonic == Mnemonic.ADD and each.op1_kind not in (OpKind.REGISTER, OpKind.MEMORY):
                point = state.points.get(target)
                point = None if point is None else point + each.immediate(1)
            self._set(state, target, labels)
            if point is not None:
                state.points[target] = point

    def _operands(self, each: Instruction, state: State) -> int:
        """The labels of all that an instruction reads."""
        labels = 0
        for at in range(each.mnemonic in _MOVES, each.op_count):
            kind = each.op_kind(at)
            if kind == OpKind.REGISTER:
                labels |= state.labels.get(whole(each.op_register(at)), 0)
            elif kind == OpKind.MEMORY:
                labels |= self.read(each, state)
        return labels

    def _address(self, each: Instruction, state: State, target: int) -> None:
        place = memory(each, state, self.framed)
        labels = state.labels.get(place.base, 0) | state.labels.get(place.index, 0)
        self._set(state, target, labels)
        if place.static is not None and place.index in (-1, place.base):
            state.points[target] = place.static
        elif place.slot is not None and len(state.frame) < _MOST_FRAME:
            state.frame |= {place.slot}

    def _point(self, each: Instruction, state: State, immediate: bool) -> int | None:
        """The static address that an instruction loads, if it is known."""
        if immediate:
            return each.immediate(1)
        if each.mnemonic != Mnemonic.MOV:
            return None
        if each.op1_kind == OpKind.REGISTER:
            return state.points.get(whole(each.op1_register))
        if each.op1_kind == OpKind.MEMORY:
            place = memory(each, state, self.framed)
            if place.static is not None and place.index < 0:
                if place.static in self.known.foreign:
                    return None
                return self.known.pointers.get(place.static)
        return None

    @staticmethod
    def _set(state: State, target: int, labels: int) -> None:
        state.points.pop(target, None)
        if labels:
            state.labels[target] = labels
        else:
            state.labels.pop(target, None)

    def _store(self, each: Instruction, state: State, labels: int) -> None:
        place = memory(each, state, self.framed)
        if place.slot is not None:
            if labels:
                state.slots[place.slot] = labels
            else:
                state.slots.pop(place.slot, None)
        elif labels & ANSWER:
            if place.static is not None:
                self.statics.add(place.static)
            elif place.index < 0:
                self.fields.add(place.displacement)

    def call(self, state: State, asks: bool) -> None:
        """Goes over a call.

        Args:
            state: before it; afterwards what is behind it.
            asks: what it returns, or puts where it was told to, may be an answer.
        """
        asks = asks or any(
            register in state.points and self.known.holds(state.points[register])
            for register in ARGUMENTS
        )
        if asks:
            for register in ARGUMENTS:
                if register in state.points:
                    self.known.regions.add(state.points[register])
            for slot in state.frame:
                for at in range(0, NEAR, 4):
                    state.slots[slot[0], slot[1] + at] = ANSWER
        for register in [each for each in state.labels if each not in _KEPT]:
            del state.labels[register]
        for register in [each for each in state.points if each not in _KEPT]:
            del state.points[register]
        state.flags = 0
        if asks:
            state.labels[int(Register.RAX)] = ANSWER
            state.labels[int(Register.RDX)] = ANSWER

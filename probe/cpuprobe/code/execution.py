"""Executes some hundred instructions of a file on a CPU of which only CPUID's answers are known.

What is not known (arguments, what other files' functions return) spreads; where a run goes on, and
what it writes to, must be known. Operations are as in the SDM, vol. 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from iced_x86 import ConditionCode, FlowControl, Mnemonic

from cpuprobe.code.conditions import UNKNOWN, holds
from cpuprobe.code.machine import (
    BACK,
    HEAP,
    QWORD,
    RAX,
    RBP,
    RBX,
    RCX,
    RDX,
    RSP,
    Code64,
    Lost,
    Machine,
    Operation,
    Refused,
    Value,
)

Answers: TypeAlias = tuple[Value, Value, Value, Value]
"""EAX, EBX, ECX and EDX."""


class Execution(Machine):
    """One run of one function.

    Attributes:
        steps: instructions that were executed.
    """

    def __init__(
        self,
        first: Callable[[int], Value],
        memory: Mapping[int, int],
        cpuid: Callable[[int, int], Answers],
        xcr0: int,
        names: Mapping[int, str],
    ) -> None:
        """Begins.

        Args:
            first: as Machine has it.
            memory: likewise.
            cpuid: what a leaf and its subleaf answer.
            xcr0: what XGETBV does.
            names: slots with the addresses of other files' functions.
        """
        super().__init__(first, memory)
        self._cpuid, self._xcr0, self._names = cpuid, xcr0, names
        self._flags: dict[str, bool | None] = dict(UNKNOWN)
        self._heap = HEAP
        self.steps = 0

    def run(self, code: Code64, start: int, most: int) -> None:
        """Runs a function to its end.

        Raises:
            Refused: it ends the run, in what the compiler knows not to return.
            Lost: it is not known how it goes on, or it takes too many steps.
        """
        address = start
        while address != BACK:
            self.steps += 1
            if self.steps > most:
                raise Lost
            each = code.at(address)
            address = self._step(each)
            if each.flow in _CALLS and code.at(each.next).mnemonic == Mnemonic.UD2:
                raise Refused

    def _step(self, each: Operation) -> int:
        mnemonic = each.mnemonic
        if each.flow != FlowControl.NEXT:
            return self._go(each)
        if mnemonic in _DO:
            _DO[mnemonic](self, each)
        elif each.condition != ConditionCode.NONE:
            self._choose(each)
        elif mnemonic == Mnemonic.CPUID:
            self._ask()
        elif mnemonic == Mnemonic.XGETBV:
            self.put(RAX, 4, self._xcr0 if self.value(RCX, 4) == 0 else None)
            self.put(RDX, 4, 0)
        elif mnemonic not in _NOTHING:
            raise Lost
        return each.next

    def _ask(self) -> None:
        leaf, subleaf = self.value(RAX, 4), self.value(RCX, 4)
        if leaf is None:
            raise Lost
        answers = self._cpuid(leaf, subleaf or 0)
        for number, answer in zip((RAX, RBX, RCX, RDX), answers, strict=True):
            self.put(number, 4, answer)

    def _go(self, each: Operation) -> int:
        flow, to = each.flow, None
        if flow == FlowControl.CONDITIONAL_BRANCH:
            met = holds(self._flags, each.condition)
            if met is not None:
                to = each.target if met else each.next
        elif flow == FlowControl.RETURN:
            to = self.pop()
        elif flow in (FlowControl.CALL, FlowControl.UNCONDITIONAL_BRANCH):
            to = each.target
        elif flow in (FlowControl.INDIRECT_CALL, FlowControl.INDIRECT_BRANCH):
            to = self.read(each, 0)
        if to is None:
            return self._allocate(each)
        if flow in _CALLS:
            self.push(each.next)
        return to

    def _allocate(self, each: Operation) -> int:
        """A call of, or a jump to, another file's function: memory is there for who asks for it."""
        if each.flow not in _INDIRECT or self._names.get(self.address(each) or 0) != "malloc":
            raise Lost
        for number in (*_CLOBBERED, RAX):
            self.put(number, 8, None)
        self._heap += _ROOM
        self.put(RAX, 8, self._heap)
        return each.next if each.flow == FlowControl.INDIRECT_CALL else self.pop() or 0

    def _choose(self, each: Operation) -> None:
        """SETcc and CMOVcc."""
        met = holds(self._flags, each.condition)
        if len(each.operands) == 1:
            self.write(each, 0, None if met is None else int(met))
            return
        new, old = self.read(each, 1), self.read(each, 0)
        self.write(each, 0, None if met is None and new != old else new if met else old)

    def _set(self, result: Value, bits: int, carry: Value = 0, overflow: Value = 0) -> None:
        """Sets flags by a result."""
        flags = self._flags
        if result is None:
            flags.update(UNKNOWN)
            return
        flags["zero"] = result == 0
        flags["sign"] = bool(result >> (bits - 1) & 1)
        flags["carry"] = carry if carry is None else bool(carry)
        flags["overflow"] = overflow if overflow is None else bool(overflow)

    def move(self, each: Operation) -> None:
        """MOV, MOVZX, and moves of vectors."""
        self.write(each, 0, self.read(each, 1))

    def extend(self, each: Operation) -> None:
        """MOVSX."""
        value, bits = self.read(each, 1), 8 * each.operands[1].size
        self.write(each, 0, None if value is None else _signed(value, bits) & QWORD)

    def take(self, each: Operation) -> None:
        """LEA."""
        self.write(each, 0, self.address(each))

    def combine(self, each: Operation) -> None:
        """What two operands make: a sum, a difference, bits."""
        bits, mnemonic = 8 * each.operands[0].size, each.mnemonic
        one, other = self.read(each, 0), self.read(each, 1)
        is_same = each.operands[0] == each.operands[1]
        more = self._flags["carry"] if mnemonic in (Mnemonic.ADC, Mnemonic.SBB) else False
        if (is_same and mnemonic in _CLEARING) or (mnemonic in _MASKING and 0 in (one, other)):
            one = other = 0
        result: Value = None
        carry = overflow = False
        if one is not None and other is not None and more is not None:
            mask = (1 << bits) - 1
            whole = _COMBINED[mnemonic](one, other & mask, int(more))
            result = whole & mask
            if mnemonic not in _BITWISE:
                carry = whole != result
                against = other if mnemonic in (Mnemonic.ADD, Mnemonic.ADC) else ~other
                overflow = bool(~(one ^ against) & (one ^ result) & 1 << (bits - 1))
        if bits <= 64:
            self._set(result, bits, carry, overflow)
        if mnemonic not in (Mnemonic.CMP, Mnemonic.TEST):
            self.write(each, 0, result)

    def change(self, each: Operation) -> None:
        """What is made of one operand."""
        value, bits, mnemonic = self.read(each, 0), 8 * each.operands[0].size, each.mnemonic
        carry = self._flags["carry"]
        result = None if value is None else _CHANGED[mnemonic](value) & ((1 << bits) - 1)
        self.write(each, 0, result)
        if mnemonic != Mnemonic.NOT:
            self._set(result, bits, bool(value) if mnemonic == Mnemonic.NEG else carry, None)

    def shift(self, each: Operation) -> None:
        """Shifts; of two registers too."""
        bits, last, mnemonic = 8 * each.operands[0].size, len(each.operands) - 1, each.mnemonic
        one, count = self.read(each, 0), self.read(each, last)
        more = self.read(each, 1) if last == 2 else 0
        result: Value = None
        if one is not None and count is not None and more is not None:
            count &= 63 if bits == 64 else 31
            if mnemonic in (Mnemonic.SHL, Mnemonic.SHLD):
                result = one << count | more << count >> bits
            elif mnemonic == Mnemonic.SAR:
                result = _signed(one, bits) >> count
            else:
                result = (more << bits | one) >> count
            result &= (1 << bits) - 1
        self.write(each, 0, result)
        self._set(result, bits, None, None)

    def bit(self, each: Operation) -> None:
        """BT, and what sets or clears the bit."""
        one, number = self.read(each, 0), self.read(each, 1)
        if each.operands[0].kind == "memory" and each.operands[1].kind != "number":
            raise Lost  # the bit may be in memory behind it
        self._set(None, 1)
        if one is None or number is None:
            made = None
        else:
            at = number & (8 * each.operands[0].size - 1)
            self._flags["carry"] = bool(one >> at & 1)
            made = one | 1 << at if each.mnemonic == Mnemonic.BTS else one & ~(1 << at)
        if each.mnemonic != Mnemonic.BT:
            self.write(each, 0, made)

    def exchange(self, each: Operation) -> None:
        """XCHG."""
        one, other = self.read(each, 0), self.read(each, 1)
        self.write(each, 0, other)
        self.write(each, 1, one)

    def keep(self, each: Operation) -> None:
        """PUSH."""
        self.push(self.read(each, 0))

    def take_back(self, each: Operation) -> None:
        """POP."""
        self.write(each, 0, self.pop())

    def leave(self, each: Operation) -> None:
        """LEAVE."""
        self.put(RSP, 8, self.known(RBP))
        self.put(RBP, 8, self.pop())


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


_CALLS = {FlowControl.CALL, FlowControl.INDIRECT_CALL}
_INDIRECT = {FlowControl.INDIRECT_CALL, FlowControl.INDIRECT_BRANCH}
_CLOBBERED = (RCX, RDX, 6, 7, 8, 9, 10, 11)  # RSI, RDI, R8 to R11
_ROOM = 1 << 16
_COMBINED: dict[int, Callable[[int, int, int], int]] = {
    Mnemonic.ADD: lambda one, other, _: one + other,
    Mnemonic.ADC: lambda one, other, more: one + other + more,
    Mnemonic.SUB: lambda one, other, _: one - other,
    Mnemonic.SBB: lambda one, other, more: one - other - more,
    Mnemonic.CMP: lambda one, other, _: one - other,
    Mnemonic.TEST: lambda one, other, _: one & other,
    Mnemonic.AND: lambda one, other, _: one & other,
    Mnemonic.OR: lambda one, other, _: one | other,
    Mnemonic.XOR: lambda one, other, _: one ^ other,
    Mnemonic.PXOR: lambda one, other, _: one ^ other,
    Mnemonic.XORPS: lambda one, other, _: one ^ other,
}
_CLEARING = {Mnemonic.XOR, Mnemonic.SUB, Mnemonic.PXOR, Mnemonic.XORPS}
_MASKING = {Mnemonic.AND, Mnemonic.TEST}
_BITWISE = {*_CLEARING, *_MASKING, Mnemonic.OR} - {Mnemonic.SUB}
_CHANGED: dict[int, Callable[[int], int]] = {
    Mnemonic.NOT: lambda value: ~value,
    Mnemonic.NEG: lambda value: -value,
    Mnemonic.INC: lambda value: value + 1,
    Mnemonic.DEC: lambda value: value - 1,
}
_SHIFTS = "SHL SHR SAR SHLD SHRD"
_MOVES = "MOV MOVZX MOVD MOVQ MOVUPS MOVAPS MOVDQU MOVDQA"
_DO: dict[int, Callable[[Execution, Operation], None]] = {
    **dict.fromkeys(_COMBINED, Execution.combine),
    **dict.fromkeys(_CHANGED, Execution.change),
    **{getattr(Mnemonic, name): Execution.move for name in _MOVES.split()},
    **dict.fromkeys((Mnemonic.MOVSX, Mnemonic.MOVSXD), Execution.extend),
    **{getattr(Mnemonic, each): Execution.shift for each in _SHIFTS.split()},
    **dict.fromkeys((Mnemonic.BT, Mnemonic.BTS, Mnemonic.BTR), Execution.bit),
    Mnemonic.LEA: Execution.take,
    Mnemonic.XCHG: Execution.exchange,
    Mnemonic.PUSH: Execution.keep,
    Mnemonic.POP: Execution.take_back,
    Mnemonic.LEAVE: Execution.leave,
}
_NOTHING = {Mnemonic.NOP, Mnemonic.ENDBR64, Mnemonic.MFENCE, Mnemonic.LFENCE}

"""What every run or load reaches of a file's code, as far as no choice stands before it.

From where a run begins, control flow is followed into direct calls and along both sides of a
branch. A branch on something that may hold what the CPU can do is a choice: a value in static
memory, or the answer of a function that asks. What lies on one of its sides alone is guarded; where
both sides meet again, it goes on. Nothing is said of what is reached through pointers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic, OpKind, Register, RegisterInfo

from cpuprobe.code.forms import ASKING, Forms
from cpuprobe.code.program import Binary

MOST = 100_000
"""Instructions that are followed in all."""
MOST_OF_SIDES = 200_000
"""Instructions of sides in all; without more of them, what lies behind a choice is left alone."""
MOST_OF_A_SIDE = 2000
"""Instructions of one side of a choice, in search of where the sides meet."""
MOST_OF_AN_ANSWER = 300
"""Instructions of a function in which it asks, if it is one that does."""
_NEAR = 65536


@dataclass(slots=True)
class _Static:
    """Which registers point to static memory, which hold what came out of it, as the flags may."""

    pointers: set[int] = field(default_factory=set)
    values: set[int] = field(default_factory=set)
    flags: bool = False

    def copy(self) -> _Static:
        """The same on another way."""
        return _Static({*self.pointers}, {*self.values})

    def step(self, each: Instruction) -> None:
        """Goes over one instruction."""
        target = _whole(each.op0_register) if each.op0_kind == OpKind.REGISTER else -1
        immediate = each.mnemonic == Mnemonic.MOV and each.op1_kind in _ADDRESSES
        if each.mnemonic == Mnemonic.LEA or immediate:
            self.values.discard(target)
            self.pointers.discard(target)
            if each.is_ip_rel_memory_operand or immediate:
                self.pointers.add(target)
            return
        known = self._reads_static(each) or any(
            _whole(each.op_register(at)) in self.values
            for at in range(each.op_count)
            if each.op_kind(at) == OpKind.REGISTER and not (at == 0 and _overwrites(each))
        )
        if each.rflags_modified:
            self.flags = known
        if known:
            self.values.add(target)
        elif _overwrites(each):
            self.values.discard(target)

    def _reads_static(self, each: Instruction) -> bool:
        if OpKind.MEMORY not in (each.op0_kind, each.op1_kind):
            return False
        base = _whole(each.memory_base)
        absolute = base < 0 and each.segment_prefix == Register.NONE
        return each.is_ip_rel_memory_operand or absolute or base in self.pointers | self.values


# An address as an immediate: programs that do not move in memory.
_ADDRESSES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)


def _overwrites(each: Instruction) -> bool:
    return each.mnemonic in (Mnemonic.MOV, Mnemonic.MOVZX, Mnemonic.MOVSX)


@functools.cache
def _whole(register: int) -> int:
    return int(RegisterInfo(register).full_register) if register else -1  # type: ignore[arg-type]


def reached(file: Binary, forms: Forms, roots: Iterable[int]) -> dict[str, int]:
    """The features that are reached without a choice, with an address of each.

    Args:
        file: an x86-64 file.
        forms: the meaning of codes.
        roots: where a run or a load begins.
    """
    return _Walk(file, forms).features(roots)


class _Walk:
    def __init__(self, file: Binary, forms: Forms) -> None:
        self._file = file
        self._forms = forms
        self._seen: set[int] = set()
        self._answers: dict[int, bool] = {}
        self._meetings: dict[int, tuple[int, ...]] = {}
        self._left = MOST_OF_SIDES

    def features(self, roots: Iterable[int]) -> dict[str, int]:
        met: dict[str, int] = {}
        pending = [(root, _Static()) for root in roots]
        while pending and len(self._seen) < MOST:
            address, static = pending.pop()
            if address not in self._seen:
                pending += self._run(address, static, met)
        return met

    def _run(
        self, address: int, static: _Static, met: dict[str, int]
    ) -> Iterator[tuple[int, _Static]]:
        """Follows one way, noting what it meets; yields those that leave it."""
        for each in self._instructions(address):
            if each.ip in self._seen or each.code in ASKING:
                return  # where it asks, what follows may be an answer
            self._seen.add(each.ip)
            meaning = self._forms.meaning(each.code)
            if not meaning.odd and "never_faults" not in meaning.marks:
                for name in meaning.needs:
                    met.setdefault(name, each.ip)
            flow = each.flow_control
            if flow == FlowControl.CALL:
                yield each.near_branch_target, _Static()
                static = self._after(each)
            elif flow == FlowControl.CONDITIONAL_BRANCH:
                if static.flags:
                    yield from ((meet, static.copy()) for meet in self._meeting(each, static))
                    return
                yield each.near_branch_target, static.copy()
            elif flow == FlowControl.UNCONDITIONAL_BRANCH:
                yield each.near_branch_target, static
            else:
                static.step(each)

    def _instructions(self, address: int) -> Iterator[Instruction]:
        code = self._file.code_at(address)
        if code is None or code.name.startswith(".plt"):
            return
        for each in Decoder(64, code.between(address, address + _NEAR), ip=address):
            # What goes on into the next function does not: it called something that never returns.
            if each.is_invalid or (each.ip != address and self._file.begins_function(each.ip)):
                return
            yield each
            if each.code in self._forms.ends:
                return

    def _meeting(self, branch: Instruction, static: _Static) -> tuple[int, ...]:
        """Where the two sides of a choice meet again, if they do."""
        if branch.ip not in self._meetings:
            self._meetings[branch.ip] = ()  # for what comes back to it
            ways = (branch.next_ip, branch.near_branch_target)
            one, other = (self._side(address, static) for address in ways)
            common = one.keys() & other.keys()
            # Of a stretch that both reach, its first instruction.
            self._meetings[branch.ip] = tuple(ip for ip in common if one[ip] not in common)
        return self._meetings[branch.ip]

    def _side(self, address: int, static: _Static) -> dict[int, int]:
        """The instructions on one side within the function, each with the one before it.

        What lies on one side of a further choice alone is left out.
        """
        side: dict[int, int] = {}
        pending = [(address, -1, static.copy())]
        while pending and len(side) < MOST_OF_A_SIDE and self._left > 0:
            address, before, static = pending.pop()
            for each in self._instructions(address):
                if each.ip in side or each.code in ASKING:
                    break
                side[each.ip] = before
                self._left -= 1
                before = each.ip
                if each.flow_control == FlowControl.CALL:
                    static = self._after(each)
                elif each.code not in self._forms.branches:
                    static.step(each)
                elif each.flow_control == FlowControl.CONDITIONAL_BRANCH and static.flags:
                    meetings = self._meeting(each, static)
                    pending += [(meet, before, static.copy()) for meet in meetings]
                    break
                elif each.op0_kind == OpKind.NEAR_BRANCH64:
                    pending.append((each.near_branch_target, before, static.copy()))
        return side

    def _after(self, call: Instruction) -> _Static:
        return _Static(values={int(Register.RAX)} if self._asks(call) else set())

    def _asks(self, call: Instruction) -> bool:
        """Whether the answer of a call may be what the CPU can do."""
        target = call.near_branch_target
        code = self._file.code_at(target)
        if code is None or code.name.startswith(".plt"):
            return bool(self._file.asks_others)
        if target not in self._answers:
            static = _Static()
            asks = False
            for number, each in enumerate(self._instructions(target)):
                if each.code in ASKING or number > MOST_OF_AN_ANSWER:
                    asks = each.code in ASKING
                    break
                static.step(each)
            self._answers[target] = asks or int(Register.RAX) in static.values
        return self._answers[target]

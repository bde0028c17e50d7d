"""What a function does on every way through it, and what only on a side of a choice.

A choice is a branch on what may tell of the CPU (code.labels). What lies on one of its sides alone
is guarded; where both sides meet again, it goes on. A side from which a run never comes back (it
exits, it aborts) makes no choice of it: the file refuses, and does not choose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush

from iced_x86 import FlowControl, Instruction, Mnemonic, OpKind, Register

from cpuprobe.code.blocks import Block, blocks, meetings, returning
from cpuprobe.code.dataflow import Flow
from cpuprobe.code.forms import Forms
from cpuprobe.code.labels import ANSWER, ARGUMENTS, CHOICE, ENTRY, Known, State, memory, whole
from cpuprobe.code.program import Binary
from cpuprobe.code.summary import Call, Escape, Summary, Way

_PASSES = 3
"""How often a function is gone over at most, as a choice makes new answers."""
_ARGUMENTS = sum(2 << at for at in range(len(ARGUMENTS)))
_MOST_CHOICES = 32
"""Choices of a function both sides of which are compared."""
_VISITS = 8
"""How often a block is gone over at most in one pass."""
MOST_STEPS = 100_000
"""Instructions gone over for one function, each time counted, and what is joined between blocks."""
_SLOTS_A_STEP = 16
"""Places that are joined in the time that an instruction takes."""


def summarised(
    file: Binary,
    forms: Forms,
    known: Known,
    start: int,
    end: int,
    asks: Callable[[int], bool],
    foreign: Callable[[int], bool],
) -> Summary:
    """Looks at one function.

    Args:
        file: where it stands.
        forms: the meaning of codes.
        known: of the whole file.
        start: its first address.
        end: the address behind it.
        asks: whether the function at an address may answer what the CPU can do.
        foreign: whether it is another file's.
    """
    made = blocks(file, forms, start, end)
    if not made:
        return Summary()
    return _Function(made, forms, known, start, end, asks, foreign).summary()


class _Function:
    def __init__(
        self,
        made: list[Block],
        forms: Forms,
        known: Known,
        start: int,
        end: int,
        asks: Callable[[int], bool],
        foreign: Callable[[int], bool],
    ) -> None:
        self._blocks = made
        self._forms = forms
        self._flow = Flow(known)
        self._flow.look(each for block in made for each in block.instructions)
        self._start, self._end = start, end
        self._asks, self._foreign = asks, foreign
        self._alive = returning(made)
        self._meetings = meetings(made, self._alive)
        self._ends = {block.instructions[-1].ip: at for at, block in enumerate(made)}
        self._branches: dict[int, int] = {}
        self._entries: dict[int, State] = {}
        self._answers = False
        self._steps = 0

    def summary(self) -> Summary:
        reachable = self._open(0)
        guarded: set[int] = set()
        for _ in range(_PASSES):
            self._spread(guarded)
            found = reachable - self._open(ANSWER)
            if found <= guarded:
                break
            guarded = found
        everywhere = self._open(CHOICE)
        labels = 0
        for number in everywhere:
            labels |= self._branches.get(number, 0)
        without = {2 << at: self._open(CHOICE | 2 << at) for at in range(6) if labels & 2 << at}
        made = Summary(answers=self._answers, statics=self._flow.statics, fields=self._flow.fields)
        made.size = self._steps
        made.refuses = any(
            labels & ANSWER and any(way not in self._alive for way in self._blocks[number].ways)
            for number, labels in self._branches.items()
        )
        for number in sorted(everywhere):
            unless = sum(bit for bit, reached in without.items() if number not in reached)
            self._tell(number, unless, made)
        choosing = [at for at in everywhere if self._branches.get(at, 0) & CHOICE]
        for number in sorted(choosing)[:_MOST_CHOICES]:
            self._both(number, everywhere, made)
        return made

    def _both(self, number: int, everywhere: Collection[int], made: Summary) -> None:
        """Takes in what both sides of a choice come to: it does not guard that."""
        block = self._blocks[number]
        sides = []
        for way in block.ways:
            side = Summary()
            for each in self._open(CHOICE, way) - {*everywhere} if way in self._alive else ():
                self._tell(each, 0, side)
            sides.append(side)
        if block.leaves:
            last = block.instructions[-1]
            sides.append(Summary(calls=[Call(last.near_branch_target, last.ip, 0, 0)]))
        if len(sides) == 2:
            one, other = sides
            targets = {call.target for call in other.calls}
            made.calls += [call for call in one.calls if call.target in targets]
            for name in one.needs.keys() & other.needs.keys():
                made.needs.setdefault(name, one.needs[name])

    def _open(self, choices: int, start: int = 0) -> set[int]:
        """The blocks that are reached from one without a choice between."""
        seen = {start}
        pending = [start]
        while pending:
            number = pending.pop()
            ways: Sequence[int] = self._blocks[number].ways
            if choices and self._branches.get(number, 0) & choices:
                back = [way for way in ways if way in self._alive]
                if len(back) + self._elsewhere(number) > 1:
                    meeting = self._meetings.get(number, -1)
                    ways = [meeting] if meeting >= 0 else []
                else:
                    ways = back
            for way in ways:
                if way not in seen:
                    seen.add(way)
                    pending.append(way)
        return seen

    def _elsewhere(self, number: int) -> bool:
        """Whether a branch goes on in another function."""
        return self._blocks[number].leaves

    def _spread(self, guarded: Collection[int]) -> None:
        """Finds out what each block begins with."""
        self._entries = {0: ENTRY.copy()}
        visits: dict[int, int] = {}
        queued: set[int] = set()
        pending = [0]  # a heap: blocks are gone over in the order of their addresses
        while pending and self._steps < MOST_STEPS:
            number = heappop(pending)
            visits[number] = visits.get(number, 0) + 1
            queued.discard(number)
            state = self._entries[number].copy()
            self._steps += len(self._blocks[number].instructions)
            for each in self._blocks[number].instructions:
                self._over(each, state, number in guarded)
            for way in self._blocks[number].ways:
                self._steps += len(state.slots) // _SLOTS_A_STEP
                known = self._entries.get(way)
                if known is None:
                    self._entries[way] = state.copy()
                    heappush(pending, way)
                elif known.join(state) and visits.get(way, 0) < _VISITS and way not in queued:
                    queued.add(way)
                    heappush(pending, way)

    def _over(self, each: Instruction, state: State, guarded: bool) -> None:
        flow = each.flow_control
        if flow in (FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH):
            if flow == FlowControl.CONDITIONAL_BRANCH:
                number = self._ends[each.ip]
                self._branches[number] = self._branches.get(number, 0) | state.flags
            elif not self._start <= each.near_branch_target < self._end:
                self._answers |= self._asks(each.near_branch_target)
        elif flow == FlowControl.CALL and each.op0_kind == OpKind.NEAR_BRANCH64:
            self._flow.call(state, self._asks(each.near_branch_target))
        elif flow in (FlowControl.CALL, FlowControl.INDIRECT_CALL):
            self._flow.call(state, self._indirect_asks(each, state))
        elif flow == FlowControl.RETURN:
            self._answers |= bool(state.labels.get(int(Register.RAX), 0) & ANSWER)
        elif flow != FlowControl.INDIRECT_BRANCH:
            self._flow.step(each, state, guarded)

    def _indirect_asks(self, each: Instruction, state: State) -> bool:
        """Whether a call through memory calls a function that asks (without a PLT)."""
        if each.op0_kind != OpKind.MEMORY:
            return False
        place = memory(each, state, self._flow.framed)
        return place.static is not None and self._asks(-place.static)

    def _tell(self, number: int, unless: int, made: Summary) -> None:
        """Takes in what an unguarded block does."""
        state = self._entries.get(number, State()).copy()
        for each in self._blocks[number].instructions:
            meaning = self._forms.meaning(each.code)
            if not meaning.odd and "never_faults" not in meaning.marks:
                for name in meaning.needs:
                    if name not in made.needs or unless == 0:
                        made.needs.setdefault(name, (each.ip, unless))
            self._leaving(each, state, unless, made)
            self._over(each, state, False)

    def _leaving(self, each: Instruction, state: State, unless: int, made: Summary) -> None:
        flow = each.flow_control
        escapes = made.escapes
        if each.op0_kind == OpKind.NEAR_BRANCH64:
            target = each.near_branch_target
            outside = not self._start <= target < self._end
            if flow == FlowControl.CONDITIONAL_BRANCH and outside:
                if state.flags & CHOICE:
                    return
                unless |= state.flags & ~CHOICE & _ARGUMENTS
            if flow == FlowControl.CALL or outside:
                answers = 0
                for at, register in enumerate(ARGUMENTS):
                    if state.labels.get(register, 0) & CHOICE:
                        answers |= 2 << at
                made.calls.append(Call(target, each.ip, unless, answers))
                way: Way = "foreign" if self._foreign(target) else "kept"
                self._handed(state, way, unless, each, made)
        elif flow in (FlowControl.INDIRECT_CALL, FlowControl.INDIRECT_BRANCH, FlowControl.CALL):
            self._handed(state, "foreign", unless, each, made)
        elif flow == FlowControl.RETURN:
            for register in (int(Register.RAX), int(Register.RDX)):
                if register in state.points:
                    escapes.append(Escape(state.points[register], "kept", unless, each.ip))
        elif each.mnemonic == Mnemonic.MOVQ and each.op1_kind == OpKind.REGISTER:
            point = state.points.get(whole(each.op1_register))  # two at once are stored as vector
            if point is not None:
                escapes.append(Escape(point, "stored", unless, each.ip))
        elif each.mnemonic == Mnemonic.MOV and each.op1_kind == OpKind.REGISTER:
            point = state.points.get(whole(each.op1_register))
            to_memory = point is not None and each.op0_kind == OpKind.MEMORY
            if to_memory and memory(each, state, self._flow.framed).static is None:
                escapes.append(Escape(point or 0, "stored", unless, each.ip))

    @staticmethod
    def _handed(state: State, way: Way, unless: int, each: Instruction, made: Summary) -> None:
        for register in ARGUMENTS:
            if register in state.points:
                made.escapes.append(Escape(state.points[register], way, unless, each.ip))

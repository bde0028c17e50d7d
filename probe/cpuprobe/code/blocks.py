"""A function as blocks: what follows what, and where the ways from a branch meet again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from iced_x86 import Decoder, FlowControl, Instruction, OpKind

from cpuprobe.code.forms import Forms
from cpuprobe.code.program import Binary

MOST = 8_000
"""Instructions of a function; a larger one is not looked at."""
_ENDS = (FlowControl.RETURN, FlowControl.INDIRECT_BRANCH)
_SPLITS = (
    FlowControl.CONDITIONAL_BRANCH,
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.RETURN,
    FlowControl.INDIRECT_BRANCH,
)


@dataclass(slots=True)
class Block:
    """Instructions that run one after the other.

    Attributes:
        instructions: at least one.
        ways: the numbers of the blocks that may follow.
        leaves: it may end the function, or go on in another.
    """

    instructions: list[Instruction]
    ways: list[int] = field(default_factory=list)
    leaves: bool = False


def blocks(file: Binary, forms: Forms, start: int, end: int) -> list[Block] | None:
    """The blocks of a function, in the order of their addresses; the first one is its start's.

    Args:
        file: where it stands.
        forms: the meaning of codes.
        start: its first address.
        end: the address behind it.

    Returns:
        None for what is larger than MOST, or no code.
    """
    code = file.code_at(start)
    if code is None:
        return None
    data = code.between(start, end)
    decoder = Decoder(64, data, ip=start)
    found: dict[int, Instruction] = {}
    heads = {start}
    pending = [start]
    while pending:
        ip = pending.pop()
        decoder.position = ip - start
        decoder.ip = ip
        while ip < end and ip not in found:
            each = decoder.decode()
            if each.is_invalid:
                break
            found[ip] = each
            if len(found) > MOST:
                return None
            ip = each.next_ip
            if each.code in forms.branches and each.op0_kind == OpKind.NEAR_BRANCH64:
                target = each.near_branch_target
                if start <= target < end and each.flow_control in _SPLITS:
                    heads.add(target)
                    pending.append(target)
            if each.flow_control in _SPLITS:
                heads.add(ip)
            if each.code in forms.ends:
                break
    return _cut(found, heads, start, end, forms)


def _cut(
    found: dict[int, Instruction], heads: set[int], start: int, end: int, forms: Forms
) -> list[Block]:
    made: list[Block] = []
    number: dict[int, int] = {}
    order = [start, *sorted(head for head in heads if head in found and head != start)]
    for head in order:
        if head not in found:
            continue
        number[head] = len(made)
        run = [found[head]]
        while run[-1].code not in forms.ends and run[-1].flow_control not in _SPLITS:
            following = found.get(run[-1].next_ip)
            if following is None or following.ip in heads:
                break
            run.append(following)
        made.append(Block(run))
    for block in made:
        last = block.instructions[-1]
        ways = []
        if last.code not in forms.ends:
            ways.append(last.next_ip)
        if last.flow_control in _SPLITS and last.op0_kind == OpKind.NEAR_BRANCH64:
            ways.append(last.near_branch_target)
        block.ways = [number[way] for way in dict.fromkeys(ways) if way in number]
        block.leaves = last.flow_control in _ENDS or (
            last.flow_control in _SPLITS
            and last.op0_kind == OpKind.NEAR_BRANCH64
            and not start <= last.near_branch_target < end
        )
    return made


def returning(made: Sequence[Block]) -> set[int]:
    """The blocks from which the function may end; from the others a run never comes back."""
    before: dict[int, list[int]] = {}
    for number, block in enumerate(made):
        for way in block.ways:
            before.setdefault(way, []).append(number)
    alive = {number for number, block in enumerate(made) if block.leaves}
    pending = list(alive)
    while pending:
        for number in before.get(pending.pop(), ()):
            if number not in alive:
                alive.add(number)
                pending.append(number)
    return alive


def meetings(made: Sequence[Block], alive: Collection[int]) -> dict[int, int]:
    """For each block that ends, the next one that every way to an end goes through.

    Ways from which a run never comes back do not count. Cooper, Harvey and Kennedy's way to
    dominators, over the blocks turned round; -1 stands for the end of all.
    """
    ways = {number: [way for way in made[number].ways if way in alive] for number in alive}
    before: dict[int, list[int]] = {}
    for number, following in ways.items():
        for way in following:
            before.setdefault(way, []).append(number)
    ends = [number for number in sorted(alive) if made[number].leaves]
    order: list[int] = []  # reverse postorder from the end
    seen: set[int] = set()
    for end in ends:
        stack: list[tuple[int, Iterable[int]]] = []
        if end not in seen:
            seen.add(end)
            stack.append((end, iter(before.get(end, ()))))
        while stack:
            number, rest = stack[-1]
            for other in rest:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(before.get(other, ()))))
                    break
            else:
                order.append(number)
                stack.pop()
    rank = {number: at for at, number in enumerate(order)}
    rank[-1] = len(order)
    next_of: dict[int, int] = {-1: -1}

    def both(one: int, other: int) -> int:
        while one != other:
            while rank[one] < rank[other]:
                one = next_of[one]
            while rank[other] < rank[one]:
                other = next_of[other]
        return one

    changed = True
    while changed:
        changed = False
        for number in reversed(order):
            following = ways[number] + ([-1] if made[number].leaves else [])
            met: int | None = None
            for way in following:
                if way in next_of:
                    met = way if met is None else both(way, met)
            if met is not None and next_of.get(number) != met:
                next_of[number] = met
                changed = True
    return next_of

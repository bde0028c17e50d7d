"""Executable bytes -> the features in them, function by function.

Three questions, each asked only of what the one before let through, keep this fast:

1. Which codes occur in a block of some functions? A set of codes, in one pass at the decoder's full
   speed. Most blocks hold nothing beyond x86-64-v1 and are done.
2. Where in the block do the others stand? One pass over each of its functions.
3. Is it an instruction at all? Asked where a function has few of a feature, something rare, or
   bytes that decode to nothing: control flow is followed from its start. Bytes that it does not
   reach count only if they can be jumped to in a way that cannot be followed (a jump table, a
   landing pad) and decode without anything odd.

Bytes that belong to no known function are swept: they count where a long run decodes without
anything odd.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from iced_x86 import Decoder, FlowControl, OpKind, Register

from cpuprobe.artifacts.elf_file import NAMELESS, CodeBytes, ElfFile, Function, Name
from cpuprobe.artifacts.forms import CPUID, INVALID, XGETBV, Forms
from cpuprobe.artifacts.model import MOST_PLACES, Confidence, Coverage, Place, Use

Hit = tuple[int, int]
"""A code of iced-x86 and the address of the instruction."""

_NEXT = FlowControl.NEXT
_BRANCHES = (
    FlowControl.CONDITIONAL_BRANCH,
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.XBEGIN_XABORT_XEND,
)
_ENDS = (
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.INDIRECT_BRANCH,
    FlowControl.RETURN,
    FlowControl.EXCEPTION,
)

BLOCK = 8192
"""Bytes of consecutive functions that are looked at together."""
FEW = 6
"""A function with as few instructions of a feature is walked: they might be data."""
WALK_LIMIT = 1 << 20
"""Bytes of a function beyond which it is not walked; nothing rare is believed there."""
SWEEP_RUN = 48
"""Instructions in a row that must decode without anything odd for unknown bytes to be code."""
SWEEP_MARGIN = 12
"""Instructions next to something odd that are not believed."""
STRAIGHT_LIMIT = 4096
"""Instructions that are followed from the entry point."""

# What assemblers and linkers put between functions: zeros, INT3, NOP in all lengths (SDM vol. 2B,
# NOP, "Recommended Multi-Byte Sequence"). It cannot backtrack far.
_PADDING = re.compile(
    rb"(?:[\x00\x90\xcc]|\x66+\x90"
    rb"|[\x66\x2e]*\x0f\x1f(?:\x00|\x40\x00|\x44\x00\x00|\x80\x00{4}|\x84\x00{5}))*"
)
_LONGEST_PADDING = 64


class Stretch(NamedTuple):
    """Bytes from `start` to `end` that are one function, or that no function claims."""

    start: int
    end: int
    name: Name
    source: Confidence | None
    lsda: bool


@dataclass(slots=True)
class _Found:
    """Collects over a whole file."""

    forms: Forms
    names: Callable[[Name], str]
    features: dict[str, list[Place]] = field(default_factory=dict)
    unknown: dict[str, list[Place]] = field(default_factory=dict)
    signs: set[str] = field(default_factory=set)
    discarded: int = 0
    loud: bool = False

    def add(self, stretch: Stretch, hits: Iterable[Hit]) -> None:
        """Counts believed hits (code, address) of one function."""
        by_form: dict[int, list[int]] = {}
        for form, address in hits:
            by_form.setdefault(form, []).append(address)
        by_form.pop(INVALID, None)
        if by_form.pop(CPUID, None):
            self.signs.add("CPUID")
        if XGETBV in by_form:
            self.signs.add("XGETBV")
        features: dict[str, list[int]] = {}
        unknown: dict[str, list[int]] = {}
        for form, addresses in by_form.items():
            for name in self.forms.features[form]:
                features.setdefault(name, []).extend(addresses)
            for name in self.forms.unknown[form]:
                unknown.setdefault(name, []).extend(addresses)
        for collected, where in ((features, self.features), (unknown, self.unknown)):
            for name, addresses in collected.items():
                where.setdefault(name, []).append(
                    Place(
                        self.names(stretch.name),
                        min(addresses),
                        len(addresses),
                        stretch.source or "sweep",
                    )
                )


@dataclass(frozen=True, slots=True)
class Scan:
    """What `scan` found."""

    features: dict[str, Use]
    unknown: dict[str, Use]
    signs: tuple[str, ...]
    coverage: Coverage


def uses(places: Mapping[str, list[Place]]) -> dict[str, Use]:
    """Sums up the places of each feature, features in alphabetical order."""
    summed = {}
    for name in sorted(places):
        by: dict[str, int] = {}
        for place in places[name]:
            by[place.confidence] = by.get(place.confidence, 0) + place.instructions
        ordered = sorted(places[name], key=lambda place: place.address)
        summed[name] = Use(sum(by.values()), len(ordered), by, tuple(ordered[:MOST_PLACES]))
    return summed


def stretches(
    code: CodeBytes, functions: Mapping[int, Function], objects: list[tuple[int, int]]
) -> Iterator[Stretch]:
    """Cuts executable bytes into functions, in address order, without overlap.

    What lies between them is left out, and so is what a symbol says is data.
    """
    stop = code.address + len(code.data)
    ordered = sorted(functions)
    data = [(stop, stop), *reversed(objects)]
    for start, following in zip(ordered, [*ordered[1:], stop], strict=False):
        _, end, name, source, lsda = functions[start]
        while data[-1][1] <= start and len(data) > 1:
            data.pop()
        if data[-1][0] <= start < data[-1][1]:
            continue
        end = min(following if end is None else end, following, data[-1][0])
        if end > start:
            yield Stretch(start, end, name, source, lsda)


def _merged(objects: list[tuple[int, int]], code: CodeBytes) -> list[tuple[int, int]]:
    """Ranges in order, inside the executable bytes, overlapping ones made one."""
    merged: list[tuple[int, int]] = []
    stop = code.address + len(code.data)
    for start, end in sorted(objects):
        until = min(end, stop)
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(until, merged[-1][1])
        else:
            merged.append((start, until))
    return merged


def scan(file: ElfFile, forms: Forms) -> Scan:
    """Finds the features in a file's executable bytes.

    Args:
        file: an x86-64 file.
        forms: the meaning of codes.
    """
    found = _Found(forms, file.name)
    amounts = dict.fromkeys(("symbol", "unwind", "sweep", "padding", "data", "unknown"), 0)
    for number, code in enumerate(file.code):
        objects = _merged(file.objects.get(number, []), code)
        known = list(stretches(code, file.functions.get(number, {}), objects))
        blocks, gaps = _layout(known, code, objects, amounts)
        for block in blocks:
            _block(block, code, found)
        for gap in gaps:
            swept = _sweep(gap, code, found)
            amounts["sweep"] += swept
            amounts["unknown"] += gap.end - gap.start - swept
    return Scan(
        uses(found.features),
        uses(found.unknown),
        tuple(sorted(found.signs)),
        Coverage(
            total=sum(len(code.data) for code in file.code), discarded=found.discarded, **amounts
        ),
    )


def _layout(
    known: list[Stretch], code: CodeBytes, objects: list[tuple[int, int]], amounts: dict[str, int]
) -> tuple[list[list[Stretch]], list[Stretch]]:
    """Runs of functions with nothing but padding in between, and what no function claims.

    A sweep through a run stays in step with the instructions. Bytes are counted in `amounts`.
    """
    base, stop = code.address, code.address + len(code.data)
    blocks: list[list[Stretch]] = []
    gaps: list[Stretch] = []
    at, limit = base, 0
    for each in known:
        start, end = each.start, each.end
        amounts[each.source or "unknown"] += end - start
        if start > at:
            if start - at <= _LONGEST_PADDING and _PADDING.fullmatch(
                code.data, at - base, start - base
            ):
                amounts["padding"] += start - at
            else:
                gaps += _without_data(at, start, objects, amounts)
                limit = 0
        if end > limit:
            blocks.append([])
            limit = start + BLOCK
        blocks[-1].append(each)
        at = end
    if stop > at:
        gaps += _without_data(at, stop, objects, amounts)
    return blocks, [gap for gap in gaps if not _padding(gap, code, amounts)]


def _padding(gap: Stretch, code: CodeBytes, amounts: dict[str, int]) -> bool:
    if gap.end - gap.start > _LONGEST_PADDING or not _PADDING.fullmatch(
        code.data, gap.start - code.address, gap.end - code.address
    ):
        return False
    amounts["padding"] += gap.end - gap.start
    return True


def _without_data(
    start: int, end: int, objects: list[tuple[int, int]], amounts: dict[str, int]
) -> Iterator[Stretch]:
    """A gap without what a symbol says is data. `objects` is in order and holds no overlaps."""
    at = start
    for index in range(max(0, bisect_right(objects, (start, 0)) - 1), len(objects)):
        low, high = objects[index]
        if low >= end:
            break
        first, last = max(low, at), min(high, end)
        if first >= last:
            continue
        amounts["data"] += last - first
        if first > at:
            yield Stretch(at, first, NAMELESS, None, False)
        at = last
    if at < end:
        yield Stretch(at, end, NAMELESS, None, False)


def _bytes(code: CodeBytes, start: int, end: int) -> bytes:
    return code.data[start - code.address : end - code.address]


def _block(block: list[Stretch], code: CodeBytes, found: _Found) -> None:
    quiet = found.forms.quiet
    start, end = block[0].start, block[-1].end
    if not found.loud:
        present = {each.code for each in Decoder(64, _bytes(code, start, end), ip=start)}
        if present <= quiet:
            return
    # Where one block holds something the next does as a rule: do not ask it first.
    found.loud = False
    for stretch in block:
        decoder = Decoder(64, _bytes(code, stretch.start, stretch.end), ip=stretch.start)
        hits: list[Hit] = [(form, each.ip) for each in decoder if (form := each.code) not in quiet]
        if hits:
            found.loud = True
            _function(stretch, code, hits, found)


def _function(stretch: Stretch, code: CodeBytes, hits: list[Hit], found: _Found) -> None:
    forms = found.forms
    counts: dict[tuple[str, ...], int] = {}
    odd = False
    for form, count in Counter([form for form, _ in hits]).items():
        if form == INVALID or form in forms.rare:
            odd = True
            break
        key = forms.features.get(form, ())
        counts[key] = counts.get(key, 0) + count
    if not odd and (min(counts.values()) > FEW or _live(stretch, code, hits)):
        found.add(stretch, hits)
        return
    if stretch.end - stretch.start > WALK_LIMIT:
        believed = [hit for hit in hits if hit[0] not in forms.rare and hit[0] != INVALID]
    else:
        believed = list(_walk(stretch, code, forms))
    sound = sum(form != INVALID for form, _ in hits)
    found.discarded += max(0, sound - len(believed))
    found.add(stretch, believed)


def _live(stretch: Stretch, code: CodeBytes, hits: list[Hit]) -> bool:
    """Whether each hit follows the start or a branch's target with nothing in between that ends.

    Cheaper than a walk, which is needed only where the answer is no.
    """
    marks: list[tuple[int, bool]] = [(stretch.start, True)]
    for each in Decoder(64, _bytes(code, stretch.start, stretch.end), ip=stretch.start):
        flow = each.flow_control
        if flow == _NEXT:
            continue
        if flow in _BRANCHES and each.op0_kind == OpKind.NEAR_BRANCH64:
            marks.append((each.near_branch_target, True))
        if flow in _ENDS:
            marks.append((each.next_ip, False))
    marks.sort()  # at one address the end (False) comes before the target
    at, live = 0, False
    for _, address in hits:
        while at < len(marks) and marks[at][0] <= address:
            live = marks[at][1]
            at += 1
        if not live:
            return False
    return True


def _walk(stretch: Stretch, code: CodeBytes, forms: Forms) -> Iterator[Hit]:
    """Yields what control flow from the start reaches, and what may be reached unseen."""
    start, end = stretch.start, stretch.end
    data = _bytes(code, start, end)
    decoder = Decoder(64, data, ip=start)
    seen: dict[int, int] = {}  # address -> length
    hits: list[Hit] = []
    pending = [start]
    open_ended = stretch.lsda
    while pending:
        ip = pending.pop()
        if not start <= ip < end or ip in seen:
            continue
        decoder.position = ip - start
        decoder.ip = ip
        # What leads to bytes that decode to nothing is no code: a call that does not return, say.
        run: list[Hit] = []
        while ip < end and ip not in seen:
            each = decoder.decode()
            if each.is_invalid:
                run = [hit for hit in run if hit[0] not in forms.rare]
                break
            seen[ip] = each.len
            if each.code not in forms.quiet:
                run.append((each.code, ip))
            ip = each.next_ip
            flow = each.flow_control
            if flow in (FlowControl.NEXT, FlowControl.CALL, FlowControl.INDIRECT_CALL):
                continue
            if flow in (FlowControl.CONDITIONAL_BRANCH, FlowControl.XBEGIN_XABORT_XEND):
                if each.op0_kind == OpKind.NEAR_BRANCH64:
                    pending.append(each.near_branch_target)
                continue
            if flow == FlowControl.UNCONDITIONAL_BRANCH:
                pending.append(each.near_branch_target)
            elif flow == FlowControl.INTERRUPT:
                continue
            elif flow == FlowControl.INDIRECT_BRANCH:
                open_ended = True
            break
        hits += run
    yield from hits
    if open_ended:
        for low, high in _between(seen, start, end):
            yield from _unseen(low, data[low - start : high - start], forms)


def _between(seen: Mapping[int, int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges between decoded instructions."""
    at = start
    for ip in sorted(seen):
        if ip > at:
            yield at, ip
        at = max(at, ip + seen[ip])
    if at < end:
        yield at, end


def _unseen(start: int, data: bytes, forms: Forms) -> list[Hit]:
    """The hits in bytes that flow did not reach, none if anything there is odd."""
    hits: list[Hit] = []
    for each in Decoder(64, data, ip=start):
        form: int = each.code
        if form == INVALID or form in forms.rare or form in forms.data:
            return []
        if form not in forms.quiet:
            hits.append((form, each.ip))
    return hits


def _sweep(gap: Stretch, code: CodeBytes, found: _Found) -> int:
    """Decodes straight through bytes of which nothing is known; returns how many look like code."""
    forms = found.forms
    unsure = forms.rare | forms.data | {INVALID}
    interesting = [
        (number, form, each.ip)
        for number, each in enumerate(Decoder(64, _bytes(code, gap.start, gap.end), ip=gap.start))
        if (form := each.code) not in forms.quiet or form in forms.data
    ]
    believed: list[Hit] = []
    swept = 0
    last = interesting[-1][0] + SWEEP_RUN if interesting else 0
    odd = [(-1, gap.start), *((n, ip) for n, form, ip in interesting if form in unsure)]
    position = 0
    for at, (number, ip) in enumerate(odd):
        # Both ends of the gap are where known functions end and begin: no margin is lost there.
        final = at + 1 == len(odd)
        upto, stop = (last + SWEEP_RUN, gap.end) if final else odd[at + 1]
        low = number + (1 if number < 0 else SWEEP_MARGIN)
        high = upto if final else upto - SWEEP_MARGIN
        if high - low < SWEEP_RUN and not (final and stop - ip >= 4 * SWEEP_RUN):
            low = high = -1
        else:
            swept += stop - ip
        while position < len(interesting) and interesting[position][0] < upto:
            where, form, address = interesting[position]
            position += 1
            if form in unsure:
                continue
            if low <= where < high:
                believed.append((form, address))
            else:
                found.discarded += 1
    found.add(gap, believed)
    return swept


def straight_line(file: ElfFile, forms: Forms) -> dict[str, int]:
    """The features that every run of a program meets, with the first address of each.

    From the entry point, and from what it hands to the C library as main (its address in RDI,
    glibc, sysdeps/x86_64/start.S), instructions are followed as far as there is only one way: into
    direct calls, not past a condition, an indirect jump or a call out.
    """
    met: dict[str, int] = {}
    if not file.code:
        return met
    mains: list[int] = []
    _follow(file, forms, file.entry, met, mains)
    if mains:
        _follow(file, forms, mains[-1], met, [])
    return met


def _follow(
    file: ElfFile, forms: Forms, address: int, met: dict[str, int], mains: list[int]
) -> None:
    ordered = sorted(file.code, key=lambda each: each.address)
    returns: list[int] = []
    decoder: Decoder | None = None
    for _ in range(STRAIGHT_LIMIT):
        if decoder is None:
            place = bisect_right(ordered, address, key=lambda each: each.address) - 1
            code = ordered[max(place, 0)]
            if not code.address <= address < code.address + len(code.data):
                return
            if code.name.startswith(".plt"):
                return
            near = code.data[address - code.address : address - code.address + 65536]
            decoder = Decoder(64, near, ip=address)
        each = decoder.decode()
        if each.is_invalid:
            return
        form = each.code
        if form in (CPUID, XGETBV):
            return  # it asks; what follows may be an answer
        if form not in forms.quiet and form not in forms.faultless and form not in forms.rare:
            for name in forms.features[form]:
                met.setdefault(name, each.ip)
        if each.op_count == 2 and each.op0_register in (Register.RDI, Register.EDI):
            if each.is_ip_rel_memory_operand:
                mains.append(each.ip_rel_memory_address)
            elif each.op1_kind in (OpKind.IMMEDIATE32, OpKind.IMMEDIATE32TO64):
                mains.append(each.immediate32)
        flow = each.flow_control
        if flow == FlowControl.NEXT:
            continue
        if flow == FlowControl.CALL:
            returns.append(each.next_ip)
            address = each.near_branch_target
        elif flow == FlowControl.UNCONDITIONAL_BRANCH:
            address = each.near_branch_target
        elif flow == FlowControl.RETURN and returns:
            address = returns.pop()
        else:
            return
        decoder = None

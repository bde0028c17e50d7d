"""Executable bytes -> the features in them, function by function.

Four questions, each asked only of what the one before let through, keep this fast:

1. Where could an instruction beyond x86-64-v1 begin? A search for bytes, without decoding
   (cpuprobe.code.spots). Functions without such a spot are done.
2. Is it the first byte of an instruction, and of which? The function is decoded at the decoder's
   full speed, and nothing asked of an instruction but whether it is one; only those on a spot are
   asked for their code. Where nearly every instruction is a hit, all are asked at once instead.
3. Does each hit follow the start or a branch's target? Asked where a function has few of a feature.
4. Is it an instruction at all? Asked where the answer before was no, where there is something rare,
   or bytes that decode to nothing: control flow is followed from the function's start. Bytes that
   it does not reach count only if they can be jumped to in a way that cannot be followed (a jump
   table, a landing pad) and decode without anything odd.

Bytes that belong to no known function are swept: they count where a long run decodes without
anything odd.

The work on one file can be done in parts, by several processes: `plan` lists it, `scan` does a
part, `joined` puts them together.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

import msgspec
from iced_x86 import Decoder, FlowControl, Instruction, OpKind, Register

from cpuprobe.code.elf_program import NAMELESS, CodeBytes, ElfFile, Function, Name
from cpuprobe.code.forms import CPUID, INVALID, XGETBV, Forms, searches
from cpuprobe.code.needs import MOST_PLACES, Confidence, Coverage, Place, Use
from cpuprobe.code.spots import spots

Hit = tuple[int, int]
"""A code of iced-x86 and the address of the instruction."""

Noted = tuple[int, Instruction]
"""A code of iced-x86 and the instruction."""

T = TypeVar("T")

LITTLE = 1 << 18
"""Bytes of functions below which making the search costs more than it saves."""
RUN = 1 << 16
"""Bytes of consecutive functions that are searched at once."""
DENSE = 48
"""Bytes per spot below which all instructions are asked for their code at once."""
PIECE = 4096
"""Instructions that are held at once while nothing is known of them."""
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


Stretch = Function
"""A range of bytes of which the end is known."""

Found = tuple[int, int, Confidence, T]
"""One function with a feature: the first address, how many instructions, how known, its name."""


@dataclass(slots=True)
class _Found:
    """Collects over a part of a file."""

    forms: Forms
    features: dict[str, list[Found[Name]]] = field(default_factory=dict)
    unknown: dict[str, list[Found[Name]]] = field(default_factory=dict)
    signs: set[str] = field(default_factory=set)
    discarded: int = 0
    loud: int = 0

    def add(self, stretch: Stretch, hits: Mapping[int, tuple[int, int]]) -> None:
        """Counts believed hits of one function: by kind, how many and the lowest address."""
        for number, known in enumerate((self.features, self.unknown)):
            sums: dict[str, tuple[int, int]] = {}
            for kind, (count, address) in hits.items():
                meaning = self.forms.meanings[kind]
                if meaning.sign:
                    self.signs.add(meaning.sign)
                for name in meaning.unknown if number else meaning.features:
                    so_far, lowest = sums.get(name, (0, address))
                    sums[name] = so_far + count, min(lowest, address)
            for name, (count, address) in sums.items():
                found = address, count, stretch.source or "sweep", stretch.name
                known.setdefault(name, []).append(found)

    def add_walked(self, stretch: Stretch, hits: Iterable[Hit]) -> None:
        """Counts believed hits of one function, in any order."""
        summed: dict[int, tuple[int, int]] = {}
        for form, address in hits:
            kind = self.forms.kinds[form]
            count, lowest = summed.get(kind, (0, address))
            summed[kind] = count + 1, min(lowest, address)
        self.add(stretch, summed)

    def add_ordered(self, stretch: Stretch, kinds: Sequence[int], hits: Sequence[Noted]) -> None:
        """Counts believed hits in address order, of which the kinds are known."""
        first = dict(zip(reversed(kinds), reversed(hits), strict=True))
        counts = Counter(kinds)
        self.add(stretch, {kind: (counts[kind], first[kind][1].ip) for kind in counts})

    def add_ranges(
        self, stretch: Stretch, table: _Table, ranges: Iterable[tuple[int, int]]
    ) -> None:
        """Counts believed hits: those in some ranges of a table, apart from what is odd."""
        summed: dict[int, tuple[int, int]] = {}
        for start, end in ranges:
            forms = table.forms[start:end]
            # The last one written is the first in the range.
            first = dict(zip(reversed(forms), range(end - 1, start - 1, -1), strict=True))
            for form, count in Counter(forms).items():
                kind = self.forms.kinds[form]
                if self.forms.meanings[kind].odd:
                    continue
                address = table.addresses[first[form]]
                so_far, lowest = summed.get(kind, (0, address))
                summed[kind] = so_far + count, min(lowest, address)
        self.add(stretch, summed)


class _Table(NamedTuple):
    """Many instructions in little room: the number of each, its code, its address."""

    numbers: array[int]
    forms: array[int]
    addresses: array[int]


def _table(data: bytes, start: int, dull: frozenset[int]) -> _Table:
    """The instructions in some bytes whose code is not dull."""
    table = _Table(array("L"), array("H"), array("Q"))
    number, code, address = (column.append for column in table)
    for at, each in enumerate(Decoder(64, data, ip=start)):
        if (form := each.code) not in dull:
            number(at)
            code(form)
            address(each.ip)
    return table


@dataclass(frozen=True, slots=True)
class Scan:
    """What `scan` found."""

    features: dict[str, Use]
    unknown: dict[str, Use]
    signs: tuple[str, ...]
    coverage: Coverage


def uses(found: Mapping[str, list[Found[T]]], text: Callable[[T], str]) -> dict[str, Use]:
    """Sums up where each feature was found, features in alphabetical order.

    Args:
        found: by feature, one entry for each function.
        text: of a name.
    """
    summed = {}
    for name in sorted(found):
        by: dict[str, int] = {}
        for _, count, confidence, _ in found[name]:
            by[confidence] = by.get(confidence, 0) + count
        first = sorted(found[name], key=lambda each: each[0])[:MOST_PLACES]
        places = tuple(
            Place(text(named), address, count, confidence)
            for address, count, confidence, named in first
        )
        summed[name] = Use(sum(by.values()), len(found[name]), by, places)
    return summed


def joined(scans: Sequence[Scan]) -> Scan:
    """The parts of one file, in their order, made one: the same as if it had been one part."""
    if len(scans) == 1:
        return scans[0]
    numbers = [msgspec.structs.astuple(each.coverage) for each in scans]
    return Scan(
        _joined([each.features for each in scans]),
        _joined([each.unknown for each in scans]),
        tuple(sorted({sign for each in scans for sign in each.signs})),
        Coverage(*map(sum, zip(*numbers, strict=True))),
    )


def _joined(parts: list[dict[str, Use]]) -> dict[str, Use]:
    every: dict[str, list[Use]] = {}
    for part in parts:
        for name, use in part.items():
            every.setdefault(name, []).append(use)
    summed = {}
    for name in sorted(every):
        by: Counter[str] = Counter()
        for use in every[name]:
            by.update(use.by)
        places = sorted((p for use in every[name] for p in use.places), key=lambda p: p.address)
        functions = sum(use.functions for use in every[name])
        summed[name] = Use(by.total(), functions, dict(by), tuple(places[:MOST_PLACES]))
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
        function = functions[start]
        end = min(function.end or following, following)
        if objects:
            while data[-1][1] <= start and len(data) > 1:
                data.pop()
            if data[-1][0] <= start < data[-1][1]:
                continue
            end = min(end, data[-1][0])
        if end > start:
            yield function if end == function.end else function._replace(end=end)


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


@dataclass(frozen=True, slots=True)
class Plan:
    """The work on a file, in its order.

    Attributes:
        work: functions of one section, or what no function claims there; each in address order.
        before: for each of these, where it begins, in bytes of work.
        size: all of them, in bytes.
        coverage: what needs no look.
    """

    work: list[tuple[CodeBytes, bool, list[Stretch]]]
    before: list[list[int]]
    size: int
    coverage: Coverage


def plan(file: ElfFile) -> Plan:
    """Cuts a file's executable bytes into functions and what lies between.

    Args:
        file: an x86-64 file.
    """
    amounts = dict.fromkeys(("symbol", "unwind", "padding", "data", "unknown"), 0)
    work: list[tuple[CodeBytes, bool, list[Stretch]]] = []
    for index, code in enumerate(file.code):
        objects = _merged(file.objects.get(index, []), code)
        known = list(stretches(code, file.functions.get(index, {}), objects))
        gaps = _gaps(known, code, objects, amounts)
        work += [(code, True, known), (code, False, gaps)]
    before: list[list[int]] = []
    size = 0
    for _, _, each in work:
        *starts, size = accumulate((end - start for start, end, *_ in each), initial=size)
        before.append(starts)
    return Plan(work, before, size, Coverage(sum(len(code.data) for code in file.code), **amounts))


def scan(file: ElfFile, work: Plan, forms: Forms, number: int = 0, of: int = 1) -> Scan:
    """Finds the features in a file's executable bytes, or in a part of them.

    Args:
        file: an x86-64 file.
        work: its plan.
        forms: the meaning of codes.
        number: which part, from 0; what needs no look is counted in the first.
        of: how many parts there are.
    """
    found = _Found(forms)
    low, high = work.size * number // of, work.size * (number + 1) // of
    worth = work.size >= LITTLE or searches.cache_info().currsize > 0
    swept = unknown = 0
    for (code, are_known, every), before in zip(work.work, work.before, strict=True):
        mine = every[bisect_left(before, low) : bisect_left(before, high)]
        if are_known:
            _known(mine, code, found, worth)
            continue
        for gap in mine:
            taken = _sweep(gap, code, found)
            swept += taken
            unknown += gap.end - gap.start - taken
    coverage = Coverage() if number else work.coverage
    return Scan(
        uses(found.features, file.name),
        uses(found.unknown, file.name),
        tuple(sorted(found.signs)),
        msgspec.structs.replace(
            coverage,
            sweep=swept,
            unknown=coverage.unknown + unknown,
            discarded=found.discarded,
        ),
    )


def _gaps(
    known: list[Stretch], code: CodeBytes, objects: list[tuple[int, int]], amounts: dict[str, int]
) -> list[Stretch]:
    """What no function claims and is no padding. Bytes are counted in `amounts`."""
    base, stop = code.address, code.address + len(code.data)
    gaps: list[Stretch] = []
    at = base
    for start, end, _, source, _ in known:
        amounts[source or "unknown"] += end - start
        if start > at:
            if start - at <= _LONGEST_PADDING and _PADDING.fullmatch(
                code.data, at - base, start - base
            ):
                amounts["padding"] += start - at
            else:
                gaps += _without_data(at, start, objects, amounts)
        at = end
    if stop > at:
        gaps += _without_data(at, stop, objects, amounts)
    return [gap for gap in gaps if not _padding(gap, code, amounts)]


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


def _known(known: list[Stretch], code: CodeBytes, found: _Found, search: bool) -> None:
    """Looks at functions.

    Args:
        known: in address order.
        code: where they stand.
        found: collects.
        search: whether it is worth while to search before decoding.
    """
    base = code.address
    loud = not search
    for run in _runs(known):
        start, end = run[0].start - base, run[-1].end - base
        before = found.loud
        where = None
        if not loud:
            where = spots(searches(), code.data, start, end, (end - start) // DENSE)
        if where is None:
            for each in run:
                _look(each, code, None, found)
        else:
            starts = [each.start - base for each in run]
            at = 0
            while at < len(where):
                stretch = run[bisect_right(starts, where[at]) - 1]
                behind = bisect_left(where, stretch.end - base, at)
                if behind > at:  # else it lies in padding
                    _look(stretch, code, where[at:behind], found)
                at = max(behind, at + 1)
        # Where most of a run is in functions with hits the next is as a rule: it is not searched.
        loud = not search or (found.loud - before) * 2 > end - start


def _runs(known: list[Stretch]) -> Iterator[list[Stretch]]:
    """Consecutive functions with little in between."""
    run: list[Stretch] = []
    for each in known:
        if run and (each.end - run[0].start > RUN or each.start - run[-1].end > _LONGEST_PADDING):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _look(stretch: Stretch, code: CodeBytes, where: list[int] | None, found: _Found) -> None:
    """Finds the hits in a function, decoding straight on from its start.

    Args:
        stretch: the function.
        code: where it stands.
        where: offsets, one at least in each instruction that can be a hit; None if unknown.
        found: collects.
    """
    forms = found.forms
    size = stretch.end - stretch.start
    data = _bytes(code, stretch.start, stretch.end)
    if where is not None and len(where) * DENSE <= size:
        addresses = [offset + code.address for offset in where]
        if not _is_loud(Decoder(64, data, ip=stretch.start), addresses, forms.quiet):
            return
    if size > WALK_LIMIT:
        _long(stretch, data, found)
        return
    noted: list[Noted] = [
        (form, each)
        for each in Decoder(64, data, ip=stretch.start)
        if (form := each.code) not in forms.straight
    ]
    hits = [each for each in noted if each[0] not in forms.quiet]
    if hits:
        found.loud += size
        _function(stretch, code, hits, noted, found)


_address = attrgetter("ip")


def _is_loud(decoder: Decoder, addresses: list[int], quiet: frozenset[int]) -> bool:
    """Whether any instruction is a hit or invalid, if all hits hold one of some addresses."""
    at = 0
    while piece := list(islice(decoder, PIECE)):
        # An instruction is true if it is valid.
        if not all(piece):
            return True
        behind = bisect_left(addresses, piece[-1].next_ip)
        place, before, length = 0, piece[0].ip, len(piece)
        for address in addresses[at:behind]:
            # No instruction is shorter than one byte: the one that is looked for is not far.
            near = min(length, place + 1 + address - before)
            place = bisect_right(piece, address, place, near, key=_address) - 1
            before = address
            if piece[place].code not in quiet:
                return True
        at = behind
    return False


def _function(
    stretch: Stretch,
    code: CodeBytes,
    hits: Sequence[Noted],
    noted: Sequence[Noted],
    found: _Found,
) -> None:
    forms = found.forms
    kinds = [forms.kinds[form] for form, _ in hits]
    counts = Counter(kinds)
    meanings = {kind: forms.meanings[kind] for kind in counts}
    if not any(meaning.odd for meaning in meanings.values()):
        together: dict[tuple[str, ...], int] = {}
        for kind, meaning in meanings.items():
            together[meaning.features] = together.get(meaning.features, 0) + counts[kind]
        if min(together.values()) > FEW or _live(stretch, hits, noted, forms):
            found.add_ordered(stretch, kinds, hits)
            return
    believed = list(_walk(stretch, code, forms))
    sound = len(hits) - counts[forms.kinds[INVALID]]
    found.discarded += max(0, sound - len(believed))
    found.add_walked(stretch, believed)


def _long(stretch: Stretch, data: bytes, found: _Found) -> None:
    """A function too large for a walk, and for an object for each of its instructions."""
    forms = found.forms
    table = _table(data, stretch.start, forms.quiet)
    if table.forms:
        found.loud += len(data)
        found.discarded += sum(form in forms.rare for form in table.forms)
        found.add_ranges(stretch, table, [(0, len(table.forms))])


def _live(stretch: Stretch, hits: Sequence[Noted], noted: Sequence[Noted], forms: Forms) -> bool:
    """Whether each hit follows the start or a branch's target with nothing in between that ends.

    Cheaper than a walk, which is needed only where the answer is no.
    """
    ends = [each.next_ip for form, each in noted if form in forms.ends]
    targets = [
        each.near_branch_target
        for form, each in noted
        if form in forms.branches and each.op0_kind == OpKind.NEAR_BRANCH64
    ]
    ends.append(stretch.end)
    targets.append(stretch.end)
    targets.sort()
    upto = ends[0]  # as far as this, what follows a live hit is live
    for _, hit in hits:
        address = hit.ip
        if address < upto:
            continue
        behind = bisect_right(ends, address)
        if targets[bisect_left(targets, ends[behind - 1])] > address:
            return False
        upto = ends[behind]
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
    data = _bytes(code, gap.start, gap.end)
    table = _table(data, gap.start, forms.quiet - forms.data)
    numbers, addresses = table.numbers, table.addresses
    believed: list[tuple[int, int]] = []
    swept = position = 0
    number, ip = -1, gap.start
    odd = array("L", [at for at, form in enumerate(table.forms) if form in unsure])
    for at in range(len(odd) + 1):
        # Both ends of the gap are where known functions end and begin: no margin is lost there.
        final = at == len(odd)
        if final:
            behind = len(numbers)
            upto, stop = (numbers[-1] + SWEEP_RUN if numbers else 0) + SWEEP_RUN, gap.end
        else:
            behind = odd[at]
            upto, stop = numbers[behind], addresses[behind]
        low = number + (1 if number < 0 else SWEEP_MARGIN)
        high = upto if final else upto - SWEEP_MARGIN
        if high - low < SWEEP_RUN and not (final and stop - ip >= 4 * SWEEP_RUN):
            low = high = -1
        else:
            swept += stop - ip
        # From here to the next odd one nothing is odd.
        start = bisect_left(numbers, low, position, behind)
        end = max(start, bisect_left(numbers, high, position, behind))
        if end > start:
            believed.append((start, end))
        found.discarded += behind - position - (end - start)
        position, number, ip = behind + 1, upto, stop
    found.add_ranges(gap, table, believed)
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

"""Executable bytes -> the features in them, function by function.

Four questions, each asked only of what the one before let through, keep this fast:

1. Where could an instruction beyond x86-64-v1 begin? A search for bytes, without decoding
   (cpuprobe.code.search). Functions without such a candidate are done.
2. Is it the first byte of an instruction, and of which? The function is decoded at the decoder's
   full speed, and nothing asked of an instruction but whether it is one; only those on a candidate
   are asked for their code. Where nearly every instruction is a hit, all are asked at once instead.
3. Does each hit follow the start or a branch's target? Asked where a function has few of a feature.
4. Is it an instruction at all? Asked where the answer before was no, where there is something rare,
   or bytes that decode to nothing: control flow is followed from the function's start
   (cpuprobe.code.flow). Bytes that it does not reach count only if they can be jumped to in a way
   that cannot be followed (a jump table, a landing pad) and decode without anything odd.

Bytes that belong to no known function are swept (cpuprobe.code.sweep): they count where a long run
decodes without anything odd.

The work on one file can be done in parts, by several processes: `plan` lists it (code.layout),
`scan` does a part, `joined` puts them together (code.tally).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from operator import attrgetter

import msgspec
from iced_x86 import Decoder

from cpuprobe.code.budget import FUNCTION, ROW, WALK, Budget
from cpuprobe.code.flow import Noted, is_live, walk
from cpuprobe.code.forms import INVALID, Forms, searches
from cpuprobe.code.layout import LONGEST_PADDING, Plan
from cpuprobe.code.needs import Coverage
from cpuprobe.code.program import Binary, CodeBytes, Range
from cpuprobe.code.search import candidate_offsets
from cpuprobe.code.sketch import sketch
from cpuprobe.code.sweep import PIECE, long_function, sweep
from cpuprobe.code.tally import Scan, Tally, listed, uses

LITTLE = 1 << 18
"""Bytes of functions below which making the search costs more than it saves."""
RUN = 1 << 16
"""Bytes of consecutive functions that are searched at once."""
DENSE = 48
"""Bytes per candidate below which all instructions are asked for their code at once."""
FEW = 6
"""A function with as few instructions of a feature is walked: they might be data."""
WALK_LIMIT = 1 << 20
"""Bytes of a function beyond which it is not walked; nothing rare is believed there."""

Searches = tuple[re.Pattern[bytes], ...]
"""What to search for; empty: decode without a search."""


def scan(
    file: Binary,
    work: Plan,
    forms: Forms,
    number: int = 0,
    of: int = 1,
    sought: Collection[str] = (),
) -> Scan:
    """Finds the features in a file's executable bytes, or in a part of them.

    Args:
        file: an x86-64 file.
        work: its plan.
        forms: the meaning of codes.
        number: which part, from 0; what needs no look is counted in the first.
        of: how many parts there are.
        sought: features of which every function is listed.

    Raises:
        ArtifactError: it is more than a file may take (cpuprobe.code.budget).
    """
    tally = Tally(forms, sought=sought)
    low, high = work.size * number // of, work.size * (number + 1) // of
    worth = work.size >= LITTLE or searches.cache_info().currsize > 0
    swept = unknown = 0
    for (code, are_known, ranges), before in zip(work.work, work.before, strict=True):
        mine = ranges[bisect_left(before, low) : bisect_left(before, high)]
        if are_known:
            _known(mine, code, tally, searches() if worth else ())
            continue
        for gap in mine:
            taken = sweep(gap, code, tally)
            swept += taken
            unknown += gap.end - gap.start - taken
    coverage = Coverage() if number else work.coverage
    return Scan(
        uses(tally.features, file.name),
        uses(tally.unknown, file.name),
        tuple(sorted(tally.signs)),
        msgspec.structs.replace(
            coverage,
            sweep=swept,
            unknown=coverage.unknown + unknown,
            discarded=tally.discarded,
        ),
        tally.pages,
        tally.functions,
        listed(tally, file.name),
        tally.unlisted,
        sketch(file.strings) if sought and number == 0 else (),
        tally.budget.spent,
    )


def _known(known: list[Range], code: CodeBytes, tally: Tally, patterns: Searches) -> None:
    """Looks at functions.

    Args:
        known: in address order.
        code: where they stand.
        tally: collects.
        patterns: what to search for before decoding.
    """
    base = code.address
    hot = False
    for run in _runs(known):
        start, end = run[0].start - base, run[-1].end - base
        before = tally.hit_bytes
        found = None
        if patterns and not hot:
            found = candidate_offsets(patterns, code.data, start, end, (end - start) // DENSE)
        if found is None:
            for function in run:
                _look(function, code, None, tally)
        else:
            _look_where(run, code, found, tally)
        # Where most of a run is in functions with hits the next is as a rule: it is not searched.
        hot = (tally.hit_bytes - before) * 2 > end - start


def _look_where(run: list[Range], code: CodeBytes, found: list[int], tally: Tally) -> None:
    """Looks at those functions of a run that hold a candidate."""
    base = code.address
    starts = [function.start - base for function in run]
    at = 0
    while at < len(found):
        function = run[bisect_right(starts, found[at]) - 1]
        behind = bisect_left(found, function.end - base, at)
        if behind > at:  # else it lies in padding
            _look(function, code, found[at:behind], tally)
        at = max(behind, at + 1)


def _runs(known: list[Range]) -> Iterator[list[Range]]:
    """Consecutive functions with little in between."""
    run: list[Range] = []
    for function in known:
        if run and (
            function.end - run[0].start > RUN or function.start - run[-1].end > LONGEST_PADDING
        ):
            yield run
            run = []
        run.append(function)
    if run:
        yield run


def _look(where: Range, code: CodeBytes, found: list[int] | None, tally: Tally) -> None:
    """Finds the hits in a function, decoding straight on from its start.

    Args:
        where: the function.
        code: where it stands.
        found: offsets, one at least in each instruction that can be a hit; None if unknown.
        tally: collects.
    """
    forms = tally.forms
    size = where.end - where.start
    tally.budget.spend(FUNCTION + len(found or ()))
    data = code.between(where.start, where.end)
    if found is not None and len(found) * DENSE <= size:
        addresses = [offset + code.address for offset in found]
        if not _has_hit(Decoder(64, data, ip=where.start), addresses, forms.quiet, tally.budget):
            return
    if size > WALK_LIMIT:
        long_function(where, code, tally)
        return
    noted: list[Noted] = []
    decoder = Decoder(64, data, ip=where.start)
    while piece := list(islice(decoder, PIECE)):
        before = len(noted)
        noted += [(form, each) for each in piece if (form := each.code) not in forms.straight]
        tally.budget.spend(len(piece) + ROW * (len(noted) - before))
    hits = [each for each in noted if each[0] not in forms.quiet]
    if hits:
        tally.hit_bytes += size
        tally.budget.spend(FUNCTION)
        _count(where, code, hits, noted, tally)


_address = attrgetter("ip")


def _has_hit(decoder: Decoder, addresses: list[int], quiet: frozenset[int], budget: Budget) -> bool:
    """Whether any instruction is a hit or invalid, if all hits hold one of some addresses."""
    at = 0
    while piece := list(islice(decoder, PIECE)):
        budget.spend(len(piece))
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


def _count(
    where: Range, code: CodeBytes, hits: Sequence[Noted], noted: Sequence[Noted], tally: Tally
) -> None:
    """Counts the hits of a function, or what a walk leaves of them."""
    forms = tally.forms
    codes = [form for form, _ in hits]
    counts = Counter(codes)
    meanings = {form: forms.meaning(form) for form in counts}
    if not any(meaning.odd for meaning in meanings.values()):
        together: dict[tuple[str, ...], int] = {}
        for form, meaning in meanings.items():
            together[meaning.needs] = together.get(meaning.needs, 0) + counts[form]
        if min(together.values()) > FEW or is_live(where, hits, noted, forms):
            tally.add(where, codes, [each.ip for _, each in hits])
            return
    tally.budget.spend(WALK * (where.end - where.start))
    believed = sorted(walk(where, code, forms), key=lambda hit: hit[1])
    sound = len(hits) - counts[INVALID]
    tally.discarded += max(0, sound - len(believed))
    tally.add(where, [form for form, _ in believed], [address for _, address in believed])

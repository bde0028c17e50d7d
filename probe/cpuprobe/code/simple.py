"""The scanner over iced-x86: what native/scan/ does in C, where there is no extension.

A function is decoded straight on from its start. Where it has few of a feature it is asked whether
each hit follows the start or a branch's target; where not, or where something is odd, control flow
is followed (cpuprobe.code.flow). Bytes of no known function are swept (cpuprobe.code.sweep). What
came after iced-x86 (cpuprobe.code.newer) is no instruction here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice

import msgspec
from iced_x86 import Decoder

from cpuprobe.code.budget import BUDGET, FUNCTION, ROW, WALK, Budget
from cpuprobe.code.flow import Noted, is_live, walk
from cpuprobe.code.forms import INVALID, Forms
from cpuprobe.code.functions import Range
from cpuprobe.code.layout import Plan
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.sketch import sketch
from cpuprobe.code.sweep import PIECE, long_function, sweep
from cpuprobe.code.tally import Scan, Tally, listed, uses

FEW = 6
"""A function with as few instructions of a feature is walked: they might be data."""
WALK_LIMIT = 1 << 20
"""Bytes of a function beyond which it is not walked; nothing rare is believed there."""


def scan(
    file: Binary, work: Plan, forms: Forms, sought: Collection[str] = (), most: int = BUDGET
) -> Scan:
    """Finds the features in a file's executable bytes.

    Args:
        file: an x86-64 file.
        work: its plan.
        forms: the meaning of codes.
        sought: features of which every function is listed.
        most: steps that it may make.

    Raises:
        ArtifactError: it is more than a file may take (cpuprobe.code.budget).
    """
    tally = Tally(forms, sought=sought, budget=Budget(most))
    swept = unknown = 0
    for piece in work.pieces:
        for each in piece.ranges():
            if piece.known:
                _look(each, piece.code, tally)
            else:
                taken = sweep(each, piece.code, tally)
                swept += taken
                unknown += each.end - each.start - taken
    coverage = work.coverage
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
        sketch(file.strings) if sought else (),
        tally.budget.spent,
    )


def _look(where: Range, code: CodeBytes, tally: Tally) -> None:
    """Finds the hits in a function, decoding straight on from its start."""
    forms = tally.forms
    tally.budget.spend(FUNCTION)
    if where.end - where.start > WALK_LIMIT:
        long_function(where, code, tally)
        return
    noted: list[Noted] = []
    decoder = Decoder(64, code.between(where.start, where.end), ip=where.start)
    while piece := list(islice(decoder, PIECE)):
        before = len(noted)
        noted += [(form, each) for each in piece if (form := each.code) not in forms.straight]
        tally.budget.spend(len(piece) + ROW * (len(noted) - before))
    hits = [each for each in noted if each[0] not in forms.quiet]
    if hits:
        tally.budget.spend(FUNCTION)
        _count(where, code, hits, noted, tally)


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

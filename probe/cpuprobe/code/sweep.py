"""Bytes that belong to no known function: decoded straight on, and not always believed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import islice
from typing import NamedTuple

from iced_x86 import Decoder

from cpuprobe.code.budget import ROW, Budget
from cpuprobe.code.forms import INVALID
from cpuprobe.code.functions import Range
from cpuprobe.code.program import CodeBytes
from cpuprobe.code.tally import Tally

PIECE = 4096
"""Instructions that are held at once while nothing is known of them."""
SWEEP_RUN = 48
"""Instructions in a row that must decode without anything odd for unknown bytes to be code."""
SWEEP_MARGIN = 12
"""Instructions next to something odd that are not believed."""


class InstructionTable(NamedTuple):
    """Many instructions in little room: the number of each, its code, its address."""

    numbers: array[int]
    codes: array[int]
    addresses: array[int]


def instruction_table(
    data: bytes, start: int, dull: frozenset[int], budget: Budget
) -> InstructionTable:
    """The instructions in some bytes whose code is not dull.

    Raises:
        ArtifactError: it is more than a file may take.
    """
    table = InstructionTable(array("L"), array("H"), array("Q"))
    number, code, address = (column.append for column in table)
    decoder = Decoder(64, data, ip=start)
    done = rows = 0
    while piece := list(islice(decoder, PIECE)):
        for at, each in enumerate(piece, done):
            if (form := each.code) not in dull:
                number(at)
                code(form)
                address(each.ip)
        done += len(piece)
        budget.spend(len(piece) + ROW * (len(table.codes) - rows))
        rows = len(table.codes)
    return table


def long_function(where: Range, code: CodeBytes, tally: Tally) -> None:
    """A function too large for a walk, and for an object for each of its instructions.

    Nothing odd is believed there.
    """
    forms = tally.forms
    data = code.between(where.start, where.end)
    table = instruction_table(data, where.start, forms.quiet, tally.budget)
    if table.codes:
        tally.discarded += sum(form in forms.rare for form in table.codes)
        odd = forms.rare | {INVALID}
        codes = array("H", [form for form in table.codes if form not in odd])
        pairs = zip(table.codes, table.addresses, strict=True)
        tally.add(where, codes, array("Q", (address for form, address in pairs if form not in odd)))


def sweep(gap: Range, code: CodeBytes, tally: Tally) -> int:
    """Decodes straight through bytes of which nothing is known; returns how many look like code."""
    forms = tally.forms
    data = code.between(gap.start, gap.end)
    table = instruction_table(data, gap.start, forms.dull, tally.budget)
    numbers, codes, addresses = table
    believed: list[tuple[int, int]] = []
    swept = position = 0
    number, ip = -1, gap.start
    odd = array("L", [at for at, form in enumerate(codes) if form in forms.unsure])
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
        tally.discarded += behind - position - (end - start)
        position, number, ip = behind + 1, upto, stop
    mine, where = array("H"), array("Q")
    for start, end in believed:
        mine += codes[start:end]
        where += addresses[start:end]
    tally.add(gap, mine, where)
    return swept

"""A file's executable bytes, cut into functions and what lies between: the work of a scan."""

from __future__ import annotations

import operator
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import NamedTuple

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.needs import LARGE, Confidence, Coverage
from cpuprobe.code.program import NAMELESS, Binary, CodeBytes, Range

# What assemblers and linkers put between functions: zeros, INT3, NOP in all lengths (SDM vol. 2B,
# NOP, "Recommended Multi-Byte Sequence"). It cannot backtrack far.
_PADDING = re.compile(
    rb"(?:[\x00\x90\xcc]|\x66+\x90"
    rb"|[\x66\x2e]*\x0f\x1f(?:\x00|\x40\x00|\x44\x00\x00|\x80\x00{4}|\x84\x00{5}))*"
)
LONGEST_PADDING = 64
MOST_HELD = 880 << 20
"""Bytes of code, and of what is known of functions, that may be held at once."""
_FUNCTION = 440
"""Bytes that a function takes while it is looked at, by measurement."""

DataRanges = list[tuple[int, int]]
"""Start and end of what symbols say is data, in order and without overlap."""


class Piece(NamedTuple):
    """Functions of one section, or what no function claims there, in address order.

    Attributes:
        code: the section.
        known: they are functions.
        ranges: each of them.
        rows: of each the start, the end, and how it is known (`scan_range` of native/scan/scan.h).
        before: of each where it begins, in bytes of work.
    """

    code: CodeBytes
    known: bool
    ranges: list[Range]
    rows: array[int]
    before: list[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The work on a file, in its order.

    Attributes:
        pieces: the work.
        size: of all, in bytes.
        coverage: what needs no look.
    """

    pieces: list[Piece]
    size: int
    coverage: Coverage


def plan(file: Binary) -> Plan:
    """Cuts a file's executable bytes into functions and what lies between.

    Args:
        file: an x86-64 file.

    Raises:
        ArtifactError: it is more than fits into memory.
    """
    held = sum(len(code.data) for code in file.code)
    held += _FUNCTION * sum(map(len, file.functions.values()))
    if held > MOST_HELD:
        raise ArtifactError("its code and functions are more than fits into memory")
    amounts = dict.fromkeys(("symbol", "unwind", "padding", "data", "unknown"), 0)
    pieces: list[Piece] = []
    size = large = 0
    for index, code in enumerate(file.code):
        objects = _merged(file.objects.get(index, []), code)
        known = list(_functions(code, file.functions.get(index, {}), objects))
        for are_known, ranges in ((True, known), (False, _gaps(known, code, objects, amounts))):
            if not ranges:
                continue
            # Column by column, as there may be a million.
            starts, ends, _, sources, lsdas = zip(*ranges, strict=True)
            lengths = list(map(operator.sub, ends, starts))
            *before, size = accumulate(lengths, initial=size)
            rows = array("Q", bytes(24 * len(ranges)))
            rows[0::3], rows[1::3] = array("Q", starts), array("Q", ends)
            rows[2::3] = array("Q", map(_HOW_KNOWN.__getitem__, zip(sources, lsdas, strict=True)))
            pieces.append(Piece(code, are_known, ranges, rows, before))
            if are_known:
                large += sum(map(LARGE.__le__, lengths))
                for source in ("symbol", "unwind"):
                    amounts[source] += sum(compress(lengths, map(source.__eq__, sources)))
    coverage = Coverage(
        sum(len(code.data) for code in file.code),
        pages=sum((len(code.data) + 4095) // 4096 for code in file.code),
        functions=large,
        **amounts,
    )
    return Plan(pieces, size, coverage)


SOURCES: tuple[Confidence, ...] = ("sweep", "symbol", "unwind", "artifact")
"""How a range is known, by its number in C; the first: it is no function."""
_HOW_KNOWN = {
    (None if number == 0 else source, lsda): number | lsda << 32
    for number, source in enumerate(SOURCES)
    for lsda in (False, True)
}


def part_of(work: Plan, number: int, of: int) -> list[Piece]:
    """A part of the work; all of them together are the whole.

    Args:
        work: the work.
        number: which part, from 0.
        of: how many there are, of about as many bytes each.
    """
    low, high = work.size * number // of, work.size * (number + 1) // of
    part = []
    for piece in work.pieces:
        first, end = bisect_left(piece.before, low), bisect_left(piece.before, high)
        if first < end:
            ranges, rows = piece.ranges[first:end], piece.rows[3 * first : 3 * end]
            part.append(piece._replace(ranges=ranges, rows=rows))
    return part


def _functions(
    code: CodeBytes, functions: Mapping[int, Range], objects: DataRanges
) -> Iterator[Range]:
    """The functions, in address order, without overlap, and without what a symbol says is data."""
    stop = code.address + len(code.data)
    ordered = sorted(functions)
    data = [(stop, stop), *reversed(objects)]
    for start, following in zip(ordered, [*ordered[1:], stop], strict=False):
        function = functions[start]
        end = function[1] or following
        end = end if end < following else following
        if objects:
            while data[-1][1] <= start and len(data) > 1:
                data.pop()
            if data[-1][0] <= start < data[-1][1]:
                continue
            end = min(end, data[-1][0])
        if end > start:
            yield function if end == function[1] else function._replace(end=end)


def _merged(objects: DataRanges, code: CodeBytes) -> DataRanges:
    """Ranges in order, inside the executable bytes, overlapping ones made one."""
    merged: DataRanges = []
    stop = code.address + len(code.data)
    for start, end in sorted(objects):
        until = min(end, stop)
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(until, merged[-1][1])
        else:
            merged.append((start, until))
    return merged


def _gaps(
    known: list[Range], code: CodeBytes, objects: DataRanges, amounts: dict[str, int]
) -> list[Range]:
    """What no function claims and is no padding. Bytes are counted in `amounts`."""
    gaps: list[Range] = []
    at, data, base = code.address, code.data, code.address
    seen: dict[bytes, bool] = {}  # most gaps are alike
    for start, end, _, _, _ in known:
        if start > at:
            if start - at > LONGEST_PADDING:
                gaps += _without_data(at, start, objects, amounts)
            else:
                between = bytes(data[at - base : start - base])
                if between not in seen:
                    seen[between] = _is_padding(between)
                if seen[between]:
                    amounts["padding"] += start - at
                else:
                    gaps += _without_data(at, start, objects, amounts)
        at = end
    stop = code.address + len(code.data)
    if stop > at:
        gaps += _without_data(at, stop, objects, amounts)
    left = []
    for gap in gaps:
        if _is_padding(code.between(gap.start, min(gap.end, gap.start + LONGEST_PADDING + 1))):
            amounts["padding"] += gap.end - gap.start
        else:
            left.append(gap)
    return left


def _is_padding(between: bytes) -> bool:
    return len(between) <= LONGEST_PADDING and _PADDING.fullmatch(between) is not None


def _without_data(
    start: int, end: int, objects: DataRanges, amounts: dict[str, int]
) -> Iterator[Range]:
    """A gap without what a symbol says is data."""
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
            yield Range(at, first, NAMELESS, None, False)
        at = last
    if at < end:
        yield Range(at, end, NAMELESS, None, False)

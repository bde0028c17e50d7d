"""A file's executable bytes, cut into functions and what lies between: the work of a scan."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from cpuprobe.code.needs import LARGE, Coverage
from cpuprobe.code.program import NAMELESS, Binary, CodeBytes, Range

# What assemblers and linkers put between functions: zeros, INT3, NOP in all lengths (SDM vol. 2B,
# NOP, "Recommended Multi-Byte Sequence"). It cannot backtrack far.
_PADDING = re.compile(
    rb"(?:[\x00\x90\xcc]|\x66+\x90"
    rb"|[\x66\x2e]*\x0f\x1f(?:\x00|\x40\x00|\x44\x00\x00|\x80\x00{4}|\x84\x00{5}))*"
)
LONGEST_PADDING = 64

DataRanges = list[tuple[int, int]]
"""Start and end of what symbols say is data, in order and without overlap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The work on a file, in its order.

    Attributes:
        work: functions of one section, or what no function claims there; each in address order.
        before: for each of these, where it begins, in bytes of work.
        size: all of them, in bytes.
        coverage: what needs no look.
    """

    work: list[tuple[CodeBytes, bool, list[Range]]]
    before: list[list[int]]
    size: int
    coverage: Coverage


def plan(file: Binary) -> Plan:
    """Cuts a file's executable bytes into functions and what lies between.

    Args:
        file: an x86-64 file.
    """
    amounts = dict.fromkeys(("symbol", "unwind", "padding", "data", "unknown"), 0)
    work: list[tuple[CodeBytes, bool, list[Range]]] = []
    for index, code in enumerate(file.code):
        objects = _merged(file.objects.get(index, []), code)
        known = list(_functions(code, file.functions.get(index, {}), objects))
        gaps = _gaps(known, code, objects, amounts)
        work += [(code, True, known), (code, False, gaps)]
    before: list[list[int]] = []
    size = 0
    for _, _, ranges in work:
        lengths = (each.end - each.start for each in ranges)
        *starts, size = accumulate(lengths, initial=size)
        before.append(starts)
    coverage = Coverage(
        sum(len(code.data) for code in file.code),
        pages=sum((len(code.data) + 4095) // 4096 for code in file.code),
        functions=sum(
            each.end - each.start >= LARGE for _, known, ranges in work if known for each in ranges
        ),
        **amounts,
    )
    return Plan(work, before, size, coverage)


def part_of(work: Plan, number: int, of: int) -> list[tuple[CodeBytes, list[Range]]]:
    """A part of the work; all of them together are the whole.

    Args:
        work: the work.
        number: which part, from 0.
        of: how many there are, of about as many bytes each.
    """
    low, high = work.size * number // of, work.size * (number + 1) // of
    return [
        (code, ranges[bisect_left(before, low) : bisect_left(before, high)])
        for (code, _, ranges), before in zip(work.work, work.before, strict=True)
    ]


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
    for start, end, _, source, _ in known:
        amounts[source or "unknown"] += end - start
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

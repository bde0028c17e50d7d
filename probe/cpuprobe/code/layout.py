"""A file's executable bytes, cut into functions and what lies between: the work of a scan."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.functions import NAMELESS, SOURCES, FunctionTable, Range
from cpuprobe.code.making import maker
from cpuprobe.code.needs import Coverage
from cpuprobe.code.program import Binary, CodeBytes

MOST_HELD = 880 << 20
"""Bytes of code, and of what is known of functions, that may be held at once."""
_FUNCTION = 440
"""Bytes that a function takes while it is looked at, by measurement."""


class Piece(NamedTuple):
    """Functions of one range of code, or what no function claims there, in address order.

    Attributes:
        code: the range of code.
        number: which it is.
        functions: the file's.
        known: they are functions.
        first: how many ranges come before them in a file's work.
        rows: of each the start, the end, and how it is known (`scan_range` of native/scan/scan.h).
        before: of each where it begins, in bytes of work.
    """

    code: CodeBytes
    number: int
    functions: FunctionTable
    known: bool
    first: int
    rows: Sequence[int]
    before: Sequence[int]

    def range(self, at: int) -> Range:
        """One of them."""
        start, end, how = self.rows[3 * at : 3 * at + 3]
        if not self.known:
            return Range(start, end, NAMELESS, None, False)
        whole = self.functions.find(self.number, start)
        name = NAMELESS if whole is None else whole.name
        return Range(start, end, name, SOURCES[how & 0xFFFFFFFF], bool(how >> 32))

    def ranges(self) -> Iterator[Range]:
        """Each of them."""
        return map(self.range, range(len(self.before)))


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

    @property
    def ranges(self) -> int:
        """How many there are."""
        return sum(len(each.before) for each in self.pieces)

    def range(self, number: int) -> Range:
        """One of them."""
        piece = self.pieces[bisect_right(self.pieces, number, key=lambda each: each.first) - 1]
        return piece.range(number - piece.first)


def plan(file: Binary) -> Plan:
    """Cuts a file's executable bytes into functions and what lies between.

    Args:
        file: an x86-64 file.

    Raises:
        ArtifactError: it is more than fits into memory.
    """
    held = file.code_size + _FUNCTION * len(file.functions)
    if held > MOST_HELD:
        raise ArtifactError("its code and functions are more than fits into memory")
    cut = maker().cut
    amounts = dict.fromkeys(("symbol", "unwind", "padding", "data", "unknown"), 0)
    pieces: list[Piece] = []
    size = large = ranges = 0
    for number, code in enumerate(file.code):
        objects = _merged(file.objects.get(number, []), code)
        made = cut(file.functions.within(number), code, objects, size)
        size, large = made.work, large + made.large
        for name in amounts.keys() & made.amounts:
            amounts[name] += made.amounts[name]
        for known, rows, before in (
            (True, made.known, made.known_before),
            (False, made.gaps, made.gaps_before),
        ):
            if before:
                pieces.append(Piece(code, number, file.functions, known, ranges, rows, before))
                ranges += len(before)
    coverage = Coverage(
        file.code_size,
        pages=sum((len(code.data) + 4095) // 4096 for code in file.code),
        functions=large,
        **amounts,
    )
    return Plan(pieces, size, coverage)


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
            rows, before = piece.rows[3 * first : 3 * end], piece.before[first:end]
            part.append(piece._replace(first=piece.first + first, rows=rows, before=before))
    return part


def _merged(objects: Sequence[tuple[int, int]], code: CodeBytes) -> list[tuple[int, int]]:
    """Ranges in order, inside the executable bytes, overlapping ones made one."""
    merged: list[tuple[int, int]] = []
    stop = code.end
    for start, end in sorted(objects):
        until = min(end, stop)
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(until, merged[-1][1])
        else:
            merged.append((start, until))
    return merged

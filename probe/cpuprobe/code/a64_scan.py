"""A64 code -> the features in it, function by function.

All instructions are four bytes wide, so nothing is decoded: words are looked up in the rows of
`cpuprobe.code.a64`. A word in bytes of no known function counts only
where no word near it is one that no CPU executes.
"""

from __future__ import annotations

import functools
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import msgspec

from cpuprobe.code import a64
from cpuprobe.code.budget import FUNCTION, Budget
from cpuprobe.code.functions import Range
from cpuprobe.code.layout import Plan
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.sketch import sketch
from cpuprobe.code.tally import Scan, Tally, listed, uses
from cpuprobe.facts.aarch64 import load_features

OUTLINE_ATOMICS = "__aarch64_have_lse_atomics"
"""libgcc's and compiler-rt's flag, by which each of their helpers chooses."""
_NEAR = 24
"""Words on both sides of one in bytes of no function that must be instructions."""
_UPPER = 1 if sys.byteorder == "little" else 0
_AT_ONCE = 1 << 16  # words of which lists are made
_PER_WORD = 16  # words that are looked up while a step of a Budget is made
_PER_HIT = 8  # steps that a word costs which needs something


class _Meaning(NamedTuple):
    """What a Tally asks of a row."""

    needs: tuple[str, ...]
    unknown: tuple[str, ...]
    asks: bool = False
    marks: frozenset[str] = frozenset()


class _Rows:
    """The meaning of each row by its number."""

    def __init__(self) -> None:
        """Takes all that need something."""
        table = load_features()
        self.numbers = {row: number for number, row in enumerate(a64.rows())}
        self._meanings = [
            _Meaning(
                tuple(name for name in row.features if name in table),
                tuple(name for name in row.features if name not in table),
            )
            for row in a64.rows()
        ]

    def meaning(self, code: int) -> _Meaning:
        """Of a row's number."""
        return self._meanings[code]


def words_of(code: CodeBytes) -> array[int]:
    """The words of a section; a rest that is no whole word is left out."""
    words = array("I")
    words.frombytes(bytes(code.data[: len(code.data) & ~3]))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def needy(words: array[int]) -> Iterator[tuple[int, a64.Row]]:
    """The places of the words that need something, with their rows; hints need nothing.

    Most words are ruled out by their upper halves, of which a file has few different ones.
    """
    for at in _with_halves(words, a64.may_need):
        found = _needy(words[at])
        if found is not None:
            yield at, found


@functools.lru_cache(1 << 16)
def _needy(word: int) -> a64.Row | None:
    row = a64.row_of(word)
    return row if row is not None and row.features and not row.hint else None


def _with_halves(words: array[int], accepted: Callable[[int], bool]) -> Iterator[int]:
    """The places of the words whose upper halves of 16 bits are accepted."""
    for start in range(0, len(words), _AT_ONCE):
        halves = array("H", words[start : start + _AT_ONCE].tobytes())[_UPPER::2]
        wanted = {half for half in set(halves) if accepted(half)}
        if wanted:
            yield from [at for at, half in enumerate(halves, start) if half in wanted]


def is_outlined(words: array[int], at: int) -> bool:
    """Whether a word stands behind the choice of libgcc's helpers for atomics.

    They begin with LDRB W16 of the flag and CBZ W16 to the loop for CPUs without LSE (libgcc,
    config/aarch64/lse.S; compiler-rt has the same).
    """
    if at < 2:
        return False
    loads, tests = (
        words[at - 2] & 0xFFC003FF == 0x39400210,
        words[at - 1] & 0xFF00001F == 0x34000010,
    )
    return loads and tests


def scan(file: Binary, work: Plan, sought: Collection[str] = ()) -> Scan:
    """Finds the features in a file's executable bytes.

    Args:
        file: an AArch64 file.
        work: its plan.
        sought: features of which every function is listed.

    Raises:
        ArtifactError: it is more than a file may take (cpuprobe.code.budget).
    """
    kinds = _Rows()
    tally = Tally(kinds, sought=sought)  # type: ignore[arg-type]  # it asks for meanings alone
    hits: dict[int, _Hits] = {}
    for piece in work.pieces:
        section = hits.get(piece.code.index)
        if section is None:
            tally.budget.spend(len(piece.code.data) // (4 * _PER_WORD))
            section = hits[piece.code.index] = _Hits(piece.code, kinds.numbers, tally.budget)
        for each in piece.ranges():
            rows, addresses = section.between(each)
            if rows:
                tally.budget.spend(FUNCTION)
                tally.add(each, rows, addresses)
    if any(section.outlined for section in hits.values()):
        tally.signs.add(OUTLINE_ATOMICS)
    swept = sum(
        each.end - each.start for piece in work.pieces if not piece.known for each in piece.ranges()
    )
    return Scan(
        uses(tally.features, file.name),
        uses(tally.unknown, file.name),
        tuple(sorted(tally.signs)),
        msgspec.structs.replace(work.coverage, sweep=swept),
        tally.pages,
        tally.functions,
        listed(tally, file.name),
        tally.unlisted,
        sketch(file.strings) if sought else (),
        tally.budget.spent,
    )


class _Hits:
    """The words of one section that need something.

    Attributes:
        outlined: one of them stands in a helper for atomics.
    """

    def __init__(self, code: CodeBytes, numbers: dict[a64.Row, int], budget: Budget) -> None:
        """Looks each of them up, and charges for it.

        Raises:
            ArtifactError: the budget is used up.
        """
        self._words = words = words_of(code)
        self._base = code.address
        self._rows, self._addresses = array("H"), array("Q")
        self.outlined = False
        known = {id(row): number for row, number in numbers.items()}  # a row's hash is dear
        for at, row in needy(words):
            if not len(self._rows) % _AT_ONCE:
                budget.spend(_PER_HIT * _AT_ONCE)
            self._rows.append(known[id(row)])
            self._addresses.append(code.address + 4 * at)
            if not self.outlined and is_outlined(words, at):
                self.outlined = True

    def between(self, where: Range) -> tuple[array[int], array[int]]:
        """The rows and addresses in a range; of one that is no function where they are believed."""
        first = bisect_left(self._addresses, where.start)
        end = bisect_right(self._addresses, where.end - 4)
        if where.source is not None or first >= end:
            return self._rows[first:end], self._addresses[first:end]
        rows, addresses = array("H"), array("Q")
        stretch = bisect_right(self._believed, where.start, key=lambda each: each[1])
        for low, high in map(self._believed.__getitem__, range(stretch, len(self._believed))):
            if low >= where.end:
                break
            some = slice(
                bisect_left(self._addresses, low, first, end),
                bisect_left(self._addresses, high, first, end),
            )
            rows += self._rows[some]
            addresses += self._addresses[some]
        return rows, addresses

    @functools.cached_property
    def _believed(self) -> list[tuple[int, int]]:
        """Stretches of addresses with no word nearby that no CPU executes: from, to before."""
        found, low = [], 0
        for at in _with_halves(self._words, _is_odd):
            if low <= at - _NEAR:
                found.append((low, at - _NEAR + 1))
            low = at + _NEAR + 1
        if low < len(self._words):
            found.append((low, len(self._words)))
        return [(self._base + 4 * low, self._base + 4 * high) for low, high in found]


def _is_odd(half: int) -> bool:
    return a64.is_unallocated(half << 16)

"""A64 code -> the features in it, function by function.

All instructions are four bytes wide, so nothing is decoded: words are looked up in the rows of
`cpuprobe.code.a64`. A word in bytes of no known function counts only
where no word near it is one that no CPU executes.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from cpuprobe.code import a64
from cpuprobe.code.budget import FUNCTION
from cpuprobe.code.layout import Plan
from cpuprobe.code.program import Binary, CodeBytes, Range
from cpuprobe.code.sketch import sketch
from cpuprobe.code.tally import Scan, Tally, listed, uses
from cpuprobe.facts.aarch64 import load_features

OUTLINE_ATOMICS = "__aarch64_have_lse_atomics"
"""libgcc's and compiler-rt's flag, by which each of their helpers chooses."""
_NEAR = 24
"""Words on both sides of one in bytes of no function that must be instructions."""
_UPPER = 1 if sys.byteorder == "little" else 0
_PER_WORD = 16  # words that are looked up while a step of a Budget is made


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
    halves = array("H", words.tobytes())[_UPPER::2]
    wanted = {half for half in set(halves) if a64.may_need(half)}
    known: dict[int, a64.Row | None] = {}
    for at in [at for at, half in enumerate(halves) if half in wanted] if wanted else ():
        word = words[at]
        if word not in known:
            row = a64.row_of(word)
            known[word] = row if row is not None and row.features and not row.hint else None
        found = known[word]
        if found is not None:
            yield at, found


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
            section = hits[piece.code.index] = _Hits(piece.code, kinds.numbers)
        for each in piece.ranges:
            found = list(section.between(each))
            if found:
                tally.budget.spend(FUNCTION)
                tally.add(each, [row for _, row in found], [address for address, _ in found])
    if any(section.outlined for section in hits.values()):
        tally.signs.add(OUTLINE_ATOMICS)
    swept = sum(
        each.end - each.start for piece in work.pieces if not piece.known for each in piece.ranges
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

    def __init__(self, code: CodeBytes, numbers: dict[a64.Row, int]) -> None:
        """Looks each of them up."""
        self._base = code.address
        self._words = words = words_of(code)
        found = list(needy(words))
        self._at = [at for at, _ in found]
        self._rows = [numbers[row] for _, row in found]
        self.outlined = any(is_outlined(words, at) for at in self._at)

    def between(self, where: Range) -> Iterator[tuple[int, int]]:
        """The addresses and rows in a range."""
        first = bisect_left(self._at, (where.start - self._base + 3) // 4)
        for number in range(first, len(self._at)):
            at = self._at[number]
            address = self._base + 4 * at
            if address + 4 > where.end:
                return
            if where.source is not None or self._is_code(at):
                yield address, self._rows[number]

    def _is_code(self, at: int) -> bool:
        near = self._words[max(0, at - _NEAR) : at + _NEAR]
        return not any(a64.is_unallocated(word) for word in near)

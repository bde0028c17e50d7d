"""Lists in static data from which one function is chosen by a number that stands beside it.

As PipeWire's plugins have them, which are handed the CPU's flags by who loads them: of several rows
that are alike in their key, one has a function for AVX and its flag, and another one neither.
"""

from __future__ import annotations

import operator
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence

from cpuprobe.code.asking import Functions
from cpuprobe.code.elf import LONGEST_NAME
from cpuprobe.code.links import Links
from cpuprobe.code.program import Binary, is_named_for_cpus

_ROWS = range(16, 72, 8)
"""Bytes of a row, with one function at least."""
_MOST = 1 << 8
"""Rows of a list on either side of one; and functions that call others."""
_SLOTS = 16
"""Places of one function."""
_PLAIN = 2
"""So many rows have no flags: a number that counts rows is zero in one alone."""


def listed(
    rows: Rows, functions: Functions, features: Mapping[str, Collection[int]]
) -> frozenset[str]:
    """The features of which all that holds them is chosen from such lists.

    Args:
        rows: of the file.
        functions: likewise.
        features: each with the functions that may hold it.
    """
    holding = {
        feature: {start for start in those if feature in functions.summary(start).needs}
        for feature, those in features.items()
    }
    coming = {feature: rows.above(those) for feature, those in holding.items()}
    chosen = rows.chosen(frozenset().union(*coming.values()))
    return frozenset(feature for feature, those in coming.items() if those and those <= chosen)


class Rows:
    """Of one file."""

    def __init__(self, file: Binary, links: Links) -> None:
        """Nothing is looked for yet."""
        self._links, self._data, self._texts = links, sorted(file.variables), sorted(file.constants)

    def above(self, those: Collection[int]) -> set[int]:
        """Some functions, and those that call them, or call such."""
        found, pending = {*those}, [*those]
        while pending and len(found) < _MOST:
            callers = map(self._links.function, self._links.callers(pending.pop()))
            fresh = {caller[0] for caller in callers if caller} - found
            found |= fresh
            pending += fresh
        return found

    def chosen(self, those: Collection[int]) -> frozenset[int]:
        """Those of some functions that only stand in such lists, or that such call.

        Args:
            those: where the functions begin that hold what not every CPU has.
        """
        listed = {start for start in those if self._is_listed(start, those)}
        pending = [each for each in those if each not in listed]
        while True:
            called = {each for each in pending if self._is_called_by(each, listed)}
            if not called:
                return frozenset(listed)
            listed |= called
            pending = [each for each in pending if each not in called]

    def _is_called_by(self, start: int, those: Collection[int]) -> bool:
        callers = [*map(self._links.function, self._links.callers(start))]
        held = self._links.is_in_use(start)
        return bool(callers) and not held and all(each and each[0] in those for each in callers)

    def _is_listed(self, start: int, those: Collection[int]) -> bool:
        """Whether a function stands in such lists, and nowhere else."""
        slots = self._links.slots(start)
        alone = not self._links.is_taken(start) and next(self._links.callers(start), None) is None
        return alone and 0 < len(slots) <= _SLOTS and all(self._is_row(at, those) for at in slots)

    def _is_row(self, slot: int, those: Collection[int]) -> bool:
        return self._is_named(slot) or any(
            self._is_flag(slot, size, place, those)
            for size in _ROWS
            for place in range(8 - size, size, 4)
            if place not in (0, 4)
        )

    def _is_named(self, slot: int) -> bool:
        """Whether the text behind a function in a list says for which CPU it is."""
        place, content = _held(self._texts, self._links.pointers.get(slot + 8) or 0)
        name = content[place : place + LONGEST_NAME].partition(b"\0")[0]
        return is_named_for_cpus(name.decode("ascii", "replace"))

    def _is_flag(self, slot: int, size: int, place: int, those: Collection[int]) -> bool:
        """Whether a number tells of a function, so far behind it in rows of a size."""
        rows = [slot, *self._beside(slot, -size), *self._beside(slot, size)]
        numbers = [self._number(row + place) for row in rows]
        own = numbers[0]
        if not own or numbers.count(0) < _PLAIN:
            return False
        marked = {row: each for row, each in zip(rows, numbers, strict=True) if each is not None}
        is_for_such = {row: self._links.pointers.get(row) in those for row in marked}
        if not all(is_for_such[row] for row, each in marked.items() if each == own):
            return False
        firsts = [at for at in range(8 - size, 8, 8) if at <= place < at + size]
        return any(
            self._is_alike(slot, row, range(first, first + size, 4), place)
            for row, each in marked.items()
            if not (each & own or is_for_such[row])
            for first in firsts
        )

    def _is_alike(self, one: int, other: int, words: range, place: int) -> bool:
        """Whether two rows are, but for functions, texts and a number; and have a key."""
        pairs = [
            (self._number(one + at), self._number(other + at))
            for at in words
            if at != place and (one + at) & ~7 not in self._links.pointers
        ]
        return all(mine == theirs for mine, theirs in pairs) and any(mine for mine, _ in pairs)

    def _beside(self, slot: int, step: int) -> Iterator[int]:
        """The places of functions in the rows before one, or behind it."""
        for row in range(slot + step, slot + _MOST * step, step):
            if row not in self._links.pointers:
                return
            yield row

    def _number(self, at: int) -> int | None:
        """Four bytes of static data."""
        place, content = _held(self._data, at)
        return None if place + 4 > len(content) else struct.unpack_from("<I", content, place)[0]


def _held(data: Sequence[tuple[int, bytes]], address: int) -> tuple[int, bytes]:
    """The bytes that hold an address, and its place in them; none where it is in none."""
    number = bisect_right(data, address, key=operator.itemgetter(0)) - 1
    start, content = data[number] if number >= 0 else (address, b"")
    return (address - start, content) if address - start < len(content) else (0, b"")

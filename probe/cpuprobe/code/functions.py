"""The functions of a file in one table, whatever its container and whoever made it.

A table is made in C, or in Python where there is no extension, and of Ranges for containers that
are read in Python. Of what it holds objects are made when they are asked for.
"""

from __future__ import annotations

import functools
import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from cpuprobe.code.lists import Pairs
from cpuprobe.code.needs import Confidence

MOST_FUNCTIONS = 3 << 19
"""A browser with all its symbols has about half as many."""
MOST_ROWS = 1 << 20
"""Functions, or symbols, of a file that is read in Python, which holds 600 bytes of each."""
MOST_FOUND = 4 * MOST_FUNCTIONS
"""As most of them are told of by two symbol tables and by unwind entries."""

Name = tuple[int, int]
"""Which string table, and where in it: most names are never looked at."""
NAMELESS: Name = (-1, 0)

SOURCES: tuple[Confidence, ...] = ("sweep", "symbol", "unwind", "artifact")
"""How a range is known, by its number in C; the first: it is no function."""

ROW = struct.Struct("<QQIIIHH")
"""`struct function` of native/scan/functions.h."""
NAMELESS_TABLE = NO_CODE = 0xFFFFFFFF
HIGHEST = (1 << 64) - 1
"""The last address: damaged sizes lead beyond it."""
_NUMBERS: dict[Confidence | None, int] = {
    None: 0,
    **{source: number for number, source in enumerate(SOURCES)},
}


class Range(NamedTuple):
    """A function, or bytes that no function claims.

    Attributes:
        start: its first address.
        end: the address behind it; 0 where the file does not say.
        name: NAMELESS where it has none.
        source: how it is known; None: it is not.
        lsda: it has landing pads: control may come to places that no branch names.
    """

    start: int
    end: int
    name: Name
    source: Confidence | None
    lsda: bool


class FunctionTable:
    """Functions in the order of their ranges of code and addresses, each once."""

    def __init__(self, rows: bytes | memoryview = b"") -> None:
        """Takes rows of ROW as they are."""
        self.rows = memoryview(rows)
        self._starts = self.rows.cast("Q")[:: ROW.size // 8]
        self._numbers = self.rows.cast("I")[6 :: ROW.size // 4]

    @staticmethod
    def of(found: Mapping[int, Mapping[int, Range]]) -> FunctionTable:
        """A table of Ranges, by the number of their range of code and their starts."""
        rows = (
            packed(found[number][start], number)
            for number in sorted(found)
            for start in sorted(found[number])
        )
        return FunctionTable(b"".join(rows))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows) // ROW.size

    def _span(self, number: int) -> tuple[int, int]:
        return bisect_left(self._numbers, number), bisect_left(self._numbers, number + 1)

    def find(self, number: int, start: int) -> Range | None:
        """The function that begins at an address in a range of code."""
        first, end = self._span(number)
        at = bisect_left(self._starts, start, first, end)
        if at == end or self._starts[at] != start:
            return None
        return unpacked(ROW.unpack_from(self.rows, ROW.size * at))

    def within(self, number: int) -> memoryview:
        """The rows of one range of code."""
        first, end = self._span(number)
        return self.rows[ROW.size * first : ROW.size * end]

    def ranges(self, number: int) -> Iterator[Range]:
        """The functions of one range of code."""
        return map(unpacked, ROW.iter_unpack(self.within(number)))

    def starts(self) -> Iterator[int]:
        """The address of each."""
        return iter(self._starts)


def packed(function: Range, number: int) -> bytes:
    """A row: a function of a range of code; an end beyond all memory is the last address."""
    start, end, (table, place), source, lsda = function
    end = end if end < HIGHEST else HIGHEST
    return ROW.pack(start, end, place, table & NAMELESS_TABLE, number, _NUMBERS[source], lsda)


def unpacked(row: tuple[int, ...]) -> Range:
    """What a row tells."""
    start, end, place, table, _, source, lsda = row
    name = NAMELESS if table == NAMELESS_TABLE else (table, place)
    return Range(start, end, name, SOURCES[source] if source else None, bool(lsda))


class Exports(Mapping[int, list[Name]]):
    """Functions that others may call: all names of each, by its address.

    Attributes:
        table: the number of the string table with their names.
    """

    def __init__(
        self, table: int, addresses: Sequence[int], places: Sequence[int], names: Pairs
    ) -> None:
        """Takes what Symbols have.

        Args:
            table: the number of the string table.
            addresses: in the order of the symbol table.
            places: of each, where its name is.
            names: of each address, in order, the places of its names.
        """
        self.table, self._addresses, self._places = table, addresses, places
        self._names = names

    def __getitem__(self, address: int) -> list[Name]:
        """The names of one."""
        places = self._names.of(address)
        if not places:
            raise KeyError(address)
        return [(self.table, place) for place in places]

    def called(self, names: Collection[Name]) -> tuple[int, ...]:
        """The addresses of functions with one of some names, as they come in the symbol table."""
        places = {place for table, place in names if table == self.table}
        every = zip(self._addresses, self._places, strict=True) if places else ()
        return tuple(dict.fromkeys(address for address, place in every if place in places))

    def __iter__(self) -> Iterator[int]:
        """The addresses, in the order in which they come first in the symbol table."""
        return iter(dict.fromkeys(self._addresses))

    @functools.cached_property
    def _count(self) -> int:
        return len(set(self._addresses))

    def __len__(self) -> int:
        """How many addresses there are."""
        return self._count

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self._addresses) > 0

    def __contains__(self, address: object) -> bool:
        """Whether it is one."""
        return isinstance(address, int) and address in self._names


class Symbols(NamedTuple):
    """What a symbol table tells.

    Attributes:
        functions: rows of a FunctionTable, as they were found.
        objects: data among code, likewise.
        undefined: where in the string table the names of undefined symbols are.
        exports: of functions that others may call the addresses, where their names are, and
            both in the order of the addresses.
        answers: addresses of the variables whose names were given.
        ifuncs: how many functions are chosen at load time.
    """

    functions: bytes | memoryview
    objects: bytes | memoryview
    undefined: Sequence[int]
    exports: tuple[Sequence[int], Sequence[int], Pairs]
    answers: Sequence[int]
    ifuncs: int


class Cut(NamedTuple):
    """A range of code, cut into functions and what no function claims.

    Attributes:
        known: of each function, without overlap, the start, the end, and how it is known
            (`scan_range` of native/scan/scan.h).
        known_before: of each where it begins, in bytes of work.
        gaps: likewise what no function claims and is no padding.
        gaps_before: likewise.
        work: bytes, with what was cut before.
        amounts: bytes that are known in some way, or need no look.
        large: how many functions are LARGE.
    """

    known: Sequence[int]
    known_before: Sequence[int]
    gaps: Sequence[int]
    gaps_before: Sequence[int]
    work: int
    amounts: dict[str, int]
    large: int

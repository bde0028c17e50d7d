"""Functions of which only calls tell, no symbol and no unwind entry: assembly in stripped files."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Collection, Iterator, Sequence

from cpuprobe.code import native_functions
from cpuprobe.code.functions import NAMELESS, ROW, Range, packed
from cpuprobe.code.links import Links
from cpuprobe.code.program import Binary

_ALIGNMENT = 16
"""Compilers and those who write assembly align functions so."""
_PAGE = 4096
_MOST_FUNCTIONS = 1 << 18
"""Of a file that is looked at."""
_MOST_CANDIDATES = 1 << 20
"""Places where a function may begin."""


class _Calls(Links):
    def of(self, places: Sequence[int]) -> tuple[set[int], set[int]]:
        """Those of some places, in order, that code may call or jump to; where it may ask."""
        self._index(self.known.functions, places)
        size = self._file.code_size
        (calls, called), _, (asking, sites) = self._search(0, size)
        starts = {places[link.key] for link in called[0 : calls.count]}
        return starts, {link.value for link in sites[0 : asking.count]}


def claim(file: Binary, pages: Collection[int]) -> None:
    """Takes in functions that begin where code calls into what no function claims.

    Args:
        file: an x86-64 file.
        pages: the numbers of those with a feature.
    """
    if len(file.functions) > _MOST_FUNCTIONS:
        return
    near = {number for page in pages for number in (page - 1, page)}
    starts, asking = _called(file, near)
    near = {number for at in asking for number in (at // _PAGE - 1, at // _PAGE)} - near
    more, _ = _called(file, near) if starts else (starts, asking)
    rows = [
        packed(Range(start, 0, NAMELESS, "symbol", False), file.code_number(start))
        for start in sorted(starts | more)
    ]
    if rows:
        file.functions = native_functions.settled([file.functions.rows, b"".join(rows)])


def _called(file: Binary, pages: Collection[int]) -> tuple[set[int], set[int]]:
    """The places on some pages that code may call, and where it may ask."""
    places = [*itertools.islice(_places(file, pages), _MOST_CANDIDATES + 1)]
    if not 0 < len(places) <= _MOST_CANDIDATES:
        return set(), set()
    return _Calls(file).of(array("Q", sorted({*places})))  # of a damaged file sections overlap


def _places(file: Binary, pages: Collection[int]) -> Iterator[int]:
    """Addresses on some pages at which a function may begin that is not known."""
    for number, code in enumerate(file.code):
        end = code.end
        upto = code.address
        for start, behind, *_ in (*ROW.iter_unpack(file.functions.within(number)), (end, end)):
            at = -(-upto // _ALIGNMENT) * _ALIGNMENT
            while at < start:
                if at // _PAGE in pages:
                    yield at
                    at += _ALIGNMENT
                else:
                    at = (at // _PAGE + 1) * _PAGE
            upto = max(upto, behind, start)

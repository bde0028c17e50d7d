"""The functions that are looked at to learn what answers, and how many of them at most."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

MOST = 300
"""Functions that may call one that asks, at most, of which it is found out whether they answer."""
_IN_A_ROW = 100
"""Functions of which nothing becomes known, one after another, until no more are looked at: callers
of what answers, in large files (with them OpenBLAS takes half as long again)."""
_LARGE = 4 << 10
"""Bytes of functions that are not looked at unless they may ask themselves: they use answers."""
_VISITS = 3
"""How often one of these is looked at, as more becomes known."""


class Worklist:
    """The nearest to what asks come first, of these the smallest.

    What keeps answers is small and near, and large functions that use them take many steps.
    """

    def __init__(self, last: int) -> None:
        """Begins with none.

        Args:
            last: bytes of functions that come after all others.
        """
        self._last = last
        self._pending: list[tuple[bool, int, int, int]] = []
        self._waiting, self._too_large = set[int](), False
        self._visits: Counter[int] = Counter()
        self._in_vain = 0

    @property
    def misses(self) -> bool:
        """Whether some were left out."""
        return self._too_large or bool(self._waiting)

    def add(self, functions: Iterable[tuple[int, int]], far: int) -> None:
        """Takes in functions, each its start and end, so many calls away from what asks."""
        for start, end in functions:
            size = end - start
            if far and size > _LARGE:
                self._too_large = True
            elif start not in self._waiting and self._visits[start] < _VISITS:
                self._waiting.add(start)
                heapq.heappush(self._pending, (size > self._last, far, size, start))

    def next(self, used: float) -> tuple[int, int] | None:
        """The next one, and how far away it is; None where that is enough.

        Args:
            used: the share of steps that were made: what is farther away gets fewer of them.
        """
        visits = self._visits.total()
        if not self._pending or used >= 1 or visits >= MOST or self._in_vain >= _IN_A_ROW:
            return None
        _, far, _, start = heapq.heappop(self._pending)
        if far * used > 1:
            return None
        self._waiting.discard(start)
        self._visits[start] += 1
        return start, far

    def note(self, news: bool) -> bool:
        """Takes note of whether one that was looked at told anything new; whether it did."""
        self._in_vain = 0 if news else self._in_vain + 1
        return news

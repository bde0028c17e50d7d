"""The functions that come to a feature without a choice, and which calls of them do.

A caller may hand on a number by which a function chooses, as 0 where it may not use AVX2: it comes
to what the function does that is handed this number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cpuprobe.code.asking import Functions
from cpuprobe.code.summary import FLAG, Call, Summary, numbers_of

_MOST_DEEP = 8
"""Functions that hand such a number on, one to the next."""


class Coming:
    """Those that come to one feature, as far as they were found.

    Attributes:
        all: each with the address of the feature, and the labels of its arguments of which one that
            is an answer keeps it from there on all ways.
        held: of those that do not call what does, but let go of its address, or of one by which it
            is found, these.
    """

    def __init__(
        self, functions: Functions, feature: str, tier: int, is_for_such: Callable[[int], bool]
    ) -> None:
        """Knows none yet.

        Args:
            functions: of the file.
            feature: it.
            tier: its tier, as a bit.
            is_for_such: whether a function is for CPUs that have it.
        """
        self._functions, self._feature, self._tier = functions, feature, tier
        self._is_for_such = is_for_such
        self.all: dict[int, tuple[int, int]] = {}
        self.held: dict[int, set[int]] = {}
        self._avoiding: dict[tuple[int, Call], None] = {}

    def add(self, start: int, address: int, unless: int) -> bool:
        """Takes in that a function comes there, unless it is told; whether that is news."""
        known = self.all.get(start)
        if known is not None and not known[1] & ~unless:
            return False
        self.all[start] = address, unless & (known[1] if known else -1)
        return True

    def calls(self, summary: Summary) -> Iterator[Call]:
        """What a function calls on its way there."""
        return (each for each in summary.calls if each.tiers & self._tier)

    def by(self, caller: int, start: int) -> Iterator[int]:
        """What would guard each call by which one function comes there through another."""
        for call in self.calls(self._functions.summary(caller)):
            if call.target != start or not self._may(call):
                continue
            if self._comes(call):
                yield self._still(call)
            else:
                self._avoiding[caller, call] = None

    def late(self) -> list[tuple[int, tuple[int, int]]]:
        """Callers that were found to avoid it, and come there through what was found since."""
        found = [each for each in self._avoiding if self._comes(each[1])]
        for each in found:
            del self._avoiding[each]
        return [(caller, (self.all[call.target][0], self._still(call))) for caller, call in found]

    def _still(self, call: Call) -> int:
        return call.unless & ~FLAG | call.own(self.all[call.target][1])

    def _may(self, call: Call) -> bool:
        """Whether a call may come there, by what is told of the CPU there."""
        named = call.unless & FLAG and self._is_for_such(call.target)
        return call.target in self.all and not (call.answers & self.all[call.target][1] or named)

    def _comes(self, call: Call, seen: frozenset[tuple[int, int]] = frozenset()) -> bool:
        """Whether one does, by the numbers that are handed on; it does where that is not known."""
        numbers = call.numbers & numbers_of(self.all[call.target][1])
        if not numbers or len(seen) == _MOST_DEEP:
            return True
        if (call.target, numbers) in seen:
            return False
        summary = self._functions.handed(call.target, numbers)
        need = summary.needs.get(self._feature)
        if need and not need[1] & call.answers:
            return True
        held = self.held.get(call.target, ())
        if any(each.address in held for each in summary.escapes):
            return True
        seen |= {(call.target, numbers)}
        further = (
            each._replace(answers=each.told(call.answers))
            for each in self.calls(summary)
            if not each.unless & call.answers
        )
        return any(self._may(each) and self._comes(each, seen) for each in further)

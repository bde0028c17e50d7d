"""The functions that come to a feature without a choice, and which calls of them do.

A caller may hand on a number by which a function chooses, as 0 where it may not use AVX2: it comes
to what the function does that is handed this number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cpuprobe.code.asking import Functions
from cpuprobe.code.summary import FLAG, Call, numbers_of
from cpuprobe.code.tiers import is_given

_MOST_DEEP = 8
"""Functions that hand such a number on, one to the next."""
_FEW = 4
"""Functions of one source file through which one comes to another; what is further is elsewhere."""


class Coming:
    """Those that come to one feature, as far as they were found.

    Attributes:
        all: each with the address of the feature, and the labels of its arguments of which one that
            is an answer keeps it from there on all ways.
        ordinary: those that come there by calls alone, of which no flag of an object decides, and
            through none that is named for a CPU: each with the next one, or itself.
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
        self.ordinary: dict[int, int] = {}
        self.held: dict[int, set[int]] = {}
        self._followed: set[int] = set()  # of the ordinary ones, from which callers were found
        self._avoiding: dict[tuple[int, Call], None] = {}

    def add(self, start: int, address: int, unless: int) -> bool:
        """Takes in that a function comes there, unless it is told; whether that is news."""
        known = self.all.get(start)
        fresh = start in self.ordinary and start not in self._followed
        if known is not None and not known[1] & ~unless and not fresh:
            return False
        if fresh:
            self._followed.add(start)
        self.all[start] = address, unless & (known[1] if known else -1)
        return True

    def take(self, start: int, through: int) -> None:
        """Takes in that a function comes there like any other, unless it is for such CPUs.

        What needs more than a level has, as AVX512-FP16 or VAES, was not made of ordinary code.
        """
        needs = self._functions.summary(start).needs
        if not self._is_for_such(start) and all(map(is_given, needs)):
            self.ordinary.setdefault(start, through)

    def chain(self, start: int) -> list[int]:
        """The few functions through which an ordinary one comes there, itself included; or none."""
        chain = [start] if start in self.ordinary else []
        while chain and (further := self.ordinary[chain[-1]]) != chain[-1]:
            chain = [*chain, further] if len(chain) < _FEW else []
        return chain

    def by(self, caller: int, start: int) -> Iterator[int]:
        """What would guard each call by which one function comes there through another."""
        for call in self._functions.summary(caller).calls_on(self._tier):
            if call.target != start or not self._may(call):
                continue
            if self._comes(call):
                yield self._still(caller, call)
            else:
                self._avoiding[caller, call] = None

    def late(self) -> list[tuple[int, tuple[int, int]]]:
        """Callers that were found to avoid it, and come there through what was found since."""
        found = [each for each in self._avoiding if self._comes(each[1])]
        for each in found:
            del self._avoiding[each]
        return [(at, (self.all[call.target][0], self._still(at, call))) for at, call in found]

    def _still(self, caller: int, call: Call) -> int:
        """What would guard a call that comes there, of which note is taken."""
        if call.target in self.ordinary and not call.unless & FLAG:
            self.take(caller, call.target)
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
            for each in summary.calls_on(self._tier)
            if not each.unless & call.answers
        )
        return any(self._may(each) and self._comes(each, seen) for each in further)

"""The functions of a file that ask what the CPU can do, those that answer, and what they fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import TypeAlias

from cpuprobe.code import libgcc
from cpuprobe.code.flow import main
from cpuprobe.code.links import Links
from cpuprobe.code.native import lib
from cpuprobe.code.program import Binary, asks, passive_names
from cpuprobe.code.rehearsal import Rehearsals
from cpuprobe.code.summary import Summary
from cpuprobe.code.ways import NEAR, Told, Ways, kept, kept_at

MOST = 400_000
"""Steps (ways.MOST_STEPS) that are made to learn what asks, and as many afterwards."""
LARGEST = 1 << 18
"""Bytes of a function that is looked at: larger ones are made by generators and choose nothing."""
MOST_ASKING = 300
"""Functions that may call one that asks, at most, of which it is found out whether they answer."""
_VISITS = 3
"""How often one of these is looked at, as more becomes known."""
SMALL = 512
"""Bytes of a function that may be asked for what is known already."""
_DEPTH = 8
"""How many of these may call each other."""


Answer: TypeAlias = tuple[int, int]
"""The labels of what a function may answer of the CPU, and what is known of that (code.ways)."""


def _named(name: str) -> Answer:
    """Of another file's function."""
    return int(asks(name)), 0  # ANSWER: of whatever


class Functions:
    """The functions of a file, each looked at when it is asked for.

    Attributes:
        left: steps that may still be made.
        whole: no function was left out, or not gone over to its end, for its size.
    """

    def __init__(self, file: Binary, links: Links) -> None:
        """Finds out what asks."""
        self._file, self._links = file, links
        foreign = {slot for slot, name in links.names.items() if asks(name)}
        models = file.models or self._models()
        around = (at + by for at in models for by in (-libgcc.ALIGNMENT, libgcc.ALIGNMENT))
        others = (at for at in around if next(links.takers(at, at + 1), None) is not None)
        self._answers = file.answers or [*models, *others]
        self._ways = Ways(
            links.pointers, foreign, self._answers, file.questions, models, file.is_windows
        )
        self._rehearsals = Rehearsals(file, links.pointers, models, self._ways.word)
        self._askers: dict[int, Answer] = {}
        self._summaries: dict[int, Summary] = {}
        self._small: dict[int, Answer] = {}
        self._ended: dict[int, Summary] = {}
        self._words: dict[int, int] = {}
        self._main = main(file)
        self._depth = 0
        self.left = MOST
        self.whole = True
        self._learn()

    def _models(self) -> set[int]:
        """Where a file without symbols has libgcc's __cpu_model."""
        found: set[int] = set()
        for start, end in {*filter(None, map(self._links.function, self._links.asking()))}:
            code = self._file.code_at(start)
            address = libgcc.model(code.between(start, end), start) if code else None
            if address is not None:
                found.add(address)
        return found

    def _learn(self) -> None:
        """Finds the functions that ask, those that answer, and where they put answers."""
        # How far each is from what asks, and its size; the nearest first, of these the smallest:
        # what keeps answers is small and near, and large functions that use them take many steps.
        pending: dict[int, tuple[int, int]] = {}
        for address in self._asked():
            function = self._links.function(address)
            if function is not None:
                pending[function[0]] = 0, function[1] - function[0]
        visits: Counter[int] = Counter()
        while pending and visits.total() < MOST_ASKING and self.left > 0:
            start = min(pending, key=pending.__getitem__)
            far, _ = pending.pop(start)
            visits[start] += 1
            self._summaries.pop(start, None)
            summary = self.summary(start)
            if summary.asks and summary.fields:
                summary.answers |= lib.MAY_ANSWER  # where it is told to
            self._rehearse(start, summary)
            fresh = self._ways.learn(summary)
            news = bool(fresh)
            answer = summary.answers, summary.returned
            if summary.answers and self._askers.get(start) != answer:
                self._askers[start] = answer
                self._words.clear()
                news = True
            if summary.fields and self._ways.fills(start):
                tables = map(self._links.table, self._links.slots(start))
                found = {table for table in tables if table is not None and self._ways.fills(table)}
                fresh |= {start, *found}
                news = True
            if news:
                readers = self._readers(fresh)
                # Itself as well: what it returns may be what it has put there.
                for site in (start, *self._links.callers(start), *readers):
                    other = self._links.function(site)
                    if other is not None and visits[other[0]] < _VISITS:
                        pending.setdefault(other[0], (far + 1, other[1] - other[0]))
        self._summaries.clear()
        self._small.clear()
        self._ended.clear()
        self._words.clear()
        self.left = MOST

    def _rehearse(self, start: int, summary: Summary) -> None:
        """Takes in what is known of the answers of one function where it was executed."""
        if not (summary.answers or summary.statics):
            return
        outcome = self._rehearsals.of(start, [*map(kept_at, summary.statics)])
        if outcome.returned is not None and summary.answers:
            summary.answers, summary.returned = outcome.returned
        known = [(each, outcome.statics.get(kept_at(each))) for each in summary.statics]
        summary.statics = [
            each if found is None else kept(kept_at(each), *found)
            for each, found in known
            if found is None or found.labels
        ]

    def _asked(self) -> Iterator[int]:
        """Addresses in functions that may ask."""
        spans = [(at, NEAR) for at in self._answers]
        for low, size in (*spans, *((at, 1) for at in self._file.questions)):
            yield from (site for _, site in self._links.takers(low, low + size))
        for at in self._file.answers:
            yield from self._links.readers(at, at + NEAR)
        yield from self._links.asking()

    def _readers(self, fresh: Collection[int]) -> list[int]:
        """Addresses of instructions that may go on with what static memory was found to hold."""
        return [site for at in fresh for _, site in self._links.takers(at - NEAR + 1, at + 1)]

    def _asks(self, target: int) -> Answer:
        if target < 0:
            name = self._links.names.get(-target)
            if name is not None:
                return _named(name)
            target = self._links.pointers.get(-target) or 0
        target = self._links.stubs.get(target, target)
        if target in self._askers:
            return self._askers[target]
        name = self._links.imported(target)
        if name is not None:
            return _named(name)
        return self._tells(target)

    def _tells(self, target: int) -> Answer:
        """What a small function answers from what is known: most that do are a few lines."""
        if target not in self._small:
            if self._depth >= _DEPTH:
                return 0, 0  # for now
            self._small[target] = 0, 0  # for what comes back to it
            ending = self._ending(target)
            self._small[target] = ending.answers, ending.returned
        return self._small[target]

    def _ending(self, target: int) -> Summary:
        """A small function; an empty summary for what comes back to it, and for others."""
        if target not in self._ended:
            if self._depth >= _DEPTH:
                return Summary()  # for now
            self._ended[target] = Summary()
            function = self._links.function(target)
            if function is not None and function[0] == target and function[1] <= target + SMALL:
                self._depth += 1
                self._ended[target] = self.summary(target)
                self._depth -= 1
        return self._ended[target]

    def _foreign(self, target: int) -> bool:
        code = self._file.code_at(target)
        if code is None or code.name.startswith(".plt"):
            return True
        return self._links.imported(target) is not None

    def summary(self, start: int) -> Summary:
        """One function, by its start; an empty one where too much was looked at already."""
        if start not in self._summaries:
            function = self._links.function(start)
            if function is None or self.left <= 0:
                return Summary()
            if function[1] - function[0] > LARGEST:
                self.whole = False
                return Summary()
            code = self._file.code_at(start)
            made = Summary()
            if code is not None:
                low, high = self._file.go_code
                known = start == self._main, low <= start < high
                made = self._ways.look(code, *function, self._word, *known)
            self.left -= made.steps
            self.whole &= made.whole
            made.stubs = self._links.stubs
            self._summaries[start] = made
        return self._summaries[start]

    def _word(self, target: int) -> int:
        """What is known of something that is called, for C."""
        word = self._words.get(target)
        if word is None:
            word = self._told(target).word
            if not self._depth:  # else it may lack what comes back to it
                self._words[target] = word
        return word

    def _told(self, target: int) -> Told:
        target = self._links.stubs.get(target, target)
        if target < 0 or self._foreign(target):
            name = self._links.names.get(-target) if target < 0 else self._links.imported(target)
            calls = name is None or not passive_names().search(name)
            return Told(*self._asks(target), calls, 0, True)
        ending = self._ending(target)
        return Told(*self._asks(target), False, ending.invokes, ending.returns)

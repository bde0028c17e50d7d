"""The functions of a file that ask what the CPU can do, those that answer, and what they fill."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from cpuprobe.code import clock, libgcc
from cpuprobe.code.flow import main
from cpuprobe.code.links import Links
from cpuprobe.code.memory_reads import readers, reads
from cpuprobe.code.native import lib
from cpuprobe.code.program import Binary, asks, ending_names, passive_names
from cpuprobe.code.rehearsal import Rehearsals
from cpuprobe.code.summary import Summary
from cpuprobe.code.tiers import tier
from cpuprobe.code.ways import NEAR, Ways, kept, kept_at
from cpuprobe.code.worklist import Worklist

_T = TypeVar("_T")

TO_LEARN, MOST, FEW = 60_000, 400_000, 15_000
"""Steps (ways.MOST_STEPS): to learn what asks; to search afterwards; and where few searches end."""
_MOST_SIZE = 300_000
"""Bytes of all functions that hold features, in a file that asks, beyond which few searches end: of
61 such files 15 with MOST steps; of 311 others all but eight. There FEW steps are made, for what is
soon come to: with 60,000 one of the 61 came to one more feature."""
_RARE = 0.05
"""Share of larger functions that hold features, up to which that is so; of other files twice the
size. pyfamsa 0.7.0, a build for AVX with 16 %, is come to with 100,000 steps."""
_VISIT = 300
"""Steps, there: it takes longer to find out what comes to a function than they do."""
_FREE, _MET = 1 << 18, 3
"""What leads to functions, of which a search goes through so much without a step: 372 real files
have 51,000 at most. And steps that take as long as one."""
_MOST_TELLING = 64
"""Calls of a function of which it is asked whether all tell it of the CPU."""
_MOST_HANDED = 8
"""Sets of numbers that one is handed of which it is asked what it does then."""
_MOST_LAZY = 8
"""Variables that one function may make the values of."""
_MOST_SEARCHED = 16 << 20
"""Bytes of code that are searched for what reads where another file's variables are that tell."""
_MOST_READ, _FEW_READ = 2 << 20, 4
"""Bytes of a library's code that are searched for what reads a variable where it stands; and of how
many, as libgcrypt's code reads its. What a static program's C library reads has little to do with
the program."""


class Functions:
    """The functions of a file, each looked at when it is asked for.

    Attributes:
        main: where it starts, if that is known.
        to_learn: the steps that are made to begin with.
        last: bytes of functions that are looked at after all others then.
        answered: functions that answer: the labels of that, and what is known of it.
        rehearsals: its functions, as they are executed.
        refusals: functions from which CPUs that lack a tier do not come back.
    """

    to_learn, last = TO_LEARN, lib.LARGEST

    def __init__(self, file: Binary, links: Links) -> None:
        """Finds out what asks."""
        self._file, self._links, self._clock = file, links, clock.current()
        models = file.models or self._models()
        around = (at + by for at in models for by in (-libgcc.ALIGNMENT, libgcc.ALIGNMENT))
        others = (at for at in around if next(links.takers(at, at + 1), None) is not None)
        self._answers = file.answers or [*models, *others]
        self._ways = Ways(file, links, self._answers, models)
        self.rehearsals = Rehearsals(file, links, self._ways)
        self.main = main(file)
        self.answered: dict[int, tuple[int, int]] = {}
        self._summaries: dict[int, Summary] = {}
        self._by_numbers: dict[int, dict[int, Summary]] = {}
        self._handed: dict[int, dict[int, list[int]]] = {}  # function -> caller -> what it tells
        self.refusals: dict[int, int] = {}
        self.left = self.to_learn
        self._met = 0
        self._learn()

    @property
    def left(self) -> int:
        """Steps that may still be made; none where the file has used up its time."""
        return 0 if self._clock.late else self._ways.left

    @left.setter
    def left(self, steps: int) -> None:
        self._ways.left = steps

    @property
    def made(self) -> int:
        """Steps that were made so far, and instructions that were executed."""
        return self._ways.made + self.rehearsals.made + _MET * self._met

    def callers(self, start: int) -> Iterator[int]:
        """The calls of a function, as long as there are steps for them."""
        return self.each(self._links.callers(start))

    def each(self, those: Iterable[_T]) -> Iterator[_T]:
        """What leads to a function, one by one, as long as there are steps for it."""
        for one in those:
            self._met += 1
            if self._met > _FREE:
                if self.left <= 0:
                    return
                self.left -= 1
            yield one

    @property
    def whole(self) -> bool:
        """Whether no function was left out, or not gone over to its end, for its size."""
        return self._ways.whole

    def confine(self, size: int, share: float) -> int:
        """Leaves fewer steps where a search would not end.

        Args:
            size: bytes of functions that hold features.
            share: of larger functions that do.

        Returns:
            Steps that count for each function that is come to.
        """
        if size <= _MOST_SIZE * (1 if share < _RARE else 2):
            return 0
        self.left = min(self.left, FEW)
        return _VISIT

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
        work, answered = Worklist(self.last), self.answered
        work.add(self.around(self._asked()), 0)
        while (following := work.next(1 - self.left / self.to_learn)) is not None:
            start, far = following
            self._summaries.pop(start, None)
            summary = self.summary(start)
            if summary.asks and summary.fields:
                summary.answers |= lib.MAY_ANSWER  # where it is told to: zstd in Python's modules
            self._rehearse(start, summary)
            if summary.answers:
                summary.statics = [*summary.statics, *self._lazy(start, summary.answers)]
            fresh = self._ways.learn(summary)
            news = bool(fresh)
            answer = summary.answers, summary.returned
            if summary.answers and answered.get(start) != answer:
                answered[start] = answer
                self._ways.answers(start, *answer)
                news = True
            if summary.fields and self._ways.fills(start, summary.fields):
                tables = filter(None, {*map(self._links.table, self._links.slots(start))})
                fresh |= {start, *(at for at in tables if self._ways.fills(at, summary.fields))}
                if far < 2:  # it asks itself, or is told by who does
                    stubs = (at for at, to in self._links.stubs.items() if to == start)
                    self._ways.constructs((start, *stubs), summary.fields)
                news = True
            work.add(self.around(self._heard(start, summary)), far + 1)
            if work.note(news):  # itself as well: what it returns may be what it has put there
                near = start, *self._links.callers(start), *self._readers(fresh)
                work.add(self.around(near), far + 1)
        self._summaries.clear()
        self._ways.end_learning(work.misses)
        self.left = MOST

    def _lazy(self, start: int, answers: int) -> Iterator[int]:
        """Variables that hold what makes their value, and later hold that, as Rust's LazyLock."""
        for slot in self._links.slots(start)[:_MOST_LAZY]:
            if self._file.is_variable(slot):
                yield kept(slot, answers, 0)

    def _heard(self, start: int, summary: Summary) -> Iterator[int]:
        """The functions to which one tells more of the CPU than was known, as all others do."""
        for target, group in itertools.groupby(summary.hands, lambda word: kept_at(word) >> 3):
            told = self._handed.setdefault(target, {})
            told[start] = [*group]
            sites = [*itertools.islice(self._links.callers(target), _MOST_TELLING)]
            callers = map(self._links.function, sites)
            if len(sites) == _MOST_TELLING or not all(each and each[0] in told for each in callers):
                continue
            taken = self._links.is_in_use(target)
            every = itertools.chain.from_iterable(told.values())
            if not taken and target not in self._file.exports and self._ways.hear(every):
                yield target

    def _rehearse(self, start: int, summary: Summary) -> None:
        """Takes in what is known of the answers of one function where it was executed."""
        refused = self.rehearsals.refuses(start)
        if refused:
            self.refusals[start] = refused
        if not (summary.answers or summary.statics):
            return
        outcome = self.rehearsals.of(start, [*map(kept_at, summary.statics)])
        if outcome.returned is not None and summary.answers:
            summary.answers, summary.returned = outcome.returned
        known = [(each, outcome.statics.get(kept_at(each))) for each in summary.statics]
        summary.statics = [
            each if found is None else kept(kept_at(each), *found)
            for each, found in known
            if found is None or found[0]
        ]

    def _asked(self) -> Iterator[int]:
        """Addresses in functions that may ask."""
        spans = [(at, NEAR) for at in self._answers]
        for low, size in (*spans, *((at, 1) for at in self._file.questions)):
            yield from (site for _, site in self._links.takers(low, low + size))
        for at in self._answers:
            yield from readers(self._file.code, at, at + NEAR)
        yield from self._links.asking() or self._asked_of_others()

    def _asked_of_others(self) -> Iterator[int]:
        """Likewise in those that ask other files."""
        yield from self._links.users(self._foreign)
        if self._foreign and self._file.code_size <= _MOST_SEARCHED:
            code, slots = self._file.code, self._foreign
            found = reads(code, None, min(slots), max(slots) + 1)
            every = zip(found.keys, found.values, strict=True)
            yield from (site for slot, site in every if slot in slots)

    @functools.cached_property
    def _foreign(self) -> frozenset[int]:
        """Slots of other files' functions and variables that tell of the CPU."""
        return frozenset(slot for slot, name in self._links.names.items() if asks(name))

    def _readers(self, fresh: Collection[int]) -> list[int]:
        """Addresses of instructions that may go on with what static memory was found to hold."""
        sites = [site for at in fresh for _, site in self._links.takers(at - NEAR + 1, at + 1)]
        size = self._file.code_size
        if self._file.kind == "library" and size <= _MOST_READ:
            for at in sorted(fresh)[:_FEW_READ]:
                sites += readers(self._file.code, at, at + 1)
        return sites

    def _told(self, target: int) -> tuple[int, int]:
        """What the name of what is called tells (Ways): another file's function."""
        name = self._links.names.get(-target) if target < 0 else self._links.imported(target)
        if name is None:
            return lib.IS_FOREIGN, 0
        traits = lib.IS_FOREIGN * (passive_names().search(name) is None)
        ending = ending_names(self._file.kind == "executable").search(name)
        traits |= lib.NEVER_RETURNS * (ending is not None)
        return traits | lib.MAY_ANSWER * asks(name), 0

    def around(self, addresses: Iterable[int]) -> Iterator[tuple[int, int]]:
        """The functions that hold addresses: one of which several follow each other once."""
        low = high = 0
        for address in addresses:
            if not low <= address < high and (found := self._links.function(address)):
                low, high = found
                yield found

    def refused(self, feature: str, holding: Collection[int]) -> tuple[int, int] | None:
        """Of a feature without which main tells of failure: where it is needed first, and main."""
        if self.main is None or not self.summary(self.main).fails >> tier(feature) & 1:
            return None
        first = min(holding)
        return self.summary(first).needs.get(feature, (first, 0))[0], self.main

    def summary(self, start: int) -> Summary:
        """One function, by its start; an empty one where too much was looked at already."""
        if start not in self._summaries:
            made = self._look(start)
            if made is None:
                return Summary()
            self._summaries[start] = made
        return self._summaries[start]

    def handed(self, start: int, numbers: int) -> Summary:
        """What one function does that is handed some numbers, as a call of it has them."""
        known = self._by_numbers.setdefault(start, {}) if numbers else {}
        if numbers and numbers not in known and len(known) < _MOST_HANDED:
            known[numbers] = self._look(start, numbers) or self.summary(start)
        return known.get(numbers) or self.summary(start)

    def _look(self, start: int, numbers: int = 0) -> Summary | None:
        function = self._links.function(start)
        if function is None or self.left <= 0:
            return None
        made = self._ways.look(*function, self._told, numbers)
        made.stubs = self._links.stubs
        return made

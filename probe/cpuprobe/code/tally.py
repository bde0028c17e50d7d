"""What a scan has found so far, and its sum: features, where they stand, how that is known."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cpuprobe.code.budget import Budget
from cpuprobe.code.forms import Forms
from cpuprobe.code.functions import Name, Range
from cpuprobe.code.needs import (
    LARGE,
    MOST_LISTED,
    MOST_PLACES,
    Confidence,
    Coverage,
    Function,
    Place,
    Spread,
    Use,
)

T = TypeVar("T")


FoundIn = tuple[int, int, Confidence, T]
"""One function with a feature: the first address, how many instructions, how known, its name."""


@dataclass(slots=True)
class Tally:
    """Collects over a part of a file.

    Attributes:
        forms: the meaning of codes.
        features: by canonical name, where.
        unknown: likewise, by iced-x86's name.
        signs: what asks about the CPU.
        discarded: instructions that were not believed.
        pages: 4 KiB pages, by number, with the features on each.
        functions: how many functions of LARGE bytes and more have a set of features.
        sought: features of which every function is listed.
        listed: these functions.
        unlisted: how many more there are.
        budget: what the work is charged to.
    """

    forms: Forms
    features: dict[str, list[FoundIn[Name]]] = field(default_factory=dict)
    unknown: dict[str, list[FoundIn[Name]]] = field(default_factory=dict)
    signs: set[str] = field(default_factory=set)
    discarded: int = 0
    pages: dict[int, frozenset[str]] = field(default_factory=dict)
    functions: Counter[frozenset[str]] = field(default_factory=Counter)
    sought: Collection[str] = ()
    listed: list[tuple[Range, int, int, dict[str, int]]] = field(default_factory=list)
    unlisted: int = 0
    budget: Budget = field(default_factory=Budget)

    def add(self, where: Range, codes: Sequence[int], addresses: Sequence[int]) -> None:
        """Counts believed hits of one function.

        Args:
            where: the function.
            codes: of the hits, in the order of their addresses.
            addresses: of the same.
        """
        sums: dict[tuple[bool, str], tuple[int, int]] = {}
        for code, count in Counter(codes).items():
            meaning = self.forms.meaning(code)
            if meaning.asks:
                self.signs |= {mark.upper() for mark in meaning.marks & {"cpuid", "xgetbv"}}
            known = [(True, name) for name in meaning.needs]
            first = addresses[codes.index(code)]
            for key in known + [(False, name) for name in meaning.unknown]:
                so_far, lowest = sums.get(key, (0, first))
                sums[key] = so_far + count, min(lowest, first)
        self._spread(where, codes, addresses)
        for (is_known, name), (count, address) in sums.items():
            found = address, count, where.source or "sweep", where.name
            (self.features if is_known else self.unknown).setdefault(name, []).append(found)
        counts = {name: count for (known, name), (count, _) in sums.items() if known}
        if sought := {name: counts[name] for name in counts if name in self.sought}:
            self._list(where, codes, addresses, sought)

    def _list(
        self, where: Range, codes: Sequence[int], addresses: Sequence[int], sought: dict[str, int]
    ) -> None:
        """Keeps a function with features that are sought."""
        if len(self.listed) == MOST_LISTED:
            self.unlisted += 1
            return
        mine = {code for code in set(codes) if sought.keys() & self.forms.meaning(code).needs}
        first = next(at for at, code in enumerate(codes) if code in mine)
        last = next(at for at in range(len(codes) - 1, -1, -1) if codes[at] in mine)
        self.listed.append((where, addresses[first], addresses[last], sought))

    def _spread(self, where: Range, codes: Sequence[int], addresses: Sequence[int]) -> None:
        """Notes the pages that hold the hits of a function, and its features."""
        needs = {code: frozenset(self.forms.meaning(code).needs) for code in set(codes)}
        at = 0
        while at < len(addresses):
            page = addresses[at] >> 12
            behind = bisect_left(addresses, page + 1 << 12, at)
            features = frozenset[str]().union(*(needs[code] for code in set(codes[at:behind])))
            if features:
                self.pages[page] = self.pages.get(page, features) | features
            at = behind
        if where.source is not None and where.end - where.start >= LARGE:
            together = frozenset[str]().union(*needs.values())
            if together:
                self.functions[together] += 1


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan of a file, or of a part of it, found, and at how many steps of a Budget.

    `pages`, `functions`, `listed` and `unlisted` are as in a Tally. The first part of a file has
    its `sketch` if functions are listed.
    """

    features: dict[str, Use]
    unknown: dict[str, Use]
    signs: tuple[str, ...]
    coverage: Coverage
    pages: dict[int, frozenset[str]]
    functions: Counter[frozenset[str]]
    listed: tuple[Function, ...]
    unlisted: int
    sketch: tuple[int, ...]
    steps: int = field(compare=False)

    @property
    def share(self) -> float:
        """The share of larger functions that hold any feature."""
        return sum(self.functions.values()) / max(self.coverage.functions, 1)

    def spread(self) -> tuple[Spread, ...]:
        """How many pages and functions hold which features, in a fixed order."""
        pages = Counter(self.pages.values())
        together = {features: tuple(sorted(features)) for features in (*pages, *self.functions)}
        return tuple(
            Spread(names, pages[features], self.functions[features])
            for features, names in sorted(together.items(), key=lambda row: row[1])
        )


def listed(tally: Tally, text: Callable[[Name], str]) -> tuple[Function, ...]:
    """The functions of a tally that are listed, by address, with the text of their names."""
    return tuple(
        Function(text(where.name), where.start, first, last, where.source or "sweep", features)
        for where, first, last, features in sorted(tally.listed, key=lambda row: row[1])
    )


def uses(found: Mapping[str, list[FoundIn[T]]], text: Callable[[T], str]) -> dict[str, Use]:
    """Sums up where each feature was found, features in alphabetical order.

    Args:
        found: by feature, one entry for each function.
        text: of a name.
    """
    summed = {}
    for name in sorted(found):
        by: dict[str, int] = {}
        for _, count, confidence, _ in found[name]:
            by[confidence] = by.get(confidence, 0) + count
        first = sorted(found[name], key=lambda row: row[0])[:MOST_PLACES]
        places = tuple(
            Place(text(named), address, count, confidence)
            for address, count, confidence, named in first
        )
        summed[name] = Use(sum(by.values()), len(found[name]), by, places)
    return summed

"""Executable bytes -> the features in them, function by function.

The scanner is in C (native/scan/), where the package was built with its extension; anywhere else
one in Python does the same over iced-x86 (cpuprobe.code.simple), some thirty times slower. A large
file is scanned in as many threads as there are CPUs.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from itertools import islice
from typing import Any

import msgspec

from cpuprobe.code import simple
from cpuprobe.code.budget import BUDGET, Budget
from cpuprobe.code.forms import forms
from cpuprobe.code.functions import SOURCES, Range
from cpuprobe.code.layout import Piece, Plan, part_of
from cpuprobe.code.lists import new
from cpuprobe.code.native import NATIVE, ffi, lib, name_of
from cpuprobe.code.needs import MOST_LISTED, Function, Place, Use
from cpuprobe.code.program import Binary
from cpuprobe.code.sketch import sketch
from cpuprobe.code.tally import Scan
from cpuprobe.code.threads import at_once, parts, taken

SHARES = 4
"""For each thread, into as many the work is cut: one of equal bytes can take twice as long."""
STEPS = 16
"""The scanner in C makes as many of its steps while a Budget's step takes."""
_PAUSE = 0.005
"""Seconds after which it is seen whether other threads have left anything to scan."""
BATCH = 1024
"""Ranges that are scanned at once where every function of some features is listed."""


def scan(
    file: Binary,
    work: Plan,
    sought: Collection[str] = (),
    threads: int | None = None,
    beside: Future[Any] | None = None,
    most: int = BUDGET,
) -> Scan:
    """Finds the features in a file's executable bytes.

    Args:
        file: an x86-64 file.
        work: its plan.
        sought: features of which every function is listed.
        threads: at most as many; None: as many as there are CPUs.
        beside: other work, for which one of these threads waits to begin with.
        most: steps that it may make.

    Raises:
        ArtifactError: it is more than a file may take (cpuprobe.code.budget).
    """
    if not NATIVE:
        return simple.scan(file, work, forms(), sought, most)
    number = parts(work.size)
    if number > 1:
        number = min(number, threads or os.cpu_count() or 1)
    shares = deque([work.pieces])
    if number > 1:
        shares = deque(part_of(work, each, SHARES * number) for each in range(SHARES * number))
    these = [_Part(file, work, sought) for _ in range(number)]

    def scan_some(part: _Part) -> None:
        while part is these[-1] and number > 1 and shares and beside and not beside.done():
            wait([beside], _PAUSE)
        part.scan(shares, most)

    at_once(scan_some, these, number)
    return _Found(file, work, sought, these).scan(most)


class _Part:
    """What the scanner in C finds in a part of a file.

    Attributes:
        tally: of its ranges.
        sections: of each range of code its first page, and which are its in `pages`.
        pages: the features on each page of all of them.
        functions: of large functions with features, the sets that these have.
        rows: of each function with sought features what C lists, first of all its first address.
        unlisted: how many more there are.
    """

    def __init__(self, file: Binary, work: Plan, sought: Collection[str]) -> None:
        """Nothing is found yet."""
        self.tally = ffi.new("struct scan_tally *")
        self.sections: list[tuple[int, slice]] = []
        count = 0
        for code in file.code:
            first, before = code.address >> 12, count
            count += (code.end - 1 >> 12) + 1 - first
            self.sections.append((first, slice(before, count)))
        self.pages = ffi.new("scan_mask[]", count)
        self.functions = new("scan_mask[]", work.ranges)
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.unlisted, self._most = 0, 2 * MOST_LISTED
        self._listed = ffi.new("struct scan_listed[]", BATCH * lib.MOST_FEATURES if sought else 0)
        self._output = ffi.new("struct scan_output *", {"functions": self.functions})
        if sought:
            self._output.listed = self._listed
        for number in range(lib.scan_known_features if sought else 0):
            if name_of(number) in sought:
                self._output.sought[number // 64] |= 1 << number % 64

    def scan(self, shares: deque[list[Piece]], most: int) -> None:
        """Scans shares of the work, as long as there are any, in so many steps at most.

        Other threads take shares at the same time.
        """
        space = ffi.new_allocator(should_clear_after_alloc=False)("struct scan_space *")
        budget = Budget(most)
        for share in taken(shares):
            for piece in share:
                self._scan(piece, space, budget)

    def _scan(self, piece: Piece, space: Any, budget: Budget) -> None:
        """Scans ranges of one section."""
        code, every, tally, output = piece.code, len(piece.before), self.tally, self._output
        given = ffi.from_buffer("struct scan_range[]", piece.rows)
        output.pages = self.pages + self.sections[piece.number][1].start
        data = ffi.from_buffer("uint8_t[]", code.data)
        at_once = min(BATCH, every) if output.listed else every
        for at in range(0, every, at_once):
            before, tally.base = tally.steps, piece.first + at
            count = min(at_once, every - at)
            lib.cpuprobe_scan(
                data, len(data), code.address, given + at, count, tally, output, space
            )
            budget.spend((tally.steps - before) // STEPS)
            if output.listed:
                self._take_rows()

    def _take_rows(self) -> None:
        for row in self._listed[0 : self.tally.listed]:
            self.rows.append((row.first, row.range, row.feature, row.last, row.count))
        self.tally.listed = 0
        if len(self.rows) > self._most:
            self.cut()

    def cut(self) -> None:
        """Keeps the first functions by address alone, as many as are listed; counts the others."""
        self.rows.sort()
        numbers = dict.fromkeys(row[1] for row in self.rows)
        kept = set(islice(numbers, MOST_LISTED))
        self.unlisted += len(numbers) - len(kept)
        self.rows = [row for row in self.rows if row[1] in kept]
        self._most = max(self._most, 2 * len(self.rows))

    def add(self, other: _Part) -> None:
        """Takes in what another part found, but for the functions' sets."""
        lib.cpuprobe_join(self.tally, other.tally)
        lib.cpuprobe_join_pages(self.pages, other.pages, len(self.pages))
        self.rows += other.rows
        self.unlisted += other.unlisted


class _Found:
    """What all parts of a file found."""

    def __init__(
        self, file: Binary, work: Plan, sought: Collection[str], every: Sequence[_Part]
    ) -> None:
        """Takes the parts together."""
        self._file, self._work, self._sought = file, work, sought
        self._every, self._all = every, every[0]
        for part in every[1:]:
            self._all.add(part)
        self._all.cut()
        self._sets: dict[tuple[int, int], frozenset[str]] = {}
        self._ranges: dict[int, Range] = {}

    def scan(self, most: int) -> Scan:
        """The whole, which took so many steps at most."""
        tally, of = self._all.tally, self._work.coverage
        budget = Budget(most)
        budget.spend(tally.steps // STEPS)
        signs = ((lib.CLASS_CPUID, "CPUID"), (lib.CLASS_XGETBV, "XGETBV"))
        return Scan(
            self._uses(range(lib.scan_known_features)),
            self._uses(range(lib.scan_known_features, lib.scan_features)),
            tuple(sign for bit, sign in signs if tally.signs & bit),
            msgspec.structs.replace(
                of,
                sweep=tally.swept,
                unknown=of.unknown + tally.unknown,
                discarded=tally.discarded,
            ),
            self._pages(),
            self._functions(),
            self._with_sought(),
            self._all.unlisted,
            sketch(self._file.strings) if self._sought else (),
            budget.spent,
        )

    def _pages(self) -> dict[int, frozenset[str]]:
        """The features on each page that has any."""
        keys = [*_keys(self._all.pages, len(self._all.pages))]
        sets = {key: self._set(key) for key in {*keys} if key != (0, 0)}
        found: dict[int, frozenset[str]] = {}
        for first, those in self._all.sections:
            rows = enumerate(keys[those], first)
            these = {page: sets[key] for page, key in rows if key in sets}
            for page in these.keys() & found.keys():  # where two sections meet
                these[page] |= found[page]
            found.update(these)
        return found

    def _functions(self) -> Counter[frozenset[str]]:
        """How many large functions have which features."""
        keys: Counter[tuple[int, int]] = Counter()
        for part in self._every:
            keys.update(_keys(part.functions, part.tally.functions))
        return Counter({self._set(key): number for key, number in keys.items()})

    def _set(self, key: tuple[int, int]) -> frozenset[str]:
        """The features of a mask."""
        if key not in self._sets:
            names = []
            bits = key[0] | key[1] << 64
            while bits:
                names.append(name_of(bits.bit_length() - 1))
                bits &= ~(1 << bits.bit_length() - 1)
            self._sets[key] = frozenset(names)
        return self._sets[key]

    def _uses(self, numbers: Sequence[int]) -> dict[str, Use]:
        """What was found of some features, in alphabetical order."""
        uses, every = {}, self._all.tally.uses
        there = [number for number in numbers if every[number].functions]
        for name, number in sorted((name_of(number), number) for number in there):
            use = every[number]
            counts = zip(SOURCES, use.instructions, strict=True)
            by: dict[str, int] = {source: count for source, count in counts if count}
            places = tuple(self._place(use.place[at]) for at in range(use.places))
            uses[name] = Use(sum(by.values()), use.functions, by, places)
        return uses

    def _range(self, number: int) -> Range:
        """A range by its number, which most often holds several features."""
        if number not in self._ranges:
            self._ranges[number] = self._work.range(number)
        return self._ranges[number]

    def _place(self, place: Any) -> Place:
        where = self._range(place.range)
        name = self._file.name(where.name)
        return Place(name, place.address, place.count, where.source or "sweep")

    def _with_sought(self) -> tuple[Function, ...]:
        """The functions with sought features, by address."""
        found: dict[int, tuple[int, int, dict[str, int]]] = {}
        for first, number, feature, last, count in self._all.rows:
            _, _, counts = found.setdefault(number, (first, last, {}))
            counts[name_of(feature)] = count
        functions = []
        for number, (first, last, counts) in found.items():
            where = self._range(number)
            name, source = self._file.name(where.name), where.source or "sweep"
            functions.append(Function(name, where.start, first, last, source, counts))
        return tuple(functions)


def _keys(masks: Any, count: int) -> Iterator[tuple[int, int]]:
    words = memoryview(ffi.buffer(masks, 16 * count)).cast("Q").tolist()
    return zip(words[::2], words[1::2], strict=True)

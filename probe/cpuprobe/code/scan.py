"""Executable bytes -> the features in them, function by function.

The scanner is in C (native/scan/), where the package was built with its extension; anywhere else
one in Python does the same over iced-x86 (cpuprobe.code.simple), some thirty times slower. A large
file is scanned in as many threads as there are CPUs.
"""

from __future__ import annotations

import os
from bisect import bisect_right
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
from cpuprobe.code.native import NATIVE, ffi, lib, name_of
from cpuprobe.code.needs import MOST_LISTED, Coverage, Function, Place, Use
from cpuprobe.code.program import Binary
from cpuprobe.code.sketch import sketch
from cpuprobe.code.tally import Scan, joined
from cpuprobe.code.threads import at_once, parts

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
    number = min(parts(work.size), threads or os.cpu_count() or 1)
    if number == 1:
        return _Part(file, work, deque([work.pieces]), True, sought).scan(most)
    shares = deque(part_of(work, each, SHARES * number) for each in range(SHARES * number))
    these = [_Part(file, work, shares, each == 0, sought) for each in range(number)]

    def begin(part: _Part) -> Scan:
        while part is these[0] and shares and beside and not beside.done():
            wait([beside], _PAUSE)
        return part.scan(most)

    return joined(at_once(begin, these), most)


class _Part:
    """What the scanner in C finds in a part of a file."""

    def __init__(
        self,
        file: Binary,
        work: Plan,
        shares: deque[list[Piece]],
        is_first: bool,
        sought: Collection[str],
    ) -> None:
        """Nothing is found yet; `shares` of the work are taken as long as there are any."""
        self._file, self._work, self._sought = file, work, sought
        self._shares, self._first = shares, is_first
        self._pieces: list[Piece] = []
        self._before: list[int] = []  # of each, how many ranges come before it
        self._tally = ffi.new("struct scan_tally *")
        self._pages: dict[int, frozenset[str]] = {}
        self._functions: Counter[frozenset[str]] = Counter()
        self._rows: list[tuple[int, int, int, int, int]] = []  # of functions with sought features
        self._unlisted, self._most = 0, 2 * MOST_LISTED
        self._sets: dict[tuple[int, int], frozenset[str]] = {}
        self._ranges: dict[int, Range] = {}

    def scan(self, most: int) -> Scan:
        """Scans it, in so many steps at most."""
        space = ffi.new_allocator(should_clear_after_alloc=False)("struct scan_space *")
        budget = Budget(most)
        for piece in self._taken():
            self._pieces.append(piece)
            self._before.append(self._tally.base)
            self._scan(piece, space, budget)
        tally = self._tally
        of = self._work.coverage if self._first else Coverage()
        signs = ((lib.CLASS_CPUID, "CPUID"), (lib.CLASS_XGETBV, "XGETBV"))
        listed = self._listed()
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
            self._pages,
            self._functions,
            listed,
            self._unlisted,
            sketch(self._file.strings) if self._sought and self._first else (),
            budget.spent,
        )

    def _taken(self) -> Iterator[Piece]:
        """Takes shares of the work; other threads do so at the same time."""
        while True:
            try:
                share = self._shares.popleft()
            except IndexError:
                return
            yield from share

    def _scan(self, piece: Piece, space: Any, budget: Budget) -> None:
        """Scans ranges of one section."""
        code, every = piece.code, len(piece.before)
        given = ffi.from_buffer("struct scan_range[]", piece.rows)
        first = piece.rows[0] >> 12
        pages = ffi.new("scan_mask[]", (piece.rows[-2] >> 12) + 1 - first)
        functions = ffi.new("scan_mask[]", every)
        output = ffi.new("struct scan_output *", {"functions": functions})
        output.pages = ffi.cast("scan_mask *", pages) - (first - (code.address >> 12))
        at_once = every
        if self._sought:
            at_once = min(BATCH, at_once)
            output.listed = listed = ffi.new("struct scan_listed[]", at_once * lib.MOST_FEATURES)
            for number in range(lib.scan_known_features):
                if name_of(number) in self._sought:
                    output.sought[number // 64] |= 1 << number % 64
        data = ffi.from_buffer("uint8_t[]", code.data)
        for at in range(0, every, at_once):
            before = self._tally.steps
            count = min(at_once, every - at)
            lib.cpuprobe_scan(
                data, len(data), code.address, given + at, count, self._tally, output, space
            )
            budget.spend((self._tally.steps - before) // STEPS)
            self._tally.base += count
            if self._sought:
                for row in listed[0 : self._tally.listed]:
                    self._rows.append((row.first, row.range, row.feature, row.last, row.count))
                self._tally.listed = 0
                if len(self._rows) > self._most:
                    self._cut()
            for key, number in Counter(_keys(functions, self._tally.functions)).items():
                self._functions[self._set(key)] += number
            self._tally.functions = 0
        keys = list(_keys(pages, len(pages)))
        sets = {key: self._set(key) for key in {*keys} if key != (0, 0)}
        found = {page: sets[key] for page, key in enumerate(keys, first) if key in sets}
        for page in found.keys() & self._pages.keys():  # where two pieces meet
            found[page] |= self._pages[page]
        self._pages.update(found)

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
        uses = {}
        for name, number in sorted((name_of(number), number) for number in numbers):
            use = self._tally.uses[number]
            if not use.functions:
                continue
            counts = zip(SOURCES, use.instructions, strict=True)
            by: dict[str, int] = {source: count for source, count in counts if count}
            places = tuple(self._place(use.place[at]) for at in range(use.places))
            uses[name] = Use(sum(by.values()), use.functions, by, places)
        return uses

    def _range(self, number: int) -> Range:
        """A range by its number, which most often holds several features."""
        if number not in self._ranges:
            piece = bisect_right(self._before, number) - 1
            self._ranges[number] = self._pieces[piece].range(number - self._before[piece])
        return self._ranges[number]

    def _place(self, place: Any) -> Place:
        where = self._range(place.range)
        name = self._file.name(where.name)
        return Place(name, place.address, place.count, where.source or "sweep")

    def _cut(self) -> None:
        """Keeps the first functions by address alone, as many as are listed; counts the others."""
        self._rows.sort()
        numbers = dict.fromkeys(row[1] for row in self._rows)
        kept = set(islice(numbers, MOST_LISTED))
        self._unlisted += len(numbers) - len(kept)
        self._rows = [row for row in self._rows if row[1] in kept]
        self._most = max(self._most, 2 * len(self._rows))

    def _listed(self) -> tuple[Function, ...]:
        """The functions with sought features, by address."""
        self._cut()
        found: dict[int, tuple[int, int, dict[str, int]]] = {}
        for first, number, feature, last, count in self._rows:
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

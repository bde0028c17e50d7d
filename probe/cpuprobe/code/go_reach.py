"""What a Go program comes to without a choice: as code.reach, with what Go does in other ways.

Go's linker keeps only what main may come to, and its functions have names that a stripped program
has too (code.go). So whoever takes a function's address, the address of one of its closures or of a
table of methods that it stands in, is taken to call it; what runs first is known by name; and so is
what never comes back. Values are where Go's calling convention has them (native/scan/values.c).
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from cpuprobe.code.asking import TO_LEARN, Functions
from cpuprobe.code.functions import NAMELESS_TABLE, ROW
from cpuprobe.code.go_links import GoLinks
from cpuprobe.code.lists import Pairs
from cpuprobe.code.memory_reads import reads
from cpuprobe.code.native import lib
from cpuprobe.code.native_functions import named
from cpuprobe.code.needs import By
from cpuprobe.code.program import asking_names
from cpuprobe.code.reach import Search
from cpuprobe.code.summary import Way

_T = TypeVar("_T")
# Functions and methods that do not return: throw, panics, those that end the process or goroutine;
# and those that begin the one that calls them again.
_NEVER = re.compile(
    r"runtime\.(?:morestack\w*|gopanic|goPanic\w*|panic\w*|throw|fatal\w*|Goexit|exit|abort|sigpanic\w*)"
    r"|(?:os|syscall)\.Exit|log\.(?:\(\*Logger\)\.)?(?:Fatal|Panic)\w*"
)
# What every run or load executes: main, and what initialises packages (cmd/compile, pkginit).
_EVERY = re.compile(r"(?:main|runtime)\.main|[^()]+\.init(?:\.\d+)?")
# What may put an answer of the CPU elsewhere: packages of that name, what initialises others.
_SETTING = re.compile(r".*cpu|runtime\.alginit|.*\.\w*(?:init|Init|glob\.)")
# The runtime asks to begin with (rt0_go) and all the time (memmove); what is known of that is
# internal/cpu's, which these put elsewhere; cpuinit stands in schedinit since Go 1.24.
_SPREADS = r"cpuinit|schedinit|alginit|maps\.AlgInit|init\b"
_RUNTIME = re.compile(rf"_rt0_|(?:internal/)?runtime[./](?!{_SPREADS})")
_WAYS: tuple[Way, ...] = ("taken", "kept", "stored", "foreign")
# Words in the names of what may put an answer elsewhere, and of what may ask: of most functions
# there is no text. In this order C has a bit for each.
_SETS, _ASKS = 1, 2
_WORDS = {
    b"cpu": _SETS | _ASKS,
    b"init": _SETS,
    b"glob.": _SETS,
    b"avx": _ASKS,
    b"sse": _ASKS,
    b"target": _ASKS,
    b"auxval": _ASKS,
    b"ia32cap": _ASKS,
    b"std_detect": _ASKS,
}
_MOST_READ = 16 << 20
"""Bytes of functions that are gone through for static memory that they read."""
_LOOK = 4
"""Steps for a place where a function may be called through a pointer."""
_ITAB = 24
"""Bytes of a table of methods before the first (runtime/runtime2.go, itab)."""
_METHODS = 64
"""Methods of such a table that are looked at."""


@functools.cache
def _told(bits: int) -> int:
    """What words of _WORDS tell, each of them a bit."""
    kinds = (kind for at, kind in enumerate(_WORDS.values()) if bits >> at & 1)
    return functools.reduce(operator.or_, kinds, 0)


class GoFunctions(Functions):
    """The functions of a Go program; its parts in C are as elsewhere."""

    to_learn = 2 * TO_LEARN  # each package asks for itself, and one takes as many as all others
    last = 4 << 10

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [*self._file.functions.starts()]

    @functools.cached_property
    def _hinted(self) -> dict[int, int]:
        """Functions whose names have words of _WORDS, and what these tell."""
        every = enumerate(self._file.strings)
        words = b"".join(word + b"\0" for word in _WORDS)
        found = [named(self._file.functions, content, number, words) for number, content in every]
        return {
            start: _told(bits)
            for each in found
            for start, bits in zip(each.keys, each.values, strict=True)
        }

    def confine(self, size: int, share: float) -> int:
        """Leaves as many steps as there are: who takes what is known, so a search comes farther."""
        return 0

    def name(self, start: int) -> str:
        """The name of one of Go's functions; empty for others."""
        at, (low, high) = bisect_left(self._starts, start), self._file.go_code
        if not low <= start < high or at == len(self._starts) or self._starts[at] != start:
            return ""
        _, _, place, table, *_ = ROW.unpack_from(self._file.functions.rows, ROW.size * at)
        known = table != NAMELESS_TABLE
        return self._file.name((table, place)).removesuffix(".abi0") if known else ""

    def _lazy(self, start: int, answers: int) -> Iterator[int]:
        return iter(())  # a value of a function is a variable that holds its address

    def is_asking(self, start: int) -> bool:
        """Whether a function asks, by the name of its package or its own."""
        may = self._hinted.get(start, 0) & _ASKS
        return may != 0 and asking_names().search(self.name(start)) is not None

    def _asked(self) -> Iterator[int]:
        for start, words in self._hinted.items():
            if words & _ASKS and self.is_asking(start):
                yield from self._links.callers(start)
        yield from super()._asked()

    @functools.cached_property
    def _reads(self) -> Pairs:
        """Static memory that is read where it may be put elsewhere; and where it is."""
        spans, left = list[tuple[int, int]](), _MOST_READ
        for start, words in self._hinted.items():
            function = self._links.function(start) if words & _SETS else None
            if function:
                left -= function[1] - function[0]
                if left < 0:
                    break
                spans.append(function)
        return reads(self._file.code, spans)

    @functools.cached_property
    def _settings(self) -> dict[int, bool]:
        """Whether functions may put answers elsewhere, as far as that was asked."""
        return {}

    def _is_setting(self, site: int) -> bool:
        function = self._links.function(site)
        if function is None:
            return False
        start = function[0]
        if start not in self._settings:
            may = self._hinted.get(start, 0) & _SETS
            self._settings[start] = may != 0 and _SETTING.match(self.name(start)) is not None
        return self._settings[start]

    def _readers(self, fresh: Collection[int]) -> list[int]:
        readers = list[int]()
        for at in fresh:
            span = at - 3, at + 4
            found = self._reads.between(*span), self._links.takers(*span)
            readers += (site for _, site in itertools.chain(*found) if self._is_setting(site))
        return readers

    def _told(self, target: int) -> tuple[int, int]:
        low, high = self._file.go_code
        if not low <= target < high:
            return super()._told(target)
        name = self.name(target)
        if not name:
            return 0, 0
        traits = lib.IS_NAMED | lib.ASKS_BY_NAME * self.is_asking(target)
        traits |= lib.NEVER_BY_NAME * (_NEVER.fullmatch(name) is not None)
        return 0, traits | lib.IS_RUNTIME * (_RUNTIME.match(name) is not None)


class GoSearch(Search):
    """A search in a Go program."""

    links, functions = GoLinks, GoFunctions
    _functions: GoFunctions

    def _root(self, start: int) -> By | None:
        if start not in self._roots and _EVERY.fullmatch(self._functions.name(start)):
            self._roots[start] = "load" if self._file.kind == "library" else "run"
        return super()._root(start)

    def _values(self, start: int) -> Iterator[tuple[int, tuple[Way, ...]]]:
        """Where the address of a function is found by who calls it through a pointer, and how."""
        yield start, _WAYS
        for slot in self._charged(self._links.slots(start)):
            yield slot, _WAYS
            yield from self._around(slot)
            if self._links.is_in_use(slot):  # a value of its own, wherever its linker puts it
                continue
            head = self._links.nearest(slot - _ITAB - 8 * _METHODS, slot - _ITAB)
            if head is not None and self._is_itab(head, slot):
                yield head, _WAYS
                yield from self._around(head)
            elif not self._is_code(self._links.pointers.get(slot - 8)):
                table = self._links.table(slot)  # of what a generic function calls, say
                if table is not None and not self._is_code(self._links.pointers.get(table)):
                    yield table, _WAYS

    def _charged(self, found: Iterable[_T]) -> Iterator[_T]:
        """These, as long as there are steps for them."""
        for each in found:
            self._functions.left -= _LOOK
            if self._functions.left <= 0:
                return
            yield each

    def _is_code(self, address: int | None) -> bool:
        return address is not None and self._file.is_code(address)

    def _is_itab(self, head: int, slot: int) -> bool:
        """Whether a table of methods begins at an address, and a slot is one of it."""
        words = [self._links.pointers.get(at) for at in range(head, slot + 1, 8)]
        code = [*map(self._is_code, words)]
        return not any(code[:3]) and words[2] is None and all(code[3:])

    def _around(self, value: int) -> Iterator[tuple[int, tuple[Way, ...]]]:
        """Static memory with a value of a function, and what that may be a part of."""
        for slot in self._charged(self._links.slots(value)):
            yield slot, _WAYS
            table = self._links.table(slot)
            if table is not None:
                yield table, ("taken",)

    def _holders(self, start: int, unless: int) -> Iterator[tuple[int, int, int]]:
        if self._functions.name(start):
            for address, ways in () if unless else self._values(start):
                sites = (site for _, site in self._links.takers(address, address + 1))
                holders = dict.fromkeys(map(self._links.function, self._charged(sites)))
                for holder in filter(None, holders):
                    # What asks takes what it asks with, to be called once it is known.
                    if not self._functions.is_asking(holder[0]):
                        yield from self._takes(holder[0], address, ways)
        else:
            yield from super()._holders(start, unless)

    def _takes(
        self, holder: int, address: int, ways: Collection[Way]
    ) -> Iterator[tuple[int, int, int]]:
        for each in self._functions.summary(holder).escapes:
            if each.address == address and each.way in ways and each.tiers & self._tier:
                yield holder, each.unless, address

    def _is_open(self, start: int) -> bool:
        if start not in self._open and self._functions.name(start):
            takers = (self._links.takers(at, at + 1) for at, _ in self._values(start))
            self._open[start] = any(next(each, None) is not None for each in takers)
        return super()._is_open(start)

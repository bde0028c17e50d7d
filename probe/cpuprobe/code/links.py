"""How the parts of a file refer to each other: direct calls, addresses in data, imported names.

The bytes are gone through in C (native/scan/links.h); only where the package has its extension.
"""

from __future__ import annotations

import functools
import itertools
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cpuprobe.code.elf import text
from cpuprobe.code.functions import HIGHEST
from cpuprobe.code.lists import Grouped, Kept, Pairs, filled, grouped, new, pairs, words
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.program import Binary
from cpuprobe.code.threads import at_once, parts

_RELATIVE_32 = struct.Struct("<i").unpack_from
_RELA, _WORD = 24, 8
"""Bytes of an Elf64_Rela, and of an address."""
_SHORTEST = 6
"""Bytes of an entry of a procedure linkage table."""
_TABLE = 32
"""Slots of a table of functions that are looked at."""
_OBJECT = 1 << 14
"""Bytes of static data that begin at one address, at most: tables of some hundred methods."""
_DENSE = 32
"""Bytes of code to a reference, at least; where there are more code is gone through again."""
_BLOCK = 64
"""Bytes that C searches together."""
_SHARES = 2
"""For each thread, into as many the code is cut: in small shares more are dense (_DENSE)."""
_MOST_AT_FIRST = 1 << 20
"""References of a kind for which there is room, before it is known how many there are."""
_MOST_ASKING = 1 << 17
"""Instructions that may ask; LLVM has some hundred."""


def _bytes(content: bytes) -> Any:
    """Bytes for C: large ones are read as a bytearray, which it does not take itself."""
    return ffi.from_buffer("uint8_t[]", content)


def _cut(at: int, size: int) -> int:
    """A place in code of some size at which parts of it may be cut, at or before another."""
    return size if at >= size else max(at, 0) & -_BLOCK


class Links:
    """Of one file, found when they are asked for.

    Attributes:
        starts: where functions begin, in order.
        limits: the addresses behind these functions.
        known: both, and where code is, for C.
        pointers: slots in data that hold an address of this file.
        names: slots in data that hold the address of something of another file, by its name.
        stubs: PLT entries that lead to functions of this file, as libraries call what they export.
        chosen: these and slots, where such a function chooses at load time what is called (ifunc).
    """

    def __init__(self, file: Binary) -> None:
        """Reads relocations."""
        self._file = file
        self._found: list[list[Any]] = []  # what was found of each part of the code
        self._imported: dict[int, str | None] = {}
        stubs = self._stubs()
        every = self._starts(stubs[0])
        self.starts, ends = every.keys, every.values
        self.known = ffi.new("struct links_known *")
        self._kept = Kept()
        ranges = [(start, min(end, HIGHEST)) for start, end in (each.span for each in file.code)]
        self.known.code = self._kept.keep(ffi.new("struct links_range[]", ranges))
        self.known.ranges, self.known.is_fixed = len(ranges), bool(file.relocations.words)
        self._index(self.known.functions, self.starts)
        self.limits = array("Q", bytes(8 * len(self.starts)))
        lib.links_limits(
            self.known,
            ffi.from_buffer("uint64_t[]", ends),
            ffi.from_buffer("uint64_t[]", self.limits),
        )
        self.pointers, self.names, slots = self._read()
        self._index(self.known.slots, self.pointers.keys)
        self.known.pointers = self._kept.numbers(self.pointers.values)
        through = self._through = pairs(stubs)
        self._jumped = frozenset(through.values)
        fill = functools.partial(lib.links_entered, self.known, stubs[0])
        self._entered = pairs(*filled(fill, stubs[0].count))
        self.stubs = dict(zip(self._entered.values, self._entered.keys, strict=True))
        entries = (
            at for at, slot in zip(through.keys, through.values, strict=True) if slot in slots
        )
        self.chosen = slots.union(entries) if slots else slots

    def _stubs(self) -> Any:
        """The entries of PLTs, and the slots through which they jump."""
        tables = [code for code in self._file.code if code.name.startswith(".plt")]

        def fill(stubs: Any) -> None:
            for code in tables:
                lib.links_stubs(_bytes(code.data), len(code.data), code.address, stubs)

        return filled(fill, sum(len(code.data) for code in tables) // _SHORTEST)[0]

    def _starts(self, stubs: Any) -> Pairs:
        """Where functions begin and end, those that stand for others included."""
        functions = ffi.from_buffer("struct function[]", self._file.functions.rows)

        def fill(made: Any) -> None:
            lib.functions_links(functions, len(functions), stubs, made)

        return pairs(*filled(fill, stubs.count + len(functions)), last=True)

    def _index(self, index: Any, addresses: Sequence[int]) -> None:
        span = addresses[-1] - addresses[0] if addresses else 0
        index.all = self._kept.numbers(addresses)
        index.count = len(addresses)
        buckets = min(span >> 9, lib.MOST_BUCKETS) + 3
        index.buckets = self._kept.keep(new("struct links_bucket[]", buckets))
        lib.links_index(ffi.addressof(index))

    def _read(self) -> tuple[Pairs, dict[int, str], frozenset[int]]:
        found = self._file.relocations

        def fill(pointers: Any, names: Any, chosen: Any) -> None:
            for at, content in found.words:
                whole = any(at == start for start, _ in found.of_code)
                lib.links_words(_bytes(content), len(content), at, whole, self.known, pointers)
            for table in found.tables:
                lib.links_relocations(
                    _bytes(table), len(table), symbols, len(symbols), pointers, names, chosen
                )

        symbols = _bytes(found.symbols)
        room = sum(len(table) // _RELA for table in found.tables)
        more = sum(len(content) // _WORD for _, content in found.words)
        pointers, names, chosen = filled(
            fill, room + min(more, _MOST_AT_FIRST), room, self._file.ifuncs
        )
        named = pairs(names, last=True)
        of = functools.cache(functools.partial(text, found.strings))  # most stand in many slots
        called = dict(zip(named.keys, map(of, named.values), strict=True))
        return pairs(pointers, last=True), called, frozenset(pairs(chosen).keys)

    def function(self, address: int) -> tuple[int, int] | None:
        """The function that holds an address: its start, and the address behind it."""
        at = bisect_right(self.starts, address) - 1
        return (self.starts[at], self.limits[at]) if at >= 0 and address < self.limits[at] else None

    def number(self, start: int) -> int | None:
        """The number of a function, by its start: its place in `starts`."""
        at = bisect_left(self.starts, start)
        return at if at < len(self.starts) and self.starts[at] == start else None

    def held(self, pages: array[int], masks: array[int]) -> tuple[array[int], int]:
        """What stands on the pages of 4 KiB that each function is on, as masks of two words.

        And how many bytes the functions on these pages have.

        Args:
            pages: numbers of pages, in order.
            masks: theirs.
        """
        held, to_held = words(2 * len(self.starts))
        size = lib.links_hold(
            self.known,
            *(ffi.from_buffer("uint64_t[]", each) for each in (self.limits, pages, masks)),
            len(pages),
            to_held,
        )
        return held, int(size)

    def _search(self, low: int, high: int) -> list[Any]:
        """Searches the code between two places, counted over all code.

        Returns:
            The calls of functions; addresses that code takes; what is CPUID or XGETBV.
        """

        def fill(*lists: Any) -> None:
            behind = 0
            for code in self._file.code:
                before, behind = behind, behind + len(code.data)
                start, end = (_cut(at - before, len(code.data)) for at in (low, high))
                if start < end:
                    data = _bytes(code.data)
                    lib.links_search(data, len(data), start, end, code.address, self.known, *lists)

        room = min((high - low) // _DENSE + 64, _MOST_AT_FIRST)
        return filled(fill, room, room, 1024)

    def search(self) -> None:
        """Searches all code, on all CPUs. What is found is put in order when it is asked for."""
        size = self._file.code_size
        threads = parts(size)
        shares = _SHARES * threads if threads > 1 else 1
        cuts = [size * share // shares for share in range(shares + 1)]
        found = at_once(lambda share: self._search(*share), [*itertools.pairwise(cuts)], threads)
        self._found = found

    @functools.cached_property
    def _searched(self) -> tuple[Grouped, Pairs, list[int]]:
        """The callers of functions; addresses that code takes; what may be CPUID or XGETBV."""
        if not self._found:
            self.search()
        calls, taken, asking = zip(*self._found, strict=True)
        self._found = []
        found = (link.value for links, memory in asking for link in memory[0 : links.count])
        every = [*itertools.islice(found, _MOST_ASKING)]
        return grouped(len(self.starts), *calls), pairs(*taken), every

    def callers(self, target: int) -> Iterator[int]:
        """The addresses at or near which a function is called, or jumped to."""
        for start in (target, *self._entered.of(target)):
            number = self.number(start)
            if number is not None:
                yield from self._searched[0].of(number)

    def users(self, those: Collection[int]) -> Iterator[int]:
        """Where code has to do with what stands in slots: it calls that, or reads the slot."""
        through = zip(self._through.keys, self._through.values, strict=True)
        for entry in (entry for entry, slot in through if slot in those):
            yield from self.callers(entry)
        for slot in those:
            yield from (site for _, site in self.takers(slot, slot + 1))

    def asking(self) -> list[int]:
        """The addresses of CPUID and XGETBV, and of what may be these."""
        return self._searched[2]

    def takers(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Addresses in a range that code takes, with those of instructions that may take them."""
        return self._searched[1].between(max(low, 0), high)

    def is_referred_to(self, start: int) -> bool:
        """Whether anything calls a function, takes its address or holds it."""
        number, (callers, taken, _) = self.number(start), self._searched
        called = number is not None and callers.first[number] < callers.first[number + 1]
        return called or any(start in found for found in (taken, self._turned, self._entered))

    def is_taken(self, address: int) -> bool:
        """Whether code takes an address, or that of a PLT entry that leads there."""
        places = (address, *self._entered.of(address))
        return any(next(self.takers(at, at + 1), None) is not None for at in places)

    def is_in_use(self, address: int) -> bool:
        """Whether code takes an address, or data holds it."""
        return self.is_taken(address) or bool(self.slots(address))

    def nearest(self, low: int, high: int) -> int | None:
        """The last address between two, both included, that code takes."""
        taken = self._searched[1].keys
        at = bisect_right(taken, max(high, 0)) - 1
        return taken[at] if at >= 0 and taken[at] >= low else None

    def table(self, slot: int) -> int | None:
        """Where the table begins that a slot is in: the address nearest before it that is taken."""
        return self.nearest(slot - 8 * _TABLE, slot)

    def object_of(self, slot: int) -> int | None:
        """Where the object begins that a slot is in: what code takes or data points to.

        None too for what is in no object: the global offset table.
        """
        if any(start <= slot < end for start, end in self._file.relocations.of_code):
            return None
        lowest = max(slot - _OBJECT, 0)
        data = self._turned.keys
        at = bisect_right(data, slot) - 1
        pointed = data[at] if at >= 0 and data[at] >= lowest else None
        taken = self.nearest(lowest, slot)
        return max((each for each in (pointed, taken) if each is not None), default=None)

    def slots(self, address: int) -> tuple[int, ...]:
        """Where in data an address stands, but for what PLT entries jump through."""
        return tuple(slot for slot in self._turned.of(address) if slot not in self._jumped)

    @functools.cached_property
    def _turned(self) -> Pairs:
        fill = functools.partial(lib.links_turn, self.known)
        return pairs(*filled(fill, len(self.pointers.keys)))

    def imported(self, target: int) -> str | None:
        """The name of another file's function, if what begins there only jumps to it."""
        if target not in self._imported:
            self._imported[target] = None
            code = self._file.code_at(target)
            if code is not None:
                at = target - code.address
                length = lib.links_stub(_bytes(code.data) + at, len(code.data) - at)
                if length:
                    slot = code.address + at + length + _RELATIVE_32(code.data, at + length - 4)[0]
                    self._imported[target] = self.names.get(slot)
        return self._imported[target]

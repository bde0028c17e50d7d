"""Lists of references as C fills them (native/scan/links.h), and what they are in order."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cpuprobe.code.large import LARGE, room_for
from cpuprobe.code.native import ffi, lib

_small = ffi and ffi.new_allocator(should_clear_after_alloc=False)


def new(kind: str, count: int) -> Any:
    """Makes memory for C, which is not cleared: so many of a kind (`uint64_t[]`).

    Much of it in large pages: to be given small ones takes longer than to fill them.
    """
    size = count * ffi.sizeof(ffi.typeof(kind).item)
    return ffi.from_buffer(kind, room_for(size)) if size >= LARGE else _small(kind, count)


class Kept:
    """What C's structures point to, which has to stay for as long as they are used."""

    def __init__(self) -> None:
        """There is nothing yet."""
        self._all: list[Any] = []

    def keep(self, made: Any) -> Any:
        """Keeps something, and returns it."""
        self._all.append(made)
        return made

    def numbers(self, numbers: Sequence[int]) -> Any:
        """Keeps numbers of 64 bits, an array as a rule, for C to read."""
        return self.keep(ffi.from_buffer("uint64_t[]", numbers))

    def fill(self, made: Any, numbers: Sequence[int]) -> None:
        """Fills a set of C's, of numbers in order."""
        kept = numbers if isinstance(numbers, array) else array("Q", numbers)
        made.all, made.count = self.numbers(kept), len(kept)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Addresses in order, and to each another one."""

    keys: Sequence[int]
    values: Sequence[int]

    def between(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The pairs from one address on, below another."""
        for at in range(bisect_left(self.keys, low), len(self.keys)):
            if self.keys[at] >= high:
                return
            yield self.keys[at], self.values[at]

    def of(self, key: int) -> Sequence[int]:
        """What an address has."""
        at = bisect_left(self.keys, key)
        return self.values[at : bisect_right(self.keys, key, at)]

    def get(self, key: int, other: int | None = None) -> int | None:
        """The first of an address."""
        return next(iter(self.of(key)), other)

    def __contains__(self, key: int) -> bool:
        """Whether there is an address."""
        at = bisect_left(self.keys, key)
        return at < len(self.keys) and self.keys[at] == key


def gathered(*rooms: int) -> list[Any]:
    """Empty lists for C, with so much room."""
    made = []
    for room in rooms:
        memory = new("struct link[]", room)
        made.append((ffi.new("struct links *", (memory, 0, room)), memory))
    return made


def filled(fill: Callable[..., None], *rooms: int) -> list[Any]:
    """Lists that C fills, again with more room where that was not enough."""
    while True:
        made = gathered(*rooms)
        fill(*(links for links, _ in made))
        wanted = [links.count for links, _ in made]
        if all(count <= room for count, room in zip(wanted, rooms, strict=True)):
            return made
        rooms = tuple(wanted)


def words(count: int) -> tuple[array[int], Any]:
    """So many numbers of 64 bits, and the same for C to fill."""
    made = array("Q", (0,)) * count
    return made, ffi.from_buffer("uint64_t[]", made)


def _given(lists: Sequence[Any]) -> Any:
    """Lists for C, one behind another."""
    rows = [(memory, links.count, links.count) for links, memory in lists]
    return ffi.new("struct links[]", rows)


def pairs(*lists: Any, last: bool = False) -> Pairs:
    """Lists of C, one behind another, in order; `last`: of each key only what came last."""
    count = sum(links.count for links, _ in lists)
    memory = new("struct link[]", count)
    lib.links_sort(_given(lists), len(lists), memory, new("struct link[]", count))
    if last:
        count = lib.links_last(memory, count)
    (keys, to_keys), (values, to_values) = words(count), words(count)
    lib.links_part(memory, count, to_keys, to_values)
    return Pairs(keys, values)


def merged(one: Pairs, other: Pairs) -> Pairs:
    """The pairs of both, of each key one: the other's, if it has it."""
    lists = []
    for each in (one, other):
        memory = array("Q", bytes(16 * len(each.keys)))
        memory[::2], memory[1::2] = array("Q", each.keys), array("Q", each.values)
        room = len(each.keys)
        links = ffi.from_buffer("struct link[]", memory)
        lists.append((ffi.new("struct links *", (links, room, room)), links))
    return pairs(*lists, last=True)


@dataclass(frozen=True, slots=True)
class Grouped:
    """What numbers have: from `first` of a number on to that of the next one."""

    first: array[int]
    values: array[int]

    def of(self, number: int) -> array[int]:
        """What one has."""
        return self.values[self.first[number] : self.first[number + 1]]


def grouped(keys: int, *lists: Any) -> Grouped:
    """Lists of C, one behind another, by their keys, which are below a number."""
    (first, to_first) = words(keys + 2)
    (values, to_values) = words(sum(links.count for links, _ in lists))
    lib.links_group(_given(lists), len(lists), keys, to_first, to_values)
    return Grouped(first, values)

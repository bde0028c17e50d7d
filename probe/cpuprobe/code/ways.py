"""A function as native/scan/ways.h sees it: what it needs, calls and hands on without a choice.

Only where the package was built with its extension.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import mmap
import operator
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cpuprobe.code import tiers
from cpuprobe.code.flow import main
from cpuprobe.code.links import Links
from cpuprobe.code.lists import Kept
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.program import Binary, asks
from cpuprobe.code.summary import CALL, ESCAPE, NEED, Summary

MOST_STEPS = 200_000
"""Operations gone over for one function, each time counted, and what is joined between blocks."""
_MOST_KNOWN = 1 << 12
"""Addresses of one kind that are known of a file."""
_FEW_ASKED, _MOST_ASKED = 1 << 10, 1 << 15
"""Functions and slots of which it is known what calling them tells; powers of two."""

_numbers = ffi and ffi.new_allocator(should_clear_after_alloc=False)

_ANSWERS = 16
"""Bytes of a variable into which a compiler's runtime puts what CPUID said."""
NEAR = 64
"""Bytes behind an address that was handed on which may be part of what it points to."""


def kept_at(word: int) -> int:
    """The static memory that a word is about, as ways_keep has it."""
    return int(word >> lib.KEPT_SHIFT)


def kept(address: int, labels: int, fact: int) -> int:
    """A word of what static memory holds (native/scan/ways.h, KEPT_WORD)."""
    return int(address << lib.KEPT_SHIFT | fact << 4 | labels & 1 | labels >> 8 & 14)


_SPACES: list[Any] = []
"""Working memory that is free: there are archives with twenty thousand libraries."""


def working_memory(kind: str, free: list[Any]) -> Any:
    """Memory for C to work in, of a kind (`struct ways_space[]`), or what of that is free.

    Of the system's own pages: a large part of it is never touched, and to clear it takes longer
    than most searches.
    """
    with contextlib.suppress(IndexError):
        return free.pop()
    try:
        # A process's own: workers are forked, with what is free.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        memory = mmap.mmap(-1, ffi.sizeof(ffi.typeof(kind).item), flags=flags)
    except OSError:
        raise MemoryError from None
    return ffi.from_buffer(kind, memory)


class Ways:
    """Looks at the functions of one file, and knows where answers are kept in it."""

    def __init__(
        self,
        file: Binary,
        links: Links,
        regions: Sequence[int] = (),
        models: Iterable[int] = (),
    ) -> None:
        """Knows no answers yet.

        Args:
            file: which.
            links: its.
            regions: where static memory begins that holds answers.
            models: those of the regions that are libgcc's __cpu_model.
        """
        self._spaces: list[Any] = []  # one for a function, and for each of those that it calls
        self._kept = Kept()
        self._known = known = ffi.new("struct ways_known *")
        for each in (
            known.statics,
            known.regions,
            known.fields,
            known.fillers,
            known.filled,
            known.arguments,
        ):
            each.all, each.room = self._kept.keep(_numbers("uint64_t[]", _MOST_KNOWN)), _MOST_KNOWN
        # Of a static program: the C library's own objects keep what follows from CPUID (sizes of
        # caches, of registers to save), at offsets that nearly all objects have.
        is_static = file.kind == "executable" and not (links.names or file.go_code[1])
        known.behind = lib.TELLS if is_static else lib.ANSWERS
        self._kept.fill(known.foreign, sorted(at for at, name in links.names.items() if asks(name)))
        self._kept.fill(known.slots, links.pointers.keys)
        self._kept.fill(known.questions, sorted(file.questions))
        self._kept.fill(known.models, sorted(models))
        self._kept.fill(known.written, [*itertools.chain.from_iterable(file.written)])
        known.pointers = self._kept.numbers(links.pointers.values)
        bits, features = tiers.tables()
        ffi.memmove(known.bits, bits, len(bits))
        ffi.memmove(known.tiers, features, len(features))
        statics = ffi.addressof(known, "statics")
        for address in regions:
            for word in range(address, address + _ANSWERS, 4):
                if word < 1 << 64 - lib.KEPT_SHIFT:
                    lib.ways_keep(known, statics, word << lib.KEPT_SHIFT | lib.MAY_ANSWER)
        self._file = self._asking(file, links)
        self._made = self._given = 0  # of steps

    def _asking(self, file: Binary, links: Links) -> Any:
        made = self._kept.keep(ffi.new("struct asking *"))
        made.known, made.links = self._known, links.known
        made.convention = ffi.addressof(lib.ways_windows if file.is_windows else lib.ways_system_v)
        made.limits = self._kept.numbers(links.limits)
        code = [self._kept.keep(ffi.from_buffer("uint8_t[]", each.data)) for each in file.code]
        made.code = self._kept.keep(ffi.new("uint8_t *[]", code))
        tables = bytes(each.name.startswith(".plt") for each in file.code)
        made.tables = self._kept.keep(ffi.from_buffer("uint8_t[]", tables))
        self._kept.fill(made.imports, sorted(links.names))
        stubs = sorted(links.stubs.items())
        self._kept.fill(made.stubs, [stub for stub, _ in stubs])
        made.functions = self._kept.numbers(array("Q", [function for _, function in stubs]))
        self._kept.fill(made.chosen, sorted(links.chosen))
        made.main = main(file) or 0
        made.go_start, made.go_end = file.go_code
        called = len(links.starts) + len(links.names)
        made.room = min(max(1 << called.bit_length(), _FEW_ASKED), _MOST_ASKED)
        made.asked = self._kept.keep(ffi.new("struct asked[]", made.room))
        made.most_steps, made.is_whole, made.only_answers = MOST_STEPS, True, True
        return made

    @property
    def known(self) -> Any:
        """What is known of the whole file, for C (struct ways_known)."""
        return self._known

    @property
    def code(self) -> Any:
        """The bytes of its code, for C: of each of the ranges that Links has."""
        return self._file.code

    @property
    def convention(self) -> Any:
        """How its functions call each other, for C."""
        return self._file.convention

    @property
    def left(self) -> int:
        """Steps that may still be made."""
        return int(self._file.left)

    @left.setter
    def left(self, steps: int) -> None:
        self._made += self._given - self.left
        self._given = self._file.left = steps

    @property
    def made(self) -> int:
        """Steps that were made so far."""
        return self._made + self._given - self.left

    @property
    def whole(self) -> bool:
        """Whether no function was left out, or not gone over to its end, for its size."""
        return bool(self._file.is_whole)

    def learn(self, summary: Summary) -> set[int]:
        """Takes in where a function puts answers; which static memory is news."""
        statics = ffi.addressof(self._known, "statics")
        kept = (each for each in summary.statics if lib.ways_keep(self._known, statics, each))
        news = {each >> lib.KEPT_SHIFT for each in kept}
        for each in summary.fields:
            lib.ways_keep(self._known, ffi.addressof(self._known, "fields"), each)
        return news

    def fills(self, address: int, fields: Iterable[int]) -> bool:
        """Takes in a function that fills what a pointer points to, or its table; if it is news.

        Args:
            address: its own.
            fields: what it puts there (Summary).
        """
        labels = functools.reduce(operator.or_, fields) & kept(0, lib.ANSWERS, 0)
        word = kept(address, 0, 0) | labels
        return bool(lib.ways_keep(self._known, ffi.addressof(self._known, "fillers"), word))

    def constructs(self, entries: Iterable[int], fields: Iterable[int]) -> None:
        """Takes in a function that puts answers behind what it is handed, as a constructor does.

        Args:
            entries: where it is called.
            fields: what it puts there (Summary).
        """
        filled = ffi.addressof(self._known, "filled")
        for at, each in itertools.product(entries, fields):
            if kept_at(each) < NEAR and at < 1 << 64 - lib.KEPT_SHIFT - lib.FILLED_SHIFT:
                word = each & (1 << lib.KEPT_SHIFT) - 1 | kept(
                    at << lib.FILLED_SHIFT | kept_at(each), 0, 0
                )
                lib.ways_keep(self._known, filled, word)

    def hear(self, words: Iterable[int]) -> bool:
        """Takes in what all callers of a function tell it; whether that is news."""
        arguments = ffi.addressof(self._known, "arguments")
        return bool(sum(lib.ways_keep(self._known, arguments, each) for each in words))

    def answers(self, start: int, labels: int, known: int) -> None:
        """Takes in what a function may answer, and what is known of that."""
        lib.asking_answers(self._file, start, labels | known << 16)

    def end_learning(self, misses: bool) -> None:
        """Ends learning: of functions more is asked than what they answer.

        Those that were looked at because others call them will be looked at again.

        Args:
            misses: not all functions were looked at that may put answers behind pointers.
        """
        self._known.misses = misses
        lib.asking_forget(self._file)
        self._file.only_answers = False

    def look(
        self, start: int, end: int, told: Callable[[int], tuple[int, int]], numbers: int = 0
    ) -> Summary:
        """Looks at one function.

        Args:
            start: its first address.
            end: the address behind it.
            told: what the name of something that is called tells, by its address; of what is called
                through static memory, by the slot's address, less than nothing: a word of another
                file's function, and traits of one of Go's (native/scan/asking.h).
            numbers: what it is handed (summary.Call).
        """
        if end - start > lib.LARGEST:
            self._file.is_whole = False
            return Summary()
        while (ended := lib.asking_look(self._file, start, end, numbers)) == lib.ASKING_WANTS:
            if self._file.lacks:
                self._lend()
            for each in ffi.unpack(self._file.wanted, self._file.wants):
                target = each if each < 1 << 63 else each - (1 << 64)
                lib.asking_tell(self._file, each, *told(target))
        return _summary(self._spaces[0][0].summary) if ended == lib.ASKING_DONE else Summary()

    def _lend(self) -> None:
        """Lends C one space more."""
        self._spaces.append(working_memory("struct ways_space[]", _SPACES))
        self._file.spaces[len(self._spaces) - 1] = self._spaces[-1]

    def __del__(self) -> None:
        """Takes them back."""
        _SPACES.extend(self._spaces)


def _summary(made: Any) -> Summary:
    return Summary(
        ffi.buffer(made.need, NEED.size * made.needs)[:],
        ffi.buffer(made.call, CALL.size * made.calls)[:],
        ffi.buffer(made.escape, ESCAPE.size * made.escapes)[:],
        {},
        made.answers,
        made.returned,
        ffi.unpack(made.static_memory, made.statics) if made.statics else (),
        ffi.unpack(made.field, made.fields) if made.fields else (),
        ffi.unpack(made.hands, made.handed) if made.handed else (),
        bool(made.asks),
        made.fails << 1,
    )

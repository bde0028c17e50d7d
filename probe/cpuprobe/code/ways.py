"""A function as native/scan/ways.h sees it: what it needs, calls and hands on without a choice.

Only where the package was built with its extension.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from cpuprobe.code import tiers
from cpuprobe.code.lists import Pairs
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.program import CodeBytes
from cpuprobe.code.summary import CALL, ESCAPE, NEED, Summary

MOST_STEPS = 200_000
"""Operations gone over for one function, each time counted, and what is joined between blocks."""
_MOST_KNOWN = 1 << 12
"""Addresses of one kind that are known of a file."""

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


class Told(NamedTuple):
    """What is known of something that is called.

    Attributes:
        answers: the labels of what it may answer of the CPU.
        returned: what is known of that.
        foreign: it is another file's, or may be, and may call what is handed to it.
        invokes: the labels of arguments that it calls.
        returns: a run may come back from it.
        leaves: of Go: it leaves answers on the stack, or where it is told to.
    """

    answers: int
    returned: int
    foreign: bool
    invokes: int
    returns: bool
    leaves: bool = False

    @property
    def word(self) -> int:
        """For C."""
        word = self.answers | self.returned << 16 | self.foreign * lib.IS_FOREIGN
        word |= lib.NEVER_RETURNS * (not self.returns) | lib.LEAVES_ANSWERS * self.leaves
        return int(word | self.invokes // _FIRST * lib.CALLS_ARGUMENT)


_FIRST = 2
"""The label of the first argument."""


class _Memory(threading.local):
    """Working memory, kept for each thread: there are archives with twenty thousand libraries.

    Attributes:
        spaces: one for a function, and for each of those that are looked at meanwhile.
    """

    def __init__(self) -> None:
        self.spaces: list[Any] = []


_MEMORY = _Memory() if ffi else None


class Ways:
    """Looks at the functions of one file, and knows where answers are kept in it."""

    def __init__(
        self,
        pointers: Pairs,
        foreign: Iterable[int],
        regions: Iterable[int] = (),
        questions: Iterable[int] = (),
        models: Iterable[int] = (),
        is_windows: bool = False,
    ) -> None:
        """Knows no answers yet.

        Args:
            pointers: static memory that the loader fills with addresses, and these.
            foreign: static memory with the address of another file's variable that is an answer.
            regions: where static memory begins that holds answers.
            questions: addresses of the name of /proc/cpuinfo.
            models: those of the regions that are libgcc's __cpu_model.
            is_windows: its functions call each other as on Windows.
        """
        assert _MEMORY is not None
        self._spaces = _MEMORY.spaces
        self._known = ffi.new("struct ways_known *")
        self._kept: list[Any] = []  # what C's structures point to
        known = self._known
        self._convention = ffi.addressof(lib.ways_windows if is_windows else lib.ways_system_v)
        for each in (known.statics, known.regions, known.fields, known.fillers):
            each.all, each.room = self._keep(_numbers("uint64_t[]", _MOST_KNOWN)), _MOST_KNOWN
        lists = {
            "foreign": array("Q", sorted(foreign)),
            "slots": pointers.keys,
            "questions": array("Q", sorted(questions)),
            "models": array("Q", sorted(models)),
        }
        for name, found in lists.items():
            numbers = self._keep(ffi.from_buffer("uint64_t[]", found))
            setattr(self._known, name, {"all": numbers, "count": len(found)})
        self._known.pointers = self._keep(ffi.from_buffer("uint64_t[]", pointers.values))
        bits, features = tiers.tables()
        ffi.memmove(known.bits, bits, len(bits))
        ffi.memmove(known.tiers, features, len(features))
        statics = ffi.addressof(known, "statics")
        for address in regions:
            for word in range(address, address + _ANSWERS, 4):
                if word < 1 << 64 - lib.KEPT_SHIFT:
                    lib.ways_keep(statics, word << lib.KEPT_SHIFT | lib.MAY_ANSWER)
        self._words: dict[bytes, int] = {}
        self._data: dict[int, Any] = {}
        self._depth = 0  # how many functions are being looked at

    def _keep(self, made: Any) -> Any:
        self._kept.append(made)
        return made

    def learn(self, summary: Summary) -> set[int]:
        """Takes in where a function puts answers; which static memory is news."""
        statics = ffi.addressof(self._known, "statics")
        kept = (each for each in summary.statics if lib.ways_keep(statics, each))
        news = {each >> lib.KEPT_SHIFT for each in kept}
        for each in summary.fields:
            lib.ways_add(ffi.addressof(self._known, "fields"), each)
        return news

    def word(self, bits: bytes) -> int:
        """What is known of a word whose bits tell of some tiers; 0 where there is no more room."""
        if bits not in self._words:
            source = lib.WORDS + len(self._words)
            if source >= lib.ALL_WORDS:
                return 0
            ffi.memmove(self._known.bits[source], bits, len(bits))
            self._words[bits] = lib.FACT_WORD | source << 7
        return self._words[bits]

    @property
    def regions(self) -> list[int]:
        """Where static memory begins that was handed to what may answer."""
        found = self._known.regions
        return list(ffi.unpack(found.all, found.count)) if found.count else []

    def fills(self, address: int) -> bool:
        """Takes in a function that fills what a pointer points to, or its table; if it is news."""
        return bool(lib.ways_add(ffi.addressof(self._known, "fillers"), address))

    def look(
        self,
        code: CodeBytes,
        start: int,
        end: int,
        told: Callable[[int], int],
        is_main: bool = False,
        is_go: bool = False,
    ) -> Summary:
        """Looks at one function.

        Args:
            code: where it stands.
            start: its first address.
            end: the address behind it.
            told: the words (Told) of what is called, by its address; of what is called through
                static memory, by the slot's address, less than nothing.
            is_main: what it returns is told to who started the program.
            is_go: it is called as Go's functions are, and whoever takes an address calls it.
        """
        if self._depth == len(self._spaces):
            self._spaces.append(ffi.new("struct ways_space *"))
        space = self._spaces[self._depth]
        data = self._data.get(code.index)
        if data is None:
            data = self._data[code.index] = ffi.from_buffer("uint8_t[]", code.data)
        if not lib.ways_begin(space, data, len(data), code.address, start, end):
            return Summary()
        self._depth += 1
        answers = array("I")
        while True:
            targets = ffi.unpack(space.target, space.targets)[len(answers) :]
            answers.extend(told(each if each < 1 << 63 else each - (1 << 64)) for each in targets)
            ffi.memmove(space.answer, answers, answers.itemsize * len(answers))
            self._known.convention = ffi.addressof(lib.ways_go) if is_go else self._convention
            lib.ways_finish(space, self._known, MOST_STEPS, is_main)
            if space.targets == len(answers):
                break
        self._depth -= 1
        made = _summary(space.summary)
        return _sparing(made, answers) if is_go else made


def _sparing(made: Summary, answers: Sequence[int]) -> Summary:
    """Of a Go function: it answers if it calls nothing else than what does, or never comes back.

    What has CPUID in it has put the answer on the stack.
    """
    if made.asks:
        made.answers |= lib.MAY_ANSWER
    elif not all(each & (lib.ANSWERS | lib.NEVER_RETURNS) for each in answers):
        made.answers = 0
    return made


def _summary(made: Any) -> Summary:
    return Summary(
        ffi.buffer(made.need, NEED.size * made.needs)[:],
        ffi.buffer(made.call, CALL.size * made.calls)[:],
        ffi.buffer(made.escape, ESCAPE.size * made.escapes)[:],
        {},
        made.answers,
        made.returned,
        ffi.unpack(made.static_memory, made.statics),
        ffi.unpack(made.field, made.fields),
        made.invokes,
        bool(made.returns),
        bool(made.asks),
        bool(made.is_whole),
        made.steps,
    )

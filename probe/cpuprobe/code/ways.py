"""A function as native/scan/ways.h sees it: what it needs, calls and hands on without a choice.

Only where the package was built with its extension.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpuprobe.code.native import ffi, lib, name_of
from cpuprobe.code.program import CodeBytes
from cpuprobe.code.summary import Call, Escape, Summary, Way

MOST_STEPS = 200_000
"""Operations gone over for one function, each time counted, and what is joined between blocks."""
_MOST_KNOWN = 1 << 12
"""Addresses of one kind that are known of a file."""
_WAYS: tuple[Way, ...] = ("foreign", "kept", "stored")  # by their numbers in C
_NEED, _CALL = struct.Struct("<QII"), struct.Struct("<QQII")

_numbers = ffi and ffi.new_allocator(should_clear_after_alloc=False)

Told = tuple[bool, bool]
"""Whether what is called may answer what the CPU can do, and whether it is another file's."""


class _Memory(threading.local):
    """Working memory, one for each thread: there are archives with twenty thousand libraries."""

    def __init__(self) -> None:
        self.space = ffi.new("struct ways_space *")


_MEMORY = _Memory() if ffi else None


class Ways:
    """Looks at the functions of one file, and knows where answers are kept in it."""

    def __init__(self, pointers: Mapping[int, int], foreign: Iterable[int]) -> None:
        """Knows no answers yet.

        Args:
            pointers: static memory that the loader fills with addresses, and these.
            foreign: static memory with the address of another file's variable that is an answer.
        """
        assert _MEMORY is not None
        self._space = _MEMORY.space
        self._known = ffi.new("struct ways_known *")
        self._kept: list[Any] = []  # what C's structures point to
        for each in (self._known.statics, self._known.regions, self._known.fields):
            each.all, each.room = self._keep(_numbers("uint64_t[]", _MOST_KNOWN)), _MOST_KNOWN
        slots = sorted(pointers)
        for name, found in (("foreign", sorted(foreign)), ("slots", slots)):
            numbers = self._keep(ffi.from_buffer("uint64_t[]", array("Q", found)))
            setattr(self._known, name, {"all": numbers, "count": len(found)})
        values = array("Q", map(pointers.__getitem__, slots))
        self._known.pointers = self._keep(ffi.from_buffer("uint64_t[]", values))
        self._data: dict[int, Any] = {}
        self._looks = 0

    def _keep(self, made: Any) -> Any:
        self._kept.append(made)
        return made

    def learn(self, summary: Summary) -> bool:
        """Takes in where a function puts answers; whether some of that is news."""
        known = self._known
        news = [lib.ways_add(ffi.addressof(known, "statics"), each) for each in summary.statics]
        for each in summary.fields:
            lib.ways_add(ffi.addressof(known, "fields"), each)
        return any(news)

    def look(self, code: CodeBytes, start: int, end: int, told: Callable[[int], Told]) -> Summary:
        """Looks at one function.

        Args:
            code: where it stands.
            start: its first address.
            end: the address behind it.
            told: of what is called, by its address; of what is called through static memory, by the
                slot's address, less than nothing.
        """
        space = self._space
        look = self._begin(code, start, end)
        targets: list[int] = []
        answers = bytearray()
        while look:
            targets += ffi.unpack(space.target, space.targets)[len(targets) :]
            for each in targets[len(answers) :]:
                asks, foreign = told(each if each < 1 << 63 else each - (1 << 64))
                answers.append(asks * lib.MAY_ANSWER | foreign * lib.IS_FOREIGN)
            if look != self._looks:  # others were looked at meanwhile
                look = self._begin(code, start, end)
                for each in targets:
                    lib.ways_target(space, each)
            ffi.memmove(space.answer, answers, len(answers))
            lib.ways_finish(space, self._known, MOST_STEPS)
            if space.targets == len(targets):
                return _summary(space.summary)
        return Summary()

    def _begin(self, code: CodeBytes, start: int, end: int) -> int:
        """Begins to look at a function: the number of the look; 0: it is none that is looked at."""
        data = self._data.get(code.index)
        if data is None:
            data = self._data[code.index] = ffi.from_buffer("uint8_t[]", code.data)
        self._looks += 1
        found = lib.ways_begin(self._space, data, len(data), code.address, start, end)
        return self._looks if found else 0


def _summary(made: Any) -> Summary:
    needs = _NEED.iter_unpack(ffi.buffer(made.need, _NEED.size * made.needs))
    calls = _CALL.iter_unpack(ffi.buffer(made.call, _CALL.size * made.calls))
    escapes = _CALL.iter_unpack(ffi.buffer(made.escape, _CALL.size * made.escapes))
    return Summary(
        {name_of(feature): (address, unless) for address, feature, unless in needs},
        [Call._make(call) for call in calls],
        [Escape(address, _WAYS[way], unless, site) for address, site, unless, way in escapes],
        bool(made.answers),
        ffi.unpack(made.static_memory, made.statics),
        ffi.unpack(made.field, made.fields),
        bool(made.is_whole),
        made.steps,
    )

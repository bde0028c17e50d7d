"""Tables of functions in static data, and what points to them."""

from __future__ import annotations

import functools
import itertools
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

from cpuprobe.code.links import Links
from cpuprobe.code.program import Binary

_WORD = 8
_DEPTH = 4
"""Objects that point to each other, and the last to a function: of Python a module, its slots, the
description of a type, its methods."""
_MOST_METHODS = 1 << 11
"""As many as an object has room for (links.object_of)."""
_MOST_SLOTS = 64
"""Of one address, and objects that lead to one."""
_BESIDE = 8
"""Functions on either side of one in a table."""
_MOST_BESIDE = 1 << 14
"""Places where one function stands that answers."""
_MOST_HELD = 1 << 16
"""Functions of which it is held at once what leads to them."""


class Tables:
    """Of one file, each found when it is asked for."""

    def __init__(self, file: Binary, links: Links) -> None:
        """Nothing is read yet."""
        self._file, self._links = file, links
        self._leading: dict[tuple[int, int], frozenset[int]] = {}
        self._answer_slots: dict[tuple[int, int], list[int]] = {}
        self._traits: dict[int, tuple[int, int]] = {}  # where functions in a table begin and end

    def leading_to(self, start: int, depth: int = _DEPTH) -> frozenset[int]:
        """The objects from which one comes to a function, or to an object, pointer by pointer."""
        key = start, depth
        if key not in self._leading:
            if len(self._leading) == _MOST_HELD:
                self._leading.clear()
            slots = self._links.slots(start)[:_MOST_SLOTS]
            near = {each for each in map(self._links.object_of, slots) if each is not None}
            further = (self.leading_to(each, depth - 1) for each in near if depth > 1)
            found = near.union(*further)
            if len(found) > _MOST_SLOTS:
                found = {*sorted(found)[:_MOST_SLOTS]}
            self._leading[key] = frozenset(found)
        return self._leading[key]

    def is_asked_for(self, slot: int, answers: Mapping[int, tuple[int, int]], labels: int) -> bool:
        """Whether among the functions beside one in a table is one that answers.

        A list of functions has beside each one that says whether it may be called, and so have the
        methods of an object.

        Args:
            slot: where it stands.
            answers: functions that answer: the labels of that, and what is known of it.
            labels: those that count.
        """
        low, high = slot - 8 * _BESIDE, slot + 8 * _BESIDE
        answering = self._answering(answers, labels)
        at = bisect_left(answering, low)
        if at == len(answering) or answering[at] > high:
            return False
        thing = self._links.object_of(slot)
        for step in (-8, 8):
            for at in range(slot + step, slot + step * (_BESIDE + 1), step):
                target = self._links.pointers.get(at)
                is_code = target is not None and self._file.is_code(target)
                if target is None or not is_code or self._links.object_of(at) != thing:
                    break
                told, known = answers.get(target, (0, 0))
                if known and told & labels:
                    return True
        return False

    def _answering(self, answers: Mapping[int, tuple[int, int]], labels: int) -> list[int]:
        """The slots in which functions stand that answer, in order."""
        key = labels, len(answers)
        if key not in self._answer_slots:
            those = (each for each, (told, known) in answers.items() if known and told & labels)
            found = (self._links.slots(each)[:_MOST_BESIDE] for each in those)
            self._answer_slots[key] = sorted(itertools.chain(*found))
        return self._answer_slots[key]

    @functools.cached_property
    def _words(self) -> list[tuple[int, bytes]]:
        return sorted(self._file.relocations.words)

    def _word(self, at: int) -> int | None:
        """What stands in static memory that no loader fills."""
        number = bisect_right(self._words, at, key=operator.itemgetter(0)) - 1
        start, content = self._words[number] if number >= 0 else (0, b"")
        within = content[at - start : at - start + 8]
        return int.from_bytes(within, "little") if len(within) == 8 else None

    def _is_trait(self, table: int, slot: int) -> bool:
        """Whether a table has functions alone, as far as a slot, behind a size and an alignment."""
        if table not in self._traits:
            pointers = self._links.pointers
            slots = itertools.count(table + 3 * _WORD, _WORD)
            start = pointers.get(table)
            is_one = (start is None or self._file.is_code(start)) and not (
                table + _WORD in pointers or table + 2 * _WORD in pointers
            )
            code = map(self._is_pointed_code, itertools.islice(slots, _MOST_METHODS))
            number = sum(1 for _ in itertools.takewhile(bool, code)) if is_one else 0
            self._traits[table] = table + 3 * _WORD, table + (3 + number) * _WORD
        first, end = self._traits[table]
        return first <= slot < end

    def _is_pointed_code(self, slot: int) -> bool:
        pointer = self._links.pointers.get(slot)
        return pointer is not None and self._file.is_code(pointer)

    def owners(self, slot: int) -> Iterator[tuple[int, int]]:
        """Tables of virtual functions, each with what stands for it: itself; Rust's static objects.

        Args:
            slot: where a function stands in one.
        """
        taken, thing = self._links.table(slot), self._links.object_of(slot)
        if thing is None:  # in the global offset table beside others
            return
        if taken is not None and self.is_methods(taken):
            yield taken, taken
        if not self._is_trait(thing, slot):
            return
        for holder in self._links.slots(thing)[:_MOST_SLOTS]:
            owner = self._links.object_of(holder)
            if owner is not None:
                yield thing, owner

    def is_methods(self, table: int) -> bool:
        """Whether a table is one of virtual functions.

        Itanium C++ ABI, 2.5.2: before it the offset to the top, and the type's description. Rust's
        begins with a function or nothing, and two numbers, its size and alignment.
        """
        pointers = self._links.pointers
        before = pointers.get(table - 8)
        typed = before is not None and not self._file.is_code(before)
        if typed and table - 16 not in pointers:
            return True
        described = self._word(table - 8) or 0  # by an object of a class that the library has
        known = described in self._links.names or (self._word(described) or 0) in pointers
        if known and self._word(table - 16) == 0:
            return True
        whole = pointers.get(table + 8)  # the address is that of all of it
        if table not in pointers and whole is not None and not self._file.is_code(whole):
            return table + 16 in pointers
        return table + 8 not in pointers and table + 16 not in pointers and table + 24 in pointers

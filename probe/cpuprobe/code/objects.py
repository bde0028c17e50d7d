"""Tables of functions in static data, and what points to them."""

from __future__ import annotations

from cpuprobe.code.links import Links
from cpuprobe.code.program import Binary

_DEPTH = 4
"""Objects that point to each other, and the last to a function: of Python a module, its slots, the
description of a type, its methods."""
_MOST_SLOTS = 64
"""Of one depth."""
_MOST_HELD = 1 << 16
"""Functions of which it is held at once what leads to them."""


class Tables:
    """Of one file, each found when it is asked for."""

    def __init__(self, file: Binary, links: Links) -> None:
        """Nothing is read yet."""
        self._file, self._links = file, links
        self._leading: dict[int, frozenset[int]] = {}

    def leading_to(self, start: int) -> frozenset[int]:
        """The objects from which one comes to a function, pointer by pointer."""
        if start not in self._leading:
            if len(self._leading) == _MOST_HELD:
                self._leading.clear()
            self._leading[start] = frozenset(self._found(start))
        return self._leading[start]

    def _found(self, start: int) -> set[int]:
        found: set[int] = set()
        pending = [start]
        for _ in range(_DEPTH):
            slots = [slot for each in pending for slot in self._links.slots(each)][:_MOST_SLOTS]
            pending = list({*filter(None, map(self._links.object_of, slots))} - found)
            found.update(pending)
            if not pending:
                break
        return found

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
        whole = pointers.get(table + 8)  # the address is that of all of it
        if table not in pointers and whole is not None and not self._file.is_code(whole):
            return table + 16 in pointers
        return table + 8 not in pointers and table + 16 not in pointers and table + 24 in pointers

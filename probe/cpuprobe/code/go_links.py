"""How the parts of a Go program refer to each other: as in code.links, and through closures."""

from __future__ import annotations

from typing import Any

from cpuprobe.code.links import Links
from cpuprobe.code.lists import Pairs, filled, merged, pairs
from cpuprobe.code.native import ffi, lib

_VALUES = 1 << 0 | 1 << 3
"""What leads to closures without variables, and to tables of methods, of which the fourth word is
the first method (runtime/runtime2.go, itab)."""
_STRUCTURES = 1 << 0 | 1 << 1 | 1 << 2
"""What leads to structures that begin with these, or with a string before."""


class GoLinks(Links):
    """Of one file."""

    def _read(self) -> tuple[Pairs, dict[int, str]]:
        """Pointers; of a program that does not move, those too that lead to pointers to code."""
        found, names = super()._read()
        words = self._file.relocations.words
        for before in (_VALUES, _STRUCTURES) if words else ():
            self._index(self.known.slots, found.keys)
            found = merged(self._leading(before, len(found.keys)), found)
        return found, names

    def _leading(self, before: int, room: int) -> Pairs:
        def fill(pointers: Any) -> None:
            for address, content in self._file.relocations.words:
                data = ffi.from_buffer("uint8_t[]", content)
                lib.links_values(data, len(data), address, self.known, before, pointers)

        return pairs(*filled(fill, room))

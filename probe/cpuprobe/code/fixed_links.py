"""How the parts of a file refer to each other, where it does not move: no relocation tells."""

from __future__ import annotations

from typing import Any

from cpuprobe.code.links import Links
from cpuprobe.code.lists import Pairs, filled, merged, pairs
from cpuprobe.code.native import ffi, lib


class FixedLinks(Links):
    """Of one file: as in code.links, and what in it leads to pointers to code.

    Attributes:
        leading: what does, from one to the next: which words behind an address are pointers, as
            bits.
    """

    leading: tuple[int, ...] = (1 << 0,)

    def _read(self) -> tuple[Pairs, dict[int, str], frozenset[int]]:
        found, names, chosen = super()._read()
        for before in self.leading if self._file.relocations.words else ():
            self._index(self.known.slots, found.keys)
            found = merged(self._leading(before, len(found.keys)), found)
        return found, names, chosen

    def _leading(self, before: int, room: int) -> Pairs:
        def fill(pointers: Any) -> None:
            for address, content in self._file.relocations.words:
                data = ffi.from_buffer("uint8_t[]", content)
                lib.links_values(data, len(data), address, self.known, before, pointers)

        return pairs(*filled(fill, room))

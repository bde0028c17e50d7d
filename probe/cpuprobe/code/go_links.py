"""How the parts of a Go program refer to each other: as in code.links, and through closures."""

from __future__ import annotations

from typing import Any

from cpuprobe.code.links import Links
from cpuprobe.code.lists import Pairs, filled, merged, pairs
from cpuprobe.code.native import ffi, lib


class GoLinks(Links):
    """Of one file."""

    def _read(self) -> tuple[Pairs, dict[int, str]]:
        """Pointers; of a program that does not move, those too that lead to pointers to functions.

        Such are closures without variables, and tables of methods.
        """
        found, names = super()._read()
        words = self._file.relocations.words
        self._index(self._known.slots, found.keys)

        def fill(pointers: Any) -> None:
            for address, content in words:
                data = ffi.from_buffer("uint8_t[]", content)
                lib.links_values(data, len(data), address, self._known, pointers)

        more = pairs(*filled(fill, len(found.keys))) if words else found
        return merged(more, found), names

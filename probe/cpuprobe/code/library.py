"""What the objects of a static library need, with what the others of it know of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from cpuprobe.code import coff, macho
from cpuprobe.code.coff_parts import CoffPart
from cpuprobe.code.elf import ArtifactError, Source
from cpuprobe.code.library_reach import LibrarySearch, Reached
from cpuprobe.code.linked import link
from cpuprobe.code.macho_parts import MachoPart
from cpuprobe.code.native import NATIVE
from cpuprobe.code.needs import Needs
from cpuprobe.code.parts import Part, part
from cpuprobe.code.resolved import TooLargeError

MOST_HELD = 192 << 20
"""Bytes of objects that are held until all of a library are read."""


class _Object(NamedTuple):
    key: int
    needs: Needs
    part: Part


class Library:
    """Objects as they are read, one after another.

    Attributes:
        steps: what it took to look at them together, as a scan has it (code.budget).
    """

    def __init__(self) -> None:
        """It is empty."""
        self._objects: list[_Object] = []
        self._left = MOST_HELD
        self.steps = 0

    def add(self, key: int, needs: Needs, source: Source) -> None:
        """Takes in a file of the library, with what it needs by itself; what is no object is left.

        Args:
            key: what it is known by here.
            needs: what it needs.
            source: its bytes.
        """
        if not NATIVE or self._left < 0 or needs.kind != "object":
            return
        try:
            made = _part(source)
        except ArtifactError:  # in what nobody else looks at: the others are linked without it
            return
        if made is None:
            return
        self._left -= made.size
        self._objects.append(_Object(key, needs, made))
        if self._left < 0:
            self._objects.clear()

    def judged(self) -> Iterator[tuple[int, Needs]]:
        """What of those that hold features is known now, by their keys."""
        if not any(each.needs.features for each in self._objects):
            return
        try:
            search = LibrarySearch(link([each.part for each in self._objects]))
        except (ArtifactError, MemoryError, TooLargeError):
            return  # each as it is alone
        reached = search.by_object()
        self.steps = search.steps
        for number, (key, needs, _) in enumerate(self._objects):
            # What is in no function that is kept is not come to.
            ways, whole = reached.get(number, Reached({}, bool(search.dispatch)))
            if needs.features and (whole or ways):
                signs = dict.fromkeys((*search.dispatch, *needs.dispatch))
                known = msgspec.structs.replace(
                    needs, reached=ways, followed=whole, dispatch=tuple(signs)
                )
                yield key, known


def alone(needs: Needs, source: Source) -> tuple[Needs, int]:
    """What an object that asks is known to need by itself, as a library of it alone would be.

    Others are left as they are: whoever links one may choose.

    Args:
        needs: what a file needs.
        source: its bytes.

    Returns:
        That, and how many steps it took.
    """
    library = Library()
    if needs.features and needs.dispatch:
        library.add(0, needs, source)
    return dict(library.judged()).get(0, needs), library.steps


def _part(source: Source) -> Part | None:
    """What a linker needs of an object, whatever its form; None for what is none for x86-64."""
    magic = source.some(0, 8)
    if magic.startswith((coff.MAGIC, coff.BIG_MAGIC)):
        return CoffPart(source).part()
    return MachoPart(source).part() if magic.startswith(macho.MAGIC) else part(source)

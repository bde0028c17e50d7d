"""Functions that hold another's address: by which it may be called where no call names it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from cpuprobe.code.asking import Functions
from cpuprobe.code.links import Links
from cpuprobe.code.objects import Tables
from cpuprobe.code.summary import Escape, Way
from cpuprobe.code.tiers import telling

_TO_FUNCTIONS = 16
"""Bytes from where a table of virtual functions begins to the first (Itanium C++ ABI, 2.5.2)."""

_FEW = 3
"""Functions that one stores who chooses nothing: std::function has two, to be called and copied."""


class Holders:
    """Of the functions of one file."""

    def __init__(
        self,
        links: Links,
        tables: Tables,
        functions: Functions,
        is_named: Callable[[int], bool],
    ) -> None:
        """Knows how they refer to each other, what each does, and which are named for a CPU."""
        self._links, self._tables, self._functions = links, tables, functions
        self._is_named = is_named

    def of(self, start: int, unless: int, tier: int) -> Iterator[tuple[int, int, int]]:
        """Those that hand a function to another file's, or use a table that it stands in.

        Not by a list in which a function that answers stands beside it: that says who calls it.

        Args:
            start: where the function starts.
            unless: the labels of its arguments that keep CPUs from the feature.
            tier: that of the feature.

        Yields:
            The start of each, with what would guard it there, and the address that it lets go of.
        """
        answered, labels = self._functions.answered, telling(tier)
        each = self._functions.each
        for _, site in each(self._links.takers(start, start + 1)):
            yield from self._escapes(unless, tier, site, start, "foreign", "stored", "called")
        for slot in each(self._links.slots(start)):
            if self._tables.is_asked_for(slot, answered, labels):
                continue
            thing = self._links.object_of(slot)
            takers = self._links.takers(thing, slot + 1) if thing is not None else ()
            for address, site in each(takers):
                yield from self._escapes(unless, tier, site, slot, "called")
                yield from self._escapes(unless, tier, site, start, "called")
                yield from self._escapes(unless, tier, site, address, "table")
            for table, owner in self._tables.owners(slot):
                for address, site in each(self._links.takers(owner, owner + 1)):
                    for at in {address, address + _TO_FUNCTIONS, table}:
                        yield from self._escapes(
                            unless, tier, site, at, "kept", "stored", "foreign"
                        )
        for thing in self._tables.leading_to(start):
            for address, site in each(self._links.takers(thing, thing + 1)):
                yield from self._escapes(unless, tier, site, address, "foreign")

    def _escapes(
        self, unless: int, tier: int, site: int, at: int, *ways: Way
    ) -> Iterator[tuple[int, int, int]]:
        if self._functions.left <= 0:  # thousands may refer to one
            return
        holder = self._links.function(site)
        escapes = self._functions.summary(holder[0]).escapes if holder else []
        found = [each for each in escapes if each.address == at and each.way in ways]
        if not found or holder is None:
            return
        chooses = any(each.way == "stored" for each in found) and self._chooses(
            holder[0], escapes, at, telling(tier)
        )
        for each in found:
            is_kept = chooses and each.way == "stored"
            if not is_kept and each.tiers >> tier & 1 and not each.answers & unless:
                yield holder[0], each.unless, each.address

    def _chooses(self, holder: int, escapes: Collection[Escape], at: int, labels: int) -> bool:
        """Whether one that stores an address chooses what it stores, for all that is known.

        It stores what is named for a CPU; or, beside it, a function that answers; or it has asked,
        and stores several: the answer may be in an object, where it is not followed (libFLAC 1.5).
        """
        stored = {each.address for each in escapes if each.way == "stored"}
        calls, answered = self._functions.summary(holder).calls, self._functions.answered
        if self._is_named(at) or (
            len(stored) > _FEW and any(call.target in answered for call in calls)
        ):
            return True
        told = filter(None, map(answered.get, stored))
        return any(known and tells & labels for tells, known in told)

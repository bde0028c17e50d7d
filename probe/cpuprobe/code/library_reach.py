"""Code beyond x86-64-v1 that is reached without a choice, in each object of a static library.

An object is handed features by those that call it, so all of a library are looked at together. What
its functions are called by from outside is as with a library that is loaded: whoever links it may
call what is global, and what the library itself calls only where it has chosen is guarded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code.asking import MOST
from cpuprobe.code.coming import Coming
from cpuprobe.code.flow import begins
from cpuprobe.code.holding import holding
from cpuprobe.code.layout import plan
from cpuprobe.code.linked import Linked
from cpuprobe.code.needs import Reach
from cpuprobe.code.reach import CHOSEN, MANY, Search
from cpuprobe.code.scan import scan

MOST_STEPS = 40 * MOST
"""Steps for all objects together; for each feature of one as many as for a file."""
_VISIT = 400
"""As many steps count for a function that is come to again: it takes about as long."""
_MOST_ABOVE = 64
"""Functions above one of which it is asked whether all have chosen."""

_MOST_CHOSEN = 1 << 16
"""Functions of which that is held at once."""


class Reached(NamedTuple):
    """What of one object is reached.

    Attributes:
        ways: by feature, with the object's own addresses.
        whole: whether the search came to its end.
    """

    ways: dict[str, Reach]
    whole: bool


class LibrarySearch(Search):
    """A search in a library, object by object.

    Attributes:
        dispatch: what in the objects may choose code at run time.
    """

    def __init__(self, linked: Linked) -> None:
        """Begins.

        Args:
            linked: the objects.

        Raises:
            ArtifactError: they are too much work.
        """
        file = linked.file
        found = scan(file, plan(file))
        self._scanned = found.steps
        self.dispatch = (*found.signs, *file.signs)
        roots, further = begins(file)
        super().__init__(file, self.links(file), (*roots, *further))
        self._pages, self._chooses = found.pages, bool(self.dispatch)
        self._linked = linked
        self._chosen: dict[tuple[int, int], bool] = {}
        self._exported = Counter(linked.place(start).part for start in file.exports)

    @property
    def steps(self) -> int:
        """What it took so far, the scan included; less is made anew for each of many objects."""
        return self._scanned + self._functions.made

    def by_object(self) -> dict[int, Reached]:
        """What of each is reached, by its number; of those that hold something."""
        made: dict[int, Reached] = {}
        left = MOST_STEPS
        for feature, those in holding(self._links, self._pages)[0]:
            self._every = those
            parts: dict[int, dict[int, None]] = {}
            for start in those:
                parts.setdefault(self._linked.place(start).part, {})[start] = None
            for part, starts in parts.items():
                ways, whole = made.get(part, Reached({}, True))
                if feature in CHOSEN:
                    made[part] = Reached(ways, whole and self._chooses)
                    continue
                met: dict[str, Reach] = {}
                self._enough = max(1, self._exported[part] // MANY)
                self._functions.left = share = max(min(left, MOST), 0)
                self._climb(feature, starts.keys(), met)
                left -= share - self._functions.left + _VISIT
                ended = self._functions.left > 0 and self._functions.whole and not self._linked.odd
                explained = self._chooses or feature in met or feature in self._named
                ways.update({name: self._moved(way) for name, way in met.items()})
                made[part] = Reached(ways, whole and ended and explained)
        return made

    def _callers(self, start: int, coming: Coming) -> Iterator[tuple[int, int]]:
        self._functions.left -= _VISIT
        return super()._callers(start, coming)

    def _is_part(self, start: int) -> bool:
        return super()._is_part(start) or (self._chooses and self._is_chosen(start))

    def _chose(self, caller: int, start: int) -> bool:
        return super()._chose(caller, start) or self._is_chosen(caller)

    def _is_chosen(self, start: int) -> bool:
        """Whether the library calls a function, and only where it has chosen, there or before."""
        key = start, self._tier
        if key not in self._chosen:
            if len(self._chosen) == _MOST_CHOSEN:
                self._chosen.clear()
            self._chosen[key] = self._have_chosen(start)
        return self._chosen[key]

    def _have_chosen(self, start: int) -> bool:
        seen, pending = {start}, [start]
        chosen = False
        while pending:
            below = pending.pop()
            callers = self._callers_of(below).difference(self._links.stubs)
            if not callers or -1 in callers:
                return False
            for each in callers - seen:
                if Search._chose(self, each, below):
                    chosen = True
                    continue
                seen.add(each)
                pending.append(each)
                if len(seen) > _MOST_ABOVE:
                    return False
        return chosen

    def _moved(self, way: Reach) -> Reach:
        """A way with the addresses that the objects have."""
        address, begins_at = (at - self._linked.place(at).moved for at in (way.address, way.begins))
        return Reach(address, begins_at, way.by, way.name)

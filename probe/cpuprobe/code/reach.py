"""Code beyond x86-64-v1 that is reached from outside of a file without a choice before it.

From the functions that hold a feature one goes back to those that call them on an unguarded way
(code.ways), and so on, until a function is met that others call: what every run or load begins
with, what a library exports, what is handed to functions of other files. Where none is met, a
choice stands before the feature, or a pointer of which nothing is known. Functions are gone over in
C (native/scan/ways.h); where the package was built without its extension nobody looks.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping

from cpuprobe.code.arguments import takes_vectors
from cpuprobe.code.asking import Functions
from cpuprobe.code.budget import SEARCHED
from cpuprobe.code.coming import Coming
from cpuprobe.code.descent import WIDELY, descend, descend_exports, sample
from cpuprobe.code.exploration import Exploration
from cpuprobe.code.fixed_links import FixedLinks
from cpuprobe.code.holders import Holders
from cpuprobe.code.holding import holding
from cpuprobe.code.needs import SPREAD, By, Reach
from cpuprobe.code.objects import Tables
from cpuprobe.code.ordinary import is_ordinary
from cpuprobe.code.program import Binary, is_named_for_cpus
from cpuprobe.code.rows import Rows, listed
from cpuprobe.code.tiers import AVX, MORE, tier

CHOSEN = {"rtm"}
"""No compiler makes it of ordinary code, and a lock that is elided was made so by a choice."""
MANY = 20
"""One of so many exported functions must come to a feature, unless it is like any other (ordinary).
Of a build all do; one alone may be told what the CPU can do in a way that is not seen here, as
libsodium's and libitm's are."""
_MOST_HELD = 1 << 16
"""Functions of which it is held at once what comes to them."""
MOST_FUNCTIONS = 1 << 20
"""Of a file whose callers are followed; Chromium has half as many."""


class Search:
    """A search in one file: only where the package was built with its extension."""

    links, functions = FixedLinks, Functions  # what its functions are looked at with

    def __init__(self, file: Binary, links: FixedLinks, roots: Iterable[int]) -> None:
        """Finds out what in a file answers.

        Args:
            file: an x86-64 file of at most MOST_FUNCTIONS.
            links: how its parts refer to each other.
            roots: where a run or a load begins.
        """
        self._file, self._links, self._tables = file, links, Tables(file, links)
        self._functions = self.functions(file, self._links)
        self._is_named = file.is_for_cpus  # the file's: one of its own makes a cycle
        self._held = Holders(self._links, self._tables, self._functions, self._is_named)
        self._exploration = Exploration(file, self._functions.rehearsals)
        begins: By = "load" if file.kind == "library" else "run"
        self._roots: dict[int, By | None] = dict.fromkeys(roots, begins)
        self._open, self._chooses = dict[int, bool](), False
        self._named: set[str] = set()  # features to which functions come that are named for CPUs
        self._unnamed = dict[str, Collection[int]]()  # features to which nobody comes by a name
        self._tier = self._sought = self._toll = 0  # of what is sought, as a bit; itself; steps
        self._every: Collection[int] = ()  # the functions that hold it
        self._enough = max(1, len(file.exports) // MANY)

    @property
    def ended(self) -> bool:
        """Whether nothing was left out, and it is known what keeps others from what was not met."""
        return self._functions.left > 0 and self._functions.whole and not self._unnamed

    @property
    def named(self) -> frozenset[str]:
        """Features to which others come by functions for such CPUs alone, by names or lists."""
        went = self._functions.left > 0 and self._functions.whole
        found = listed(Rows(self._file, self._links), self._functions, self._unnamed)
        return found | self._named if went else frozenset()

    @property
    def steps(self) -> int:
        """What it took so far, as a scan has it (code.budget)."""
        return SEARCHED * (self._functions.made + self._exploration.made)

    def found(
        self, pages: Mapping[int, frozenset[str]], chooses: bool, share: float = 1
    ) -> dict[str, Reach]:
        """The features that are reached without a choice.

        Args:
            pages: the features on each page of 4 KiB.
            chooses: something in the file asks what the CPU can do.
            share: of larger functions that hold any; below SPREAD it is of no weight whether all is
                gone through.
        """
        self._chooses = chooses
        met: dict[str, Reach] = {}
        every, size = holding(self._links, pages)
        self._toll = self._functions.confine(size, share) if share < SPREAD else 0
        if self._toll and share >= WIDELY:  # what several exported functions soon come to
            some = sample(self._file, self._root)
            found = descend_exports(self._functions, self._links, some, self._is_named)
            self._soon |= {each: self._reach(*found[each], "export") for each in found} | self._soon
        for feature, those in every:
            if feature in CHOSEN or not those:
                continue
            self._every = those
            if feature in self._soon:
                met[feature] = self._soon[feature]
            elif (refused := self._functions.refused(feature, those)) is not None:
                met[feature] = self._reach(*refused, "run")
            else:
                self._climb(feature, those, met)
            # In a file that does not ask, only names say that those who call it do.
            if not (self._chooses or feature in met or feature in self._named):
                self._unnamed[feature] = those
        held = {name for name, those in every if those} - CHOSEN
        for feature, address, root, by in self._exploration.met(held, met, self._root):
            met[feature] = self._reach(address, root, by)
        return dict(sorted(met.items()))

    def descend(self) -> None:
        """Finds out what is soon come to, before it is asked."""
        self._soon  # noqa: B018

    @functools.cached_property
    def _soon(self) -> dict[str, Reach]:
        """What is soon come to from where a run or a load begins."""
        found = descend(self._functions, self._links, [*self._roots], self._is_named)
        return {
            name: self._reach(address, root, self._roots[root] or "run")
            for name, (address, root) in found.items()
        }

    def _root(self, start: int) -> By | None:
        """Why a function is one that others call, if it is."""
        if start not in self._roots:
            names = [*map(self._file.name, self._file.exports.get(start, ()))]
            is_plain = names and not any(map(is_named_for_cpus, names))
            self._roots[start] = "export" if is_plain else None
        return self._roots[start]

    def _is_for_such(self, start: int) -> bool:
        """Whether a function is for such CPUs, so that what guards a call of it chooses.

        By its name; or it holds what no compiler makes of ordinary code, as AES.
        """
        return (self._sought == MORE and start in self._every) or self._is_named(start)

    def _is_others(self, start: int) -> bool:
        """Whether others call a function; in a file that does not ask, by whatever name.

        As the JVM's libsimdsort, which the JVM loads where it has asked.
        """
        return self._root(start) is not None or (not self._chooses and start in self._file.exports)

    def _climb(self, feature: str, holding: Collection[int], met: dict[str, Reach]) -> None:
        exported: dict[int, int] = {}
        self._tier, self._sought = 1 << tier(feature), tier(feature)
        self._up(feature, holding, met, exported)
        if feature not in met and len(exported) >= self._enough:
            first = min(exported)
            met[feature] = self._reach(exported[first], first, "export")

    def _up(
        self,
        feature: str,
        holding: Collection[int],
        met: dict[str, Reach],
        exported: dict[int, int],
    ) -> None:
        """Goes from the functions that hold a feature to those that call them."""
        coming = Coming(self._functions, feature, self._tier, self._is_for_such)
        pending, looked = list[int](), set[int]()
        refusing = {at for at, of in self._functions.refusals.items() if 1 << of >= self._tier}
        queue = [*refusing]  # later those that are called by others of these, and then:
        entered = self._entered(holding)
        while self._functions.left > 0:
            self._functions.left -= self._toll
            if pending:  # at once: in a build for newer CPUs one is come to soon
                start = pending.pop()
                address, unless = coming.all[start]
                found = [(each, (address, still)) for each, still in self._callers(start, coming)]
                for holder, still, held in self._holders(start, unless):
                    coming.held.setdefault(holder, set()).add(held)
                    found.append((holder, (address, still)))
            elif (start := queue.pop() if queue else next(entered, -1)) < 0:
                found = coming.late()
                if not found:
                    break
            elif start in looked:
                continue
            else:
                looked.add(start)
                calls = self._functions.summary(start).calls_on(self._tier)
                queue += [call.target for call in calls if call.target in holding]
                need = self._functions.summary(start).needs.get(feature)
                need = (start, 0) if start in refusing else need
                found = [(start, need)] if need else []
                if need:
                    coming.take(start, start)
            for start, (address, still) in found:
                if not coming.add(start, address, still):
                    continue
                pending.append(start)
                if self._is_reached(start, feature, coming, met, exported):
                    return

    def _callers(self, start: int, coming: Coming) -> Iterator[tuple[int, int]]:
        """Functions that call one on an unguarded way, each with what would guard the call."""
        for caller, _ in dict.fromkeys(self._functions.around(self._functions.callers(start))):
            for still in coming.by(caller, start):
                yield caller, still

    def _holders(self, start: int, unless: int) -> Iterator[tuple[int, int, int]]:
        """Functions that hand one to another file's function, or use a table that it stands in."""
        return self._held.of(start, unless, self._sought)

    def _entered(self, holding: Collection[int]) -> Iterator[int]:
        """Those of some functions to which something comes from outside of them.

        Those that others call come first.
        """
        each = self._functions.each
        yield from filter(self._is_others, each(holding))
        for start in each(holding):
            if not self._links.is_referred_to(start) or self._is_others(start):
                continue
            callers = self._functions.around(self._functions.callers(start))
            if self._is_open(start) or any(caller not in holding for caller, _ in callers):
                yield start

    def _callers_of(self, start: int) -> frozenset[int]:
        """The functions that seem to call one; -1 for what is in none."""
        callers = map(self._links.function, self._functions.callers(start))
        return frozenset(each[0] if each else -1 for each in callers)

    def _is_open(self, start: int) -> bool:
        """Whether something may come to a function but by a call: its address is in use."""
        if start not in self._open:
            if len(self._open) == _MOST_HELD:
                self._open.clear()
            self._open[start] = self._links.is_in_use(start)
        return self._open[start]

    def _is_reached(
        self,
        start: int,
        feature: str,
        coming: Coming,
        met: dict[str, Reach],
        exported: dict[int, int],
    ) -> bool:
        """Takes note of a function that comes to a feature; whether that is enough."""
        by, where = self._root(start), coming.all[start]
        if by is None:
            if start in self._file.exports:
                self._named.add(feature)
            return False
        if by == "export":
            # Who calls one that calls others may tell it of the CPU.
            needs = self._functions.summary(start).needs
            told = where[1] and self._chooses and feature not in needs
            if told or self._is_part(start):
                return False
            exported[start] = where[0]
            chain = coming.chain(start) if self._enough > 1 and self._sought >= AVX else ()
            if not is_ordinary(self._file, self._links, chain):
                return False
        met[feature] = self._reach(where[0], start, by)
        return True

    def _is_part(self, start: int) -> bool:
        """Whether an exported function that holds a feature is one that the file itself uses.

        Its address is taken (ISA-L), or the file calls it, and only where it has chosen (BLAKE3).
        Likewise what is handed a vector of 256 bits or more: only code for such CPUs can call it.
        """
        if not self._chooses or start not in self._every:
            return False
        function, code = self._links.function(start), self._file.code_at(start)
        handed = function and code and takes_vectors(code, *function)
        if handed or self._is_open(start):
            return True
        callers = self._callers_of(start).difference(self._links.stubs, (start,))
        return bool(callers) and all(each >= 0 and self._chose(each, start) for each in callers)

    def _chose(self, caller: int, start: int) -> bool:
        """Whether a caller needs such a CPU itself, or calls a function after a choice alone."""
        summary = self._functions.summary(caller)
        return any(1 << tier(name) >= self._tier for name in summary.needs) or all(
            call.target != start for call in summary.calls_on(self._tier)
        )

    def _reach(self, address: int, start: int, by: By) -> Reach:
        function = self._file.function(start)
        return Reach(address, start, by, self._file.name(function.name) if function else "")

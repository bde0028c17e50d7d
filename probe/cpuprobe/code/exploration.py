"""What CPUs come to that lack it, from where a run begins (native/scan/explore.h)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from cpuprobe.code import tiers
from cpuprobe.code.flow import begins, main
from cpuprobe.code.lists import Kept
from cpuprobe.code.native import ffi, lib, names
from cpuprobe.code.needs import By
from cpuprobe.code.program import Binary
from cpuprobe.code.rehearsal import Rehearsals
from cpuprobe.code.ways import working_memory

_MOST = 300_000
"""Instructions that are executed for the features of one tier; half as many for each megabyte of
code: to what leaked into a large file many other ways lead."""
_FEWEST = 4_000
"""Fewer come to nothing."""
_VENDORS = 2
"""Models of each grade (code.rehearsal.models)."""
_SPACES: list[Any] = []
"""Working memory that is free."""


class Exploration:
    """Of one file, for x86-64's System V ABI; of Go's programs nothing is executed.

    Attributes:
        made: instructions that were executed.
    """

    def __init__(self, file: Binary, rehearsals: Rehearsals) -> None:
        """Executes nothing yet.

        Args:
            file: it.
            rehearsals: its functions, as they are executed.
        """
        self._file, self._rehearsals = file, rehearsals
        followed = file.variables and not (file.is_windows or file.go_code[1])
        self._most = _MOST >> (file.code_size >> 20) if followed else 0
        self._kept, self._by, self.made = Kept(), dict[int, By](), 0

    def met(
        self, held: Collection[str], known: Collection[str], why: Callable[[int], By | None]
    ) -> Iterator[tuple[str, int, int, By]]:
        """What is come to, one feature of each tier at most.

        Args:
            held: the features that are in the file.
            known: those that are known to be come to; of their tiers no more is sought.
            why: why an exported function is one that whoever uses it may call, if it is.

        Yields:
            A feature, the address of what needs it, the root from which it is come to, and why that
            is one.
        """
        of = {*map(tiers.tier, held)} - {*map(tiers.tier, known), tiers.NONE}
        if not of or self._most < _FEWEST:
            return
        space = working_memory("struct explore_space[]", _SPACES)
        made, every = self._begin(space, why), names()
        for tier in sorted(of):
            wanted = [0, 0]
            for number in (every.index(name) for name in held if tiers.tier(name) == tier):
                wanted[number // 64] |= 1 << number % 64
            self._explore(made, tier - 1, wanted)
            if made.is_met:
                yield every[made.feature], made.address, made.root, self._by[made.root]
            elif made.failed and not made.others and self._succeeds(made):
                name = min(name for name in held if tiers.tier(name) == tier)
                yield name, made.main, made.main, "run"  # it refuses to go on
        _SPACES.append(space)

    def _explore(self, made: Any, tier: int, wanted: Sequence[int]) -> None:
        """Follows ways on a model that has the features of a tier, and of those below."""
        made.wanted, made.left, made.model = wanted, self._most, _VENDORS * tier
        lib.explore(made)
        self.made += self._most - made.left

    def _succeeds(self, made: Any) -> bool:
        """Whether on a CPU with all features not every way of main tells of failure."""
        self._explore(made, tiers.TOP, (0, 0))
        return bool(made.others)

    def _begin(self, space: Any, why: Callable[[int], By | None]) -> Any:
        """What C works on: where a run begins."""
        file, kept = self._file, self._kept
        exports = [*filter(why, file.exports)] if file.kind == "library" else []
        made = kept.keep(ffi.new("struct explored *"))
        first = [at for at in file.initial if file.is_code(at)]
        begun, further = begins(file)
        start = main(file)
        runs = [each for each in (start, *further) if each is not None]
        self._by |= dict.fromkeys(exports, "export")
        self._by |= dict.fromkeys((*runs, *begun), "load" if file.kind == "library" else "run")
        made.first, made.firsts = kept.numbers(array("Q", first)), len(first)
        roots = [*dict.fromkeys((*(runs or begun), *sorted(exports)))]
        made.roots, made.count = kept.numbers(array("Q", roots)), len(roots)
        made.main, made.is_library = start or 0, file.kind == "library"
        made.file, made.space = self._rehearsals.lent(), space
        return made

"""What functions that ask put into static memory, and answer, on CPUs of each tier (code.tiers).

Compilers, libraries and programs make words of their own of CPUID's bits: Rust's standard library a
number for each feature, in other places with each release. Such a function is executed
(code.execution) on models of CPUs: of each tier one that has all features of it and of lower ones,
from either of the two vendors whose CPUs are asked for different bits.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from cpuprobe.code import libgcc, tiers
from cpuprobe.code.execution import Answers, Execution
from cpuprobe.code.lists import Pairs
from cpuprobe.code.machine import RAX, Code64, Lost, Refused, Value
from cpuprobe.code.native import lib
from cpuprobe.code.program import Binary
from cpuprobe.facts.features import load_features

MOST_STEPS = 60_000
"""Instructions that are executed for a file."""
_MOST = 3_000
"""Of one run."""
_IN_A_ROW = 12
"""Functions of which nothing becomes known, one after another, until no more are executed: what
asks comes first, and large files have some hundred that use answers."""
_TIERS = range(tiers.NONE, tiers.TOP + 1)
_VENDORS = (b"GenuntelineI", b"AuthcAMDenti")
"""In EBX, ECX and EDX, in this order (SDM and APM, CPUID leaf 0)."""
_LEAVES = {0: 0x24, 0x80000000: 0x80000008}
"""The highest leaf of each range that the models answer."""
_LONGEST = 16
"""Bytes that are read at once: a vector."""
_WIDEST = 8
"""Bytes of a value that is followed."""
Fact: TypeAlias = Callable[[Sequence[Sequence[int]], int], tuple[int, int]]
_MODEL = {1: (0, 1), 0x80000001: (0, 1)}
"""Leaves whose EAX and EBX tell of the model and of more that differs from CPU to CPU."""


class Model(NamedTuple):
    """A CPU."""

    cpuid: Callable[[int, int], Answers]
    xcr0: int


class Finding(NamedTuple):
    """What is known of a value of static memory, or that is returned.

    Attributes:
        labels: of the tiers that it tells of.
        fact: as native/scan/ways.h has it; 0: nothing.
    """

    labels: int
    fact: int


def _model(tier: int, vendor: bytes) -> Model:
    leaves: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for name, row in load_features().items():
        place = row.cpuid
        registers = leaves[place.leaf, place.subleaf]
        value = place.least << place.bit if tiers.tier(name) <= tier else 0
        registers[place.register] = registers.get(place.register, 0) | value
    leaves[1, 0]["ecx"] |= (tier >= tiers.AVX) << tiers.OSXSAVE
    leaves[7, 0]["eax"] = 1  # the last subleaf

    def cpuid(leaf: int, subleaf: int) -> Answers:
        if leaf in _LEAVES:
            return _LEAVES[leaf], *struct.unpack("<III", vendor)
        found = leaves.get((leaf, subleaf))
        if found is None:
            return None, None, None, None
        eax, ebx, ecx, edx = (found.get(each, 0) for each in ("eax", "ebx", "ecx", "edx"))
        return (None, None, ecx, edx) if leaf in _MODEL else (eax, ebx, ecx, edx)

    xcr0 = 3 | sum(1 << bit for bit, of in tiers.XCR0.items() if of <= tier)
    return Model(cpuid, xcr0)


@functools.cache
def models() -> tuple[tuple[Model, ...], ...]:
    """For each tier, from the lowest, one CPU from each vendor."""
    return tuple(tuple(_model(tier, vendor) for vendor in _VENDORS) for tier in _TIERS)


def _each_tier() -> Iterator[int]:
    """The tier of each model."""
    return (tier for tier in _TIERS for _ in _VENDORS)


@functools.cache
def libgcc_word(tier: int) -> bytes:
    """The first word of features in libgcc's __cpu_model on a CPU of a tier."""
    bits = tiers.tables()[0][32 * lib.CPU_MODEL :][:32]
    word = sum(1 << at for at, of in enumerate(bits) if of & ~lib.GIVEN <= tier)
    return word.to_bytes(4, "little")


def _bytes(written: Iterable[tuple[int, int]]) -> set[int]:
    """The addresses of all bytes of some values."""
    return {at for low, size in written for at in range(low, low + size)}


def _tells(run: Execution) -> bool:
    """Whether anything is known of what a run wrote or returned."""
    return run.value(RAX, 1) is not None or any(
        size <= _WIDEST and run.load(at, size) is not None for at, size in run.writes
    )


class Outcome(NamedTuple):
    """What a function does on the models.

    Attributes:
        statics: what it puts into static memory, by address.
        returned: what it returns; None: that is not known.
    """

    statics: Mapping[int, Finding]
    returned: Finding | None


class Rehearsals:
    """Of one file's functions.

    Attributes:
        left: instructions that may still be executed.
    """

    def __init__(
        self,
        file: Binary,
        pointers: Pairs,
        variables: Iterable[int],
        fact: Fact,
        names: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """Nothing was executed yet.

        Args:
            file: whose functions they are.
            pointers: static memory that the loader fills with addresses.
            variables: where it has libgcc's __cpu_model.
            fact: tells of a value's labels and what is known of it (code.ways).
            names: slots with the addresses of other files' functions.
        """
        self._code, self._fact = Code64(file), fact
        self._pointers, self._names, self._zeros = pointers, names, file.zeros
        self._constants = file.constants
        self._models = [*itertools.chain(*models())]
        # What is known of static memory on each; and where functions put different things.
        self._memory: list[dict[int, int]] = [{} for _ in self._models]
        for tier, memory in zip(_each_tier(), self._memory, strict=True):
            for at in variables:
                memory.update(enumerate(libgcc_word(tier), at + libgcc.FEATURES))
        self._mixed: set[int] = set()
        self._outcomes: dict[int, Outcome] = {}
        self._in_vain = self._not_refused = 0
        self.left = MOST_STEPS

    @property
    def made(self) -> int:
        """Steps that were made so far, which are instructions."""
        return MOST_STEPS - self.left

    def of(self, start: int, statics: Collection[int] = ()) -> Outcome:
        """What a function does; nothing where that is not known.

        Args:
            start: its first address.
            statics: static memory that it may put answers into, and is the first to do so.
        """
        if start not in self._outcomes:
            runs = self._runs(start, statics)
            written = dict.fromkeys(itertools.chain(*(each.writes for each in runs)))
            found = {
                at: self._finding([run.load(at, size) for run in runs], size)
                for at, size in written
                if size <= _WIDEST
            }
            for at in _bytes(written):
                self._remember(at, runs)
            known = {at: each for at, each in found.items() if each is not None}
            returned = self._returned(runs)
            self._in_vain = 0 if known or returned else self._in_vain + 1
            self._not_refused *= bool(self._in_vain)
            self._outcomes[start] = Outcome(known, returned)
        return self._outcomes[start]

    def _runs(self, start: int, statics: Collection[int]) -> list[Execution]:
        """A run on each model; none where one is lost."""
        runs = list[Execution]()
        if self.left <= 0 or self._in_vain >= _IN_A_ROW:
            return runs
        clear = {at for at in statics if any(low <= at < end for low, end in self._zeros)}

        def first(at: int) -> Value:
            return 0 if at in clear else self._first(at)

        # On the one with all features first: there most is executed, and most are lost.
        for model, memory in reversed([*zip(self._models, self._memory, strict=True)]):
            run = Execution(first, memory, *model, self._names)
            try:
                run.run(self._code, start, min(_MOST, self.left))
            except Lost:
                return []
            finally:
                self.left -= run.steps
            runs.append(run)
            if not _tells(run):  # what the others do is of no use
                for at in _bytes(run.writes):
                    self._forget(at)
                return []
        return runs[::-1]

    def _first(self, at: int) -> Value:
        """What stands at an address of static memory, and in the bytes behind it."""
        pointer = self._pointers.get(at)
        if pointer is not None:
            return pointer
        for address, content in self._constants:
            into = at - address
            if 0 <= into <= len(content) - _LONGEST:
                return int.from_bytes(content[into : into + _LONGEST], "little")
        return None

    def refuses(self, start: int) -> int:
        """The tier without which no CPU comes back from a function; NONE: that is not known."""
        rows = zip(_each_tier(), self._models, self._memory, strict=True)
        tried = self.left > 0 and self._not_refused < 2 * _IN_A_ROW
        self._not_refused += 1
        for tier, model, memory in rows if tried else ():
            run = Execution(self._first, memory, *model, self._names)
            try:
                run.run(self._code, start, min(_MOST, self.left))
            except Refused:
                self._not_refused = 0
                continue
            except Lost:
                pass
            finally:
                self.left -= run.steps
            return tier
        return tiers.NONE

    def _remember(self, at: int, runs: Sequence[Execution]) -> None:
        for run, memory in zip(runs, self._memory, strict=True):
            value = run.memory.get(at)
            if at in self._mixed or value is None or memory.setdefault(at, value) != value:
                self._forget(at)
                return

    def _forget(self, at: int) -> None:
        self._mixed.add(at)
        for memory in self._memory:
            memory.pop(at, None)

    def _returned(self, runs: Sequence[Execution]) -> Finding | None:
        sizes = (self._finding([run.value(RAX, size) for run in runs], size) for size in (8, 4, 1))
        return next(filter(None, sizes), None) if runs else None

    def _finding(self, values: Sequence[Value], size: int) -> Finding | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        rows = [known[at : at + len(_VENDORS)] for at in range(0, len(known), len(_VENDORS))]
        if all(row == rows[0] for row in rows):
            return Finding(0, 0)
        return Finding(*self._fact(rows, size))

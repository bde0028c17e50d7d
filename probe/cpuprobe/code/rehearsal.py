"""What functions that ask put into static memory, and answer, on CPUs of each tier (code.tiers).

They are executed in C (native/scan/execute.h) on models of CPUs, which are made here.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from cpuprobe.code import tiers
from cpuprobe.code.links import Links
from cpuprobe.code.lists import Kept
from cpuprobe.code.native import NATIVE, ffi, lib
from cpuprobe.code.program import Binary
from cpuprobe.code.ways import Ways, working_memory
from cpuprobe.facts.features import load_features

MOST_STEPS = 1_000_000
"""Instructions that are executed for a file; of 372 that have features none takes more than some
ten thousand."""
_MOST = 100_000
"""Of one run."""
_TIERS = range(tiers.NONE, tiers.TOP + 1)
_VENDORS = (b"GenuntelineI", b"AuthcAMDenti")
"""In EBX, ECX and EDX, in this order (SDM and APM, CPUID leaf 0)."""
_HIGHEST = {0: 0x24, 0x80000000: 0x80000008}
"""The highest leaf of each range that the models answer."""
_MODEL = (1, 0x80000001)
"""Leaves whose EAX and EBX tell of the model and of more that differs from CPU to CPU. They have no
subleaves."""
_REGISTERS = ("eax", "ebx", "ecx", "edx")
_SAME = {"_Znwm": "malloc", "_Znam": "malloc", "memmove": "memcpy", "bcmp": "memcmp"}
"""Functions that do what others do."""
_FOREIGN = {
    name: getattr(lib, f"FOREIGN_{_SAME.get(name, name).upper()}")
    for name in (
        *("malloc", "calloc", "memcmp", "memcpy", "memset", "strcasecmp", "strcmp", "strlen"),
        *("strncasecmp", "strncmp"),
        *_SAME,
    )
    if NATIVE
}
"""What other files' functions do, by their names."""
_SPACES: list[Any] = []
"""Working memory that is free."""

Leaf = tuple[int, int, int, tuple[int, ...]]
"""Of struct execute_leaf: leaf, subleaf, which registers are known, and the four."""


def _leaves(tier: int, vendor: bytes) -> list[Leaf]:
    """What the CPU answers that has all features of a tier and of lower ones."""
    leaves: dict[tuple[int, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, row in load_features().items():
        place = row.cpuid
        has = tiers.tier(name) <= tier
        leaves[place.leaf, place.subleaf][place.register] |= (place.least * has) << place.bit
    leaves[1, 0]["ecx"] |= (tier >= tiers.AVX) << tiers.OSXSAVE
    leaves[7, 0]["eax"] = 1  # the last subleaf
    made: list[Leaf] = [
        (leaf, lib.ANY_SUBLEAF, 0xF, (highest, *struct.unpack("<III", vendor)))
        for leaf, highest in _HIGHEST.items()
    ]
    for (leaf, subleaf), found in leaves.items():
        words = tuple(found[each] for each in _REGISTERS)
        made.append(
            (leaf, lib.ANY_SUBLEAF, 0xC, words) if leaf in _MODEL else (leaf, subleaf, 0xF, words)
        )
    return made


@functools.cache
def models() -> Any:
    """The CPUs, for C: of each tier, from the lowest, one from each vendor."""
    made = ffi.new("struct execute_model[]", lib.MODELS)
    of = ((tier, vendor) for tier in _TIERS for vendor in _VENDORS)
    for model, (tier, vendor) in zip(made, of, strict=True):
        leaves = _leaves(tier, vendor)
        model.count, model.leaves = len(leaves), leaves
        model.xcr0 = 3 | sum(1 << bit for bit, of in tiers.XCR0.items() if of <= tier)
    return made


def _chosen(file: Binary, links: Links) -> dict[int, str]:
    """Slots of a static program whose functions one of such a name chooses (ifunc)."""
    found = {}
    for slot in links.chosen:
        function = file.function(links.pointers.get(slot, 0) or 0)
        name = file.name(function.name) if function else ""
        if name in _FOREIGN:
            found[slot] = name
    return found


class Outcome(NamedTuple):
    """What a function does on the models.

    Attributes:
        statics: what it puts into static memory, by address: the labels of what a value tells of,
            and what is known of it (native/scan/ways.h); no labels: it is the same on all.
        returned: likewise, what it returns; None: that is not known.
    """

    statics: Mapping[int, tuple[int, int]]
    returned: tuple[int, int] | None


class Rehearsals:
    """Of one file's functions."""

    def __init__(self, file: Binary, links: Links, ways: Ways) -> None:
        """Nothing was executed yet."""
        self._outcomes: dict[int, Outcome] = {}
        self._kept = kept = Kept()
        for each in (links, ways):
            kept.keep(each)
        self._spaces: list[Any] = []
        self._made = made = ffi.new("struct executed *")
        made.links, made.known, made.code = links.known, ways.known, ways.code
        made.convention = ways.convention
        constants = [
            (kept.keep(ffi.from_buffer("uint8_t[]", content)), address, len(content))
            for address, content in file.constants
        ]
        made.constants = kept.keep(ffi.new("struct execute_constants[]", constants))
        made.constants_count = len(constants)
        zeros = sorted(itertools.chain.from_iterable(file.zeros))
        kept.fill(made.zeros, zeros)
        called = {slot: name for slot, name in links.names.items() if name in _FOREIGN}
        called |= _chosen(file, links)
        kept.fill(made.foreign, sorted(called))
        does = bytes(_FOREIGN[called[slot]] for slot in sorted(called))
        made.does = kept.keep(ffi.from_buffer("uint8_t[]", does))
        made.models = models()
        made.left, made.most = MOST_STEPS, _MOST
        ways.known.executed = made

    @property
    def made(self) -> int:
        """Steps that were made so far, which are instructions."""
        return MOST_STEPS - int(self._made.left)

    def of(self, start: int, statics: Collection[int] = ()) -> Outcome:
        """What a function does; nothing where that is not known.

        Args:
            start: its first address.
            statics: static memory that it may put answers into, and is the first to do so.
        """
        if start not in self._outcomes:
            made = self.lent()
            meanwhile = Kept()
            meanwhile.fill(made.clear, sorted(statics))
            lib.executed_look(made, start)
            made.clear.count = 0
            found = {each.address: (each.labels, each.fact) for each in made.found[0 : made.count]}
            returned = made.returned
            known = (returned.labels, returned.fact) if returned.is_known else None
            self._outcomes[start] = Outcome(found, known)
        return self._outcomes[start]

    def refuses(self, start: int) -> int:
        """The tier without which no CPU comes back from a function; NONE: that is not known."""
        return int(lib.executed_refuses(self.lent(), start))

    def lent(self) -> Any:
        """What C works on, with working memory."""
        if not self._spaces:
            self._spaces.append(working_memory("struct execute_space[]", _SPACES))
            self._made.space = self._spaces[0]
            lib.executed_begin(self._made)
        return self._made

    def __del__(self) -> None:
        """Takes it back."""
        _SPACES.extend(self._spaces)

"""What functions that ask put into static memory, and answer, on CPUs of each tier (code.tiers).

They are executed in C (native/scan/execute.h) on models of CPUs, which are made here.
"""

from __future__ import annotations

import functools
import itertools
import re
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from cpuprobe.code import tiers
from cpuprobe.code.links import Links
from cpuprobe.code.lists import Kept
from cpuprobe.code.native import NATIVE, ffi, lib
from cpuprobe.code.program import Binary, asks
from cpuprobe.code.ways import Ways, working_memory
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table

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
_SAME = {
    **dict.fromkeys(("_Znwm", "_Znam", "_ZnwmSt11align_val_t"), "malloc"),
    "memmove": "memcpy",
    "bcmp": "memcmp",
}
"""Functions that do what others do."""
_FOREIGN = {
    name: getattr(lib, f"FOREIGN_{_SAME.get(name, name).upper()}")
    for name in (
        *("malloc", "calloc", "memcmp", "memcpy", "memset", "strcasecmp", "strcmp", "strlen"),
        *("realloc", "strncasecmp", "strncmp"),
        *_SAME,
    )
    if NATIVE
}
"""What other files' functions do, by their names."""
_DOES = {
    "later": "FOREIGN_LATER",
    "setting": "FOREIGN_NOTHING",
    "catching": "FOREIGN_CATCHES",
    "ending": "FOREIGN_ENDS",
    "throwing": "FOREIGN_THROWS",
    "passive": "FOREIGN_PASSIVE",
}
"""Likewise of what matters where ways are explored, by words of profiles/baseline.toml."""
_DOES_BY_NAME = (
    {
        **dict.fromkeys(("exit", "_exit", "_Exit", "quick_exit"), lib.FOREIGN_EXITS),
        "__cxa_guard_acquire": lib.FOREIGN_GUARDS,
        "__cxa_guard_release": lib.FOREIGN_RELEASES,
    }
    if NATIVE
    else {}
)
_MOST_INNER = 20_000
"""Functions of a static program of which names are read."""
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


@functools.lru_cache(1 << 14)
def foreign(name: str) -> int:
    """What another file's function of some name does (native/scan/execute.h, enum foreign)."""
    if name in _FOREIGN:
        return int(_FOREIGN[name])
    if name in _DOES_BY_NAME:
        return int(_DOES_BY_NAME[name])
    if asks(name):
        return int(lib.FOREIGN_ASKS)
    for does, names in _doing().items():
        if names.search(name):
            return does
    return int(lib.FOREIGN_ELSE)


@functools.cache
def _doing() -> dict[int, re.Pattern[str]]:
    """The names of functions that do some things, by what these are."""
    words = load_table("baseline")["dispatch"]
    does: dict[str, list[str]] = {}
    for kind, each in _DOES.items():
        does.setdefault(each, []).extend(words[kind])
    return {getattr(lib, each): re.compile("|".join(names)) for each, names in does.items()}


def _inner(file: Binary, links: Links) -> dict[int, int]:
    """The C library's functions in a static program whose symbols tell them, and what they do."""
    if links.names or file.kind != "executable" or len(links.starts) > _MOST_INNER:
        return {}
    found = {}
    for start in links.starts:
        function = file.function(start)
        name = file.name(function.name) if function else ""
        if name and (does := foreign(name)) not in (lib.FOREIGN_ELSE, lib.FOREIGN_ASKS):
            found[start] = does
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
        for parts, kind in ((file.constants, "constants"), (file.variables, "variables")):
            rows = [
                (kept.keep(ffi.from_buffer("uint8_t[]", content)), address, len(content))
                for address, content in parts
            ]
            setattr(made, kind, kept.keep(ffi.new("struct execute_constants[]", rows)))
            setattr(made, f"{kind}_count", len(rows))
        zeros = sorted(itertools.chain.from_iterable(file.zeros))
        kept.fill(made.zeros, zeros)
        called = {slot: foreign(name) for slot, name in links.names.items()}
        called |= {slot: foreign(name) for slot, name in _chosen(file, links).items()}
        kept.fill(made.foreign, sorted(called))
        made.does = kept.keep(ffi.new("uint8_t[]", [called[slot] for slot in sorted(called)]))
        inner = _inner(file, links)
        kept.fill(made.inner, sorted(inner))
        made.inner_does = kept.keep(ffi.new("uint8_t[]", [inner[at] for at in sorted(inner)]))
        kept.fill(made.chosen, sorted(links.chosen))
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

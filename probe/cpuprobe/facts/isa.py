"""The instruction sets, by the names that observations use: what is known of each before measuring.

What an observation means on each stands in assessment/isas.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cpuprobe.facts import aarch64
from cpuprobe.facts import features as x86_64
from cpuprobe.facts.features import FeatureTable, Level


class IsaFacts(NamedTuple):
    """The tables and names of one instruction set.

    Attributes:
        name: as people write it.
        features: its feature table.
        levels: its levels, lowest first.
        list_key: the key of the kernel's list of features in /proc/cpuinfo.
        words: the names that observations, crashes and targets of compilers have for it.
        target: the one of them with which a target begins.
        code: what files that hold its code call it.
    """

    name: str
    features: Callable[[], FeatureTable]
    levels: Callable[[], tuple[Level, ...]]
    list_key: str
    words: tuple[str, ...]
    target: str
    code: str


X86_64 = IsaFacts(
    name="x86-64",
    features=x86_64.load_features,
    levels=x86_64.load_levels,
    list_key="flags",
    words=("x86_64", "x86-64", "i686", "i386"),
    target="x86_64",
    code="x86-64",
)
AARCH64 = IsaFacts(
    name="aarch64",
    features=aarch64.load_features,
    levels=aarch64.load_levels,
    list_key="Features",
    words=("aarch64",),
    target="aarch64",
    code="AArch64",
)

OTHERS = (AARCH64,)
"""Those beside x86-64."""

_BY_NAME = {each.name: each for each in (X86_64, *OTHERS)}
_BY_WORD = {word: each for each in (X86_64, *OTHERS) for word in each.words}


def facts_of(isa: str) -> IsaFacts:
    """The facts of an observation's `isa`. Raises KeyError for another word."""
    return _BY_WORD[isa]


def facts_named(name: str) -> IsaFacts:
    """The facts of an instruction set by its own name. Raises KeyError for another word."""
    return _BY_NAME[name]


def facts_of_code(isa: str) -> IsaFacts | None:
    """The facts of an instruction set by a name of crashes or targets; None: none here."""
    return _BY_WORD.get(isa)

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
    """The tables of one instruction set.

    Attributes:
        name: as people write it.
        features: its feature table.
        levels: its levels, lowest first.
        list_key: the key of the kernel's list of features in /proc/cpuinfo.
    """

    name: str
    features: Callable[[], FeatureTable]
    levels: Callable[[], tuple[Level, ...]]
    list_key: str


X86_64 = IsaFacts("x86-64", x86_64.load_features, x86_64.load_levels, "flags")
AARCH64 = IsaFacts("aarch64", aarch64.load_features, aarch64.load_levels, "Features")

OTHERS = (AARCH64,)
"""Those beside x86-64."""

_BY_NAME = {each.name: each for each in (X86_64, *OTHERS)}
_BY_ISA = {"x86_64": X86_64, "i686": X86_64, "aarch64": AARCH64}


def facts_of(isa: str) -> IsaFacts:
    """The facts of an observation's `isa`. Raises KeyError for another word."""
    return _BY_ISA[isa]


def facts_named(name: str) -> IsaFacts:
    """The facts of an instruction set by its own name. Raises KeyError for another word."""
    return _BY_NAME[name]


def facts_of_code(isa: str) -> IsaFacts | None:
    """The facts of an instruction set by the name that crashes and files use; None: none here."""
    return _BY_ISA.get({"x86-64": "x86_64", "i386": "i686"}.get(isa, isa))


def names_of(facts: IsaFacts) -> frozenset[str]:
    """The words by which observations name an instruction set."""
    return frozenset(name for name, each in _BY_ISA.items() if each is facts)

"""Levels: those of the x86-64 psABI are a chain, those of the Arm architecture are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from cpuprobe.facts.features import Level


def highest_level(levels: Sequence[Level], features: AbstractSet[str]) -> str | None:
    """The name of the last level all of whose features are there, None below the first."""
    reached = None
    for level in levels:
        if features >= frozenset(level.features):
            reached = level.name
    return reached


def level_bounds(
    levels: Sequence[Level], usable: Mapping[str, bool | None], not_levels: Collection[str] = ()
) -> tuple[str | None, str | None]:
    """The lowest and the highest level that a machine can have; None below the first.

    Args:
        levels: lowest first.
        usable: feature to whether it may be used, None where that is not known.
        not_levels: levels that the machine is known not to have, whatever they lack.
    """
    possible = list(levels)
    for number, level in enumerate(levels):
        if level.name in not_levels:
            possible = possible[:number]
            break
    return (
        highest_level(possible, {name for name, answer in usable.items() if answer}),
        highest_level(possible, {name for name, answer in usable.items() if answer is not False}),
    )

"""psABI micro-architecture levels (x86-64 psABI, table "Micro-Architecture Levels")."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cpuprobe.facts.features import Level


def highest_level(levels: Sequence[Level], has: Callable[[str], bool]) -> str | None:
    """The name of the highest level all of whose features `has` grants, None below x86-64-v1."""
    reached = None
    for level in levels:
        if not all(has(feature) for feature in level.features):
            break
        reached = level.name
    return reached

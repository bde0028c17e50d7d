"""Which sets of a fleet stand together, in text and on the page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpuprobe.fleet.model import Coverage, Share
from cpuprobe.report.fleet_words import part


def alike(sets: Iterable[Coverage]) -> list[tuple[Coverage, ...]]:
    """Profiles of a kind that cover as much as each other, together; of a kind, most first."""
    found: dict[tuple[str, Share], list[Coverage]] = {}
    for each in sets:
        found.setdefault((each.kind, each.covered), []).append(each)
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    order = sorted(found, key=lambda key: (kinds.index(key[0]), -part(key[1].share)))
    return [tuple(found[key]) for key in order]


def grouped(sets: Sequence[Coverage]) -> list[tuple[Coverage, ...]]:
    """Levels each alone, other sets with those that cover as much."""
    levels = [(each,) for each in sets if each.kind == "level"]
    return [*levels, *alike(each for each in sets if each.kind != "level")]

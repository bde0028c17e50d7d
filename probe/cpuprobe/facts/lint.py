"""What is incoherent in profiles, and what in them has no effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profile_rows import NOT_STATED, Profile


class Problem(msgspec.Struct, frozen=True):
    """Something incoherent in a profile.

    Attributes:
        profile: its name.
        feature: what the profile has.
        lacks: what that feature implies and the profile does not have; empty for another problem.
        text: the problem in one line.
        severity: a warning is for something that has no effect.
    """

    profile: str
    feature: str
    lacks: tuple[str, ...]
    text: str
    severity: Literal["error", "warning"] = "error"


def problems(profile: Profile) -> tuple[Problem, ...]:
    """Where a profile is not down-closed: it has a feature without all that this one implies.

    For a preset of wasmtime only those features count for which wasmtime has a flag: the rest it
    cannot say.
    """
    table = facts_named(profile.isa).features()
    sayable = {f.name for f in table.by_cranelift.values()} if profile.kind == "preset" else table
    found = []
    for name in table:
        if name not in profile.features:
            continue
        closure = table.closure(name)
        lacks = tuple(each for each in table if each in closure and each in sayable)
        lacks = tuple(each for each in lacks if each not in profile.features)
        if lacks:
            text = f"has {name} without {', '.join(lacks)}"
            found.append(Problem(profile.name, name, lacks, text))
    return tuple(found)


def lint(profiles: Iterable[Profile], known: Mapping[str, Profile]) -> Iterator[Problem]:
    """Everything incoherent in some profiles, and as warnings what has no effect.

    Of presets only what `problems` tells: they are sets of flags, with no rows behind them.

    Args:
        profiles: those to look at.
        known: all that there are, to find sets that have a name already.
    """
    for profile in profiles:
        yield from problems(profile)
        for feature in profile.contradictory:
            text = f"names {feature} and excludes it"
            yield Problem(profile.name, feature, (), text)
        if profile.built_in and profile.source == NOT_STATED:
            yield Problem(profile.name, "", (), "has no source")
        for name in profile.idle:
            text = f"excludes {name}, which it would not have anyway"
            yield Problem(profile.name, "", (), text, "warning")
        twin = None if profile.built_in or profile.kind == "preset" else _twin(profile, known)
        if twin is not None:
            text = f"is the same set as {twin.name}"
            yield Problem(profile.name, "", (), text, "warning")


def _twin(profile: Profile, known: Mapping[str, Profile]) -> Profile | None:
    """The first other profile with the same features, or the same mask."""
    for other in known.values():
        if other.name == profile.name:
            return None
        if (
            other.mask == profile.mask
            and other.features == profile.features
            and other.withheld == profile.withheld
        ):
            return other
    return None

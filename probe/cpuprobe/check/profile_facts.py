"""What is told of profiles by themselves: the documents of `profile list` and `show`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cpuprobe.assessment.levels import highest_level
from cpuprobe.facts.archspec import Archspec
from cpuprobe.facts.features import FeatureTable, Level
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profiles import KINDS, Profile


class Entry(msgspec.Struct, frozen=True):
    """One profile of a list.

    Attributes:
        level: the highest psABI level all of whose features it holds.
        features: how many it holds.
        forbids: for a policy that only forbids, how many features; None for any other profile.
        file: the file of the user's own that it stands in.
        isa: its instruction set, where that is not x86-64.
    """

    name: str
    kind: str
    purpose: str
    year: int | None
    level: str | None
    features: int
    forbids: int | None
    file: str | None
    isa: str | msgspec.UnsetType = msgspec.UNSET


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """`profile list`: in the order of `KINDS`, within a kind in that of the tables."""

    schema: str = "cpuprobe.profiles/1"
    profiles: tuple[Entry, ...]


def listing(profiles: Iterable[Profile], kind: str | None = None) -> Listing:
    """The list of profiles, of one kind or of all."""
    order = list(KINDS)
    chosen = [each for each in profiles if kind is None or each.kind == kind]
    chosen.sort(key=lambda each: (each.isa != "x86-64", order.index(each.kind)))
    return Listing(
        profiles=tuple(
            Entry(
                name=each.name,
                kind=each.kind,
                purpose=each.purpose,
                year=each.year,
                level=level_of(each),
                features=len(each.features),
                forbids=len(each.withheld) if each.mask else None,
                file=None if each.built_in or each.kind == "preset" else each.origin,
                isa=msgspec.UNSET if each.isa == "x86-64" else each.isa,
            )
            for each in chosen
        )
    )


def level_of(profile: Profile) -> str | None:
    """The highest psABI level all of whose features a profile holds."""
    return highest_level(facts_named(profile.isa).levels(), profile.features)


class Below(msgspec.Struct, frozen=True):
    """What a profile lacks of the level above its own."""

    level: str
    missing: tuple[str, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """`profile show`.

    Attributes:
        features: all that it holds, in the order of the feature table.
        beyond: those that its level has not.
        below: the next level, and what is missing for it.
        forbids: what a policy that only forbids takes away; None for any other profile.
        cranelift: the flags that it permits, for the wasmtime version named.
        cranelift_off: why each flag that is off is off.
        march: GCC's and LLVM's name for -march.
        preset: wasmtime's preset for the same CPUs.
        preset_adds: flags that the installed wasmtime's preset turns on beyond the profile; None
            where it has no such preset or is not installed.
        preset_leaves_off: flags of the profile that it does not turn on.
        extended_by: the profiles that say they build on it.
        met_by: other profiles that hold all of it: their machines meet it.
        archspec: what archspec knows of it.
    """

    schema: str = "cpuprobe.profile/1"
    name: str
    kind: str
    purpose: str
    source: str
    file: str
    year: int | None
    extends: tuple[str, ...]
    level: str | None
    features: tuple[str, ...]
    beyond: tuple[str, ...]
    below: Below | None
    forbids: tuple[str, ...] | None
    wasmtime: str
    cranelift: dict[str, bool]
    cranelift_off: dict[str, str]
    march: str | None
    preset: str | None
    preset_adds: tuple[str, ...] | None
    preset_leaves_off: tuple[str, ...] | None
    extended_by: tuple[str, ...]
    met_by: tuple[str, ...]
    archspec: Archspec | None


def shown(
    profile: Profile,
    profiles: Mapping[str, Profile],
    wasmtime: str,
    flags: Mapping[str, bool],
    off: Mapping[str, str],
    preset: Mapping[str, bool] | None,
    archspec: Archspec | None,
) -> Shown:
    """All that there is to say of one profile.

    Args:
        profile: the profile.
        profiles: all that there are.
        wasmtime: the version that the flags are for.
        flags: what `emit.choose_alone` gives for the profile.
        off: why a flag is off.
        preset: the flags of the installed wasmtime's preset of `profile.preset`.
        archspec: see `facts.archspec.archspec_facts`.
    """
    table = facts_named(profile.isa).features()
    level = level_of(profile)
    others = [each for each in profiles.values() if each.name != profile.name]
    known = table.by_cranelift
    permitted = {flag for flag in known if profile.permits(known[flag].name)}
    return Shown(
        name=profile.name,
        kind=profile.kind,
        purpose=profile.purpose,
        source=profile.source,
        file=profile.origin,
        year=profile.year,
        extends=profile.extends,
        level=level,
        features=_in_order(table, profile.features),
        beyond=_in_order(table, profile.features - _features_of(profile.isa, level)),
        below=None if profile.mask else _below(table, profile, level),
        forbids=_in_order(table, profile.withheld) if profile.mask else None,
        wasmtime=wasmtime,
        cranelift=dict(flags),
        cranelift_off=dict(off),
        march=profile.gcc,
        preset=profile.preset,
        preset_adds=None
        if preset is None
        else tuple(flag for flag, on in preset.items() if on and flag not in permitted),
        preset_leaves_off=None
        if preset is None
        else tuple(flag for flag, on in preset.items() if not on and flag in permitted),
        extended_by=tuple(each.name for each in others if profile.name in each.extends),
        met_by=()
        if profile.mask
        else tuple(
            each.name for each in others if not each.mask and each.features >= profile.features
        ),
        archspec=archspec,
    )


def _in_order(table: FeatureTable, features: Iterable[str]) -> tuple[str, ...]:
    wanted = set(features)
    return tuple(each for each in table if each in wanted)


def _level(isa: str, name: str | None) -> Level | None:
    return next((each for each in facts_named(isa).levels() if each.name == name), None)


def _features_of(isa: str, name: str | None) -> frozenset[str]:
    level = _level(isa, name)
    return frozenset() if level is None else frozenset(level.features)


def _below(table: FeatureTable, profile: Profile, level: str | None) -> Below | None:
    names = [each.name for each in facts_named(profile.isa).levels()]
    following = names[0 if level is None else names.index(level) + 1 :]
    if not following:
        return None
    lacking = _features_of(profile.isa, following[0]) - profile.features
    return Below(following[0], _in_order(table, lacking))

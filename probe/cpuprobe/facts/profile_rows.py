"""From rows of TOML to profiles: what a row extends, adds and excludes.

A profile is what its row says, never more: whether it is down-closed is for `lint` to tell, not to
be mended here. Errors: everything wrong with a row is a `TableError`, one line with file and row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from cpuprobe.facts.features import FeatureTable
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.tables import TableError

Kind = Literal["level", "cpu", "gds-force", "distribution", "policy", "preset", "user"]

NOT_STATED = "not stated"
_LONGEST_CHAIN = 100

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")]
Line = Annotated[str, msgspec.Meta(pattern=r"\A(?!\s)[^\x00-\x1f\x7f-\x9f]{1,500}(?<!\s)\Z")]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of features.

    Attributes:
        name: unique among all profiles.
        also: further names that it is found by, those of the other cores and machines it is of.
        kind: see `KINDS`.
        purpose: one line.
        source: where the facts come from.
        origin: the file it stands in.
        year: of first release, None where that means nothing.
        extends: the profiles it builds on.
        features: what the profile holds: what a machine must have to meet it.
        mask: whether the profile asks for nothing and only forbids `withheld`.
        withheld: what a mask forbids.
        gcc: GCC's and LLVM's name for -march, where there is one.
        archspec: the microarchitecture's name in archspec, where it knows it.
        preset: the name of the wasmtime preset meant for the same CPUs, where there is one.
        built_in: whether it comes with cpuprobe.
        contradictory: what its row both names and excludes; only `lint` may see such a profile.
        idle: what its row excludes though there was nothing to take away.
        isa: the instruction set whose features it holds.
    """

    name: str
    kind: Kind
    purpose: str
    source: str
    origin: str
    features: frozenset[str]
    also: tuple[str, ...] = ()
    year: int | None = None
    extends: tuple[str, ...] = ()
    mask: bool = False
    withheld: frozenset[str] = frozenset()
    gcc: str | None = None
    archspec: str | None = None
    preset: str | None = None
    built_in: bool = False
    contradictory: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    isa: str = "x86-64"

    def permits(self, feature: str) -> bool:
        """Whether a program made for this profile may use the feature."""
        return feature not in self.withheld if self.mask else feature in self.features


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[profile]] row; the head of profiles/cpus.toml explains the keys."""

    name: Name
    also: tuple[Name, ...] = ()
    purpose: Line
    source: Line = NOT_STATED
    kind: Literal["cpu", "gds-force", "distribution", "policy", "user"] = "user"
    year: Annotated[int, msgspec.Meta(ge=1970, le=2200)] | None = None
    extends: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    gcc: Line | None = None
    archspec: Line | None = None
    preset: Line | None = None
    midr: tuple[Line, ...] = ()
    isa: Literal["x86-64", "aarch64"] | None = None


def needed(profile: Profile) -> frozenset[str]:
    """What a machine must have to meet a profile.

    Hints, what only the kernel can use and names for bundles are facts about a CPU, but no program
    can need them and no execution confirms them.
    """
    table = facts_named(profile.isa).features()
    return frozenset(name for name in profile.features if table[name].for_programs)


def missing(profile: Profile, safe: Iterable[str]) -> tuple[str, ...]:
    """What a machine with the features `safe` lacks of a profile, in the order of the table."""
    lacking = needed(profile).difference(safe)
    return tuple(name for name in facts_named(profile.isa).features() if name in lacking)


def add_rows(
    rows: dict[str, tuple[Row, str]],
    table: Mapping[str, Any],
    file: str,
    known: Mapping[str, Profile],
) -> None:
    """Checks the rows of one file and adds them, each with the file it stands in."""
    found = table.get("profile")
    if set(table) != {"profile"} or not isinstance(found, list) or not found:
        raise TableError(f"{file}: only [[profile]] rows may stand here, and at least one")
    for number, raw in enumerate(found, 1):
        place = f"{file}: [[profile]] row {number}"
        try:
            row = msgspec.convert(raw, Row)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        if row.name in rows or row.name in known:
            other = rows[row.name][1] if row.name in rows else known[row.name].origin
            raise TableError(f"{place}: the name {row.name!r} is used in {other} too")
        rows[row.name] = (row, file)


def resolve_rows(
    rows: Mapping[str, tuple[Row, str]],
    known: Mapping[str, Profile],
    *,
    built_in: bool = False,
    lenient: bool = False,
) -> dict[str, Profile]:
    """Every row with what it extends, in the order of the rows."""
    done: dict[str, Profile] = {}

    def resolve(name: str, path: tuple[str, ...]) -> Profile:
        if name in done:
            return done[name]
        row, file = rows[name]
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise TableError(f"{file}: {row.name!r} extends itself: {circle}")
        bases = []
        for base in row.extends:
            if base in rows:
                if len(path) > _LONGEST_CHAIN:
                    raise TableError(f"{file}: {row.name!r} extends too many profiles in a row")
                bases.append(resolve(base, (*path, name)))
            elif base in known:
                bases.append(known[base])
            else:
                raise TableError(f"{file}: {row.name!r} extends the unknown profile {base!r}")
        profile = _make(row, file, bases)
        if profile.contradictory and not lenient:
            both = ", ".join(profile.contradictory)
            raise TableError(f"{file}: {row.name!r}: both has and excludes {both}")
        if built_in:
            profile = msgspec.structs.replace(profile, built_in=True)
        done[name] = profile
        return profile

    return {name: resolve(name, ()) for name in rows}


def _make(row: Row, file: str, bases: list[Profile]) -> Profile:
    place = f"{file}: {row.name!r}"
    isas = {base.isa for base in bases} | ({row.isa} if row.isa else set())
    if len(isas) > 1:
        raise TableError(f"{place}: extends profiles of different instruction sets")
    isa = next(iter(isas), "x86-64")
    table: FeatureTable = facts_named(isa).features()
    own: set[str] = set()
    for name in row.features:
        if name not in table:
            raise TableError(f"{place}: unknown feature {name!r}")
        own.add(name)
    for flag in row.flags:
        if flag not in table.by_cranelift:
            raise TableError(f"{place}: unknown flag {flag!r}")
        feature = table.by_cranelift[flag].name
        # What it needs and no flag can say (SSE2 for has_sse3) goes without saying.
        own.add(feature)
        own |= {each for each in table.closure(feature) if table[each].cranelift is None}
    inherited = frozenset[str]().union(*(base.features for base in bases))
    gone: set[str] = set()
    idle = []
    for name in row.without:
        if name in table.groups:
            named = table.groups[name]
        elif name in table:
            named = (name,)
        else:
            raise TableError(f"{place}: without: neither a feature nor a group: {name!r}")
        taken = {feature for each in named for feature in (each, *table.dependents(each))}
        if not taken & (own | inherited):
            idle.append(name)
        gone |= taken
    mask = not own and (not bases or any(base.mask for base in bases))
    if mask and not all(base.mask for base in bases):
        raise TableError(f"{place}: extends both sets and policies that only forbid")
    if not mask and any(base.mask for base in bases):
        raise TableError(f"{place}: a policy that only forbids cannot be extended with features")
    if mask and not gone and not bases:
        raise TableError(f"{place}: has neither features, flags, extends nor without")
    withheld = frozenset(gone).union(*(base.withheld for base in bases)) if mask else frozenset()
    return Profile(
        name=row.name,
        also=row.also,
        kind=row.kind,
        purpose=row.purpose,
        source=row.source,
        origin=file,
        year=row.year,
        extends=row.extends,
        features=frozenset() if mask else (inherited | own) - gone,
        mask=mask,
        withheld=withheld,
        gcc=row.gcc,
        archspec=row.archspec,
        preset=row.preset,
        contradictory=tuple(sorted(own & gone)),
        idle=() if mask else tuple(idle),
        isa=isa,
    )

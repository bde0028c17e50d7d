"""Which flags to emit: what machines and profiles have in common, minus what the user gives up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from cpuprobe.assessment.levels import highest_level
from cpuprobe.assessment.model import Assessment
from cpuprobe.assessment.wasmtime import REFUSED, features_of
from cpuprobe.errors import UsageError
from cpuprobe.facts.features import FeatureTable
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.wasmtime import WasmtimeVersion

_EXAMPLES = ("avx2", "sse4.1", "lse", "sve2")


class FlagSet(msgspec.Struct, frozen=True):
    """Flags to be written out.

    Attributes:
        values: every flag the target wasmtime knows, in its own order.
        reasons: why a flag is false: what each machine, profile and `--without` says against it.
        wasmtime: the version that the flags are for.
        only_off: write only what has to be switched off, and do not pin the target.
        features: whether a feature may be used, for all features of the table: safe on every
            machine, in every profile, and not given up.
        disable: the features that a runtime must be told to leave alone, in the order of the table:
            not usable though some machine's CPUID claims them (or cannot be asked), and what the
            user gave up by name. Hints and what only the kernel can use harm no program.
        machines: how many machines were asked; 0 where the flags rest on profiles alone.
        executed: whether each of those machines executed what is on.
        profiles: the names of the profiles that they were cut down to.
        without: what the user gave up, in the user's words.
        isa: the instruction set that they are of.
    """

    values: dict[str, bool]
    reasons: dict[str, tuple[str, ...]]
    wasmtime: str
    only_off: bool = False
    features: dict[str, bool] = {}
    disable: tuple[str, ...] = ()
    machines: int = 1
    executed: bool = True
    profiles: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    isa: str = "x86-64"

    @property
    def written(self) -> dict[str, bool]:
        """The flags to write."""
        if self.only_off:
            return {flag: value for flag, value in self.values.items() if not value}
        return self.values

    @property
    def off(self) -> dict[str, str]:
        """One reason why each flag that is false is false."""
        return {flag: reasons[0] for flag, reasons in self.reasons.items()}

    @property
    def safe(self) -> frozenset[str]:
        """The features that may be used."""
        return frozenset(feature for feature, value in self.features.items() if value)

    @property
    def level(self) -> str | None:
        """The highest level all of whose features may be used; None below the first."""
        return highest_level(facts_named(self.isa).levels(), self.safe)


def refuse_only_off(flags: FlagSet, dialect: str, says: str = "says what may be used") -> None:
    """Raises UsageError where the flags are what to switch off, and the dialect `says` another."""
    if flags.only_off:
        raise UsageError(f"--format {dialect} {says}, not what to switch off: leave out --only-off")


def removable(table: FeatureTable) -> dict[str, tuple[str, ...]]:
    """What `--without` accepts: groups, features and flags, each with the features it names."""
    named: dict[str, tuple[str, ...]] = {name: (name,) for name in table}
    named.update({flag: (feature.name,) for flag, feature in table.by_cranelift.items()})
    named.update(table.groups)
    return named


def choose(
    assessments: Sequence[Assessment],
    *,
    without: Sequence[str] = (),
    profiles: Sequence[Profile] = (),
    only_off: bool = False,
) -> FlagSet:
    """The flags that hold on every assessed machine.

    Args:
        assessments: at least one, all for the same wasmtime version.
        without: groups, features or flags to leave out; whatever builds on them goes too.
        profiles: only what each of them permits stays on.
        only_off: see `FlagSet`.

    Raises:
        UsageError: an unknown group, or what is given is of several instruction sets.
    """
    isa = _one_isa([*(each.isa for each in assessments), *(each.isa for each in profiles)])
    table = facts_named(isa).features()
    given_up, named = _given_up(table, without)
    against = _beyond(table, profiles)
    flags: dict[str, list[str]] = {flag: [] for flag in assessments[0].cranelift}
    for number, assessment in enumerate(assessments, 1):
        who = f"machine {number}: " if len(assessments) > 1 else ""
        for flag, reasons in flags.items():
            if not assessment.cranelift.get(flag, False):
                reasons.append(f"{who}{assessment.cranelift_off.get(flag, 'not known there')}")
    usable = {
        feature: feature not in against
        and feature not in given_up
        and all(feature in each.features and each.features[feature].safe for each in assessments)
        for feature in table
    }
    claimed = {
        feature
        for feature in table
        for each in assessments
        if feature in each.features and each.features[feature].cpuid is not False
    }
    version = assessments[0].wasmtime.version
    return FlagSet(
        *_decide(table, flags, against, given_up),
        wasmtime=version,
        only_off=only_off,
        features=usable,
        disable=_disable(table, usable, named, claimed),
        machines=len(assessments),
        executed=all(each.basis == "executed" for each in assessments),
        profiles=tuple(profile.name for profile in profiles),
        without=tuple(without),
        isa=isa,
    )


def choose_alone(
    profiles: Sequence[Profile],
    version: WasmtimeVersion,
    *,
    without: Sequence[str] = (),
    only_off: bool = False,
) -> FlagSet:
    """The flags that profiles alone permit, whatever any machine has.

    Args:
        profiles: at least one.
        version: the wasmtime that the flags are for.
        without: as for `choose`.
        only_off: as for `choose`.

    Raises:
        UsageError: an unknown group, or what is given is of several instruction sets.
    """
    isa = _one_isa([each.isa for each in profiles])
    table = facts_named(isa).features()
    given_up, named = _given_up(table, without)
    against = _beyond(table, profiles)
    known = features_of(version)
    flags = {flag: [REFUSED] if flag in version.refuses else [] for flag in known}
    usable = {feature: feature not in against and feature not in given_up for feature in table}
    return FlagSet(
        *_decide(table, flags, against, given_up),
        wasmtime=str(version.major),
        only_off=only_off,
        features=usable,
        disable=_disable(table, usable, named, set(table)),
        machines=0,
        executed=False,
        profiles=tuple(profile.name for profile in profiles),
        without=tuple(without),
        isa=isa,
    )


def _one_isa(isas: Sequence[str]) -> str:
    """The instruction set that machines and profiles are of; UsageError if they are of several."""
    different = sorted(set(isas))
    if len(different) > 1:
        raise UsageError(f"{' and '.join(different)} have no flag in common: ask one at a time")
    return different[0]


def _given_up(
    table: FeatureTable, without: Iterable[str]
) -> tuple[dict[str, list[str]], frozenset[str]]:
    """What `--without` takes away, with the reasons, and what of it was named itself."""
    reasons: dict[str, list[str]] = {}
    named: set[str] = set()
    for name in without:
        features = removable(table).get(name)
        if features is None:
            raise UsageError(
                f"--without {name}: no such group, feature or flag; groups: "
                f"{', '.join(table.groups)}; features are named as by GCC and LLVM "
                f"({', '.join(each for each in _EXAMPLES if each in table)})"
            )
        named.update(features)
        for gone in {each for f in features for each in (f, *table.dependents(f))}:
            reasons.setdefault(gone, []).append(f"given up (--without {name})")
    return reasons, frozenset(named)


def _beyond(table: FeatureTable, profiles: Iterable[Profile]) -> dict[str, list[str]]:
    """What some profile does not permit, with the reasons.

    A profile need not be down-closed; a feature without all that it builds on is no use.
    """
    reasons: dict[str, list[str]] = {}
    for profile in profiles:
        for feature in table:
            if not profile.permits(feature):
                reasons.setdefault(feature, []).append(f"not in {profile.name}")
                continue
            lacking = [
                each
                for each in table
                if each in table.closure(feature) and not profile.permits(each)
            ]
            if lacking:
                reasons.setdefault(feature, []).append(
                    f"{profile.name} has it without {', '.join(lacking)}"
                )
    return reasons


def _decide(
    table: FeatureTable,
    flags: Mapping[str, list[str]],
    against: Mapping[str, list[str]],
    given_up: Mapping[str, list[str]],
) -> tuple[dict[str, bool], dict[str, tuple[str, ...]]]:
    """The value of each flag, and the reasons for each that is false."""
    reasons: dict[str, tuple[str, ...]] = {}
    for flag, said in flags.items():
        row = table.by_cranelift.get(flag)
        more = [] if row is None else [*given_up.get(row.name, ()), *against.get(row.name, ())]
        if said or more:
            reasons[flag] = (*said, *more)
    return {flag: flag not in reasons for flag in flags}, reasons


def _disable(
    table: FeatureTable,
    usable: Mapping[str, bool],
    named: frozenset[str],
    claimed: set[str],
) -> tuple[str, ...]:
    return tuple(
        name
        for name, feature in table.items()
        if not usable[name] and (name in named or (name in claimed and not feature.harmless))
    )

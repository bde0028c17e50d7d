"""Which flags to emit: the intersection of assessments, minus what the user gives up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from cpuprobe.assessment.model import Assessment
from cpuprobe.errors import UsageError
from cpuprobe.features import Feature, FeatureTable, load_features, load_levels


class FlagSet(msgspec.Struct, frozen=True):
    """Flags to be written out.

    Attributes:
        values: every flag the target wasmtime knows, in its own order.
        off: why a flag is false.
        wasmtime: the version that the flags are for.
        only_off: write only what has to be switched off, and do not pin the target.
        features: whether a feature may be used, for all features of the table: safe on every
            machine, in every profile, and not given up.
        away: the features that a runtime must be told to leave alone, in the order of the table:
            not usable though some machine's CPUID claims them (or cannot be asked), and what the
            user gave up by name. Hints and what only the kernel can use harm no program.
    """

    values: dict[str, bool]
    off: dict[str, str]
    wasmtime: str
    only_off: bool = False
    features: dict[str, bool] = {}
    away: tuple[str, ...] = ()

    @property
    def written(self) -> dict[str, bool]:
        """The flags to write."""
        if self.only_off:
            return {flag: value for flag, value in self.values.items() if not value}
        return self.values

    @property
    def safe(self) -> frozenset[str]:
        """The features that may be used."""
        return frozenset(feature for feature, value in self.features.items() if value)


def removable(table: FeatureTable) -> dict[str, tuple[str, ...]]:
    """What `--without` accepts: groups, features and flags, each with the features it names."""
    named: dict[str, tuple[str, ...]] = {name: (name,) for name in table}
    named.update({flag: (feature.name,) for flag, feature in table.by_cranelift.items()})
    named.update(table.groups)
    return named


def choose(
    assessments: Sequence[Assessment],
    *,
    without: Iterable[str] = (),
    profiles: Iterable[str] = (),
    only_off: bool = False,
) -> FlagSet:
    """The flags that hold on every assessed machine.

    Args:
        assessments: at least one, all for the same wasmtime version.
        without: groups, features or flags to leave out; whatever builds on them goes too.
        profiles: psABI levels; only what each of them includes stays on.
        only_off: see `FlagSet`.

    Raises:
        UsageError: an unknown group or profile.
    """
    table = load_features()
    reasons: dict[str, str] = {}
    named: set[str] = set()
    for name in without:
        features = removable(table).get(name)
        if features is None:
            raise UsageError(
                f"--without {name}: no such group, feature or flag; groups: "
                f"{', '.join(table.groups)}; features are named as by GCC and LLVM (avx2, sse4.1)"
            )
        named.update(features)
        for feature in features:
            for gone in (feature, *table.dependents(feature)):
                reasons.setdefault(gone, f"given up (--without {name})")
    levels = {level.name: level.features for level in load_levels()}
    for name in profiles:
        if name not in levels:
            raise UsageError(f"--profile {name}: no such profile; there are {', '.join(levels)}")
        for feature in table:
            if feature not in levels[name]:
                reasons.setdefault(feature, f"not in {name}")
    first = assessments[0]
    values, off = dict(first.cranelift), dict(first.cranelift_off)
    for number, assessment in enumerate(assessments[1:], 2):
        for flag, value in values.items():
            if value and not assessment.cranelift.get(flag, False):
                values[flag] = False
                why = assessment.cranelift_off.get(flag, "not known there")
                off[flag] = f"machine {number}: {why}"
    for flag, value in values.items():
        row = table.by_cranelift.get(flag)
        if value and row is not None and row.name in reasons:
            values[flag] = False
            off[flag] = reasons[row.name]
    usable = {
        feature: feature not in reasons
        and all(feature in each.features and each.features[feature].safe for each in assessments)
        for feature in table
    }
    return FlagSet(
        values=values,
        off=off,
        wasmtime=first.wasmtime.version,
        only_off=only_off,
        features=usable,
        away=tuple(
            name
            for name, feature in table.items()
            if not usable[name]
            and (name in named or (_claimed(assessments, name) and not _harmless(feature)))
        ),
    )


def _claimed(assessments: Sequence[Assessment], feature: str) -> bool:
    """Whether CPUID of any of the machines enumerates the feature, or could not be asked."""
    return any(
        feature in each.features and each.features[feature].cpuid is not False
        for each in assessments
    )


def _harmless(feature: Feature) -> bool:
    return feature.hint or feature.privileged

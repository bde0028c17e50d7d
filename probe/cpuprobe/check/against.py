"""The machine that files are held against: this one, a capture's, or a profile's."""

from __future__ import annotations

from dataclasses import dataclass

from cpuprobe.assessment import assess_with_flags
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.wasmtime import newest


@dataclass(frozen=True, slots=True)
class HostCapabilities:
    """What a verdict asks of a machine.

    Attributes:
        name: for people.
        safe: features that may be used.
        levels: psABI levels that are safe.
        detected: features that wasmtime's detector reports.
        wasmtime: the version that shall load artifacts; None if any will do.
        flags: every flag that this wasmtime knows how to test; None where the version is unknown.
        isa: its instruction set.
    """

    name: str
    safe: frozenset[str]
    levels: frozenset[str]
    detected: frozenset[str]
    wasmtime: str | None
    flags: frozenset[str] | None
    isa: str = "x86-64"


def machine(name: str, observation: Observation) -> HostCapabilities:
    """A machine that was observed."""
    assessment, flags = assess_with_flags(observation)
    safe = frozenset(each for each, state in assessment.features.items() if state.safe)
    target = assessment.wasmtime
    return HostCapabilities(
        name,
        safe,
        _levels(safe, assessment.isa),
        flags.detected,
        target.version if target.installed else None,
        frozenset(flags.version.flags) - set(flags.version.refuses),
        assessment.isa,
    )


def within(profile: Profile) -> HostCapabilities:
    """A machine that has all of a profile and no more; of a mask, all but what it forbids."""
    isa = profile.isa
    table = facts_named(isa).features()
    features = frozenset(name for name in table if profile.permits(name))
    row = newest(isa)
    flags = frozenset(row.flags) - set(row.refuses)
    levels = _levels(features, isa)
    return HostCapabilities(profile.name, features, levels, features, None, flags, isa)


def _levels(safe: frozenset[str], isa: str) -> frozenset[str]:
    levels = facts_named(isa).levels()
    return frozenset(each.name for each in levels if safe.issuperset(each.features))


def lacking(machine: HostCapabilities) -> frozenset[str]:
    """The features that may not be used there."""
    return frozenset(facts_named(machine.isa).features()) - machine.safe


def feature_of(flag: str, isa: str = "x86-64") -> str | None:
    """The canonical name of the feature behind a flag."""
    feature = facts_named(isa).features().by_cranelift.get(flag)
    return None if feature is None else feature.name

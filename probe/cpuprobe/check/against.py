"""The machine that files are held against: this one, a capture's, or a profile's."""

from __future__ import annotations

from dataclasses import dataclass

from cpuprobe.assessment import Assessment
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.wasmtime import Flags
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, WasmtimeVersion, known_versions, lookup


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
    """

    name: str
    safe: frozenset[str]
    levels: frozenset[str]
    detected: frozenset[str]
    wasmtime: str | None
    flags: frozenset[str] | None


def machine(name: str, observation: Observation, assessment: Assessment) -> HostCapabilities:
    """A machine that was observed."""
    safe = frozenset(each for each, state in assessment.features.items() if state.safe)
    target = assessment.wasmtime
    version = _row(target.version)
    found = observation.wasmtime
    known = found.flags if found is not None and found.flags is not None else version.flags
    detected = Flags(Machine(observation), version, target).detected
    return HostCapabilities(
        name,
        safe,
        _levels(safe),
        detected,
        target.version if target.installed else None,
        frozenset(known) - set(version.refuses),
    )


def within(profile: Profile) -> HostCapabilities:
    """A machine that has all of a profile and no more; of a mask, all but what it forbids."""
    features = frozenset(name for name in load_features() if profile.permits(name))
    row = _row(None)
    flags = frozenset(row.flags) - set(row.refuses)
    return HostCapabilities(profile.name, features, _levels(features), features, None, flags)


def _levels(safe: frozenset[str]) -> frozenset[str]:
    return frozenset(each.name for each in load_levels() if safe.issuperset(each.features))


def _row(version: str | None) -> WasmtimeVersion:
    newest = next(iter(known_versions().values()))
    if version is None:
        return newest
    try:
        return lookup(version)
    except UnknownWasmtimeError:
        return newest


def lacking(machine: HostCapabilities) -> frozenset[str]:
    """The features that may not be used there."""
    return frozenset(load_features()) - machine.safe


def feature_of(flag: str) -> str | None:
    """The canonical name of the feature behind a flag."""
    feature = load_features().by_cranelift.get(flag)
    return None if feature is None else feature.name

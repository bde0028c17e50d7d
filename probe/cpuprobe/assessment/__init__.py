"""Observation -> Assessment: pure. No I/O but the package's own tables, no clock, no machine.

One module a family of findings; `machine` lays the evidence out, `witnesses` holds the essay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cpuprobe.assessment.coherence import coherence_findings
from cpuprobe.assessment.cores_aarch64 import core_findings
from cpuprobe.assessment.execution import execution_findings
from cpuprobe.assessment.gds_x86_64 import gds_findings
from cpuprobe.assessment.identity_x86_64 import identity_findings
from cpuprobe.assessment.levels import highest_level, level_bounds
from cpuprobe.assessment.listing import listing_findings
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import (
    Assessment,
    FeatureAssessment,
    Finding,
    Identity,
    Known,
    Severity,
    State,
    Verdict,
    WasmtimeTarget,
)
from cpuprobe.assessment.notes import notes_on
from cpuprobe.assessment.os_state_x86_64 import os_state_findings
from cpuprobe.assessment.uniformity import uniformity_findings
from cpuprobe.assessment.wasmtime import Flags, wasmtime_findings
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.isa import facts_of
from cpuprobe.facts.wasmtime import (
    UnknownWasmtimeError,
    WasmtimeVersion,
    lookup,
    newest,
)

__all__ = [
    "Assessment",
    "FeatureAssessment",
    "Finding",
    "Identity",
    "Severity",
    "State",
    "WasmtimeTarget",
    "assess",
    "assess_with_flags",
]


# The families of findings that one instruction set has beside those of all.
_FAMILIES: dict[str, tuple[Callable[[Machine], Iterable[Finding]], ...]] = {
    "x86-64": (os_state_findings, identity_findings, gds_findings),
    "aarch64": (core_findings,),
}


def assess(observation: Observation, wasmtime: str | None = None) -> Assessment:
    """What an observation means.

    Args:
        observation: measured here or read from a capture.
        wasmtime: the version that the flags are for; by default the observed machine's own, or the
            newest known where it has none.

    Returns:
        States, findings and flags. The same observation gives the same bytes, whatever the order of
        its groups.

    Raises:
        UnknownWasmtimeError: `wasmtime` names a version that was never measured.
    """
    return assess_with_flags(observation, wasmtime)[0]


def assess_with_flags(
    observation: Observation, wasmtime: str | None = None
) -> tuple[Assessment, Flags]:
    """As `assess`, and how the flags came about: the evidence, and what the detector reports.

    Raises:
        UnknownWasmtimeError: as `assess`.
    """
    machine = Machine(observation)
    notes: list[str] = []
    version, target = _target(observation, wasmtime, notes)
    flags = Flags(machine, version, target)
    findings = _findings(machine, flags)
    notes += notes_on(machine)
    levels = machine.facts.levels()
    at_least, at_most = level_bounds(levels, machine.usable, machine.told.not_levels)
    # Nobody is known to run a CPU with AVX-512 under a kernel older than its names: what a whole
    # list does not name decides the level, if not the feature.
    by_list = machine.kernel.of_unknown_age and not observation.executed
    decided = at_least == at_most or by_list
    long_mode = machine.isa.long_mode(machine, machine.groups)
    if not long_mode:
        levels, at_least, at_most = (), None, None
    verdict: Verdict = "consistent" if decided else "insufficient"
    if any(finding.severity == "error" for finding in findings):
        verdict = "mismatch"
    claimed = machine.isa.advertised(machine.features, machine.groups)
    known = sum(feature.state != "unknown" for feature in machine.features.values())
    assessment = Assessment(
        basis="executed" if observation.executed else machine.isa.basis,
        verdict=verdict,
        known=Known(known, len(machine.features)),
        level=at_least if decided else None,
        level_at_least=at_least,
        level_at_most=at_most,
        advertised_level=highest_level(levels, claimed),
        features=machine.features,
        findings=findings,
        cranelift=flags.values,
        cranelift_off=flags.off,
        wasmtime=target,
        identity=machine.isa.identity(machine, machine.groups),
        notes=tuple(notes),
        kernel_set_aside=machine.kernel.set_aside,
        bits=64 if long_mode else 32,
    )
    return assessment, flags


def _findings(machine: Machine, flags: Flags) -> tuple[Finding, ...]:
    """The findings of all families, ordered by code."""
    found = (
        *listing_findings(machine),
        *execution_findings(machine),
        *uniformity_findings(machine),
        *coherence_findings(machine),
        *wasmtime_findings(flags),
        *(each for family in _FAMILIES[machine.facts.name] for each in family(machine)),
    )
    return tuple(sorted(found, key=lambda finding: finding.code))


def _target(
    observation: Observation, wanted: str | None, notes: list[str]
) -> tuple[WasmtimeVersion, WasmtimeTarget]:
    found, isa = observation.wasmtime, facts_of(observation.isa).name
    if wanted is not None and (found is None or _major(found.version) != _major(wanted)):
        return lookup(wanted, isa), WasmtimeTarget(version=wanted, installed=False)
    if found is None:
        row = newest(isa)
        return row, WasmtimeTarget(version=str(row.major), installed=False)
    target = WasmtimeTarget(version=found.version, installed=True)
    try:
        row = lookup(found.version, isa)
    except UnknownWasmtimeError:
        row = newest(isa)
        if found.flags is None:
            notes.append(
                f"wasmtime {found.version} was never measured; the flags are those of {row.major}"
            )
    if found.flags is not None:
        row = WasmtimeVersion(row.major, found.flags, row.refuses, row.simd_floor)
    return row, target


def _major(version: str) -> str:
    return version.removeprefix("v").partition(".")[0]

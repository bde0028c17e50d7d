"""What differs between two machines: pure.

The question behind it is mostly "it works there and dies here", so the comparison ends with it:
what is compiled on A, does it run on B? wasmtime loads a precompiled module only if every flag it
was compiled with is accepted on the loading host (wasmtime crates/wasmtime/src/engine.rs,
check_compatible_with_native_host).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from cpuprobe.assessment.model import Assessment, FeatureAssessment, Finding
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.hypervisors import hypervisor_called
from cpuprobe.version import VERSION

SCHEMA = "cpuprobe.diff/1"

# Keys of /proc/cpuinfo that stand in the identity already.
_ELSEWHERE = frozenset({"vendor_id", "cpu family", "model", "model name", "stepping", "microcode"})


class Side(msgspec.Struct, frozen=True):
    """One of the two machines."""

    name: str
    observation: Observation
    assessment: Assessment


class Pair(msgspec.Struct, frozen=True):
    """A value on A and on B; null where one has none."""

    a: Any
    b: Any


class FeaturePair(msgspec.Struct, frozen=True):
    """A feature on A and on B."""

    a: FeatureAssessment
    b: FeatureAssessment


class Findings(msgspec.Struct, frozen=True):
    """Findings that only one machine has, and codes that both have for different features."""

    only_a: tuple[Finding, ...]
    only_b: tuple[Finding, ...]
    changed: dict[str, Pair]


class Fit(msgspec.Struct, frozen=True):
    """Whether what one machine compiles runs on the other.

    Attributes:
        runs: no flag is missing.
        missing: flags that are on where it is compiled and not safe where it runs.
    """

    runs: bool
    missing: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """Everything that differs; `same` is true if nothing does.

    Attributes:
        schema: of this document.
        cpuprobe: version of cpuprobe.
        a: the first capture's name.
        b: the second capture's name.
        same: whether nothing below differs.
        identity: who the machines say they are, and what they run, by key.
        features: by canonical name, where state, safety or any witness differ.
        findings: by code.
        flags: Cranelift flags with different values; null where one wasmtime does not know it.
        wasmtime: the version that the flags are for.
        a_on_b: compiled on A, runs on B.
        b_on_a: compiled on B, runs on A.
        notes: what limits the comparison.
    """

    schema: str
    cpuprobe: str
    a: str
    b: str
    same: bool
    identity: dict[str, Pair]
    features: dict[str, FeaturePair]
    findings: Findings
    flags: dict[str, Pair]
    wasmtime: str
    a_on_b: Fit
    b_on_a: Fit
    notes: tuple[str, ...]


def compare(a: Side, b: Side) -> Difference:
    """What differs between two machines, both assessed for the same wasmtime version."""
    identity = dict(_pairs(_identity(a), _identity(b)))
    hypervisors = {hypervisor_called(str(s.assessment.identity.hypervisor)) for s in (a, b)}
    if len(hypervisors) == 1:  # CPUID's signature and lscpu's word for it are no difference
        identity.pop("hypervisor", None)
    features = {
        name: FeaturePair(feature, b.assessment.features[name])
        for name, feature in a.assessment.features.items()
        if feature != b.assessment.features[name]
    }
    findings = _findings(a.assessment, b.assessment)
    flags = dict(_pairs(a.assessment.cranelift, b.assessment.cranelift))
    return Difference(
        schema=SCHEMA,
        cpuprobe=VERSION,
        a=a.name,
        b=b.name,
        same=not (
            identity or features or flags or findings.only_a or findings.only_b or findings.changed
        ),
        identity=identity,
        features=features,
        findings=findings,
        flags=flags,
        wasmtime=a.assessment.wasmtime.version,
        a_on_b=fit(a.assessment, b.assessment),
        b_on_a=fit(b.assessment, a.assessment),
        notes=tuple(_notes(a, b)),
    )


def fit(compiles: Assessment, runs: Assessment) -> Fit:
    """Whether what `compiles` makes with its safe flags runs on `runs`."""
    missing = tuple(
        flag
        for flag, value in compiles.cranelift.items()
        if value and runs.cranelift.get(flag) is not True
    )
    return Fit(runs=not missing, missing=missing)


def to_json(difference: Difference) -> bytes:
    """The difference as one JSON object; one line, newline at the end."""
    return msgspec.json.encode(difference) + b"\n"


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Pair]]:
    for key in dict.fromkeys((*a, *b)):
        if a.get(key) != b.get(key):
            yield key, Pair(a.get(key), b.get(key))


def _identity(side: Side) -> dict[str, Any]:
    """What the machine is and runs, flat; None where it is not known."""
    observation, assessment = side.observation, side.assessment
    wasmtime = observation.wasmtime
    values: dict[str, Any] = {
        "verdict": assessment.verdict,
        "level": assessment.level,
        "advertised level": assessment.advertised_level,
        "basis": assessment.basis,
        **msgspec.structs.asdict(assessment.identity),
        "kernel build": observation.kernel.version,
        "kinds of CPU": len(observation.groups),
        "XCR0": _xcr0(observation),
        "command line": None if observation.cmdline is None else " ".join(observation.cmdline),
        "mount over /proc/cpuinfo": observation.cpuinfo_mount,
        "AT_HWCAP2": observation.hwcap2,
        "AMX permission": observation.amx_permission,
        "installed wasmtime": None if wasmtime is None else wasmtime.version,
    }
    values.update(observation.vulnerabilities)
    if observation.cpuinfo:
        fields = observation.cpuinfo[0].fields
        values.update(
            {
                f"/proc/cpuinfo {key}": " ".join(sorted(value.split()))
                for key, value in fields.items()
                if key not in _ELSEWHERE
            }
        )
    return values


def _xcr0(observation: Observation) -> str | None:
    values = {group.xcr0 for group in observation.groups}
    known = sorted(value for value in values if value is not None)
    return ", ".join(f"{value:#x}" for value in known) or None


def _findings(a: Assessment, b: Assessment) -> Findings:
    """A code may stand several times, once a cause: those of equal features cancel out."""
    only_a, only_b = _without(a.findings, b.findings), _without(b.findings, a.findings)
    both = {each.code for each in only_a} & {each.code for each in only_b}
    return Findings(
        only_a=tuple(each for each in only_a if each.code not in both),
        only_b=tuple(each for each in only_b if each.code not in both),
        changed={
            code: Pair(_features_of(code, only_a), _features_of(code, only_b))
            for code in sorted(both)
        },
    )


def _without(found: Iterable[Finding], others: Iterable[Finding]) -> list[Finding]:
    have = {(each.code, each.features) for each in others}
    return [each for each in found if (each.code, each.features) not in have]


def _features_of(code: str, found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(name for each in found if each.code == code for name in each.features)


def _notes(a: Side, b: Side) -> Iterator[str]:
    for side in (a, b):
        if side.assessment.basis != "executed":
            told = any(each.cpuid is not None for each in side.assessment.features.values())
            who = "CPUID claims" if told else "its text claims"
            if side.assessment.isa != "x86-64":
                who = "the kernel tells programs"
            yield f"{side.name}: nothing was executed there; this rests on what {who}"
    versions = [
        None if side.observation.wasmtime is None else side.observation.wasmtime.version
        for side in (a, b)
    ]
    if None not in versions and versions[0] != versions[1]:
        yield (
            f"A has wasmtime {versions[0]} and B has {versions[1]}: a precompiled module loads "
            "only into the version that made it; flags are compared for "
            f"{a.assessment.wasmtime.version}"
        )

"""What the instructions need, on the machine in question, and why it is not there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpuprobe.assessment.masks import lacks_in_silicon
from cpuprobe.assessment.model import Assessment, Family, FeatureAssessment, Finding, by_gravity
from cpuprobe.code.decode import Decoded
from cpuprobe.crash.model import CauseKind, FeatureJudged
from cpuprobe.evidence.crashes.model import Refusal
from cpuprobe.facts.features import Level, load_levels
from cpuprobe.facts.isa import X86_64, IsaFacts


def needed(
    decoded: Iterable[Decoded], refusal: Refusal | None, facts: IsaFacts = X86_64
) -> tuple[str, ...]:
    """The features that instructions, or else a refusal, name beyond what every CPU has."""
    wanted = {
        name for each in decoded if each.kind in ("feature", "hint") for name in each.features
    }
    table, levels = facts.features(), facts.levels()
    if not wanted and refusal is not None:
        if refusal.kind == "flag":
            flags = table.by_cranelift
            wanted = {flags[name].name for name in refusal.names if name in flags}
        elif refusal.kind == "level":
            wanted = {
                name for level in levels if level.name in refusal.names for name in level.features
            }
        else:
            wanted = set(refusal.names)
    baseline = frozenset(levels[0].features if levels else ())
    return tuple(name for name in table if name in wanted and name not in baseline)


def judged(
    names: Sequence[str], assessment: Assessment, facts: IsaFacts = X86_64
) -> tuple[FeatureJudged, ...]:
    """Each feature with what the witnesses of the machine say."""
    return tuple(_feature(name, assessment.features[name], assessment, facts) for name in names)


def _feature(
    name: str, assessed: FeatureAssessment, assessment: Assessment, facts: IsaFacts
) -> FeatureJudged:
    kind: CauseKind = ""
    value, remedy = "", ""
    if not assessed.safe:
        kind, value, remedy = _cause(name, assessed, assessment, facts)
    return FeatureJudged(
        name=name,
        state=assessed.state,
        safe=assessed.safe,
        cpuid=assessed.cpuid,
        os=assessed.os,
        kernel=assessed.kernel,
        ran=assessed.ran,
        cause=kind,
        value=value,
        remedy=remedy,
    )


def _cause(
    name: str, assessed: FeatureAssessment, assessment: Assessment, facts: IsaFacts
) -> tuple[CauseKind, str, str]:
    finding = _finding(name, assessment.findings)
    if finding is not None and assessed.state != "absent":
        return "finding", finding.cause or finding.title, finding.remedy
    if assessed.state in ("usable", "unverified"):
        missing = sorted(
            each
            for each in facts.features().closure(name)
            if assessment.features[each].state not in ("usable", "unverified")
        )
        return ("builds on", " ".join(missing), "") if missing else ("unproven", "", "")
    if assessed.state == "absent":
        hypervisor = assessment.identity.hypervisor
        if lacks_in_silicon(name, assessment):
            return "not in silicon", "", ""
        return ("not enumerated", "", "") if hypervisor is None else ("masked", hypervisor, "")
    return "state", assessed.state, ""


def _finding(name: str, findings: Sequence[Finding]) -> Finding | None:
    about = [each for each in findings if name in each.features]
    of_machine = [each for each in about if each.family is not Family.WASMTIME]
    return next(iter(by_gravity(of_machine)), None)


def level_without(names: Iterable[str]) -> Level | None:
    """The highest psABI level below each that has one of the features.

    None if all levels are without them, or x86-64-v1 is not.
    """
    levels, wanted = load_levels(), set(names)
    first = next((at for at, each in enumerate(levels) if wanted & set(each.features)), 0)
    return levels[first - 1] if first else None


def settings_off(
    features: Sequence[FeatureJudged], assessment: Assessment, facts: IsaFacts = X86_64
) -> dict[str, bool]:
    """Cranelift's settings to switch off, with all that build on them: its flags are no closure."""
    table = facts.features()
    off: set[str] = set()
    for each in features:
        off |= {each.name, *table.dependents(each.name)}
    return {
        flag: False
        for flag in assessment.cranelift
        if flag in table.by_cranelift and table.by_cranelift[flag].name in off
    }

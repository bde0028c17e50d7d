"""From evidence to one state a feature, and from states to what is safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpuprobe.assessment.model import FeatureAssessment, State
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence, worst_outcome
from cpuprobe.facts.features import Feature, FeatureTable


def state_of(feature: Feature, evidence: Evidence) -> State:
    """The state of one feature on one group of CPUs. The order of the questions is the argument."""
    if evidence.cpuid is False:
        return "hidden" if evidence.runs else "absent"
    if evidence.claimed is not True:  # CPUID is mute, and the kernel denies it or is mute too
        if evidence.runs is None:
            return "absent" if evidence.claimed is False else "unverified"
        if evidence.runs is False:
            return "absent"
    if evidence.os is False:
        return "withheld"
    if feature.encoding == "amx" and evidence.ran_before_permission != "ok":
        # Without a second try the permission was refused or never asked for: failing is expected.
        second_try_failed = evidence.ran_before_permission is not None and evidence.runs is False
        return "broken" if second_try_failed else "gated"
    if evidence.runs is False:
        return "broken"
    if evidence.kernel is False:
        return "withheld"
    return "usable" if evidence.runs else "unverified"


def merge(states: Sequence[State]) -> State:
    """One state for several groups of CPUs."""
    different = set(states)
    if len(different) == 1:
        return states[0]
    # A transaction that aborted on one CPU leaves that CPU without evidence; that is no dispute.
    if different == {"usable", "unverified"}:
        return "unverified"
    return "uneven"


def _unanimous(answers: Sequence[bool | None]) -> bool | None:
    """True if all say yes, False if any says no, else None."""
    if False in answers:
        return False
    return None if None in answers else True


def assess_features(
    table: FeatureTable, groups: Sequence[GroupEvidence], executed: bool
) -> dict[str, FeatureAssessment]:
    """The state and safety of every feature of the table.

    With `executed` only `usable` is safe. Without, `unverified` features that something claims are:
    nothing known speaks against them.
    """
    states: dict[str, State] = {}
    standing: dict[str, bool] = {}
    for name, feature in table.items():
        evidence = [group.features[name] for group in groups]
        states[name] = merge([state_of(feature, each) for each in evidence])
        standing[name] = states[name] == "usable" or (
            not executed
            and states[name] == "unverified"
            and all(each.claimed is True for each in evidence)
        )
    return {name: _feature(name, states[name], standing, table, groups) for name in table}


def _feature(
    name: str,
    state: State,
    standing: Mapping[str, bool],
    table: FeatureTable,
    groups: Sequence[GroupEvidence],
) -> FeatureAssessment:
    evidence = [group.features[name] for group in groups]
    return FeatureAssessment(
        state=state,
        safe=standing[name] and all(standing[each] for each in table.closure(name)),
        cpuid=_unanimous([each.cpuid for each in evidence]),
        os=_unanimous([each.os for each in evidence]),
        kernel=_unanimous([each.kernel for each in evidence]),
        ran=worst_outcome(each.ran for each in evidence),
    )

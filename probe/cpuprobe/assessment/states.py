"""From evidence to one state a feature, and from states to what is safe."""

from __future__ import annotations

from collections.abc import Sequence

from cpuprobe.assessment.model import Assessment, FeatureAssessment, State
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence, worst_outcome
from cpuprobe.facts.features import FeatureTable

# What running shows, and what is said of the same claim where nothing ran.
_SHOWN: dict[State, set[State]] = {"hidden": {"absent"}, "broken": {"unverified", "gated"}}


def merge(states: Sequence[State], ran: Sequence[bool]) -> State:
    """One state for several groups of CPUs.

    Args:
        states: of each group.
        ran: of each, whether anything of the feature ran there: a CPU where nothing did, as the
            child was killed there, does not dispute what another has shown.
    """
    different = set(states)
    if len(different) == 1:
        return states[0]
    shown = {state for state, has_run in zip(states, ran, strict=True) if has_run}
    for each in shown & _SHOWN.keys():
        different -= _SHOWN[each] - shown
    # A transaction that aborted on one CPU leaves that CPU without evidence; that is no dispute.
    if different == {"usable", "unverified"}:
        return "unverified"
    # Where one CPU's list breaks off, the others decide what they deny, and grant nothing.
    told = different - {"unknown"}
    if told <= {"usable", "unverified"}:
        return "unknown"
    return told.pop() if len(told) == 1 else "uneven"


def _unanimous(answers: Sequence[bool | None]) -> bool | None:
    """True if all say yes, False if any says no, else None."""
    if False in answers:
        return False
    return None if None in answers else True


def assess_features(
    table: FeatureTable, groups: Sequence[GroupEvidence], executed: bool
) -> tuple[dict[str, FeatureAssessment], dict[str, bool | None]]:
    """The state and safety of every feature of the table.

    With `executed` only `usable` is safe. Without, `unverified` features are, which something
    claims: nothing known speaks against them.

    Returns the assessment of each feature, and whether it may be used: None where that depends on
    what is unknown, of itself or of what it builds on: told by nobody, or claimed and not proven by
    what was executed.
    """
    states = groups[0].states
    if len(groups) > 1:
        states = {
            name: merge(
                [group.states[name] for group in groups],
                [group.features[name].runs is not None for group in groups],
            )
            for name in table
        }
    open_states = {"unknown", "unverified"} if executed else {"unknown"}
    unknown = {name for name, state in states.items() if state in open_states}
    good = {name for name, state in states.items() if state in ("usable", "unverified")}
    bad = states.keys() - good - unknown
    usable: dict[str, bool | None] = {}
    for name in table:
        closure = table.closure(name)
        if name in bad or not bad.isdisjoint(closure):
            usable[name] = False
        else:
            usable[name] = None if name in unknown or not unknown.isdisjoint(closure) else True
    return {name: _feature(name, states[name], usable[name], groups) for name in table}, usable


def undecided(assessment: Assessment, table: FeatureTable) -> frozenset[str]:
    """The features of which nothing says no, and too little is known for a yes."""
    possible = {"usable", "unverified", "unknown"}
    states = {name: feature.state for name, feature in assessment.features.items()}
    return frozenset(
        name
        for name, feature in assessment.features.items()
        if not feature.safe
        and states[name] in possible
        and all(states[each] in possible for each in table.closure(name))
    )


def _feature(
    name: str, state: State, usable: bool | None, groups: Sequence[GroupEvidence]
) -> FeatureAssessment:
    evidence: list[Evidence] = [group.features[name] for group in groups]
    if len(evidence) == 1:
        one = evidence[0]
        return FeatureAssessment(state, usable is True, one.cpuid, one.os, one.kernel, one.ran)
    return FeatureAssessment(
        state=state,
        safe=usable is True,
        cpuid=_unanimous([each.cpuid for each in evidence]),
        os=_unanimous([each.os for each in evidence]),
        kernel=_unanimous([each.kernel for each in evidence]),
        ran=worst_outcome(each.ran for each in evidence),
    )

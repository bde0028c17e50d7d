"""Whether a machine meets profiles, and what it lacks: the document of `profile check`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cpuprobe.assessment.masks import lacks_in_silicon
from cpuprobe.assessment.model import Assessment, Family, Finding, by_gravity
from cpuprobe.assessment.states import undecided
from cpuprobe.errors import UsageError
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.profiles import Profile, missing, needed


class Missing(msgspec.Struct, frozen=True):
    """A feature that a machine lacks of a profile.

    Attributes:
        state: the feature's state there.
        why: the witness's reason.
        codes: the findings that name it, the gravest first.
        remedy: what would change it; empty where nothing is known to.
    """

    feature: str
    state: str
    why: str
    codes: tuple[str, ...]
    remedy: str


class Verdict(msgspec.Struct, frozen=True):
    """Whether a machine meets one profile.

    Attributes:
        meets: all that it asks for is safe.
        decided: false where nothing that it asks for is known to be missing, and some of that is
            not known at all.
        mask: it only forbids: every machine meets it, and it says nothing of this one.
        features: how many it asks for: those that a program can need.
    """

    name: str
    meets: bool
    decided: bool
    mask: bool
    features: int
    missing: tuple[Missing, ...]


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """`profile check`.

    Attributes:
        machine: `this machine`, or the capture's name.
        basis: `executed`, or `cpuid` where nothing was executed.
        level: the psABI level of what is safe there.
        insufficient: too little is told to say that level.
        isa: the instruction set, where it is not x86-64.
    """

    schema: str = "cpuprobe.profile-check/1"
    machine: str
    basis: str
    level: str | None
    insufficient: bool
    profiles: tuple[Verdict, ...]
    isa: str | msgspec.UnsetType = msgspec.UNSET


def verdicts(machine: str, assessment: Assessment, profiles: Sequence[Profile]) -> Verdicts:
    """Holds profiles against a machine: it meets one if all of its features are safe there."""
    safe = {name for name, feature in assessment.features.items() if feature.safe}
    for profile in profiles:
        if profile.isa != assessment.isa:
            raise UsageError(
                f"{profile.name} is a profile of {profile.isa}, and the machine is of "
                f"{assessment.isa}"
            )
    table = facts_named(assessment.isa).features()
    open_questions = undecided(assessment, table)
    found = []
    for profile in profiles:
        lacking = missing(profile, safe)
        found.append(
            Verdict(
                name=profile.name,
                meets=not lacking,
                decided=not lacking or not open_questions.issuperset(lacking),
                mask=profile.mask,
                features=len(needed(profile)),
                missing=tuple(_missing(name, assessment, safe) for name in lacking),
            )
        )
    return Verdicts(
        machine=machine,
        basis=assessment.basis,
        level=assessment.level,
        insufficient=assessment.level_at_least != assessment.level_at_most,
        profiles=tuple(found),
        isa=msgspec.UNSET if assessment.isa == "x86-64" else assessment.isa,
    )


def _missing(name: str, assessment: Assessment, safe: set[str]) -> Missing:
    feature = assessment.features.get(name)
    findings = by_gravity([each for each in assessment.findings if name in each.features])
    # An explanation of a state comes from the finding of that state, not from a warning beside it.
    beside = (Family.IDENTITY, Family.WASMTIME)
    telling = [each for each in findings if each.family not in beside]
    codes = tuple(each.code for each in telling)
    if feature is None:
        return Missing(name, "unverified", "the capture does not know this feature", codes, "")
    if telling:
        return Missing(name, feature.state, _because(telling[0]), codes, telling[0].remedy)
    return Missing(name, feature.state, _silent(name, assessment, safe), (), "")


def _because(finding: Finding) -> str:
    known = finding.cause and finding.cause_id != "unknown"
    return finding.cause if known else finding.title


def _silent(name: str, assessment: Assessment, safe: set[str]) -> str:
    """Why a feature that no finding explains is missing: the first witness that says no."""
    feature = assessment.features[name]
    if feature.cpuid is False:
        guest = assessment.identity.hypervisor is not None
        hidden = "; this is a guest, and its hypervisor may hide it" if guest else ""
        if lacks_in_silicon(name, assessment):
            hidden = ", and it does not execute: the CPU lacks it"
        if assessment.isa != "x86-64":
            return f"neither ID registers nor HWCAP tell of it{hidden}"
        return f"CPUID does not enumerate it{hidden}"
    if feature.os is False:
        return "the operating system has not enabled it"
    if feature.kernel is False:
        return "the kernel does not list it"
    table = facts_named(assessment.isa).features()
    below = [each for each in table if each in table.closure(name) and each not in safe]
    if feature.cpuid or feature.kernel or feature.ran == "ok":
        return f"it builds on {', '.join(below)}, not safe here" if below else "not confirmed"
    return "nothing in this capture tells"

"""The verdict on one machine in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.ground import NOT_NAMED
from cpuprobe.assessment.model import Assessment, Finding
from cpuprobe.facts.hypervisors import hypervisor_called
from cpuprobe.facts.tables import load_table
from cpuprobe.report.spoken import spoken
from cpuprobe.words import answer, counted, names

_WORDS = {"consistent": "OK", "insufficient": "UNKNOWN", "mismatch": "MISMATCH"}


def verdict_word(assessment: Assessment) -> str:
    """The verdict in a word, in capitals; of claims that nothing executed UNVERIFIED, not OK."""
    if assessment.verdict == "consistent" and assessment.basis != "executed":
        return "UNVERIFIED"
    return _WORDS[assessment.verdict]


def headline(assessment: Assessment) -> str:
    """The verdict in a sentence for a layman."""
    words = spoken(assessment)
    level = f"{assessment.level} is" if assessment.level else f"not even all of {words.lowest} is"
    if assessment.level is None and assessment.bits == 32:
        level = "what is listed is"
    advertised = assessment.advertised_level
    more = f" It advertises {advertised}." if advertised not in (None, assessment.level) else ""
    wrong = mismatch(assessment, capital=True)
    if wrong:
        return f"{wrong}."
    if assessment.verdict == "insufficient":
        return f"{told(assessment)}. What is unknown counts as unsafe."
    if assessment.basis != "executed":
        return f"{unproven(assessment)} By {words.claim}, {level} safe.{more}"
    return f"What this machine claims, it does; {level} safe.{more}"


def mismatch(assessment: Assessment, *, capital: bool = False) -> str:
    """The gravest finding in a layman's words, and how many more there are; empty without one.

    Args:
        assessment: what is told of.
        capital: whether words of ours at the start get a capital letter; a feature's name never.
    """
    errors = [finding for finding in assessment.findings if finding.severity == "error"]
    if not errors:
        return ""
    rows = load_table("findings")["finding"]
    words: str = next(row["plain"] for row in rows if row["code"] == errors[0].code)
    if capital and not words.startswith("{features}"):
        words = words[0].upper() + words[1:]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return words.replace("{features}", names(errors[0].features, 4)) + more


def told(assessment: Assessment) -> str:
    """How much an insufficient text makes known, and which psABI levels bound the machine."""
    known, high = assessment.known, assessment.level_at_most
    claimed = sum(each.state == "unverified" for each in assessment.features.values())
    low = f"at least {assessment.level_at_least}, " if assessment.level_at_least else ""
    level = f": {low}at most {high}" if high else ""
    if assessment.basis == "executed" and claimed:
        unproven = counted(claimed, "feature")
        return f"Too little to judge: of what it claims, nothing that ran proves {unproven}{level}"
    return f"Too little to judge: {known.features} of {known.of} features are known{level}"


def unproven(assessment: Assessment) -> str:
    """What is to be said of claims of which nothing was executed."""
    unfounded = baseless(assessment)
    if unfounded:
        builds = "it builds" if len(unfounded) == 1 else "they build"
        return f"{names(unfounded, 4)}: claimed without what {builds} on; nothing was executed."
    claim = spoken(assessment).claim
    return f"Nothing known speaks against what {claim} claims, but nothing was executed."


def baseless(assessment: Assessment) -> list[str]:
    """Features that nothing speaks against but that what they build on is known to be missing."""
    good = {"usable"} if assessment.basis == "executed" else {"usable", "unverified"}
    if assessment.verdict == "insufficient":
        return []  # there it may only be unknown
    return [
        name for name, each in assessment.features.items() if each.state in good and not each.safe
    ]


def gravest(assessment: Assessment) -> Finding | None:
    """The finding that the verdict is about: the first error, or else one of a baseless claim."""
    unfounded = set(baseless(assessment))
    return next(
        (each for each in assessment.findings if each.severity == "error"),
        next((each for each in assessment.findings if unfounded.intersection(each.features)), None),
    )


def evidence_rows(assessment: Assessment) -> list[tuple[tuple[str, ...], list[str]]]:
    """What the witnesses say of the features in question, and those of which they say the same.

    Returns:
        CPUID, OS, kernel and outcome as words, and the features; the gravest finding's first.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for finding in assessment.findings:
        for name in finding.features if finding.severity == "error" else ():
            each = assessment.features[name]
            said = tuple(answer(witness) for witness in (each.cpuid, each.os, each.kernel))
            listed = alike.setdefault((*said, each.ran or "-"), [])
            if name not in listed:
                listed.append(name)
    return list(alike.items())


def identity_words(assessment: Assessment) -> Iterator[str]:
    """Who the machine says it is, in few words each."""
    identity = assessment.identity
    yield identity.brand or identity.vendor or "unknown CPU"
    yield counted(identity.cpus, "CPU")
    if identity.kernel:
        yield f"Linux {identity.kernel}"
    if identity.microcode:
        yield f"microcode {identity.microcode}"
    if identity.hypervisor:
        yield guest_words(identity.hypervisor)


def guest_words(hypervisor: str) -> str:
    """A guest, and of what: by its name, or its signature as CPUID or a text tells it."""
    if hypervisor == NOT_NAMED:
        return "a guest"
    return f"guest of {hypervisor_called(hypervisor)}"

"""Which public cases a crash is like. Pure.

All signs of a row must hold, and what they add up to says how close it is. A signal is no sign: it
is alike in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from cpuprobe.assessment.model import Assessment
from cpuprobe.crash.advise import runtimes_of
from cpuprobe.crash.judge import Ruling
from cpuprobe.crash.model import FeatureJudged, Shown
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.facts.cases import Case, load_cases

MAXIMUM_CASES = 3
# A name of a file says more than a feature, which says more than a verdict.
_WEIGHTS = {
    "modules": 4,
    "programs": 4,
    "functions": 4,
    "runtimes": 3,
    "emulators": 3,
    "mnemonics": 3,
    "causes": 3,
    "features": 2,
    "verdicts": 1,
}
_NO_CASE = frozenset({"sent", "memory", "data", "kernel-warning", "arithmetic", "breakpoint"})
_GDS = frozenset({"gds", "gds-likely"})


def like(
    crash: Crash,
    ruling: Ruling,
    shown: Sequence[Shown],
    features: Sequence[FeatureJudged],
    assessment: Assessment | None,
) -> tuple[Case, ...]:
    """The cases whose signs all hold, the closest first, no more than MAXIMUM_CASES."""
    if ruling.verdict in _NO_CASE:
        return ()
    wanting = [each for each in features if not each.safe] or list(features)
    told: dict[str, set[str]] = {
        "modules": _names(crash.module),
        "programs": _names(crash.program, crash.module),
        "functions": _names(crash.function),
        "runtimes": {*crash.runtimes, *runtimes_of(crash)},
        "emulators": _names(crash.emulator),
        "mnemonics": {each.decoded.intel.split()[0] for each in shown[:1] if each.decoded.intel},
        "causes": _causes(wanting, assessment),
        "features": {each.name for each in wanting}
        | {name for each in shown[:1] for name in each.decoded.features if not features},
        "verdicts": {str(ruling.verdict)},
    }
    found = [
        (sum(_WEIGHTS[sign] for sign in _WEIGHTS if getattr(case, sign)), number, case)
        for number, case in enumerate(load_cases())
        if all(_holds(getattr(case, sign), told[sign]) for sign in _WEIGHTS)
    ]
    found.sort(key=lambda each: (-each[0], each[1]))
    return tuple(case for _, _, case in found[:MAXIMUM_CASES])


def _names(*names: str | None) -> set[str]:
    return {name.lower() for name in names if name}


def _holds(patterns: Sequence[str], values: set[str]) -> bool:
    if not patterns:
        return True
    return any(fnmatchcase(value, pattern.lower()) for pattern in patterns for value in values)


def _causes(wanting: Sequence[FeatureJudged], assessment: Assessment | None) -> set[str]:
    found = {str(each.cause) for each in wanting if each.cause in ("masked", "not enumerated")}
    if any(each.state == "gated" for each in wanting):
        found.add("permission")
    names = {each.name for each in wanting}
    for finding in () if assessment is None else assessment.findings:
        if finding.cause_id in _GDS and names & set(finding.features):
            found.add("gds")
    return found

"""What a crash tells of the signs by which public cases are known. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cpuprobe.assessment.model import Assessment, Family
from cpuprobe.crash.advise import runtimes_of
from cpuprobe.crash.judge import Ruling
from cpuprobe.crash.model import FeatureJudged, Shown
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.facts.cases import KnownCase, cause_of, like_crash

_NO_CASE = frozenset({"sent", "memory", "data", "kernel-warning", "arithmetic", "breakpoint"})


def like(
    crash: Crash,
    ruling: Ruling,
    shown: Sequence[Shown],
    features: Sequence[FeatureJudged],
    assessment: Assessment | None,
) -> tuple[KnownCase, ...]:
    """The cases whose signs all hold, the closest first."""
    if ruling.verdict in _NO_CASE:
        return ()
    wanting = [each for each in features if not each.safe] or list(features)
    return like_crash(
        {
            "modules": _names(crash.module),
            "programs": _names(crash.program, crash.module),
            "functions": _names(crash.function),
            "runtimes": {*crash.runtimes, *runtimes_of(crash)},
            "emulators": _names(crash.emulator),
            "mnemonics": {
                each.decoded.intel.split()[0] for each in shown[:1] if each.decoded.intel
            },
            "causes": _causes(wanting, assessment),
            "features": {each.name for each in wanting}
            | {name for each in shown[:1] for name in each.decoded.features if not features},
            "verdicts": {str(ruling.verdict)},
        }
    )


def _names(*names: str | None) -> set[str]:
    return {name.lower() for name in names if name}


def _causes(wanting: Sequence[FeatureJudged], assessment: Assessment | None) -> set[str]:
    absent = {
        "masked": "masked",
        "not enumerated": "not enumerated",
        "not in silicon": "not enumerated",
    }
    found = {absent[each.cause] for each in wanting if each.cause in absent}
    names = {each.name for each in wanting if not each.safe}
    for finding in () if assessment is None else assessment.findings:
        if finding.family is not Family.WASMTIME and names & set(finding.features):
            found.add(cause_of(finding.code, finding.cause_id) or "")
    return found - {""}

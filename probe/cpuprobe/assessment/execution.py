"""CP201 to CP204: what executing showed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cpuprobe.assessment.ground import Explain
from cpuprobe.assessment.machine import Machine, cpus_of
from cpuprobe.assessment.model import Finding
from cpuprobe.evidence.observation import CpuGroup
from cpuprobe.words import names

_FAULTS = frozenset({"sigill", "sigsegv", "sigbus", "sigfpe", "sigtrap"})
_WRONG = frozenset({"wrong"})
_MOST_CANDIDATES = 3


def execution_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    causes = machine.isa.causes
    yield from _broken(machine, "CP201", _FAULTS, causes.faults)
    yield from _broken(machine, "CP202", _WRONG, causes.wrong)
    yield from _hidden(machine)
    yield from _deadly(machine)


def _broken(
    machine: Machine, code: str, outcomes: Collection[str], explain: Explain
) -> Iterator[Finding]:
    if not any("broken" in group.states.values() for group in machine.groups):
        return
    where = {
        name: broken
        for name, groups in machine.showing(lambda evidence: evidence.ran in outcomes).items()
        if (broken := [group for group in groups if group.states[name] == "broken"])
    }
    isa = machine.isa
    for listed, why, proof in machine.by_cause(where, explain):
        cpus = cpus_of(group for name in listed for group in where[name])
        evidence = [f"{isa.words.enumerates} {names(listed)}{isa.words.and_enabled}"]
        for name in listed:
            evidence += _failed(machine, name)
        yield machine.finding(code, listed, cpus, [*evidence, *proof], why)


def _failed(machine: Machine, name: str) -> Iterator[str]:
    """Which candidates of a feature failed, with what they left behind if that was wrong."""
    for group in machine.groups:
        evidence = group.features[name]
        if not evidence.failed:
            continue
        shown = [_candidate(group.measured, each) for each in evidence.failed[:_MOST_CANDIDATES]]
        more = len(evidence.failed) - len(shown)
        tail = f" and {more} more" if more else ""
        yield f"{name}: {evidence.ran}: {'; '.join(shown)}{tail}"
        return


def _candidate(group: CpuGroup, name: str) -> str:
    """A candidate that failed, in how many rounds of `--repeat`, and the bytes that it left."""
    told = []
    if group.repeated is not None and name in group.repeated.failed:
        told.append(f"in {group.repeated.failed[name]} of {group.repeated.rounds} rounds")
    if name in group.wrong:
        told.append(f"left {group.wrong[name]}")
    return f"{name} ({', '.join(told)})" if told else name


def _hidden(machine: Machine) -> Iterator[Finding]:
    for listed, why, lines in machine.by_cause(
        machine.in_state("hidden"), machine.isa.causes.masked
    ):
        yield machine.finding(
            "CP203",
            listed,
            machine.all_cpus,
            [f"{machine.isa.words.denies} {names(listed)}; executing it: ok", *lines],
            why,
        )


def _deadly(machine: Machine) -> Iterator[Finding]:
    """CP204 counts whatever CPUID says: a candidate that kills is worth knowing."""
    deadly: dict[str, list[str]] = {}
    cpus: set[int] = set()
    outcomes: set[str] = set()
    for group in machine.groups:
        ran = group.measured.ran
        if "timeout" not in ran and "killed" not in ran:
            continue
        for candidate, outcome in zip(machine.observation.candidates, ran, strict=True):
            if outcome in ("timeout", "killed"):
                outcomes.add(outcome)
                cpus.update(group.measured.cpus)
                for feature in candidate.features:
                    deadly.setdefault(feature, []).append(candidate.name)
    if deadly:
        features = [name for name in machine.table if name in deadly]
        why, proof = machine.isa.causes.faults(machine, features)
        candidates = list(dict.fromkeys(name for each in deadly.values() for name in each))
        yield machine.finding(
            "CP204",
            features,
            sorted(cpus),
            [f"{' and '.join(sorted(outcomes))}: {names(candidates, _MOST_CANDIDATES)}", *proof],
            why,
        )

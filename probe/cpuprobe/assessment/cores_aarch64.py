"""CP102, CP402 and CP403 of aarch64: the core by its name, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.aarch64 import parts, words_of
from cpuprobe.assessment.causes import cause
from cpuprobe.assessment.causes_aarch64 import why_taken_away
from cpuprobe.assessment.machine import Machine, cpus_of
from cpuprobe.assessment.model import Finding
from cpuprobe.words import names


def core_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _taken_away(machine)
    yield from _unreadable(machine)


def _taken_away(machine: Machine) -> Iterator[Finding]:
    """What a core has by its manual and nothing tells: one finding a cause.

    The kernel did it where its command line says so (CP102); else all that is known is that the
    core and its features do not belong together (CP403).
    """
    taken = [
        name
        for name in machine.showing(
            lambda evidence: evidence.cpuid is False and evidence.owned and not evidence.runs
        )
        if machine.table[name].for_programs
    ]
    cores = ", ".join(words_of(part) for part in parts(machine, machine.groups))
    for listed, why, proof in machine.by_cause(taken, why_taken_away):
        where = [
            group for group in machine.groups if any(group.features[name].owned for name in listed)
        ]
        lines = [f"{cores} has {names(listed)}; ID registers and HWCAP tell of none", *proof]
        code = "CP102" if why.id == "command-line" else "CP403"
        yield machine.finding(code, listed, cpus_of(where), lines, why)


def _unreadable(machine: Machine) -> Iterator[Finding]:
    """CP402: reading an ID register died."""
    outcomes, cpus = machine.deaths(lambda measured: measured.registers_outcome)
    if outcomes:
        lines = [f"executing MRS of an ID register: {', '.join(outcomes)}"]
        yield machine.finding("CP402", [], cpus, lines, cause("mrs-faults"))

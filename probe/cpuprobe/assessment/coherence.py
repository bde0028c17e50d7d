"""CP401: do the claims of the CPU fit together?"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding
from cpuprobe.words import names


def coherence_findings(machine: Machine) -> Iterator[Finding]:
    """At most one finding: what is claimed without something that it builds on."""
    lacking: dict[str, set[str]] = {}
    for group in machine.groups:
        denied = {name for name, evidence in group.features.items() if evidence.cpuid is False}
        for name, evidence in group.features.items():
            missing = denied.intersection(machine.table[name].implies)
            if missing and evidence.cpuid is True:
                lacking.setdefault(name, set()).update(missing)
    listed = [name for name in machine.table if name in lacking]
    evidence_lines = [
        f"{name} without {names(n for n in machine.table[name].implies if n in lacking[name])}"
        for name in listed
    ]
    if listed:
        why, proof = machine.isa.causes.incoherent(machine, listed)
        yield machine.finding("CP401", listed, machine.all_cpus, [*evidence_lines, *proof], why)

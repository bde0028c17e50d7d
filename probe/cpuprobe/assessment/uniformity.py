"""CP301: do the CPUs of this machine agree?"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding
from cpuprobe.words import cpu_list


def uniformity_findings(machine: Machine) -> Iterator[Finding]:
    """At most one finding, naming every uneven feature and who has what."""
    listed = machine.in_state("uneven")
    if not listed:
        return
    evidence = []
    for name in listed:
        states: dict[str, list[int]] = {}
        for group in machine.groups:
            states.setdefault(group.states[name], []).extend(group.measured.cpus)
        parts = [f"{state} on CPU {cpu_list(cpus)}" for state, cpus in sorted(states.items())]
        evidence.append(f"{name}: {', '.join(parts)}")
    yield machine.finding("CP301", listed, machine.all_cpus, evidence)

"""What a hypervisor can hide of a CPU. Pure."""

from __future__ import annotations

from cpuprobe.assessment.model import Assessment
from cpuprobe.facts.hypervisors import is_emulator
from cpuprobe.facts.isa import facts_named
from cpuprobe.facts.tables import load_table


def lacks_in_silicon(name: str, assessment: Assessment) -> bool:
    """Whether a feature that CPUID denies is not in the hardware either.

    A mask of CPUID does not reach an instruction: if it raised #UD, or ran as another, with its
    register state on, no other mask brings it back. Excepted are those that a hypervisor has a
    control of its own for, and emulators, whose CPU is what their model says.
    """
    if assessment.isa != "x86-64" or is_emulator(assessment.identity.hypervisor):
        return False
    controlled = load_table("quirks")["hypervisor_controls"]["features"]
    below = facts_named(assessment.isa).features().closure(name)
    return any(
        one.os is True and one.ran in ("sigill", "wrong")
        for each in (name, *below)
        if each not in controlled
        for one in [assessment.features[each]]
        if one.cpuid is False
    )

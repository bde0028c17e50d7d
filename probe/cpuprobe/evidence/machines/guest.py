"""CPUID as a hypervisor's log shows it: a guest's before its kernel runs."""

from __future__ import annotations

from collections.abc import Sequence

from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.machines.names import claims_of_words
from cpuprobe.evidence.machines.sighting import Sighting
from cpuprobe.evidence.observation import CpuGroup

_XSAVE, _OSXSAVE = 1 << 26, 1 << 27  # CPUID.1:ECX (SDM vol. 2A)


def guest_sighting(source: str, line: int, groups: Sequence[CpuGroup]) -> Sighting:
    """What the leaves of a guest tell; CR4.OSXSAVE only where it is set.

    Its kernel sets it later, so that zero says nothing of what programs see.
    """
    words = {
        (leaf.leaf, leaf.subleaf, name): getattr(leaf, name)
        for leaf in groups[0].cpuid
        for name in ("eax", "ebx", "ecx", "edx")
    }
    ecx = words.get((1, 0, "ecx"), 0)
    if not ecx & _XSAVE or ecx & _OSXSAVE:
        return Sighting(source=source, line=line, groups=tuple(groups))
    identity, claims = Cpuid(groups[0].cpuid).identity, claims_of_words(source, words)
    return Sighting(source=source, line=line, identity=identity, claims=(claims,))

"""Does a block of /proc/cpuinfo describe the CPU that was measured?"""

from __future__ import annotations

from collections.abc import Callable

from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import CpuGroup, Cpuinfo

SameCpu = Callable[[Cpuinfo], "bool | None"]


def same_cpu(isa: str, group: CpuGroup) -> SameCpu:
    """The test for CPUs of `group`: yes, no, or None where the block or the group is mute."""
    cpuid = Cpuid(group.cpuid)
    return lambda block: _same_x86(block, cpuid)


def _same_x86(block: Cpuinfo, cpuid: Cpuid) -> bool | None:
    """Whether a block and CPUID agree on vendor and signature; None if either is mute."""
    if cpuid.vendor is None or cpuid.signature is None:
        return None
    fields = block.fields
    wanted = ("vendor_id", "cpu family", "model", "stepping")
    if not all(key in fields for key in wanted):
        return None
    said = [fields[key] for key in wanted]
    # Linux keeps its own "unknown" where the stepping is 0 on very old CPUs (proc.c).
    stepping = "0" if said[3] == "unknown" else said[3]
    return said[0] == cpuid.vendor and (said[1], said[2], stepping) == tuple(
        str(part) for part in cpuid.signature
    )

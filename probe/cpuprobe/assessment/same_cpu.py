"""Does a block of /proc/cpuinfo describe the CPU that was measured?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import CpuGroup, Cpuinfo

SameCpu = Callable[[Cpuinfo], "bool | None"]


def same_cpu(isa: str, group: CpuGroup) -> SameCpu:
    """The test for CPUs of `group`: yes, no, or None where the block or the group is mute."""
    if isa == "aarch64":
        midr = group.registers.get("midr_el1")
        return lambda block: _same_arm(block, midr)
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


def _same_arm(block: Cpuinfo, midr: int | None) -> bool | None:
    """Whether a block and MIDR_EL1 agree on implementer and part (DDI 0487, MIDR_EL1)."""
    told = implementer_and_part(block.fields)
    return None if midr is None or told is None else told == (midr >> 24 & 0xFF, midr >> 4 & 0xFFF)


def implementer_and_part(fields: Mapping[str, str]) -> tuple[int, int] | None:
    """Who made a CPU and which it is, of the fields of an arm64 /proc/cpuinfo."""
    said = [fields.get(key, "") for key in ("CPU implementer", "CPU part")]
    if not all(re.fullmatch("0x[0-9a-f]{1,3}", value, re.ASCII) for value in said):
        return None
    return int(said[0], 16), int(said[1], 16)

"""The kernel witness: /proc/cpuinfo, and when not to believe it.

It never grants: Linux lists what faults (F16C when AVX is off). Its silence is weak too, and counts
only for a flag that the running release is known to print (Documentation/arch/x86/cpuinfo.rst), and
only if the file is this kernel's own word on this CPU.
"""

from __future__ import annotations

import re

from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import Cpuinfo, Observation
from cpuprobe.facts.features import Feature

# gVisor's sentry answers uname with a fixed build date of its own (pkg/sentry/syscalls/linux).
_GVISOR_VERSION = "#1 SMP Sun Jan 10 15:06:54 PST 2016"


def release_number(text: str | None) -> tuple[int, ...] | None:
    """`6.1.0-49-amd64` as (6, 1, 0); None if it does not begin like a Linux release."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text or "")
    return tuple(int(part or 0) for part in match.groups()) if match else None


class KernelWitness:
    """What /proc/cpuinfo says of each CPU, or why it is set aside."""

    def __init__(self, observation: Observation, cpuid: Cpuid) -> None:
        """Read the witness of `observation`; `cpuid` is any of its CPUs', to compare identities."""
        self.release = release_number(observation.kernel.release)
        self._flags: list[tuple[frozenset[int], frozenset[str]]] = []
        self.set_aside = _reason_to_set_aside(observation, cpuid)
        if self.set_aside is None:
            for block in observation.cpuinfo or ():
                flags = frozenset(block.fields.get("flags", "").split())
                self._flags.append((frozenset(block.cpus), flags))

    def lists(self, feature: Feature, cpus: tuple[int, ...]) -> bool | None:
        """Whether the kernel lists `feature` on all of `cpus`; None where it cannot speak.

        A missing name says no only if this release is known to print it, and only of a feature that
        programs can use: Linux drops XSAVES on some AMD CPUs, which is its own affair.
        """
        flag = feature.kernel.flag
        blocks = [flags for numbers, flags in self._flags if not numbers.isdisjoint(cpus)]
        if flag is None or not blocks:
            return None
        if all(flag in flags for flags in blocks):
            return True
        since = release_number(feature.kernel.since)
        if feature.privileged or self.release is None or since is None or self.release < since:
            return None
        return False


def _reason_to_set_aside(observation: Observation, cpuid: Cpuid) -> str | None:
    blocks = observation.cpuinfo
    if not blocks:
        return "/proc/cpuinfo is not there"
    if observation.cpuinfo_mount is not None:
        return f"/proc/cpuinfo is covered by a mount ({observation.cpuinfo_mount})"
    if observation.kernel.version == _GVISOR_VERSION:
        return "the kernel is gVisor's, which makes up /proc/cpuinfo"
    if not all("flags" in block.fields for block in blocks):
        return "/proc/cpuinfo has no flags line: it is of another architecture or a translator's"
    if all(_same_cpu(block, cpuid) is False for block in blocks):
        return "/proc/cpuinfo describes another CPU than CPUID does (emulator, translator or fake)"
    return None


def _same_cpu(block: Cpuinfo, cpuid: Cpuid) -> bool | None:
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

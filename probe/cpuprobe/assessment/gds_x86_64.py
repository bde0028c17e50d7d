"""CP601 and CP602: where this machine stands on Gather Data Sampling (Downfall)."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import cause
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding
from cpuprobe.facts.gds import GDS_DISABLED, GDS_FILE

_FILE = f"/sys/devices/system/cpu/vulnerabilities/{GDS_FILE}"


def gds_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _state(machine)
    yield from _switched_off(machine)


def _switched_off(machine: Machine) -> Iterator[Finding]:
    """The kernel's own word, where there is no CPUID whose claim it contradicts (CP101)."""
    if not machine.avx_disabled or any(group.cpuid for group in machine.groups):
        return
    listed = [
        name
        for name, feature in machine.features.items()
        if feature.os is False and (name == "avx" or feature.kernel or feature.cpuid)
    ]
    if listed:
        text = machine.observation.vulnerabilities[GDS_FILE]
        yield machine.finding("CP602", listed, machine.all_cpus, [f"{_FILE}: {text}"], cause("gds"))


def _state(machine: Machine) -> Iterator[Finding]:
    """At most one finding, and only on a CPU that has the flaw.

    The kernel's text is believed about the mitigation, never about whether the CPU has the flaw: a
    file that says "AVX disabled" on a CPU outside the kernel's own list is somebody's mistake.
    """
    affected = machine.gds_affected
    text = machine.observation.vulnerabilities.get(GDS_FILE)
    if (
        affected is None
        or (text is None and not machine.observation.cmdline)
        or text == "Not affected"
    ):
        return
    evidence = [
        f"{_FILE}: {text}" if text is not None else f"{_FILE} is not there",
        f"this CPU has the flaw: {affected}",
        *(f"kernel command line: {word}" for word in machine.option("gather_data_sampling")),
    ]
    yield machine.finding("CP601", [], machine.all_cpus, evidence, cause(_standing(text)))


def _standing(text: str | None) -> str:
    """Which cause row words what the kernel's line says."""
    if text is None:
        return "gds-file-missing"
    if GDS_DISABLED in text:
        return "gds-avx-disabled"
    if text.startswith("Vulnerable"):
        return "gds-vulnerable"
    return "gds-mitigated" if text.startswith("Mitigation") else "gds-in-guest"

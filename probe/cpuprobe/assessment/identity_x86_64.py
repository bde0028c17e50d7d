"""CP402 and CP403: is CPUID to be believed, and do model and features belong together?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cpuprobe.assessment.causes import cause
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding


def identity_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _intercepted(machine)
    yield from _model_mismatch(machine)


def _intercepted(machine: Machine) -> Iterator[Finding]:
    outcomes, cpus = machine.deaths(lambda measured: measured.cpuid_outcome)
    if outcomes:
        why = cause("cpuid-faulting") if outcomes == ["sigsegv"] else cause("unknown")
        yield machine.finding("CP402", [], cpus, [f"executing CPUID: {', '.join(outcomes)}"], why)


def _fits(row: Mapping[str, Any], vendor: str | None, signature: tuple[int, int, int]) -> bool:
    return (
        row["vendor"] == vendor
        and row.get("family", signature[0]) == signature[0]
        and signature[0] < row.get("family_below", signature[0] + 1)
        and signature[1] in row.get("models", (signature[1],))
    )


def _model_mismatch(machine: Machine) -> Iterator[Finding]:
    signature = machine.cpuid.signature
    if signature is None:
        return
    listed: dict[str, str] = {}
    for row in machine.quirks["never"]:
        if _fits(row, machine.cpuid.vendor, signature):
            for name in row["features"]:
                if machine.features[name].cpuid is True:
                    listed.setdefault(name, row["name"])
    if listed:
        family, model, stepping = signature
        evidence = [
            f"family {family}, model {model:#x}, stepping {stepping}",
            *(f"{name}: on no CPU of the kind {kind}" for name, kind in listed.items()),
        ]
        why = cause("unknown")
        if machine.virtual:
            why = cause("made-up-identity", hypervisor=machine.hypervisor)
        yield machine.finding("CP403", listed, machine.all_cpus, evidence, why)

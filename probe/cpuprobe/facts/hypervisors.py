"""Hypervisors by the signature in CPUID.40000000H, or by the name that lscpu gives them. Pure."""

from __future__ import annotations

from typing import Any

from cpuprobe.facts.tables import load_table


def hypervisor_row(signature: str | None) -> dict[str, Any]:
    """Its row of profiles/quirks.toml, empty where there is none."""
    rows = load_table("quirks")["hypervisor"]
    names = ("signature", "name", "lscpu")
    return next((row for row in rows if signature in map(row.get, names)), {}) if signature else {}


def hypervisor_called(signature: str) -> str:
    """What people call a hypervisor: its name, or its signature where nobody has named it."""
    return str(hypervisor_row(signature).get("name") or signature)


def is_emulator(signature: str | None) -> bool:
    """Whether no silicon is below its CPUs: they are what their model says."""
    return "emulator" in hypervisor_row(signature)

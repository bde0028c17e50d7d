"""What evidence rests on: the observation, its tables, who the machine says it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, cast

from cpuprobe.assessment.kernel import KernelWitness
from cpuprobe.assessment.same_cpu import same_cpu
from cpuprobe.assessment.told import Told
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import Observation, ToldIdentity
from cpuprobe.facts.gds import GDS_DISABLED, GDS_FILE
from cpuprobe.facts.isa import facts_of
from cpuprobe.facts.tables import load_table

NOT_NAMED = "not named"  # a hypervisor that is there


class Cause(NamedTuple):
    """Why something is as a finding says: words, what to do, and the row of findings.toml."""

    text: str = ""
    remedy: str = ""
    id: str = ""


NO_CAUSE = Cause()
Why = tuple[Cause, list[str]]
"""A cause, and the evidence for it."""
Explain = Callable[["Ground", list[str]], Why]
"""A rule: why something is as it is with these features."""


class Ground:
    """An observation with the tables of its instruction set, before its groups are heard."""

    def __init__(self, observation: Observation) -> None:
        """Read what is told of the machine as a whole."""
        self.observation = observation
        self.facts = facts = facts_of(observation.isa)
        self.table = facts.features()
        # In CPU order, so that the order of groups in a report cannot change a word.
        self.ordered = sorted(observation.groups, key=lambda group: min(group.cpus))
        self.cpuid = Cpuid(self.ordered[0].cpuid)
        self.kernel = KernelWitness(
            observation, facts.list_key, same_cpu(facts.name, self.ordered[0]), self.table
        )
        self.told = Told(observation.claims, self.table, facts.levels())

    @cached_property
    def quirks(self) -> Mapping[str, Any]:
        """profiles/quirks.toml."""
        return load_table("quirks")

    @cached_property
    def virtual(self) -> bool:
        """Whether CPUID, or without CPUID the kernel's list, says that a hypervisor is present."""
        present = self.cpuid.hypervisor_present
        if present is None:
            return self.said.hypervisor is not None or self._lists("hypervisor")
        return present

    def _lists(self, name: str) -> bool:
        return name in self.cpuinfo_fields.get("flags", "").split()

    @cached_property
    def avx_disabled(self) -> bool:
        """Whether the kernel says that its GDS mitigation has disabled AVX.

        Not believed where the CPU is known not to have the flaw: then it is somebody's mistake.
        """
        return GDS_DISABLED in self.observation.vulnerabilities.get(GDS_FILE, "") and (
            self.signature is None or self.gds_affected is not None
        )

    @cached_property
    def gds_affected(self) -> str | None:
        """The name of the row of profiles/quirks.toml by which this CPU has the GDS flaw."""
        if self.signature is None:
            return None
        family, model, stepping = self.signature
        for row in self.quirks["gds_affected"]:
            if (
                self.vendor in (row["vendor"], None)
                and row["family"] == family
                and model in row["models"]
                and stepping not in row.get("not_steppings", ())
            ):
                name: str = row["name"]
                return name
        return None

    @cached_property
    def hypervisor(self) -> str:
        """The hypervisor's signature, or words in its place."""
        return self.cpuid.hypervisor or self.said.hypervisor or NOT_NAMED

    @cached_property
    def said(self) -> ToldIdentity:
        """Who a text says the CPU is."""
        return self.observation.identity or ToldIdentity()

    def option(self, *names: str) -> tuple[str, ...]:
        """The words of the kernel command line with one of these names, values included."""
        return tuple(
            word for word in self.observation.cmdline or () if word.partition("=")[0] in names
        )

    @cached_property
    def cpuinfo_fields(self) -> Mapping[str, str]:
        """The first block of /proc/cpuinfo, empty where there is none or it is set aside."""
        if self.kernel.set_aside is not None or not self.observation.cpuinfo:
            return {}
        return self.observation.cpuinfo[0].fields

    @cached_property
    def vendor(self) -> str | None:
        """The vendor string of CPUID; without CPUID that of the kernel, or what a text says."""
        return self.cpuid.vendor or self.cpuinfo_fields.get("vendor_id") or self.said.vendor

    @cached_property
    def signature(self) -> tuple[int, int, int] | None:
        """Display family, model and stepping: CPUID's, or the kernel's, which are equal."""
        if self.cpuid.signature is not None:
            return self.cpuid.signature
        told = (self.said.family, self.said.model, self.said.stepping)
        if None not in told:
            return cast("tuple[int, int, int]", told)
        said = [self.cpuinfo_fields.get(key, "") for key in ("cpu family", "model", "stepping")]
        if said[2] == "unknown":  # Linux prints that for stepping 0 of very old CPUs (proc.c)
            said[2] = "0"
        if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in said):
            return None
        return int(said[0]), int(said[1]), int(said[2])

"""The observed machine with its evidence laid out: what every family of findings works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from cpuprobe.assessment.kernel import KernelWitness
from cpuprobe.assessment.model import FeatureAssessment, Finding, Identity
from cpuprobe.assessment.states import assess_features
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import FeatureTable, load_features, load_table
from cpuprobe.words import names


class Machine:
    """An observation, the tables, and the evidence and states derived from them."""

    def __init__(self, observation: Observation) -> None:
        """Lay out the evidence of `observation`."""
        self.observation = observation
        self.table: FeatureTable = load_features()
        # In CPU order, so that the order of groups in a report cannot change a word.
        ordered = sorted(observation.groups, key=lambda group: min(group.cpus))
        self.cpuid = Cpuid(ordered[0].cpuid)
        self.kernel = KernelWitness(observation, self.cpuid)
        self.groups = tuple(
            GroupEvidence(group, observation, self.kernel, self.table) for group in ordered
        )
        self.features: dict[str, FeatureAssessment] = assess_features(
            self.table, self.groups, observation.executed
        )

    @cached_property
    def quirks(self) -> Mapping[str, Any]:
        """profiles/quirks.toml."""
        return load_table("quirks")

    @cached_property
    def virtual(self) -> bool:
        """Whether CPUID, or without CPUID the kernel's list, says that a hypervisor is present."""
        present = self.cpuid.hypervisor_present
        if present is None:
            return "hypervisor" in self.cpuinfo_fields.get("flags", "").split()
        return present

    @cached_property
    def long_mode(self) -> bool:
        """Whether nothing speaks against 64-bit mode: the psABI levels are levels of x86-64.

        A K8 Sempron without long mode has every feature of x86-64-v1. What a probe measured ran in
        64-bit mode.
        """
        if self.observation.source == "probe":
            return True
        if any(group.cpuid for group in self.groups):
            return all(group.cpuid.long_mode is not False for group in self.groups)
        return "lm" in self.cpuinfo_fields.get("flags", "").split()

    @cached_property
    def hypervisor(self) -> str:
        """The hypervisor's signature, or words in its place."""
        return self.cpuid.hypervisor or "not named"

    def option(self, *names: str) -> tuple[str, ...]:
        """The words of the kernel command line with one of these names, values included."""
        return tuple(
            word for word in self.observation.cmdline or () if word.partition("=")[0] in names
        )

    def in_state(self, state: str) -> list[str]:
        """The features in a state, in the order of the table."""
        return [name for name, feature in self.features.items() if feature.state == state]

    def cpus_where(self, test: Any) -> tuple[int, ...]:
        """The CPUs of the groups for which `test(GroupEvidence)` holds, ascending."""
        return tuple(
            sorted(cpu for group in self.groups if test(group) for cpu in group.group.cpus)
        )

    @cached_property
    def all_cpus(self) -> tuple[int, ...]:
        """All measured CPUs, ascending."""
        return self.cpus_where(lambda group: True)

    @cached_property
    def cpuinfo_fields(self) -> Mapping[str, str]:
        """The first block of /proc/cpuinfo, empty where there is none or it is set aside."""
        if self.kernel.set_aside is not None or not self.observation.cpuinfo:
            return {}
        return self.observation.cpuinfo[0].fields

    @cached_property
    def vendor(self) -> str | None:
        """The vendor string of CPUID; without CPUID that of the kernel."""
        return self.cpuid.vendor or self.cpuinfo_fields.get("vendor_id")

    @cached_property
    def signature(self) -> tuple[int, int, int] | None:
        """Display family, model and stepping: CPUID's, or the kernel's, which are equal."""
        if self.cpuid:
            return self.cpuid.signature
        said = [self.cpuinfo_fields.get(key, "") for key in ("cpu family", "model", "stepping")]
        if said[2] == "unknown":  # Linux prints that for stepping 0 of very old CPUs (proc.c)
            said[2] = "0"
        if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in said):
            return None
        return int(said[0]), int(said[1]), int(said[2])

    @cached_property
    def identity(self) -> Identity:
        """Who the machine says it is."""
        fields = self.cpuinfo_fields
        signature = self.signature or (None, None, None)
        return Identity(
            vendor=self.vendor,
            brand=self.cpuid.brand or fields.get("model name"),
            family=signature[0],
            model=signature[1],
            stepping=signature[2],
            microcode=fields.get("microcode"),
            kernel=self.observation.kernel.release,
            hypervisor=self.hypervisor if self.virtual else None,
            cpus=len(self.all_cpus),
        )


def finding(
    code: str,
    features: Iterable[str],
    cpus: Iterable[int],
    evidence: Iterable[str],
    cause: tuple[str, str] = ("", ""),
) -> Finding:
    """A finding with the words of profiles/findings.toml.

    `cause` is text and remedy (see `causes`); an empty remedy takes the finding's own.
    """
    row = next(row for row in load_table("findings")["finding"] if row["code"] == code)
    listed = tuple(features)
    return Finding(
        code=code,
        severity=row["severity"],
        features=listed,
        cpus=tuple(cpus),
        title=row["title"].replace("{features}", names(listed)),
        evidence=tuple(evidence),
        cause=cause[0],
        remedy=cause[1] or row["remedy"],
    )

"""The observed machine with its evidence laid out: what every family of findings works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from cpuprobe.assessment.kernel import KernelWitness
from cpuprobe.assessment.model import FeatureAssessment, Finding, Identity
from cpuprobe.assessment.states import assess_features
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.cpuid import Cpuid
from cpuprobe.features import FeatureTable, load_features, load_table
from cpuprobe.observation import Observation


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
        """Whether CPUID says that a hypervisor is present."""
        return self.cpuid.hypervisor_present is True

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
    def identity(self) -> Identity:
        """Who the machine says it is."""
        signature = self.cpuid.signature or (None, None, None)
        fields: dict[str, str] = {}
        if self.kernel.set_aside is None and self.observation.cpuinfo:
            fields = self.observation.cpuinfo[0].fields
        return Identity(
            vendor=self.cpuid.vendor or fields.get("vendor_id"),
            brand=self.cpuid.brand or fields.get("model name"),
            family=signature[0],
            model=signature[1],
            stepping=signature[2],
            microcode=fields.get("microcode"),
            kernel=self.observation.kernel.release,
            hypervisor=self.hypervisor if self.virtual else None,
            cpus=len(self.all_cpus),
        )


def names(features: Iterable[str], most: int = 8) -> str:
    """Feature names as a phrase, cut after `most`."""
    listed = list(features)
    if len(listed) > most:
        return ", ".join(listed[:most]) + f" and {len(listed) - most} more"
    if len(listed) > 1:
        return ", ".join(listed[:-1]) + " and " + listed[-1]
    return "".join(listed)


def cpu_list(cpus: Iterable[int]) -> str:
    """CPU numbers in the kernel's list notation: `0-3,8`."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


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

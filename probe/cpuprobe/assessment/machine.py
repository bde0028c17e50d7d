"""The observed machine with its evidence laid out: what every family of findings works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, cast

import msgspec

from cpuprobe.assessment.kernel import KernelWitness
from cpuprobe.assessment.model import Finding, Identity
from cpuprobe.assessment.states import assess_features
from cpuprobe.assessment.told import Told
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import CpuGroup, Observation, ToldIdentity
from cpuprobe.facts.cases import like_finding
from cpuprobe.facts.features import X86Table, load_features
from cpuprobe.facts.tables import load_table
from cpuprobe.words import names

GDS_FILE = "gather_data_sampling"  # of /sys/devices/system/cpu/vulnerabilities
NOT_NAMED = "not named"  # a hypervisor that is there
GDS_DISABLED = "AVX disabled"  # Linux arch/x86/kernel/cpu/bugs.c, gds_strings


class Machine:
    """An observation, the tables, and the evidence and states derived from them."""

    def __init__(self, observation: Observation) -> None:
        """Lay out the evidence of `observation`."""
        self.observation = observation
        self.table: X86Table = load_features()
        # In CPU order, so that the order of groups in a report cannot change a word.
        ordered = sorted(observation.groups, key=lambda group: min(group.cpus))
        self.cpuid = Cpuid(ordered[0].cpuid)
        self.kernel = KernelWitness(observation, self.cpuid, self.table)
        self.told = Told(observation.claims, self.table)
        self.groups = tuple(
            GroupEvidence(
                part,
                observation,
                self.kernel,
                self.told,
                self.table,
                avx_disabled=self.avx_disabled,
            )
            for group in ordered
            for part in self._parts(group)
        )
        self.features, self.usable = assess_features(self.table, self.groups, observation.executed)

    def _parts(self, group: CpuGroup) -> Iterator[CpuGroup]:
        """A group apart by what the kernel lists for its CPUs."""
        parts = self.kernel.parts(group.cpus)
        if len(parts) == 1:
            yield group
            return
        for cpus in parts:
            yield msgspec.structs.replace(group, cpus=cpus)

    @cached_property
    def quirks(self) -> Mapping[str, Any]:
        """profiles/quirks.toml."""
        return load_table("quirks")

    @cached_property
    def virtual(self) -> bool:
        """Whether CPUID, or without CPUID the kernel's list, says that a hypervisor is present."""
        present = self.cpuid.hypervisor_present
        if present is None:
            return self._said.hypervisor is not None or self._lists("hypervisor")
        return present

    def _lists(self, name: str) -> bool:
        return name in self.cpuinfo_fields.get("flags", "").split()

    @cached_property
    def long_mode(self) -> bool:
        """Whether nothing speaks against 64-bit mode: the psABI levels are levels of x86-64.

        A K8 Sempron without long mode has every feature of x86-64-v1, and programs on a 32-bit
        kernel are 32-bit whatever the CPU has. What a probe measured ran in 64-bit mode.
        """
        if self.observation.source == "probe":
            return True
        if self.observation.isa == "i686":
            return False
        if any(group.cpuid for group in self.groups):
            return all(group.cpuid.long_mode is not False for group in self.groups)
        listings = self.kernel.listings(self.all_cpus)
        return not any(listing.whole and "lm" not in listing.names for listing in listings)

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
        return self.cpuid.hypervisor or self._said.hypervisor or NOT_NAMED

    @cached_property
    def _said(self) -> ToldIdentity:
        return self.observation.identity or ToldIdentity()

    def option(self, *names: str) -> tuple[str, ...]:
        """The words of the kernel command line with one of these names, values included."""
        return tuple(
            word for word in self.observation.cmdline or () if word.partition("=")[0] in names
        )

    def in_state(self, state: str) -> list[str]:
        """The features in a state, in the order of the table."""
        return self._states.get(state, [])

    @cached_property
    def _states(self) -> dict[str, list[str]]:
        states: dict[str, list[str]] = {}
        for name, feature in self.features.items():
            states.setdefault(feature.state, []).append(name)
        return states

    def showing(self, test: Callable[[Evidence], bool]) -> dict[str, list[GroupEvidence]]:
        """The features for which `test` holds, in the order of the table, with the groups where."""
        found: dict[str, list[GroupEvidence]] = {}
        for group in self.groups:
            for name, evidence in group.features.items():
                if test(evidence):
                    found.setdefault(name, []).append(group)
        return {name: found[name] for name in self.table if name in found} if found else found

    def cpus_where(self, test: Any) -> tuple[int, ...]:
        """The CPUs of the groups for which `test(GroupEvidence)` holds, ascending."""
        return tuple(
            sorted(cpu for group in self.groups if test(group) for cpu in group.measured.cpus)
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
        """The vendor string of CPUID; without CPUID that of the kernel, or what a text says."""
        return self.cpuid.vendor or self.cpuinfo_fields.get("vendor_id") or self._said.vendor

    @cached_property
    def signature(self) -> tuple[int, int, int] | None:
        """Display family, model and stepping: CPUID's, or the kernel's, which are equal."""
        if self.cpuid.signature is not None:
            return self.cpuid.signature
        told = (self._said.family, self._said.model, self._said.stepping)
        if None not in told:
            return cast("tuple[int, int, int]", told)
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
            brand=self.cpuid.brand or fields.get("model name") or self._said.brand,
            family=signature[0],
            model=signature[1],
            stepping=signature[2],
            microcode=fields.get("microcode") or self._said.microcode,
            kernel=self.observation.kernel.release,
            hypervisor=self.hypervisor if self.virtual else None,
            cpus=len(self.all_cpus),
        )


class Cause(NamedTuple):
    """Why something is as a finding says: words, what to do, and the row of findings.toml."""

    text: str = ""
    remedy: str = ""
    id: str = ""


_NO_CAUSE = Cause()


def cpus_of(groups: Iterable[GroupEvidence]) -> list[int]:
    """The CPUs of some groups, ascending."""
    return sorted({cpu for group in groups for cpu in group.measured.cpus})


def finding(
    code: str,
    features: Iterable[str],
    cpus: Iterable[int],
    evidence: Iterable[str],
    cause: Cause = _NO_CAUSE,
) -> Finding:
    """A finding with the words of profiles/findings.toml; its remedy where the cause has none."""
    row = next(row for row in load_table("findings")["finding"] if row["code"] == code)
    listed = tuple(features)
    return Finding(
        code=code,
        severity=row["severity"],
        features=listed,
        cpus=tuple(cpus),
        title=row["title"].replace("{features}", names(listed)),
        evidence=tuple(evidence),
        cause=cause.text,
        cause_id=cause.id or None,
        remedy=cause.remedy or row["remedy"],
        cases=like_finding(code, cause.id or None, listed),
    )

"""The observed machine with its evidence laid out: what every family of findings works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import msgspec

from cpuprobe.assessment.ground import NO_CAUSE, Cause, Explain, Ground
from cpuprobe.assessment.isas import isa_of
from cpuprobe.assessment.model import Finding
from cpuprobe.assessment.states import assess_features
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence
from cpuprobe.evidence.observation import CpuGroup, Observation
from cpuprobe.facts.cases import like_finding
from cpuprobe.facts.tables import load_table
from cpuprobe.words import names


class Machine(Ground):
    """An observation, the tables, and the evidence and states derived from them."""

    def __init__(self, observation: Observation) -> None:
        """Lay out the evidence of `observation`."""
        super().__init__(observation)
        self.isa = isa_of(self.facts.name)
        self.groups = tuple(
            self.isa.evidence(part, self) for group in self.ordered for part in self._parts(group)
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

    def by_cause(
        self, listed: Iterable[str], explain: Explain
    ) -> list[tuple[list[str], Cause, tuple[str, ...]]]:
        """The features of each cause, with it and the evidence for it: one finding each.

        What explains one feature need not explain another. In the order in which they come.
        """
        found: dict[tuple[Cause, tuple[str, ...]], list[str]] = {}
        for name in listed:
            why, proof = explain(self, [name])
            found.setdefault((why, tuple(proof)), []).append(name)
        return [(own, why, proof) for (why, proof), own in found.items()]

    def cpus_where(self, test: Any) -> tuple[int, ...]:
        """The CPUs of the groups for which `test(GroupEvidence)` holds, ascending."""
        return tuple(
            sorted(cpu for group in self.groups if test(group) for cpu in group.measured.cpus)
        )

    def deaths(self, outcome: Callable[[CpuGroup], str]) -> tuple[list[str], tuple[int, ...]]:
        """How reading who the CPUs are ended where it died, each once; and on which of them.

        Args:
            outcome: of a group; `ok` where it lived.
        """
        ends = {outcome(group.measured) for group in self.groups} - {"ok"}
        return sorted(ends), self.cpus_where(lambda group: outcome(group.measured) != "ok")

    @cached_property
    def all_cpus(self) -> tuple[int, ...]:
        """All measured CPUs, ascending."""
        return self.cpus_where(lambda group: True)

    def finding(
        self,
        code: str,
        features: Iterable[str],
        cpus: Iterable[int],
        evidence: Iterable[str],
        cause: Cause = NO_CAUSE,
    ) -> Finding:
        """A finding with the words of profiles/findings.toml; its remedy where the cause has none.

        A row may have other words for an instruction set.
        """
        row = next(row for row in load_table("findings")["finding"] if row["code"] == code)
        row = {**row, **row.get(self.facts.name, {})}
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


def cpus_of(groups: Iterable[GroupEvidence]) -> list[int]:
    """The CPUs of some groups, ascending."""
    return sorted({cpu for group in groups for cpu in group.measured.cpus})

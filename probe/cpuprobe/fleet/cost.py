"""What choosing a profile as a default costs: the machines that it leaves out, by CPU."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cpuprobe.facts.profiles import Profile
from cpuprobe.fleet.model import Reference, Share
from cpuprobe.fleet.summary import Summary
from cpuprobe.fleet.tally import Count, Tally, total


class LeftOut(msgspec.Struct, frozen=True):
    """Machines with one CPU that a profile leaves out."""

    cpu: str
    machines: Share


class Cost(msgspec.Struct, frozen=True):
    """What one profile leaves out.

    Attributes:
        name: of the profile.
        kind: of the profile.
        excluded: the machines that do not meet it.
        cpus: their CPUs, most machines first.
    """

    name: str
    kind: str
    excluded: Share
    cpus: tuple[LeftOut, ...]


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What `cpuprobe profile cost` tells; its `--json`.

    Attributes:
        schema: `cpuprobe.cost/1`.
        reference: where the counts are from.
        total: all machines that are counted.
        profiles: what each leaves out.
    """

    schema: str = "cpuprobe.cost/1"
    reference: Reference
    total: Share
    profiles: tuple[Cost, ...]


def costs_of(reference: Reference, tally: Tally, profiles: Sequence[Profile]) -> Costs:
    """What profiles cost on the machines of a table.

    Raises:
        CaptureError: no machine was counted.
    """
    answers = tally.answers(1)
    summary = Summary(answers, ())
    found = []
    for profile in profiles:
        meets = summary.meets(profile)
        by_cpu: dict[str, list[Count]] = {}
        for each in answers.patterns:
            if not meets(each):
                by_cpu.setdefault(each.model, []).append(Count(each.machines, each.weight))
        counts = {cpu: total(each) for cpu, each in by_cpu.items()}
        order = sorted(counts, key=lambda cpu: (-counts[cpu].machines, cpu))
        found.append(
            Cost(
                profile.name,
                profile.kind,
                summary.share(total(counts.values())),
                tuple(LeftOut(cpu, summary.share(counts[cpu])) for cpu in order),
            )
        )
    return Costs(reference=reference, total=summary.share(answers.total), profiles=tuple(found))

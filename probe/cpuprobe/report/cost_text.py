"""What profiles cost, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.fleet.cost import Cost, Costs
from cpuprobe.report.fleet_words import machines, percent_of, reference_lines, short
from cpuprobe.report.layout import Line, Styled, paragraph, table

_MOST = 10


def cost_lines(costs: Costs, width: int, most: int = _MOST) -> Iterator[Line]:
    """What each profile leaves out, then where the counts are from.

    Args:
        costs: what to tell.
        width: of the terminal, in columns.
        most: how many CPUs of each are named.
    """
    for cost in costs.profiles:
        yield from _profile(cost, costs, width, most)
        yield ""
    for line in reference_lines(costs.reference):
        yield from paragraph(line, width)


def _profile(cost: Cost, costs: Costs, width: int, most: int) -> Iterator[Line]:
    share = percent_of(cost.excluded, costs.total)
    excluded = f"{cost.excluded.machines:,} of {machines(costs.total.machines)} ({share})"
    yield from paragraph((Styled(f"{short(cost.name)} leaves out {excluded}", "bold"),), width)
    if not cost.cpus:
        return
    told, rest = cost.cpus[:most], cost.cpus[most:]
    rows = [
        (f"{each.machines.machines:,}", percent_of(each.machines, costs.total), short(each.cpu))
        for each in told
    ]
    yield from table(("machines", "share", "CPU"), rows, width, 2)
    if rest:
        count = sum(each.machines.machines for each in rest)
        yield (Styled(f"and {len(rest):,} more CPUs with {machines(count)}", "dim"),)

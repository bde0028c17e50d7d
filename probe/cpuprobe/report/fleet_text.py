"""A fleet as text, at most 100 columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cpuprobe.fleet.model import Coverage, FindingCount, Fleet, Group, Share
from cpuprobe.report.fleet_words import (
    NOTHING,
    CurveRow,
    basis_lines,
    curve_rows,
    errors_line,
    headline,
    levels_of,
    main_target,
    part,
    percent_of,
    rest_line,
    short,
    wanted,
)

TOP = 10
"""How many rows of a group, of findings and of captures not read are told."""

_STEPS = 24
_LOSERS = 3
_NARROW = 72  # columns below which the curve leaves a number out, for room

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

_Row = TypeVar("_Row")


def render(fleet: Fleet, console: Console, *, top: int = TOP) -> None:
    """Prints a fleet.

    Args:
        fleet: what to print.
        console: where to; its width and colours are used as they are.
        top: how many rows of a group, of findings and of captures not read are printed.
    """
    for part_ in _parts(fleet, console.width < _NARROW, max(top, 1)):
        console.print(part_)


def _parts(fleet: Fleet, narrow: bool, top: int) -> Iterator[RenderableType]:
    yield Text(headline(fleet), style="bold")
    target = main_target(fleet)
    if target is not None and target.best is not None and target.best.k:
        yield Text(f"flags for {wanted(target)}: {_words(target.best.flags)}")
    yield Text(errors_line(fleet), style="bold red" if fleet.mismatched.machines else "")
    alone = [(each,) for each in fleet.levels]
    yield from _coverages("levels and profiles", [*alone, *_alike(fleet.profiles)], fleet)
    yield from _curve(fleet, narrow)
    yield from _targets(fleet)
    asked = [(each,) for each in fleet.flag_sets]
    yield from _coverages("sets of flags asked for", asked, fleet)
    yield from _findings(fleet, top)
    for title, groups in (
        ("CPU models", fleet.models),
        ("kernels", fleet.kernels),
        ("hypervisors", fleet.hypervisors),
    ):
        yield from _groups(title, groups, fleet, top)
    yield Text()
    for line in basis_lines(fleet):
        yield Text(line)
    yield from _skipped(fleet, top)


def _words(names: Iterable[str]) -> str:
    return " ".join(short(name, 40) for name in names) or "none"


def _heading(title: str, more: str = "") -> Iterator[Text]:
    yield Text()
    yield Text.assemble((title, "bold"), (f"  {more}" if more else "", "dim"))


def _grid(*headings: str) -> Table:
    """A table of numbers, with words in the last column, which alone may take several lines."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings[:-1]:
        grid.add_column(heading, justify="right", no_wrap=True, header_style="bold")
    grid.add_column(headings[-1], overflow="fold", header_style="bold")
    return grid


def _row(grid: Table, *cells: str | Text) -> None:
    grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _cut(rows: Sequence[_Row], most: int) -> tuple[Sequence[_Row], Sequence[_Row]]:
    """What is told, and the rest; never a rest of one, whose line would take as much room."""
    most = len(rows) if len(rows) == most + 1 else most
    return rows[:most], rows[most:]


def _rest(rest: Sequence[_Row], share: Callable[[_Row], Share], fleet: Fleet) -> Iterator[Text]:
    if rest:
        yield Text(rest_line([share(each) for each in rest], fleet), style="dim")


def _alike(sets: Iterable[Coverage]) -> list[tuple[Coverage, ...]]:
    """Profiles of a kind that cover as much as each other, together; of a kind, most first."""
    found: dict[tuple[str, Share], list[Coverage]] = {}
    for each in sets:
        found.setdefault((each.kind, each.covered), []).append(each)
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    order = sorted(found, key=lambda key: (kinds.index(key[0]), -part(key[1].share)))
    return [tuple(found[key]) for key in order]


def _coverages(
    title: str, sets: Sequence[tuple[Coverage, ...]], fleet: Fleet
) -> Iterator[RenderableType]:
    if not sets:
        return
    yield from _heading(title)
    grid = _grid("covered", "machines", "lacking", "set")
    for alike in sets:
        covered, kind = alike[0].covered, alike[0].kind
        _row(
            grid,
            percent_of(covered, fleet.total),
            f"{covered.machines:,}",
            f"{fleet.total.machines - covered.machines:,}",
            Text.assemble(
                ", ".join(short(each.name) for each in alike), (f"  {short(kind, 20)}", "dim")
            ),
        )
    yield grid


def _curve(fleet: Fleet, narrow: bool) -> Iterator[RenderableType]:
    yield from _heading("what each further feature costs")
    if not fleet.curve:
        yield Text("no feature is safe on any machine")
        return
    rows = curve_rows(fleet.curve)
    told, rest = _cut(rows, _STEPS)
    grid = _grid("", "covered", *(() if narrow else ("machines",)), "lost", "adds")
    for number, row in enumerate(told, 1):
        covered, lost = row.step.covered, row.step.lost.machines
        _row(
            grid,
            str(number),
            percent_of(covered, fleet.total),
            *(() if narrow else (f"{covered.machines:,}",)),
            f"{lost:,}" if lost else "-",
            _step(row),
        )
    yield grid
    if rest:
        last = percent_of(rest[-1].step.covered, fleet.total)
        yield Text(f"and {len(rest)} more steps, down to {last} (--json has them)", style="dim")


def _step(row: CurveRow) -> Text:
    """What a step adds and whom it loses, a line each."""
    text = Text(_words(row.step.added) if row.step.added else NOTHING)
    if row.free:
        text.append(f" and, at no further loss: {_words(row.free)}")
    if row.flags:
        text.append(f" ({_words(row.flags)})", "dim")
    losers = row.step.losers
    if losers:
        more = ", and others" if len(losers) > _LOSERS else ""
        text.append(f"\nloses: {', '.join(map(short, losers[:_LOSERS]))}{more}", "yellow")
    return text


def _targets(fleet: Fleet) -> Iterator[RenderableType]:
    if not fleet.targets:
        return
    yield from _heading("largest sets of flags", f"wasmtime {short(fleet.wasmtime, 20)}")
    grid = _grid("wanted", "covered", "flags", "set")
    for target in fleet.targets:
        if target.best is None:
            _row(grid, wanted(target), "-", "-", "no set covers so many")
        else:
            covered = percent_of(target.best.covered, fleet.total)
            _row(grid, wanted(target), covered, str(target.best.k), _words(target.best.flags))
    yield grid


def _findings(fleet: Fleet, top: int) -> Iterator[RenderableType]:
    yield from _heading("findings")
    if not fleet.findings:
        yield Text("none")
        return
    told, rest = _cut(fleet.findings, top)
    grid = _grid("machines", "share", "finding and cause")
    for finding in told:
        _row(
            grid,
            f"{finding.machines.machines:,}",
            percent_of(finding.machines, fleet.total),
            _finding(finding),
        )
    yield grid
    if rest:
        yield Text(f"and {len(rest)} more findings (--json has them)", style="dim")


def _finding(finding: FindingCount) -> Text:
    text = Text.assemble(
        (f"{finding.code} {finding.severity}", _STYLES.get(finding.severity, "")),
        f"  {short(finding.title, 200)}",
    )
    if finding.cause:
        text.append(f"\ncause: {short(finding.cause, 200)}", "dim")
    return text


def _groups(
    title: str, groups: Sequence[Group], fleet: Fleet, top: int
) -> Iterator[RenderableType]:
    if not groups:
        return
    yield from _heading(title)
    told, rest = _cut(groups, top)
    grid = _grid("machines", "share", "errors", "level", title.removesuffix("s"))
    for group in told:
        _row(
            grid,
            f"{group.machines.machines:,}",
            percent_of(group.machines, fleet.total),
            f"{group.mismatched.machines:,}" if group.mismatched.machines else "-",
            "\n".join(levels_of(group)),
            short(group.value),
        )
    yield grid
    yield from _rest(rest, lambda each: each.machines, fleet)


def _skipped(fleet: Fleet, top: int) -> Iterator[RenderableType]:
    told, rest = _cut(fleet.skipped, top)
    for each in told:
        line = Text(f"{short(each.capture)}: {short(each.why, 200)}", style="dim")
        yield Padding(line, (0, 0, 0, 2))
    more = max(fleet.unread - len(told), len(rest))
    if told and more:
        yield Text(f"  and {more:,} more", style="dim")

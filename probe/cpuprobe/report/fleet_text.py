"""A fleet as text, at most 100 columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from cpuprobe.fleet.model import Coverage, FindingCount, Fleet, Group, Share
from cpuprobe.report.fleet_isas import sections, shares_line
from cpuprobe.report.fleet_sets import grouped
from cpuprobe.report.fleet_words import (
    NOTHING,
    CurveRow,
    basis_lines,
    curve_rows,
    errors_line,
    headline,
    levels_of,
    main_target,
    percent_of,
    reference_lines,
    rest_line,
    short,
    skipped_lines,
    unknown_line,
    wanted,
)
from cpuprobe.report.layout import Cell, Line, Styled, fold, paragraph, table

TOP = 10
"""How many rows of a group and of findings are told."""

_STEPS = 24
_LOSERS = 3
_NARROW = 72  # columns below which the curve leaves a number out, for room

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

_Row = TypeVar("_Row")


def lines(fleet: Fleet, width: int, *, top: int = TOP) -> Iterator[Line]:
    """A fleet as lines.

    Args:
        fleet: what to tell.
        width: of the terminal, in columns.
        top: how many rows of a group and of findings are told.
    """
    for part_ in _every(fleet, width, max(top, 1)):
        yield from fold(part_, width)


def _every(fleet: Fleet, width: int, top: int) -> Iterator[Line]:
    """One instruction set after the other, where there are others than x86-64."""
    if not fleet.others:
        yield from _parts(fleet, width, top)
        return
    yield (Styled(shares_line(fleet), "bold"),)
    if fleet.unknown:
        yield unknown_line(fleet)
    for name, each in sections(fleet).items():
        yield from ("", (Styled(f"{name}: every share is of its machines", "bold"),))
        yield from _parts(each, width, top)


def _parts(fleet: Fleet, width: int, top: int) -> Iterator[Line]:
    yield (Styled(headline(fleet), "bold"),)
    target = main_target(fleet)
    if target is not None and target.best is not None and target.best.k:
        yield f"flags for {wanted(target)}: {_words(target.best.flags)}"
    yield (Styled(errors_line(fleet), "bold red" if fleet.mismatched.machines else ""),)
    if fleet.unknown:
        yield unknown_line(fleet)
    if fleet.reference is not None:
        yield from reference_lines(fleet.reference)
    sets = grouped((*fleet.levels, *fleet.profiles))
    yield from _coverages("levels and profiles", sets, fleet, width)
    yield from _curve(fleet, width)
    yield from _targets(fleet, width)
    asked = [(each,) for each in fleet.flag_sets]
    yield from _coverages("sets of flags asked for", asked, fleet, width)
    yield from _findings(fleet, top, width)
    for title, groups in (
        ("CPU models", fleet.models),
        ("kernels", fleet.kernels),
        ("hypervisors", fleet.hypervisors),
    ):
        yield from _groups(title, groups, fleet, top, width)
    yield ""
    yield from basis_lines(fleet)
    yield from _skipped(fleet, width)


def _words(names: Iterable[str]) -> str:
    return " ".join(short(name, 40) for name in names) or "none"


def _heading(title: str, more: str = "") -> Iterator[Line]:
    yield ""
    yield Styled(title, "bold"), Styled(f"  {more}" if more else "", "dim")


def _grid(headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int) -> Iterator[Line]:
    """A table of numbers, with words in the last column."""
    return table(headings, rows, width, len(headings) - 1)


def _cut(rows: Sequence[_Row], most: int) -> tuple[Sequence[_Row], Sequence[_Row]]:
    """What is told, and the rest; never a rest of one, whose line would take as much room."""
    most = len(rows) if len(rows) == most + 1 else most
    return rows[:most], rows[most:]


def _rest(rest: Sequence[_Row], share: Callable[[_Row], Share], fleet: Fleet) -> Iterator[Line]:
    if rest:
        yield (Styled(rest_line([share(each) for each in rest], fleet), "dim"),)


def _coverages(
    title: str, sets: Sequence[tuple[Coverage, ...]], fleet: Fleet, width: int
) -> Iterator[Line]:
    if not sets:
        return
    yield from _heading(title)
    rows: list[list[Cell]] = []
    for listed in sets:
        covered, kind = listed[0].covered, listed[0].kind
        named = ", ".join(short(each.name) for each in listed)
        rows.append(
            [
                percent_of(covered, fleet.total),
                f"{covered.machines:,}",
                f"{fleet.total.machines - covered.machines:,}",
                (named, Styled(f"  {short(kind, 20)}", "dim")),
            ]
        )
    yield from _grid(("covered", "machines", "lacking", "set"), rows, width)


def _curve(fleet: Fleet, width: int) -> Iterator[Line]:
    yield from _heading("what each further feature costs")
    if not fleet.curve:
        yield "no feature is safe on any machine"
        return
    narrow = width < _NARROW
    told, rest = _cut(curve_rows(fleet.curve), _STEPS)
    rows: list[list[Cell]] = []
    for number, row in enumerate(told, 1):
        covered, lost = row.step.covered, row.step.lost.machines
        rows.append(
            [
                str(number),
                percent_of(covered, fleet.total),
                *(() if narrow else (f"{covered.machines:,}",)),
                f"{lost:,}" if lost else "-",
                _step(row),
            ]
        )
    yield from _grid(
        ("", "covered", *(() if narrow else ("machines",)), "lost", "adds"), rows, width
    )
    if rest:
        last = percent_of(rest[-1].step.covered, fleet.total)
        yield (Styled(f"and {len(rest)} more steps, down to {last} (--json has them)", "dim"),)


def _step(row: CurveRow) -> Cell:
    """What a step adds and whom it loses, a line each."""
    text = _words(row.step.added) if row.step.added else NOTHING
    if row.free:
        text += f" and, at no further loss: {_words(row.free)}"
    found: list[Line] = [(text, Styled(f" ({_words(row.flags)})" if row.flags else "", "dim"))]
    losers = row.step.losers
    if losers:
        more = ", and others" if len(losers) > _LOSERS else ""
        told = f"loses: {', '.join(map(short, losers[:_LOSERS]))}{more}"
        found.append((Styled(told, "yellow"),))
    return found


def _targets(fleet: Fleet, width: int) -> Iterator[Line]:
    if not fleet.targets:
        return
    yield from _heading("largest sets of flags", f"wasmtime {short(fleet.wasmtime, 20)}")
    rows = []
    for target in fleet.targets:
        if target.best is None:
            rows.append((wanted(target), "-", "-", "no set covers so many"))
        else:
            covered = percent_of(target.best.covered, fleet.total)
            best = target.best
            rows.append((wanted(target), covered, str(best.k), _words(best.flags)))
    yield from _grid(("wanted", "covered", "flags", "set"), rows, width)


def _findings(fleet: Fleet, top: int, width: int) -> Iterator[Line]:
    yield from _heading("findings")
    if not fleet.findings:
        yield "none"
        return
    told, rest = _cut(fleet.findings, top)
    rows = [
        (f"{each.machines.machines:,}", percent_of(each.machines, fleet.total), _finding(each))
        for each in told
    ]
    yield from _grid(("machines", "share", "finding and cause"), rows, width)
    if rest:
        yield (Styled(f"and {len(rest)} more findings (--json has them)", "dim"),)


def _finding(finding: FindingCount) -> Cell:
    head = Styled(f"{finding.code} {finding.severity}", _STYLES.get(finding.severity, ""))
    found: list[Line] = [(head, f"  {short(finding.title, 200)}")]
    if finding.cause:
        found.append((Styled(f"cause: {short(finding.cause, 200)}", "dim"),))
    return found


def _groups(
    title: str, groups: Sequence[Group], fleet: Fleet, top: int, width: int
) -> Iterator[Line]:
    if not groups:
        return
    yield from _heading(title)
    told, rest = _cut(groups, top)
    rows: list[list[Cell]] = [
        [
            f"{group.machines.machines:,}",
            percent_of(group.machines, fleet.total),
            f"{group.mismatched.machines:,}" if group.mismatched.machines else "-",
            list(levels_of(group)),
            short(group.value),
        ]
        for group in told
    ]
    yield from _grid(("machines", "share", "errors", "level", title.removesuffix("s")), rows, width)
    yield from _rest(rest, lambda each: each.machines, fleet)


def _skipped(fleet: Fleet, width: int) -> Iterator[Line]:
    for line in skipped_lines(fleet):
        yield from paragraph((Styled(line, "dim"),), width, "  ")

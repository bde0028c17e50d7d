"""The words for a fleet, the same on its text page and its HTML page. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from cpuprobe.fleet.model import (
    Coverage,
    Fleet,
    Group,
    Reference,
    Share,
    Skipped,
    Step,
    Target,
    Unknown,
)
from cpuprobe.report.layout import cells as taken
from cpuprobe.report.layout import clip
from cpuprobe.words import counted, plain

NOTHING = "nothing is safe on all machines"
"""What a curve starts with that has no common ground."""

_NAME_CELLS = 72
_HEADLINE_TARGET = 0.99
# Percents that a reader compares with: no share below one is rounded up to it.
_MARKS = (90, 95, 99, 99.9)
_DIGITS = (1, 2, 3)
# A sum of a million weights is not exact to the last bit.
_NOISE = 1e-9


class CurveRow(msgspec.Struct, frozen=True):
    """A step of the curve with the steps after it that lose no machine.

    Attributes:
        step: the step that loses machines, or the first of all.
        free: the features that later steps add without a loss.
        flags: Cranelift's names of all of these features.
    """

    step: Step
    free: tuple[str, ...]
    flags: tuple[str, ...]


def part(share: float) -> float:
    """A share as a number from 0 to 1, whatever it was."""
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0


def percent(share: float, *, nobody: bool | None = None, everybody: bool | None = None) -> str:
    """A share in percent, with the digits it needs.

    `100 %` is said only of everybody and `0 %` only of nobody, and no share is rounded up to 90,
    95, 99 or 99.9 %: what reads 99.0 % is 99 % or more.

    Args:
        share: 0 to 1.
        nobody: whether no machine is in it; by default told from the share.
        everybody: whether every machine is in it; by default told from the share.

    Returns:
        Say `81.4 %`, `99.96 %`, `>99.999 %`, `<0.001 %`.
    """
    share = part(share)
    if share < _NOISE if nobody is None else nobody:
        return "0 %"
    if share > 1 - _NOISE if everybody is None else everybody:
        return "100 %"
    exact = round(100 * share, 9)
    for digits in _DIGITS:
        rounded = round(exact, digits)
        if 0 < rounded < 100 and not any(exact < mark <= rounded for mark in _MARKS):
            return f"{rounded:.{digits}f} %"
    if exact < 1:
        return "<0.001 %"
    cut = math.floor(exact * 1000) / 1000
    return f">{min(cut, 99.999):.3f} %"


def percent_of(share: Share, total: Share) -> str:
    """A part of the fleet in percent; see `percent`."""
    return percent(
        share.share, nobody=share.machines <= 0, everybody=0 < total.machines <= share.machines
    )


def wanted(target: Target) -> str:
    """The share that a target wants: `99.9 %`."""
    return f"{round(100 * part(target.wanted), 6):g} %"


def machines(count: int) -> str:
    """A number of machines: `1,007 machines`."""
    return counted(count, "machine")


def short(text: str, cells: int = _NAME_CELLS) -> str:
    """A stranger's text as one harmless line of at most `cells` columns of a terminal."""
    text = plain(text[: 8 * cells])  # a brand string may be megabytes
    if taken(text) <= cells:
        return text or "(empty)"
    return clip(text, cells - 3).rstrip() + "..."


def level_word(name: str) -> str:
    """A level in short: `v3`, `armv8.2-a`."""
    return short(name.removeprefix("x86-64-"), 20)


def weighted(fleet: Fleet) -> bool:
    """Whether machines have weights, so that a share is not a share of their number."""
    return abs(fleet.total.weight - fleet.total.machines) > _NOISE * max(1, fleet.total.machines)


def curve_rows(curve: Iterable[Step]) -> list[CurveRow]:
    """The curve with every step that loses nobody told together with the one before it."""
    rows: list[CurveRow] = []
    for step in curve:
        if rows and step.lost.machines == 0:
            last = rows[-1]
            rows[-1] = CurveRow(
                last.step, (*last.free, *step.added), tuple(dict.fromkeys(last.flags + step.flags))
            )
        else:
            rows.append(CurveRow(step, (), step.flags))
    return rows


def headline(fleet: Fleet) -> str:
    """The verdict in a line, with the number of machines before it."""
    if fleet.total.machines == 0:
        return "No machine to tell of."
    return f"{machines(fleet.total.machines)}: {verdict(fleet)}"


def verdict(fleet: Fleet) -> str:
    """The levels that split the fleet, and how many flags cover 99 % of it."""
    told = ", ".join(_split_levels(fleet))
    parts = [told] if told else []
    target = main_target(fleet)
    if target is not None and target.best is None:
        parts.append(f"no set of flags covers {wanted(target)}")
    elif target is not None and target.best is not None and target.best.k == 0:
        parts.append(f"no flag is safe on {wanted(target)}")
    elif target is not None and target.best is not None:
        parts.append(f"the largest set of flags for {wanted(target)} has {target.best.k}")
    return "; ".join(parts) or "nothing was counted"


def _split_levels(fleet: Fleet) -> Iterator[str]:
    """The highest level that all machines reach, unless it is the lowest, and those after it."""
    full = [n for n, each in enumerate(fleet.levels) if _met_by_all(each, fleet)]
    start = full[-1] if full and (full[-1] > 0 or len(fleet.levels) == 1) else 0
    if start == 0 and full and any(each.covered.machines for each in fleet.levels[1:]):
        start = 1
    told = [fleet.levels[start]] if fleet.levels else []
    told += [each for each in fleet.levels[start + 1 : start + 2] if each.covered.machines]
    for number, each in enumerate(told):
        verb = "covers " if number == 0 else ""
        yield f"{short(each.name, 24)} {verb}{percent_of(each.covered, fleet.total)}"


def _met_by_all(coverage: Coverage, fleet: Fleet) -> bool:
    return coverage.covered.machines >= fleet.total.machines


def main_target(fleet: Fleet) -> Target | None:
    """The target to tell first: 99 % where it was asked for, else the largest."""
    for target in fleet.targets:
        if math.isclose(target.wanted, _HEADLINE_TARGET):
            return target
    return fleet.targets[0] if fleet.targets else None


def errors_line(fleet: Fleet) -> str:
    """On how many machines something is wrong."""
    if fleet.mismatched.machines == 0:
        return "No machine has a finding of severity error."
    verb = "has" if fleet.mismatched.machines == 1 else "have"
    return f"MISMATCH: {count_of(fleet.mismatched, fleet)} {verb} a finding of severity error."


def basis_lines(fleet: Fleet) -> Iterator[str]:
    """On what the answer rests: what was executed, weights, captures that could not be read."""
    executed, total = fleet.executed.machines, fleet.total.machines
    meaning = "safe means there only that nothing known speaks against it."
    if executed >= total:
        yield "The instructions were executed on every machine."
    elif executed == 0:
        yield f"Nothing was executed on any machine: {meaning}"
    else:
        done = count_of(fleet.executed, fleet)
        yield f"The instructions were executed on {done}, not on the others: {meaning}"
    if weighted(fleet):
        yield f"Shares are by weight; the machines weigh {fleet.total.weight:,.6g} together."
    if fleet.dated.machines:
        young = " (AVX-512 and later)" if fleet.isa is msgspec.UNSET else ""
        yield (
            f"The kernel of {count_of(fleet.dated, fleet)} may be too old to name young features"
            f"{young}: what is not named there counts as missing."
        )
    if fleet.unread:
        yield f"Not read, and counted nowhere above: {counted(fleet.unread, 'capture')}."


def count_of(share: Share, fleet: Fleet) -> str:
    """Machines and their share: `340 machines (3.4 %)`."""
    return f"{machines(share.machines)} ({percent_of(share, fleet.total)})"


def rest_line(rest: Sequence[Share], fleet: Fleet) -> str:
    """What a list leaves out: `and 12 more with 340 machines (3.4 %)`."""
    count = sum(each.machines for each in rest)
    weight = math.fsum(each.weight for each in rest)
    share = Share(count, weight, math.fsum(part(each.share) for each in rest))
    return f"and {len(rest):,} more with {count_of(share, fleet)}"


def levels_of(group: Group) -> list[str]:
    """The levels of a group's machines, with their parts where there are several."""
    lowest = next((name for name in group.levels if name != "none"), "")
    levels = {
        f"below {level_word(lowest)}" if name == "none" else level_word(name): share
        for name, share in group.levels.items()
        if part(share) > 0
    }
    told = [f"{name} {percent(share)}" for name, share in levels.items()]
    return list(levels) if len(levels) == 1 else told


_KINDS = {
    "file": "not files that are read",
    "damaged": "damaged, or given up",
    "size": "larger than any capture",
    "text": "no capture of a known kind",
}


def reference_lines(reference: Reference) -> Iterator[str]:
    """Where the counts of a table are from, when they were made, and how they are biased."""
    yield f"Source: {short(reference.source, 400)}."
    yield f"Date: {short(reference.date, 100)}. Licence: {short(reference.licence, 100)}."
    yield f"Bias: {short(reference.bias, 400)}."


_UNKNOWN = {
    "insufficient": "too little is known of {count}",
    "identity": "of {count} only a name is known",
    "isa": "{count} of another instruction set",
}


def unknown_line(fleet: Fleet) -> str:
    """Which machines no share counts, and why; empty where there are none."""
    if not fleet.unknown:
        return ""
    kinds: dict[str, list[Unknown]] = {}
    for each in fleet.unknown:
        kinds.setdefault(each.kind, []).append(each)
    told = []
    for kind, found in kinds.items():
        count = sum(each.machines for each in found)
        named = ", ".join(
            f"{short(each.what, 24)} {each.machines:,}" for each in found if each.what
        )
        told.append(_UNKNOWN[kind].format(count=f"{count:,}") + (f" ({named})" if named else ""))
    line = f"Not counted: {machines(sum(each.machines for each in fleet.unknown))}: "
    wrong = sum(each.mismatched for each in fleet.unknown)
    errors = f"; {wrong:,} of them with a finding of severity error" if wrong else ""
    return f"{line}{'; '.join(told)}{errors}."


def skipped_lines(fleet: Fleet) -> Iterator[str]:
    """What could not be read, by kind."""
    named: dict[str, list[Skipped]] = {}
    for each in fleet.skipped:
        named.setdefault(each.kind, []).append(each)
    for kind, captures in named.items():
        yield skipped_line(kind, fleet.unread_kinds.get(kind, len(captures)), captures)


def skipped_line(kind: str, count: int, named: Sequence[Skipped]) -> str:
    """What could not be read for one kind of reason: a capture with its reason, or several.

    Args:
        kind: of reason.
        count: how many captures.
        named: some of them.
    """
    if count == 1:
        return f"{short(named[0].capture)}: {short(named[0].why, 200)}"
    shown = [short(each.capture, 40) for each in named[:3]]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{count:,} captures, {_KINDS.get(kind, kind)}: {', '.join(shown)}{more}"

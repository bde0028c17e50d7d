"""Where lines, labels and cells of a fleet's pictures lie; templates/pictures.svg draws them. Pure.

The curve's vertical axis is the logarithm of what is *missing*: 90, 99 and 99.9 % lie equally far
apart, because that is where a packager decides. 100 % has a line of its own above it. What the
pictures show stands in tables of the page as well, and nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from cpuprobe.facts.features import FeatureTable, load_features
from cpuprobe.fleet.model import Fleet, Matrix
from cpuprobe.report.fleet_words import CurveRow, machines, part, percent, percent_of, short

MODEL_CELLS = 46
"""Columns of text that the name of a CPU model may take beside the matrix."""
CELL = 27
"""Pixels from one cell of the matrix to the next."""

_NAME_CELLS = 90
_LEFT, _RIGHT, _TOP, _HEIGHT = 72, 112, 64, 320
_TICKS = (1.0, 0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.5)
_MOST_DECADES = 9.0
_GAP = 0.25  # decades that stay free below the line of 100 %
_CHARACTER = 6.3  # width of a character of 11 pixels, on the safe side
_MOST_CHARACTERS = 20
_MODEL_WIDTH, _WEIGHT_WIDTH = 284, 116
_LINE = 22
_NARROW_CELL, _NARROW_LINE = 17, 40


class Label(NamedTuple):
    """Text at a point: centred, or standing upright above it or hanging below it."""

    text: str
    x: float
    y: float
    upright: bool
    kind: str
    down: bool = False


class Tick(NamedTuple):
    """A line of the axis; `text` is empty where another stands too near."""

    kind: str
    y: float
    text: str
    target: bool


class Step(NamedTuple):
    """One step of the curve: where it stands, what it says when pointed at, and its labels."""

    x: float
    title: str
    labels: list[Label]


class Curve(NamedTuple):
    """The curve: a step down for the machines that each row loses, and the targets as lines."""

    width: float
    height: float
    words: str
    pitch: float
    path: str
    ticks: list[Tick]
    steps: list[Step]
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    tall: float = _HEIGHT


class Cell(NamedTuple):
    """A cell: `whole`, `none` or `some` (filled from below as far as its share goes)."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    filled: float = 0
    number: str = ""
    title: str = ""


class Row(NamedTuple):
    """A CPU model: its name, the bar and words of its weight, and its cells."""

    title: str
    name: str
    y: float
    bar: float
    weight: str
    cells: list[Cell]


class MatrixPicture(NamedTuple):
    """The matrix, for wide screens, or for narrow ones with the model's name above its cells."""

    kind: str
    width: float
    height: float
    columns: list[Label]
    rows: list[Row]
    line: float
    left: float
    model_width: float = _MODEL_WIDTH


class _Axis(msgspec.Struct, frozen=True):
    """Where a share lies: as many decades above 0 % as what is missing is below the whole."""

    decades: float

    def y(self, share: float, *, everybody: bool) -> float:
        """The height of a share, downwards as in SVG; 100 % alone is at the top."""
        depth = self.decades if everybody else min(_depth(share), self.decades - _GAP)
        return _TOP + _HEIGHT * (1 - depth / self.decades)

    def shows(self, share: float) -> bool:
        """Whether a line at this share would stand where the share belongs."""
        return share == 1 or _depth(share) <= self.decades - _GAP


def _depth(share: float) -> float:
    """Decades from 0 % up: 1 at 90 %, 2 at 99 %."""
    missing = 1 - part(share)
    return -math.log10(missing) if missing > 0 else math.inf


def _axis(rows: Sequence[CurveRow], fleet: Fleet) -> _Axis:
    shares = [row.step.covered.share for row in rows if not _all(row, fleet)]
    shares += [target.wanted for target in fleet.targets]
    depths = [depth for share in shares if (depth := _depth(share)) < math.inf]
    return _Axis(min(max([1.0, *depths]) + 2 * _GAP, _MOST_DECADES))


def _all(row: CurveRow, fleet: Fleet) -> bool:
    return row.step.covered.machines >= fleet.total.machines


def _heads(table: FeatureTable) -> Callable[[CurveRow], str]:
    """Names a step by one of the features it adds: with a flag if any, and implied by no other."""

    def name(row: CurveRow) -> str:
        flagged = [each for each in row.step.added if each in table and table[each].cranelift]
        choice = flagged or list(row.step.added)
        implied = {each for name in choice if name in table for each in table.closure(name)}
        choice = [each for each in choice if each not in implied] or choice
        if not choice:
            return "nothing"
        others = len(row.step.added) + len(row.free) - 1
        more = f" +{others}" if others else ""
        return short(choice[0], _MOST_CHARACTERS - len(more)) + more

    return name


def curve_picture(rows: Sequence[CurveRow], fleet: Fleet) -> Curve:
    """The picture of a curve."""
    name = _heads(load_features())
    axis = _axis(rows, fleet)
    names = [name(row) for row in rows]
    if rows[0].step.added and _all(rows[0], fleet):
        names[0] = "on all machines"
    pitch = min(max(820 / len(rows), 17), 130)
    longest = max(map(len, names)) * _CHARACTER
    upright = longest > pitch - 6
    bottom = _TOP + _HEIGHT
    heights = [axis.y(row.step.covered.share, everybody=_all(row, fleet)) for row in rows]
    path = f"M{_LEFT} {heights[0]:.3f}"
    steps = []
    for number, (row, head) in enumerate(zip(rows, names, strict=True)):
        path += f"V{heights[number]:.3f}H{_LEFT + pitch * (number + 1):.1f}"
        middle = _LEFT + pitch * (number + 0.5)
        lost = row.step.lost
        said = f"{number + 1}: {head}: {percent_of(row.step.covered, fleet.total)}"
        labels = [Label(head, middle, bottom + 16, upright, "soft", down=True)]
        if lost.machines:
            said += f", loses {machines(lost.machines)}"
            loss = _minus(percent_of(lost, fleet.total))
            narrow = len(loss) * _CHARACTER >= pitch - 4
            labels.insert(0, Label(loss, middle, heights[number] - 7, narrow, "halo"))
        steps.append(Step(middle - pitch / 2, said, labels))
    return Curve(
        width=_LEFT + pitch * len(rows) + _RIGHT,
        height=bottom + (longest + 24 if upright else 40),
        words=_curve_words(rows, names, fleet),
        pitch=pitch,
        path=path,
        ticks=list(_scale(axis, fleet)),
        steps=steps,
    )


def _minus(told: str) -> str:
    return told if told.startswith("<") else f"\u2212{told}"


def _curve_words(rows: Sequence[CurveRow], names: Sequence[str], fleet: Fleet) -> str:
    first, last = rows[0].step.covered, rows[-1].step.covered
    worst = max(range(len(rows)), key=lambda n: rows[n].step.lost.share)
    told = (
        f"From {percent_of(first, fleet.total)} of the machines down to "
        f"{percent_of(last, fleet.total)} in {len(rows)} steps."
    )
    if rows[worst].step.lost.machines:
        loss = percent_of(rows[worst].step.lost, fleet.total)
        told += f" The largest loss is {loss}, by {names[worst]}."
    return f"{told} The table below has all steps."


def _scale(axis: _Axis, fleet: Fleet) -> Iterator[Tick]:
    """The lines of the axis; those of the targets are dashed and say so at their right end."""
    targets = {part(target.wanted) for target in fleet.targets}
    places: list[float] = []
    for share in dict.fromkeys((1.0, 0.0, *sorted(targets, reverse=True), *_TICKS)):
        y = axis.y(share, everybody=share == 1)
        crowded = any(abs(y - other) < 13 for other in places)
        if not axis.shows(share) or (crowded and share not in targets):
            continue
        kind = "target" if share in targets else "axis" if share == 0 else "tick"
        if not crowded:
            places.append(y)
        yield Tick(kind, y, "" if crowded else f"{round(100 * share, 6):g} %", share in targets)


def flag_word(flag: str) -> str:
    """A flag in short: `avx2`."""
    return short(flag.removeprefix("has_"), 16)


def cell(share: float, x: float, y: float, width: float, height: float, title: str = "") -> Cell:
    """The cell of a share."""
    told = percent(share)
    w, h = width - 3, height - 3
    if told in {"100 %", "0 %"}:
        return Cell("whole" if told == "100 %" else "none", x, y, w, h, title=title)
    whole = round(100 * part(share))
    number = "<1" if whole < 1 else ">99" if whole > 99 else str(whole)
    return Cell("some", x, y, w, h, h * part(share), number, title)


def matrix_picture(matrix: Matrix, *, narrow: bool) -> MatrixPicture:
    """The picture of a matrix."""
    wide, line = (_NARROW_CELL, _NARROW_LINE) if narrow else (CELL, _LINE)
    left = 0 if narrow else _MODEL_WIDTH + _WEIGHT_WIDTH
    names = [flag_word(flag) for flag in matrix.columns]
    top = max(map(len, names)) * _CHARACTER + 14
    heaviest = max(map(part, matrix.weights), default=0) or 1
    rows = []
    for number, row in enumerate(matrix.rows):
        y = top + line * number
        weight = part(matrix.weights[number])
        below = line / 2 if narrow else 0
        cells = [
            cell(
                share,
                left + wide * column,
                y + below,
                wide,
                line - below,
                f"{short(row, MODEL_CELLS)}: {names[column]}: {percent(share)}",
            )
            for column, share in enumerate(matrix.shares[number])
        ]
        name = f"{short(row, 44)}, {percent(weight)}" if narrow else short(row, MODEL_CELLS)
        bar = max(50 * weight / heaviest, 1 if weight else 0)
        rows.append(Row(short(row, _NAME_CELLS), name, y, bar, percent(weight), cells))
    return MatrixPicture(
        kind="narrow" if narrow else "wide",
        width=left + wide * len(names) + 2,
        height=top + line * len(matrix.rows),
        columns=[
            Label(name, left + wide * number + (wide - 3) / 2, top - 8, True, "soft")
            for number, name in enumerate(names)
        ],
        rows=rows,
        line=line,
        left=left,
    )

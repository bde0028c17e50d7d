"""The coverage curve and the matrix of CPU models and flags, as inline SVG. Pure.

The curve's vertical axis is the logarithm of what is *missing*: 90, 99 and 99.9 % lie equally far
apart, because that is where a packager decides. 100 % has a line of its own above it. What the
pictures show stands in tables of the page as well, and nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import msgspec

from cpuprobe.facts.features import FeatureTable, load_features
from cpuprobe.fleet.model import Fleet, Matrix
from cpuprobe.report.fleet_words import CurveRow, machines, part, percent, percent_of, short
from cpuprobe.report.pages import escape

MODEL_CELLS = 46
"""Columns of text that the name of a CPU model may take beside the matrix."""

_NAME_CELLS = 90
_LEFT, _RIGHT, _TOP, _HEIGHT = 72, 112, 64, 320
_TICKS = (1.0, 0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.5)
_MOST_DECADES = 9.0
_GAP = 0.25  # decades that stay free below the line of 100 %
_CHARACTER = 6.3  # width of a character of 11 pixels, on the safe side
_MOST_CHARACTERS = 20


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


def curve_picture(rows: Sequence[CurveRow], fleet: Fleet) -> Iterator[str]:
    """The curve: a step down for the machines that each row loses, and the targets as lines."""
    name = _heads(load_features())
    axis = _axis(rows, fleet)
    names = [name(row) for row in rows]
    if rows[0].step.added and _all(rows[0], fleet):
        names[0] = "on all machines"
    pitch = min(max(820 / len(rows), 17), 130)
    longest = max(map(len, names)) * _CHARACTER
    upright = longest > pitch - 6
    bottom = _TOP + _HEIGHT
    width = _LEFT + pitch * len(rows) + _RIGHT
    height = bottom + (longest + 24 if upright else 40)
    heights = [axis.y(row.step.covered.share, everybody=_all(row, fleet)) for row in rows]
    # A picture of few steps is not blown up to the width of the page.
    yield (
        '<div class="picture curve-picture" tabindex="0" role="group" aria-label="Curve">\n'
        f'<svg viewBox="0 0 {width:.1f} {height:.1f}" style="--natural: {width:.0f}px; '
        'max-width: var(--natural)" role="img" aria-labelledby="curve-title curve-text">\n'
        '<title id="curve-title">Coverage curve</title>\n'
        f'<desc id="curve-text">{escape(_curve_words(rows, names, fleet))}</desc>\n'
    )
    path = f"M{_LEFT} {heights[0]:.3f}"
    for number, each in enumerate(heights, 1):
        path += f"V{each:.3f}H{_LEFT + pitch * number:.1f}"
    yield f'<path class="under" d="{path}V{bottom}H{_LEFT}Z"/>\n'
    yield from _scale(axis, fleet, width - _RIGHT)
    yield f'<path class="curve" id="curve-line" d="{path}"/>\n'
    for number, (row, head) in enumerate(zip(rows, names, strict=True)):
        middle = _LEFT + pitch * (number + 0.5)
        lost = row.step.lost
        loss = _minus(percent_of(lost, fleet.total)) if lost.machines else ""
        said = f"{number + 1}: {head}: {percent_of(row.step.covered, fleet.total)}"
        said += f", loses {machines(lost.machines)}" if lost.machines else ""
        yield (
            f'<g><title>{escape(said)}</title><rect x="{middle - pitch / 2:.1f}" y="{_TOP}" '
            f'width="{pitch:.1f}" height="{_HEIGHT}" fill="none" pointer-events="all"/>'
        )
        if loss:
            wide = len(loss) * _CHARACTER < pitch - 4
            yield _label(loss, middle, heights[number] - 7, upright=not wide, kind="halo")
        yield _label(head, middle, bottom + 16, upright=upright, kind="soft", down=True)
        yield "</g>\n"
    yield "</svg></div>\n"


def _minus(told: str) -> str:
    return told if told.startswith("<") else f"\u2212{told}"


def _label(text: str, x: float, y: float, *, upright: bool, kind: str, down: bool = False) -> str:
    """Text at a point: centred, or standing upright above it or hanging below it."""
    if not upright:
        return (
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )
    anchor = "end" if down else "start"
    y -= 6 if down else 0
    return (
        f'<text class="{kind}" x="{x + 4:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'transform="rotate(-90 {x + 4:.1f} {y:.1f})">{escape(text)}</text>'
    )


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


def _scale(axis: _Axis, fleet: Fleet, right: float) -> Iterator[str]:
    """The lines of the axis; those of the targets are dashed and say so at their right end."""
    targets = {part(target.wanted) for target in fleet.targets}
    places: list[float] = []
    for share in dict.fromkeys((1.0, 0.0, *sorted(targets, reverse=True), *_TICKS)):
        y = axis.y(share, everybody=share == 1)
        crowded = any(abs(y - other) < 13 for other in places)
        if not axis.shows(share) or (crowded and share not in targets):
            continue
        kind = "target" if share in targets else "axis" if share == 0 else "tick"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{right:.1f}" y1="{y:.3f}" y2="{y:.3f}"/>\n'
        if crowded:
            continue
        places.append(y)
        told = f"{round(100 * share, 6):g} %"
        yield (
            f'<text class="soft" x="{_LEFT - 8}" y="{y + 4:.3f}" text-anchor="end">{told}</text>\n'
        )
        if share in targets:
            yield f'<text class="mark" x="{right + 6:.1f}" y="{y + 4:.1f}">target {told}</text>\n'


_MODEL_WIDTH, _WEIGHT_WIDTH = 284, 116
_CELL, _LINE = 27, 22
_NARROW_CELL, _NARROW_LINE = 17, 40


def flag_word(flag: str) -> str:
    """A flag in short: `avx2`."""
    return short(flag.removeprefix("has_"), 16)


def legend() -> Iterator[str]:
    """What the cells of the matrix mean."""
    yield '<ul class="legend picture" aria-label="What the cells mean">\n'
    for share, words in (
        (1.0, "safe on all machines of the model"),
        (0.37, "on some: the number is percent"),
        (0.0, "on none"),
    ):
        yield (
            f'<li><svg width="{_CELL}" height="18" style="width: {_CELL}px" aria-hidden="true">'
            f"{_cell(share, 0, 0, _CELL, 18)}</svg><span>{words}</span></li>\n"
        )
    yield "</ul>\n"


def _cell(share: float, x: float, y: float, width: float, height: float) -> str:
    """A cell: filled, filled from below as far as its share with the percent, or a dash."""
    told = percent(share)
    w, h = width - 3, height - 3
    if told == "100 %":
        return f'<rect class="whole" x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}"/>'
    middle = y + h / 2
    if told == "0 %":
        return (
            f'<line class="none" x1="{x + w / 2 - 3:.1f}" x2="{x + w / 2 + 3:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
        )
    tall = h * part(share)
    whole = round(100 * part(share))
    number = "<1" if whole < 1 else ">99" if whole > 99 else str(whole)
    small = ' style="font-size: 8px"' if width < _CELL else ""
    return (
        f'<rect class="some" x="{x:.1f}" y="{y + h - tall:.1f}" width="{w:.1f}" '
        f'height="{tall:.1f}"/><rect class="frame" x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" '
        f'width="{w - 1:.1f}" height="{h - 1:.1f}"/>'
        f'<text x="{x + w / 2:.1f}" y="{middle + 4:.1f}" text-anchor="middle"{small}>'
        f"{escape(number)}</text>"
    )


def matrix_picture(matrix: Matrix, *, narrow: bool) -> Iterator[str]:
    """The picture for wide screens, or for narrow ones with the model's name above its cells."""
    cell, line = (_NARROW_CELL, _NARROW_LINE) if narrow else (_CELL, _LINE)
    left = 0 if narrow else _MODEL_WIDTH + _WEIGHT_WIDTH
    names = [flag_word(flag) for flag in matrix.columns]
    top = max(map(len, names)) * _CHARACTER + 14
    width = left + cell * len(names) + 2
    height = top + line * len(matrix.rows)
    kind = "narrow" if narrow else "wide"
    yield (
        f'<div class="picture {kind}">\n<svg viewBox="0 0 {width} {height:.1f}" role="img" '
        f'style="max-width: {width}px" aria-labelledby="matrix-{kind} matrix-{kind}-text">\n'
        f'<title id="matrix-{kind}">CPU models and flags</title>\n<desc id="matrix-{kind}-text">'
        f"Which of {len(names)} flags are safe on {len(matrix.rows)} CPU models, heaviest first. "
        "The table below has the numbers.</desc>\n"
    )
    for number, name in enumerate(names):
        x = left + cell * number + (cell - 3) / 2
        yield _label(name, x, top - 8, upright=True, kind="soft") + "\n"
    heaviest = max(map(part, matrix.weights), default=0) or 1
    for number, row in enumerate(matrix.rows):
        y = top + line * number
        yield f"<g><title>{escape(short(row, _NAME_CELLS))}</title>"
        weight = part(matrix.weights[number])
        if narrow:
            told = f"{short(row, 44)}, {percent(weight)}"
            yield _clipped(told, y, width, line / 2)
        else:
            yield _clipped(short(row, MODEL_CELLS), y, _MODEL_WIDTH - 10, line)
            bar = max(50 * weight / heaviest, 1 if weight else 0)
            yield (
                f'<rect class="weight" x="{_MODEL_WIDTH}" y="{y + 5:.1f}" width="{bar:.1f}" '
                f'height="{line - 13}"/><text class="soft" x="{left - 12}" y="{y + 13.5:.1f}" '
                f'text-anchor="end">{escape(percent(weight))}</text>'
            )
        yield "</g>\n"
        below = line / 2 if narrow else 0
        for column, share in enumerate(matrix.shares[number]):
            told = f"{short(row, MODEL_CELLS)}: {names[column]}: {percent(share)}"
            drawing = _cell(share, left + cell * column, y + below, cell, line - below)
            yield f"<g><title>{escape(told)}</title>{drawing}</g>\n"
    yield "</svg></div>\n"


def _clipped(text: str, y: float, width: float, height: float) -> str:
    """A name that may not reach over what stands beside it; a nested SVG clips."""
    return (
        f'<svg x="0" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f'<text x="0" y="13.5">{escape(text)}</text></svg>'
    )

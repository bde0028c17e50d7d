"""A fleet as one self-contained HTML page with the coverage curve and the matrix drawn. Pure.

Like `report.html` it needs no network and no script, and every value passes `escape`. The pictures
are inline SVG; what they show stands in tables as well, and nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cpuprobe.fleet.model import Coverage, FindingCount, Fleet, Group, Share, Target
from cpuprobe.report.fleet_pictures import (
    MODEL_CELLS,
    curve_picture,
    flag_word,
    legend,
    matrix_picture,
)
from cpuprobe.report.fleet_words import (
    NOTHING,
    CurveRow,
    basis_lines,
    curve_rows,
    errors_line,
    levels_of,
    machines,
    main_target,
    part,
    percent,
    percent_of,
    rest_line,
    short,
    verdict,
    wanted,
    weighted,
)
from cpuprobe.report.html import escape, page_head
from cpuprobe.report.style import SHAPES

_MOST_ROWS = 50  # of a group or of findings
_MOST_STEPS = 48  # of the picture; the table has all
_NAME_CELLS = 90
# Kinds of profiles that are many, and that nobody builds for all of: they are folded away.
_LONG_KINDS = frozenset({"cpu", "gds-force", "preset"})
_SEVERITIES = frozenset({"error", "warning", "info"})

_FLEET_STYLE = """
.picture { overflow-x: auto; margin: 1rem 0; }
.picture svg { display: block; height: auto; width: 100%; }
.picture text { font-size: 11px; fill: var(--ink); font-variant-numeric: tabular-nums; }
.picture .soft { fill: var(--soft); }
.picture .mark { fill: var(--bad); font-weight: 600; }
.picture .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.picture line { stroke: var(--line); }
.picture line.axis { stroke: var(--soft); }
.picture line.target { stroke: var(--bad); stroke-dasharray: 5 4; }
.curve { fill: none; stroke: var(--info); stroke-width: 2.25; stroke-linejoin: round; }
.under { fill: var(--info-wash); }
.whole { fill: var(--info); }
.some { fill: var(--info); opacity: 0.32; }
.picture line.none { stroke: var(--soft); stroke-width: 1.4; }
.frame { fill: none; stroke: var(--line); }
.weight { fill: var(--soft); }
table.fleet { width: auto; min-width: 60%; }
.fleet th, .fleet td { vertical-align: top; padding: 0.3rem 1.4rem 0.3rem 0; white-space: normal; }
.fleet th { font-size: 0.85rem; }
.fleet thead th { font-size: 0.75rem; white-space: nowrap; }
.fleet .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.fleet small { color: var(--soft); font-size: 0.8rem; }
.fleet .gone { display: block; color: var(--warn); font-size: 0.8rem; margin-top: 0.15rem; }
.fleet .word { white-space: nowrap; }
.fleet .bar { width: 8.4rem; }
.bar span {
  display: block; height: 0.5rem; margin-top: 0.4em; background: var(--info); min-width: 1px;
}
.bar.empty span { background: none; }
.scroll { overflow-x: auto; }
.small { font-size: 0.75rem; }
.small th, .small td { padding-right: 0.5rem; }
.small tbody th { min-width: 11rem; }
.small thead th { vertical-align: bottom; }
.small thead .number { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
section > details { margin-top: 1.5rem; }
details > .scroll { margin-top: 1rem; }
.finding .cause-of { color: var(--soft); font-size: 0.925rem; margin: 0.3rem 0 0; }
.finding .count { font-size: 0.925rem; margin: 0.3rem 0 0; }
@media (max-width: 40rem) {
  .fleet th, .fleet td { padding-right: 0.6rem; } .fleet .bar { display: none; }
  .steps tr {
    display: grid; grid-template-columns: 2.5rem 5.5rem 1fr 1fr; border-top: 1px solid var(--line);
  }
  .steps th, .steps td { border: 0; }
  .steps tr + tr > * { border: 0; }
  .steps td:last-child { grid-column: 1 / -1; padding-left: 2.5rem; }
  .steps th:last-child { display: none; }
  table.fleet { width: 100%; }
  .picture.curve-picture svg { width: var(--natural); }
  .wide { display: none; }
}
@media (min-width: 40.01rem) { .narrow { display: none; } }
@media print { .narrow { display: none; } .wide { display: block; } tr { break-inside: avoid; } }
"""


def to_html(fleet: Fleet) -> str:
    """The page of a fleet."""
    return "".join(_page(fleet))


def _page(fleet: Fleet) -> Iterator[str]:
    title = machines(fleet.total.machines)
    yield page_head(title, _FLEET_STYLE)
    yield (
        f'<main>\n<header>\n<p class="eyebrow">cpuprobe {escape(fleet.cpuprobe)} fleet</p>\n'
        f"<h1>{escape(title)}</h1>\n"
    )
    yield from _verdict(fleet)
    yield from _facts(fleet)
    yield "</header>\n"
    yield from _coverages("levels", "Levels and profiles", (*fleet.levels, *fleet.profiles), fleet)
    yield from _curve(fleet)
    yield from _targets(fleet)
    yield from _coverages("asked", "Sets of flags asked for", fleet.flag_sets, fleet)
    yield from _matrix(fleet)
    yield from _findings(fleet)
    yield from _groups("models", "CPU models", "CPU model", fleet.models, fleet)
    yield from _groups("kernels", "Kernels", "kernel", fleet.kernels, fleet)
    yield from _groups("hypervisors", "Hypervisors", "hypervisor", fleet.hypervisors, fleet)
    yield from _features(fleet)
    yield from _basis(fleet)
    yield (
        "</main>\n<footer>Made by cpuprobe. <code>cpuprobe fleet --json</code> has every number."
        "</footer>\n</body>\n</html>\n"
    )


# --- words and tables -------------------------------------------------------------------------


def _verdict(fleet: Fleet) -> Iterator[str]:
    bad = fleet.mismatched.machines > 0
    kind, shape = ("bad", "broken") if bad else ("good", "usable")
    first, *rest = errors_line(fleet).partition(":") if bad else ("", errors_line(fleet))
    words = f'<strong class="bad">{escape(first)}</strong>' if bad else ""
    target = main_target(fleet)
    yield f'<p class="verdict">{_sentence(f"{verdict(fleet)}.")}</p>\n'
    if target is not None and target.best is not None and target.best.flags:
        yield f"<p>{_codes(target.best.flags)}</p>\n"
    yield (
        f'<p class="verdict"><span class="{kind}"><svg width="14" height="14" viewBox="0 0 16 16" '
        f'aria-hidden="true">{SHAPES[shape]}</svg></span>'
        f"<span>{words}{_sentence(''.join(rest))}</span></p>\n"
    )


def _sentence(words: str) -> str:
    """Words in which a number is not parted from its sign at the end of a line."""
    return escape(words).replace(" %", "&nbsp;%")


def _facts(fleet: Fleet) -> Iterator[str]:
    facts = [
        ("machines", f"{fleet.total.machines:,}"),
        ("executed on", _told(fleet.executed, fleet)),
        ("with an error", _told(fleet.mismatched, fleet)),
        ("captures not read", f"{fleet.unread:,}"),
        ("flags of wasmtime", fleet.wasmtime),
        ("counted by", fleet.backend),
    ]
    if weighted(fleet):
        facts.insert(1, ("weight", f"{fleet.total.weight:,.6g}"))
    yield '<dl class="facts">\n'
    for label, value in facts:
        yield f"<div><dt>{label}</dt><dd>{escape(short(value))}</dd></div>\n"
    yield "</dl>\n"


def _told(share: Share, fleet: Fleet) -> str:
    return f"{share.machines:,} ({percent_of(share, fleet.total)})"


def _codes(names: Iterable[str]) -> str:
    return " ".join(f"<code>{escape(short(name, 40))}</code>" for name in names) or "none"


def _number(text: object) -> str:
    return f'<td class="number">{escape(text)}</td>'


def _bar(share: float, label: str = "") -> str:
    width = 100 * part(share)
    empty = " empty" if width <= 0 else ""
    return f'<td class="bar{empty}"><span style="width: {width:.4f}%"></span>{label}</td>'


def _table(headings: Sequence[str], rows: Iterable[str], kind: str = "fleet") -> Iterator[str]:
    """A table; a heading that starts with `#` stands over numbers."""
    yield f'<div class="scroll"><table class="{kind}">\n<thead><tr>'
    for heading in headings:
        number = ' class="number"' if heading.startswith("#") else ""
        bar = ' class="bar"' if heading == "" else ""
        yield f'<th scope="col"{number}{bar}>{escape(heading.removeprefix("#"))}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in rows:
        yield f"<tr>{row}</tr>\n"
    yield "</tbody></table></div>\n"


def _section(anchor: str, title: str, more: str = "") -> str:
    small = f" <small>{escape(more)}</small>" if more else ""
    return f'<section>\n<h2 id="{anchor}">{escape(title)}{small}</h2>\n'


def _coverages(anchor: str, title: str, sets: Sequence[Coverage], fleet: Fleet) -> Iterator[str]:
    if not sets:
        return
    yield _section(anchor, title)
    yield from _sets([each for each in sets if each.kind not in _LONG_KINDS], fleet)
    long = [each for each in sets if each.kind in _LONG_KINDS]
    if long:
        yield f"<details><summary>And {len(long)} profiles of CPUs</summary>\n"
        yield from _sets(long, fleet)
        yield "</details>\n"
    yield "</section>\n"


def _sets(sets: Sequence[Coverage], fleet: Fleet) -> Iterator[str]:
    yield from _table(
        ("set", "", "#covered", "#machines", "#lacking"),
        (
            f'<th scope="row">{escape(short(each.name, _NAME_CELLS))} '
            f"<small>{escape(short(each.kind, 20))}</small></th>"
            f"{_bar(each.covered.share)}{_number(percent_of(each.covered, fleet.total))}"
            f"{_number(f'{each.covered.machines:,}')}"
            f"{_number(f'{fleet.total.machines - each.covered.machines:,}')}"
            for each in sets
        ),
    )


def _targets(fleet: Fleet) -> Iterator[str]:
    if not (fleet.targets or fleet.best):
        return
    yield _section("flags", "Largest sets of flags", f"wasmtime {short(fleet.wasmtime, 20)}")
    yield from _table(
        ("#wanted", "#covered", "#flags", "set"),
        (_target(target, fleet) for target in fleet.targets),
    )
    if fleet.best:
        yield "<details><summary>The best set of each size</summary>\n"
        yield from _table(
            ("#flags", "#covered", "#machines", "set"),
            (
                f"{_number(best.k)}{_number(percent_of(best.covered, fleet.total))}"
                f"{_number(f'{best.covered.machines:,}')}<td>{_codes(best.flags)}</td>"
                for best in fleet.best
            ),
        )
        yield "</details>\n"
    yield "</section>\n"


def _target(target: Target, fleet: Fleet) -> str:
    if target.best is None:
        return (
            f"{_number(wanted(target))}{_number('-')}{_number('-')}<td>no set covers so many</td>"
        )
    return (
        f"{_number(wanted(target))}{_number(percent_of(target.best.covered, fleet.total))}"
        f"{_number(target.best.k)}<td>{_codes(target.best.flags)}</td>"
    )


def _findings(fleet: Fleet) -> Iterator[str]:
    yield _section("findings", "Findings")
    if not fleet.findings:
        yield "<p>None.</p>\n"
    for finding in fleet.findings[:_MOST_ROWS]:
        yield _finding(finding, fleet)
    rest = len(fleet.findings) - _MOST_ROWS
    if rest > 0:
        yield f"<p>And {rest:,} more findings.</p>\n"
    yield "</section>\n"


def _finding(finding: FindingCount, fleet: Fleet) -> str:
    kind = finding.severity if finding.severity in _SEVERITIES else "info"
    cause = f'<p class="cause-of">Cause: {escape(short(finding.cause, 300))}</p>\n'
    return (
        f'<article class="finding {kind}">\n<h3><span class="tag">{escape(finding.code)} '
        f'{escape(finding.severity)}</span><span class="title">'
        f"{escape(short(finding.title, 300))}</span></h3>\n"
        f'<p class="count">{machines(finding.machines.machines)} '
        f"({escape(percent_of(finding.machines, fleet.total))})</p>\n"
        f"{cause if finding.cause else ''}</article>\n"
    )


def _groups(
    anchor: str, title: str, heading: str, groups: Sequence[Group], fleet: Fleet
) -> Iterator[str]:
    if not groups:
        return
    yield _section(anchor, title)
    yield from _table(
        (heading, "", "#machines", "#share", "#errors", "level"),
        (
            f'<th scope="row">{escape(short(group.value, _NAME_CELLS))}</th>'
            f"{_bar(group.machines.share)}{_number(f'{group.machines.machines:,}')}"
            f"{_number(percent_of(group.machines, fleet.total))}"
            f"{_number(f'{group.mismatched.machines:,}' if group.mismatched.machines else '-')}"
            f'<td class="word">{"<br>".join(map(escape, levels_of(group)))}</td>'
            for group in groups[:_MOST_ROWS]
        ),
    )
    rest = [group.machines for group in groups[_MOST_ROWS:]]
    if rest:
        yield f"<p>{escape(_capital(rest_line(rest, fleet)))}.</p>\n"
    yield "</section>\n"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _features(fleet: Fleet) -> Iterator[str]:
    if not fleet.features:
        return
    yield _section("features", "Each feature alone")
    yield "<details><summary>On how many machines each feature is safe</summary>\n"
    yield from _table(
        ("feature", "", "#covered", "#machines"),
        (
            f'<th scope="row"><code>{escape(short(name, 40))}</code></th>{_bar(share.share)}'
            f"{_number(percent_of(share, fleet.total))}{_number(f'{share.machines:,}')}"
            for name, share in fleet.features.items()
        ),
    )
    yield "</details>\n</section>\n"


def _basis(fleet: Fleet) -> Iterator[str]:
    yield _section("basis", "What this rests on")
    yield from (f"<p>{_sentence(line)}</p>\n" for line in basis_lines(fleet))
    told = fleet.skipped[:_MOST_ROWS]
    if told:
        yield from _table(
            ("not read", "why"),
            (
                f'<th scope="row">{escape(short(each.capture))}</th>'
                f"<td>{escape(short(each.why, 300))}</td>"
                for each in told
            ),
        )
        if fleet.unread > len(told):
            yield f"<p>And {fleet.unread - len(told):,} more.</p>\n"
    yield "</section>\n"


def _curve(fleet: Fleet) -> Iterator[str]:
    yield _section("curve", "What each further feature costs")
    if not fleet.curve:
        yield "<p>No feature is safe on any machine.</p>\n</section>\n"
        return
    rows = curve_rows(fleet.curve)
    yield (
        "<p>Features are added in the order that loses least. A step goes down by the machines "
        "that lack what it adds; the scale widens towards 100 %.</p>\n"
    )
    yield from curve_picture(rows[:_MOST_STEPS], fleet)
    if len(rows) > _MOST_STEPS:
        yield f"<p>The picture ends at step {_MOST_STEPS} of {len(rows)}.</p>\n"
    yield from _table(
        ("#step", "#covered", "#machines", "#lost", "adds"),
        (_curve_row(number, row, fleet) for number, row in enumerate(rows, 1)),
        kind="fleet steps",
    )
    yield "</section>\n"


def _curve_row(number: int, row: CurveRow, fleet: Fleet) -> str:
    step = row.step
    lost = f"{step.lost.machines:,}" if step.lost.machines else "-"
    free = f"<br>at no further loss: {_codes(row.free)}" if row.free else ""
    flags = f"<br><small>flags: {_codes(row.flags)}</small>" if row.flags else ""
    losers = ", ".join(escape(short(each)) for each in step.losers)
    gone = f'<span class="gone">loses: {losers}</span>' if losers else ""
    return (
        f"{_number(number)}{_number(percent_of(step.covered, fleet.total))}"
        f"{_number(f'{step.covered.machines:,}')}{_number(lost)}"
        f"<td>{_codes(step.added) if step.added else NOTHING}{free}{flags}{gone}</td>"
    )


def _matrix(fleet: Fleet) -> Iterator[str]:
    matrix = fleet.matrix
    if not (matrix.rows and matrix.columns):
        return
    yield _section("matrix", "CPU models and flags")
    yield from legend()
    yield from matrix_picture(matrix, narrow=False)
    yield from matrix_picture(matrix, narrow=True)
    yield (
        "<details><summary>The same as a table</summary>\n<p>Percent of the model's machines.</p>\n"
    )
    yield from _table(
        ("CPU model", "#of the fleet", *(f"#{flag_word(flag)}" for flag in matrix.columns)),
        (
            f'<th scope="row">{escape(short(row, MODEL_CELLS))}</th>{_number(percent(weight))}'
            + "".join(_number(percent(share).removesuffix(" %")) for share in shares)
            for row, weight, shares in zip(matrix.rows, matrix.weights, matrix.shares, strict=True)
        ),
        kind="fleet small",
    )
    yield "</details>\n</section>\n"

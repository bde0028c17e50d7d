"""The report as one self-contained HTML page. Pure.

It needs no network and no script: a Content-Security-Policy forbids both, and every value passes
`escape` or is one of this module's own words. The feature matrix is a set of real tables, a column
a capture or a kind of CPU; a state is told by shape, by colour and in words.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from cpuprobe.assessment import assess
from cpuprobe.assessment.model import Assessment, FeatureAssessment, Finding, by_gravity
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.report.installed import inference_lines, introspection_lines
from cpuprobe.report.style import SHAPES, STYLE
from cpuprobe.report.subject import ReportedMachine, facts, first_cause, headline
from cpuprobe.report.witnesses import agreements, disagreements
from cpuprobe.version import VERSION
from cpuprobe.words import answer, cpu_list, plain

_MOST_NARROW = 3  # columns that still fit two tables side by side
_MOST_WORDS = 4  # columns beyond which the state's word is only read aloud
_MOST_KINDS = 16  # kinds of CPU of one machine that get a column
_LOUD = frozenset({"withheld", "broken", "uneven"})
_MILD = frozenset({"gated", "hidden"})

_MEANING = {
    "usable": "claimed, enabled, executes",
    "absent": "not claimed",
    "withheld": "claimed, but the OS or kernel took it away",
    "broken": "claimed and enabled, but faults or computes wrongly",
    "hidden": "executes, though CPUID denies it",
    "gated": "needs a permission of each process",
    "uneven": "the CPUs disagree",
    "unknown": "not told",
    "unverified": "not executed",
}

# What the psABI levels leave over, by encoding.
_BEYOND = "Beyond the levels: "
_REST = {
    "legacy": f"{_BEYOND}legacy encoding",
    "vex-gpr": f"{_BEYOND}VEX, general registers",
    "vex": f"{_BEYOND}VEX, vectors",
    "evex": f"{_BEYOND}AVX-512, AVX10",
    "amx": "AMX tiles",
    "apx": "APX",
}


def escape(text: object) -> str:
    """Any value as text of an element or of a quoted attribute."""
    return html.escape(plain(str(text)), quote=True)


def render_html(subjects: Sequence[ReportedMachine]) -> str:
    """The page for one machine or several."""
    return "".join(_page(subjects))


def page_head(title: str, style: str = "") -> str:
    """What a page of ours begins with, up to `<body>`: no script, and nothing from elsewhere.

    Args:
        title: of the window, after the program's name.
        style: rules of CSS beyond the common ones.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>cpuprobe: {escape(title)}</title>\n<style>{STYLE}{style}</style>\n"
        "</head>\n<body>\n"
    )


def _page(subjects: Sequence[ReportedMachine]) -> Iterator[str]:
    several = len(subjects) > 1
    title = f"{len(subjects)} machines" if several else _brand(subjects[0])
    yield page_head(title)
    yield '<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>'
    for state, drawing in SHAPES.items():
        yield f'<symbol id="shape-{state}" viewBox="0 0 16 16">{drawing}</symbol>'
    yield "</defs></svg>\n<main>\n<header>\n"
    yield f'<p class="eyebrow">cpuprobe {escape(VERSION)} report</p>\n<h1>{escape(title)}</h1>\n'
    if several:
        yield from _overview(subjects)
    else:
        yield from _verdict(subjects[0].assessment)
        yield from _facts(subjects[0])
    yield "</header>\n"
    if not several:
        yield from _findings(subjects[0], "")
    yield from _matrix(subjects)
    for number, subject in enumerate(subjects, 1):
        yield from _details(subject, f"m{number}-" if several else "")
    yield (
        "</main>\n<footer>Made by cpuprobe. The JSON in this page is the whole report: "
        "<code>cpuprobe inspect</code> reads this file.</footer>\n</body>\n</html>\n"
    )


def _brand(subject: ReportedMachine) -> str:
    identity = subject.assessment.identity
    return plain(identity.brand or "") or plain(identity.vendor or "") or "Unknown CPU"


def _shape(state: str) -> str:
    return f'<svg width="14" height="14" aria-hidden="true"><use href="#shape-{state}"/></svg>'


def _verdict(assessment: Assessment) -> Iterator[str]:
    bad = assessment.verdict == "mismatch"
    kind, word = ("bad", "Mismatch") if bad else ("good", "Consistent")
    shape = "broken" if bad else "usable"
    if assessment.verdict == "insufficient":
        word, shape = "Insufficient", "unknown"
    elif not bad and assessment.basis == "cpuid":
        shape = "unverified"
    yield (
        f'<p class="verdict"><span class="{kind}">{_shape(shape)}</span>'
        f'<span><strong class="{kind}">{word}.</strong> {escape(headline(assessment))}</span></p>\n'
    )
    cause = first_cause(assessment)
    if cause:
        yield f'<p class="cause">Cause: {escape(cause)}.</p>\n'


def _facts(subject: ReportedMachine) -> Iterator[str]:
    yield '<dl class="facts">\n'
    for label, value in facts(subject):
        if label == "CPU" and subject.assessment.identity.brand:
            continue  # it is the heading
        yield f"<div><dt>{escape(label.replace('_', ' '))}</dt><dd>{escape(value)}</dd></div>\n"
    yield "</dl>\n"


def _overview(subjects: Sequence[ReportedMachine]) -> Iterator[str]:
    yield '<ol class="columns">\n'
    for number, subject in enumerate(subjects, 1):
        bad = subject.assessment.verdict == "mismatch"
        yield (
            f'<li><a href="#m{number}-machine">{escape(subject.name)}</a>: '
            f"{escape(_brand(subject))}, "
            f'<strong class="{"bad" if bad else "good"}">'
            f"{escape(subject.assessment.verdict)}</strong>, "
            f"{escape(subject.assessment.level or 'below x86-64-v1')}</li>\n"
        )
    yield "</ol>\n"


def _findings(subject: ReportedMachine, prefix: str) -> Iterator[str]:
    findings = by_gravity(subject.assessment.findings)
    yield f'<section>\n<h2 id="{prefix}findings">Findings</h2>\n'
    if not findings:
        yield "<p>None.</p>\n"
    for finding in findings:
        yield from _finding(finding, prefix)
    yield "</section>\n"


def _finding(finding: Finding, prefix: str) -> Iterator[str]:
    anchor = f"{prefix}{finding.code}"
    yield (
        f'<article class="finding {finding.severity}" id="{anchor}">\n'
        f'<h3><span class="tag"><a href="#{anchor}">{finding.code}</a> {finding.severity}</span>'
        f'<span class="title">{escape(finding.title)}</span></h3>\n<dl>\n'
    )
    if finding.evidence:
        lines = "".join(f"<li>{escape(line)}</li>" for line in finding.evidence)
        yield f"<dt>evidence</dt><dd><ul>{lines}</ul></dd>\n"
    if finding.cause:
        yield f"<dt>cause</dt><dd>{escape(finding.cause)}</dd>\n"
    if finding.remedy:
        yield f"<dt>what to do</dt><dd>{escape(finding.remedy)}</dd>\n"
    if finding.cpus:
        yield f"<dt>CPUs</dt><dd>{cpu_list(finding.cpus)}</dd>\n"
    yield "</dl>\n</article>\n"


# --- the matrix ------------------------------------------------------------------------------


class _Column(msgspec.Struct, frozen=True):
    """One column of states, and the findings that a state may link to."""

    title: str
    short: str
    features: Mapping[str, FeatureAssessment]
    anchors: Mapping[str, str]


def _anchors(assessment: Assessment, prefix: str) -> dict[str, str]:
    """For each feature the gravest finding that names it."""
    anchors: dict[str, str] = {}
    for finding in by_gravity(assessment.findings):
        for name in finding.features:
            anchors.setdefault(name, f"{prefix}{finding.code}")
    return anchors


def _columns(subjects: Sequence[ReportedMachine]) -> list[_Column]:
    """A column a capture; or, for one machine with several kinds of CPU, one for each kind."""
    if len(subjects) > 1:
        return [
            _Column(
                subject.name,
                str(number),
                subject.assessment.features,
                _anchors(subject.assessment, f"m{number}-"),
            )
            for number, subject in enumerate(subjects, 1)
        ]
    (subject,) = subjects
    anchors = _anchors(subject.assessment, "")
    groups = subject.observation.groups
    whole = _Column("all CPUs", "all", subject.assessment.features, anchors)
    if len(groups) == 1:
        return [whole]
    columns = [whole]
    for group in sorted(groups, key=lambda each: min(each.cpus))[:_MOST_KINDS]:
        alone = msgspec.structs.replace(subject.observation, groups=(group,))
        listed = cpu_list(group.cpus)
        columns.append(_Column(f"CPU {listed}", f"CPU {listed}", assess(alone).features, anchors))
    return columns


def _families() -> Iterator[tuple[str, list[str]]]:
    """The features in scannable portions: each psABI level's own, then the rest by encoding."""
    table = load_features()
    placed: set[str] = set()
    for level in load_levels():
        own = [name for name in table if name in level.features and name not in placed]
        placed.update(own)
        yield level.name, own
    for encoding, title in _REST.items():
        rest = [name for name in table if table[name].encoding == encoding and name not in placed]
        if rest:
            yield title, rest


def _matrix(subjects: Sequence[ReportedMachine]) -> Iterator[str]:
    columns = _columns(subjects)
    yield '<section>\n<h2 id="features">Features</h2>\n'
    yield from _legend(columns)
    if len(columns) == 1:
        yield from _map(columns[0])
    wide = " many" if len(columns) > 1 else ""
    if len(columns) >= _MOST_NARROW:
        wide += " crowded"
    if len(columns) > _MOST_NARROW:
        wide += " wide"
    yield f'<div class="families{wide}">\n'
    for title, features in _families():
        yield from _family(title, features, columns)
    yield "</div>\n</section>\n"


def _map(column: _Column) -> Iterator[str]:
    """All features at a glance, one shape each; the tables below say the same in words."""
    yield '<div class="map" aria-hidden="true">\n'
    for title, features in _families():
        shapes = "".join(
            f'<a tabindex="-1" class="{column.features[name].state}" href="#f-{escape(name)}" '
            f'title="{escape(name)}: {column.features[name].state}">'
            f"{_shape(column.features[name].state)}</a>"
            for name in features
        )
        short = escape(title.removeprefix(_BEYOND))
        yield f"<div><span>{short}</span><span>{shapes}</span></div>\n"
    yield "</div>\n"


def _legend(columns: Sequence[_Column]) -> Iterator[str]:
    present = {feature.state for column in columns for feature in column.features.values()}
    counts: dict[str, int] = {}
    for feature in columns[0].features.values():
        counts[feature.state] = counts.get(feature.state, 0) + 1
    yield '<ul class="legend" aria-label="What the shapes mean">\n'
    for state, meaning in _MEANING.items():
        if state in present:
            count = (
                f'<span class="count">{counts.get(state, 0)}</span> ' if len(columns) == 1 else ""
            )
            yield (
                f'<li><span class="{state}">{_shape(state)}</span><span>{count}{state} '
                f"<small>{meaning}</small></span></li>\n"
            )
    yield "</ul>\n"


def _family(title: str, features: Iterable[str], columns: Sequence[_Column]) -> Iterator[str]:
    features = list(features)
    safe = [name for name in features if all(column.features[name].safe for column in columns)]
    everywhere = " on all" if len(columns) > 1 else ""
    yield (
        f'<div class="family"><table{_width(len(columns))}>\n<caption>{escape(title)} '
        f"<small>{len(safe)} of {len(features)} safe{everywhere}</small></caption>\n"
        '<thead><tr><th scope="col">feature</th>'
    )
    if len(columns) == 1:
        yield '<th scope="col">state</th>'
        yield from (f'<th scope="col">{each}</th>' for each in ("CPUID", "OS", "kernel", "ran"))
    else:
        for column in columns:
            yield f'<th scope="col" title="{escape(column.title)}">{escape(column.short)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for name in features:
        yield from _row(name, columns)
    yield "</tbody></table></div>\n"


def _width(columns: int) -> str:
    """Room for a shape in each of many columns; a narrow screen then scrolls the table."""
    return f' style="min-width: {8 + 1.5 * columns:g}rem"' if columns > _MOST_WORDS else ""


def _row(name: str, columns: Sequence[_Column]) -> Iterator[str]:
    states = {column.features[name].state for column in columns}
    kind = f" {next(iter(states))}" if len(states) == 1 else ""
    yield (
        f'<tr class="{_tone(states)}{kind}" id="f-{escape(name)}">'
        f'<th scope="row" class="name">{escape(name)}</th>'
    )
    for column in columns:
        yield _state(name, column, aloud=len(columns) > _MOST_WORDS)
    if len(columns) == 1:
        feature = columns[0].features[name]
        said = (answer(feature.cpuid), answer(feature.os), answer(feature.kernel))
        yield from (f'<td class="said">{each}</td>' for each in (*said, feature.ran or "-"))
    yield "</tr>\n"


def _tone(states: Iterable[str]) -> str:
    """How loud a row or cell is: as its loudest state."""
    found = frozenset(states)
    return "loud" if found & _LOUD else "mild" if found & _MILD else "quiet"


def _state(name: str, column: _Column, *, aloud: bool) -> str:
    feature = column.features[name]
    word = feature.state
    tone = _tone([word])
    if name in column.anchors and tone != "quiet":
        word_html = f'<a href="#{column.anchors[name]}">{word}</a>'
    else:
        word_html = word
    hidden = "word aloud" if aloud else "word"
    return (
        f'<td class="state {tone} {word}">{_shape(word)}'
        f'<span class="{hidden}">{word_html}</span></td>'
    )


# --- the rest of a machine --------------------------------------------------------------------


def _details(subject: ReportedMachine, prefix: str) -> Iterator[str]:
    if prefix:
        yield (
            f'<section class="machine" id="{prefix}machine">\n<h2>{escape(subject.name)}: '
            f"{escape(_brand(subject))}</h2>\n"
        )
        yield from _verdict(subject.assessment)
        yield from _facts(subject)
        yield from _findings(subject, prefix)
    yield from _flags(subject.assessment, prefix)
    yield from _installed(subject, prefix)
    yield from _witnesses(subject, prefix)
    yield (
        f'<section>\n<h2 id="{prefix}json">Whole report</h2>\n'
        "<details><summary>JSON, for <code>cpuprobe inspect</code></summary>\n"
        f"<pre>{html.escape(subject.document, quote=False)}</pre>\n</details>\n</section>\n"
    )
    if prefix:
        yield "</section>\n"


def _flags(assessment: Assessment, prefix: str) -> Iterator[str]:
    target = assessment.wasmtime
    found = "" if target.installed else ", none installed"
    yield (
        f'<section>\n<h2 id="{prefix}flags">Safe flags for wasmtime '
        f'{escape(target.version)}{found}</h2>\n<dl class="flags">\n'
    )
    on = [flag for flag, value in assessment.cranelift.items() if value]
    off = [flag for flag, value in assessment.cranelift.items() if not value]
    items = "".join(f"<li><code>{escape(flag)}</code></li>" for flag in on) or "<li>none</li>"
    yield f'<dt>on</dt><dd class="on"><ul>{items}</ul></dd>\n'
    items = "".join(
        f"<li><code>{escape(flag)}</code> "
        f"<small>{escape(assessment.cranelift_off.get(flag, ''))}</small></li>"
        for flag in off
    )
    items = items or "<li>none</li>"
    yield f'<dt>off</dt><dd class="off"><ul>{items}</ul></dd>\n</dl>\n</section>\n'


def _installed(subject: ReportedMachine, prefix: str) -> Iterator[str]:
    if subject.introspection is None:
        return
    yield f'<section>\n<h2 id="{prefix}wasmtime">The installed wasmtime, asked itself</h2>\n<ul>\n'
    yield from (f"<li>{escape(line)}</li>\n" for line in introspection_lines(subject.introspection))
    if subject.inference is not None:
        yield from (f"<li>{escape(line)}</li>\n" for line in inference_lines(subject.inference))
    yield "</ul>\n</section>\n"


def _witnesses(subject: ReportedMachine, prefix: str) -> Iterator[str]:
    said = list(disagreements(subject))
    asked = agreements(subject)
    notes = [*subject.surroundings.notes, *subject.assessment.notes]
    if not (said or asked or notes):
        return
    yield f'<section>\n<h2 id="{prefix}witnesses">Other witnesses and notes</h2>\n<ul>\n'
    yield from (f"<li>{escape(line)}.</li>\n" for line in said)
    if asked and not said:
        yield f"<li>{escape(', '.join(asked))} agree.</li>\n"
    yield from (f"<li>{escape(note)}.</li>\n" for note in notes)
    yield "</ul>\n</section>\n"

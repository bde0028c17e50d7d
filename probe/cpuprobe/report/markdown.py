"""The bug report as Markdown for a GitHub issue. Pure.

Everything that may come from a stranger's capture stands in a code span, where GitHub sees neither
markup nor HTML nor @mentions, or is escaped. The whole report is folded at the end as one line of
JSON: copied from the rendered page, `cpuprobe inspect` reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.assessment.model import Assessment, Finding, by_gravity
from cpuprobe.report.installed import inference_lines, introspection_lines
from cpuprobe.report.subject import (
    ISSUE_LIMIT,
    ReportedMachine,
    disagreeing,
    facts,
    first_cause,
    headline,
)
from cpuprobe.report.witnesses import agreements, disagreements
from cpuprobe.words import answer, cpu_list, names, plain

_MOST_ROWS = 40
_MOST_EVIDENCE = 8
_SPAN_LENGTH = 400
_LINKS = re.compile(r"(?i)[@#]|https?(?=:)|ftp(?=:)|mailto(?=:)|xmpp(?=:)|www(?=\.)|\bGH(?=-\d)")
_FLAGS = re.compile(r"(\bhas_[0-9a-z_]+(?: has_[0-9a-z_]+)*)")
_PUNCTUATION = re.compile(r"([\\`*_\[\]<>|~&$])")


def escape(text: str) -> str:
    """Text that Markdown, GitHub's mentions and its automatic links all leave as it is."""
    escaped = _PUNCTUATION.sub(r"\\\1", plain(text))
    # Escaped or not, GitHub looks for mentions and links in the finished text; a comment splits it.
    return _LINKS.sub(r"\g<0><!-- -->", escaped)


def code(text: str) -> str:
    """Text as a code span, whatever backticks it holds (CommonMark 0.31, 6.1)."""
    line = plain(text)
    if len(line) > _SPAN_LENGTH:
        line = line[: _SPAN_LENGTH - 3] + "..."
    if not line:
        return "(empty)"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def cell(text: str) -> str:
    """A code span inside a table, where a pipe must be escaped even in code (GFM 0.29, 4.10)."""
    return code(text).replace("|", "\\|")


def render_markdown(subjects: Sequence[ReportedMachine]) -> str:
    """The report.

    Returns:
        Markdown. If the whole JSON would make it longer than GitHub takes, the JSON's assessment is
        left out, which `inspect` makes again; if that is too long still, all of it, and the text
        says so.
    """
    bodies = ["\n".join(_body(subject, len(subjects) > 1)) for subject in subjects]
    for folds in (
        [_fold(subject.document, "") for subject in subjects],
        [
            _fold(
                subject.document_short,
                "Without the assessment, which `inspect` makes again: GitHub's limit.",
            )
            for subject in subjects
        ],
    ):
        text = _joined(bodies, folds)
        if len(text) < ISSUE_LIMIT:
            return text
    warning = (
        f"\n> **The JSON is not here**: with it this text would pass GitHub's "
        f"{ISSUE_LIMIT:,} characters. Please attach the file that "
        "`cpuprobe report --format json -o FILE.json` writes.\n"
    )
    return _joined(bodies, [warning for _ in subjects])


def _joined(bodies: Sequence[str], folds: Sequence[str]) -> str:
    return "\n".join(f"{body}\n{fold}" for body, fold in zip(bodies, folds, strict=True))


def _fold(document: str, note: str) -> str:
    note = f"{note}\n\n" if note else ""
    return (
        "\n<details><summary>Whole report (JSON, for <code>cpuprobe inspect</code>)</summary>\n\n"
        f"{note}```json\n{document}\n```\n\n</details>\n"
    )


def _body(subject: ReportedMachine, named: bool) -> Iterator[str]:
    assessment = subject.assessment
    word = {"consistent": "OK", "insufficient": "UNKNOWN", "mismatch": "MISMATCH"}[
        assessment.verdict
    ]
    if named:
        yield f"## {code(subject.name)}\n"
    cause = first_cause(assessment)
    because = f" Cause: {escape(cause)}." if cause else ""
    yield f"**{word}**: {escape(headline(assessment))}{because}"
    yield ""
    for label, value in facts(subject):
        yield f"- {escape(label.replace('_', ' '))}: {code(value)}"
    yield from _table(assessment)
    for finding in by_gravity(assessment.findings):
        yield from _finding(finding)
    yield from _witnesses(subject)
    for note in assessment.notes:
        yield f"\nNote: {escape(note)}."
    yield from _flags(assessment)
    yield from _installed(subject)


def _table(assessment: Assessment) -> Iterator[str]:
    rows = disagreeing(assessment)
    if not rows:
        yield "\nNo feature on which CPUID, the OS, the kernel and execution disagree."
        return
    yield "\n| feature | CPUID | OS | kernel | executed | state |"
    yield "|---|---|---|---|---|---|"
    for name, feature in list(rows.items())[:_MOST_ROWS]:
        yield (
            f"| {cell(name)} | {answer(feature.cpuid)} | {answer(feature.os)} "
            f"| {answer(feature.kernel)} | {feature.ran or '-'} | **{feature.state}** |"
        )
    if len(rows) > _MOST_ROWS:
        yield f"\nand {len(rows) - _MOST_ROWS} more: {escape(names(list(rows)[_MOST_ROWS:], 200))}"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"\n**{finding.code}** ({finding.severity}) {escape(finding.title)}"
    for line in finding.evidence[:_MOST_EVIDENCE]:
        yield f"- evidence: {code(line)}"
    if len(finding.evidence) > _MOST_EVIDENCE:
        yield f"- and {len(finding.evidence) - _MOST_EVIDENCE} more pieces of evidence"
    if finding.cause:
        yield f"- cause: {escape(finding.cause)}"
    if finding.remedy:
        yield f"- what to do: {escape(finding.remedy)}"
    if finding.cpus:
        yield f"- CPUs: {cpu_list(finding.cpus)}"


def _witnesses(subject: ReportedMachine) -> Iterator[str]:
    said = list(disagreements(subject))
    asked = agreements(subject)
    if said:
        yield "\nOther witnesses disagree:"
        yield from (f"- {escape(line)}" for line in said)
    elif asked:
        yield f"\nOther witnesses agree: {escape(', '.join(asked))}."
    for note in subject.surroundings.notes:
        yield f"\nNote: {escape(note)}."


def _flags(assessment: Assessment) -> Iterator[str]:
    target = assessment.wasmtime
    found = "" if target.installed else " (none installed)"
    yield f"\nSafe flags for wasmtime {code(target.version)}{found}:\n"
    yield "```text"
    for word, wanted in (("on ", True), ("off", False)):
        listed = [flag for flag, value in assessment.cranelift.items() if value is wanted]
        yield f"{word} {' '.join(map(plain, listed)) or 'none'}"
    yield "```"


def _installed(subject: ReportedMachine) -> Iterator[str]:
    if subject.introspection is None:
        return
    yield "\nThe installed wasmtime, asked itself:"
    yield from (f"- {_spans(line)}" for line in introspection_lines(subject.introspection))
    if subject.inference is not None:
        yield from (f"- {_spans(line)}" for line in inference_lines(subject.inference))


def _spans(line: str) -> str:
    """A sentence with its flags in code spans, which reads better unrendered too."""
    parts = enumerate(_FLAGS.split(line))
    return " ".join(code(each) if at % 2 else escape(each) for at, each in parts if each.strip())

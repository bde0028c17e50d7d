"""The bug report as Markdown for a GitHub issue. Pure.

What is wrong, why and what to do stand first, then the machine and the evidence in a few rows; the
rest is folded. Everything that may come from a stranger's capture stands in a code span, where
GitHub sees neither markup nor HTML nor @mentions, or is escaped. The data block is the whole
report: copied from the page or quoted in a mail, `cpuprobe inspect` reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cpuprobe.assessment.model import Assessment, Finding, by_gravity
from cpuprobe.report.pages import render
from cpuprobe.report.spoken import spoken
from cpuprobe.report.subject import (
    ISSUE_LIMIT,
    ReportedMachine,
    disagreeing,
    facts,
    installed,
    key_facts,
    until,
    vulnerabilities,
)
from cpuprobe.report.verdict import evidence_rows, gravest, headline, verdict_word
from cpuprobe.report.witnesses import agreements, disagreements
from cpuprobe.words import names, plain

_MOST_ROWS = 4
_MOST_FEATURES = 40
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
        Markdown. If the whole report would make it longer than GitHub takes, the assessment is left
        out of its data, which `inspect` makes again; if that is too long still, all of it, and the
        text says so.
    """
    bodies = [_body(subject, len(subjects) > 1) for subject in subjects]
    short = "Without the assessment, which `inspect` makes again: GitHub's limit.\n\n"
    for folds in (
        [_fold(subject.block) for subject in subjects],
        [_fold(subject.short_block, short) for subject in subjects],
    ):
        text = _joined(bodies, folds)
        if len(text) < ISSUE_LIMIT:
            return text
    warning = (
        f"\n> **The data is not here**: with it this text would pass GitHub's "
        f"{ISSUE_LIMIT:,} characters. Please attach the file that "
        "`cpuprobe report --format json -o FILE.json` writes.\n"
    )
    return _joined(bodies, [warning for _ in subjects])


def _joined(bodies: Sequence[str], folds: Sequence[str]) -> str:
    return "\n".join(f"{body}{fold}" for body, fold in zip(bodies, folds, strict=True))


def _fold(block: str, note: str = "") -> str:
    return (
        "\n<details><summary>Whole report, for <code>cpuprobe inspect</code></summary>\n\n"
        f"{note}```text\n{block}\n```\n\n</details>\n"
    )


def _body(subject: ReportedMachine, named: bool) -> str:
    from markupsafe import Markup

    assessment = subject.assessment

    def literally(make: Callable[[str], str]) -> Callable[[str], Markup]:
        return lambda text: Markup(make(text))

    return render(
        "report.md",
        escape,
        machine=subject,
        named=named,
        word=verdict_word(assessment),
        column=spoken(assessment).column,
        most_rows=_MOST_ROWS,
        most_features=_MOST_FEATURES,
        most_evidence=_MOST_EVIDENCE,
        code=literally(code),
        cell=literally(cell),
        cells=lambda listed: Markup(", ".join(map(cell, listed))),
        counts=_counts,
        evidence_rows=evidence_rows,
        gravest=gravest,
        key_facts=key_facts,
        until=until,
        vulnerabilities=vulnerabilities,
        spans=literally(_spans),
        flags=lambda assessment, wanted: Markup(_flags(assessment, wanted)),
        agreements=agreements,
        by_gravity=by_gravity,
        disagreeing=disagreeing,
        disagreements=disagreements,
        facts=facts,
        headline=headline,
        installed=installed,
        names=names,
    )


def _counts(findings: Sequence[Finding]) -> str:
    """`CP101 CP104 (error), CP502 (warning)`, the gravest first."""
    by: dict[str, list[str]] = {}
    for finding in by_gravity(findings):
        listed = by.setdefault(finding.severity, [])
        if finding.code not in listed:
            listed.append(finding.code)
    return ", ".join(f"{' '.join(codes)} ({severity})" for severity, codes in by.items())


def _flags(assessment: Assessment, wanted: bool) -> str:
    listed = [plain(flag) for flag, value in assessment.cranelift.items() if value is wanted]
    return " ".join(listed) or "none"


def _spans(line: str) -> str:
    """A sentence with its flags in code spans, which reads better unrendered too."""
    parts = enumerate(_FLAGS.split(line))
    return " ".join(code(each) if at % 2 else escape(each) for at, each in parts if each.strip())

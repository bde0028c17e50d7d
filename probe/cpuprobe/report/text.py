"""Everything that is known of a machine, as text: what `cpuprobe --all` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cpuprobe.assessment.model import Assessment, FeatureAssessment, Finding
from cpuprobe.report.layout import Cell, Line, Styled, fold, paragraph, table
from cpuprobe.report.spoken import spoken
from cpuprobe.report.verdict import guest_words, mismatch, told, unproven
from cpuprobe.words import answer, counted, cpu_list, cut

_STYLES = {
    "usable": "green",
    "absent": "dim",
    "withheld": "bold red",
    "broken": "bold red",
    "uneven": "bold red",
    "hidden": "yellow",
    "gated": "yellow",
    "unverified": "yellow",
    "unknown": "dim",
    "consistent": "bold green",
    "insufficient": "yellow",
    "mismatch": "bold red",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
}


def lines(assessment: Assessment, width: int) -> Iterator[Line]:
    """An assessment as lines.

    Args:
        assessment: what to tell.
        width: of the terminal, in columns.
    """
    yield from fold(identity_line(assessment), width)
    style = _STYLES[assessment.verdict]
    if assessment.verdict == "consistent" and assessment.basis != "executed":
        style = "bold"  # green is for what has executed
    verdict = fold((Styled(verdict_line(assessment), style),), width)
    yield from verdict
    yield ""
    yield from _feature_table(assessment, width)
    for finding in assessment.findings:
        yield ""
        yield from _finding(finding, assessment.identity.cpus, width)
    for note in assessment.notes:
        yield ""
        yield from fold(f"note: {note}", width)
    yield ""
    yield from _flags(assessment, width)
    yield ""
    yield from verdict  # what came before has scrolled away


def identity_line(assessment: Assessment) -> str:
    """Who the machine says it is, in one line."""
    identity = assessment.identity
    parts = [identity.brand or identity.vendor or "unknown CPU"]
    if identity.family is not None:
        parts[0] += f" ({identity.family}/{identity.model:#x}/{identity.stepping})"
    if identity.microcode:
        parts.append(f"microcode {identity.microcode}")
    if identity.kernel:
        parts.append(f"Linux {identity.kernel}")
    if identity.hypervisor:
        parts.append(guest_words(identity.hypervisor))
    parts.append(counted(identity.cpus, "CPU"))
    return cut(", ".join(parts))


def verdict_line(assessment: Assessment) -> str:
    """What is wrong, if anything, in one line for a layman."""
    level = assessment.level or f"below {spoken(assessment).lowest}"
    if assessment.level is None and assessment.bits == 32:
        level = "programs there are 32-bit"
    if assessment.advertised_level not in (None, assessment.level):
        level += f", though it advertises {assessment.advertised_level}"
    wrong = mismatch(assessment)
    if wrong:
        return cut(f"MISMATCH: {wrong}")
    if assessment.verdict == "insufficient":
        return cut(f"{told(assessment)}.")
    if assessment.basis != "executed":
        return cut(f"{unproven(assessment)} {level}")
    return cut(f"OK: what this machine claims, it does. {level}.")


def _feature_table(assessment: Assessment, width: int) -> Iterator[Line]:
    """The features as rows of known words; a hundred of them, folded only where they have to be."""
    rows = [_feature_row(name, feature) for name, feature in assessment.features.items()]
    claimed = spoken(assessment).column
    headings = ("feature", claimed, "OS", "kernel", "executed", "state", "safe")
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        styled: list[list[Cell]] = [
            [*row[:5], (Styled(row[5], _STYLES[row[5]]),), *row[6:]] for row in rows
        ]
        yield from table(headings, styled, width)
        return
    yield (Styled(_padded(headings, widths), "bold"),)
    for row in rows:
        before, state, after = row[:5], row[5], row[6:]
        yield (
            _padded(before, widths) + "  ",
            Styled(state, _STYLES[state]),
            " " * (widths[5] - len(state) + 2) + after[0],
        )


def _feature_row(name: str, feature: FeatureAssessment) -> tuple[str, ...]:
    said = (answer(feature.cpuid), answer(feature.os), answer(feature.kernel), feature.ran or "-")
    return (name, *said, feature.state, "yes" if feature.safe else "no")


def _padded(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, row, widths))


def _finding(finding: Finding, cpus: int, width: int) -> Iterator[Line]:
    head = Styled(f"{finding.code} {finding.severity}", _STYLES[finding.severity])
    yield from fold((head, f"  {finding.title}"), width)
    body = [
        ("evidence" if not number else "", line) for number, line in enumerate(finding.evidence)
    ]
    body += [("cause", finding.cause)] if finding.cause else []
    body += [("remedy", finding.remedy)] if finding.remedy else []
    known = "known cases" if len(finding.cases) > 1 else "known case"
    body += [(known if not at else "", each.sentence) for at, each in enumerate(finding.cases)]
    body += [("CPUs", cpu_list(finding.cpus))] if len(finding.cpus) < cpus else []
    room = max((len(key) for key, _ in body), default=0)
    for key, text in body:
        yield from paragraph(text, width, f"  {key}", 3 + room)


def _flags(assessment: Assessment, width: int) -> Iterator[Line]:
    version = assessment.wasmtime.version
    found = "" if assessment.wasmtime.installed else ", none installed"
    yield from fold((Styled(f"safe flags for wasmtime {version}{found}", "bold"),), width)
    for word, wanted in (("on", True), ("off", False)):
        listed = [flag for flag, value in assessment.cranelift.items() if value is wanted]
        yield from paragraph(" ".join(listed) or "none", width, f"  {word}", 6)
    hint = "cpuprobe flags --format rust|c|python|cli|clif|json|text writes them out"
    yield from paragraph((Styled(hint, "dim"),), width, "  ")

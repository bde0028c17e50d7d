"""The report as text: what `cpuprobe` prints. At most 100 columns; colour only if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cpuprobe.assessment.model import Assessment, FeatureAssessment, Finding
from cpuprobe.facts.features import FeatureTable, load_features, load_table
from cpuprobe.report.subject import told
from cpuprobe.words import answer, counted, cpu_list, cut, names

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
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
}
_NOTEWORTHY = frozenset({"withheld", "broken", "uneven", "hidden", "gated"})


def render(assessment: Assessment, console: Console, *, every_feature: bool = False) -> None:
    """Prints an assessment.

    Args:
        assessment: what to print.
        console: where to; its width and colours are used as they are.
        every_feature: a row for each feature, the uninteresting ones too.
    """
    for part in _parts(assessment, every_feature):
        console.print(part)


def _parts(assessment: Assessment, every_feature: bool) -> Iterator[RenderableType]:
    yield Text(identity_line(assessment))
    yield Text(verdict_line(assessment), style=_verdict_style(assessment))
    for line in advice_lines(assessment):
        yield Text(line)
    yield Text()
    yield from _feature_table(assessment, every_feature)
    for finding in assessment.findings:
        yield Text()
        yield _finding(finding, assessment.identity.cpus)
    for note in assessment.notes:
        yield Text()
        yield Text(f"note: {note}")
    yield Text()
    yield from _flags(assessment)


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
        parts.append(f"guest of {identity.hypervisor}")
    parts.append(counted(identity.cpus, "CPU"))
    return cut(", ".join(parts))


def verdict_line(assessment: Assessment) -> str:
    """What is wrong, if anything, in one line for a layman."""
    level = assessment.level or "below x86-64-v1"
    if assessment.level is None and assessment.bits == 32:
        level = "programs there are 32-bit"
    if assessment.advertised_level not in (None, assessment.level):
        level += f", though it advertises {assessment.advertised_level}"
    errors = [finding for finding in assessment.findings if finding.severity == "error"]
    if not errors:
        if assessment.verdict == "insufficient":
            return cut(f"{told(assessment)}.")
        if assessment.basis == "cpuid":
            return cut(
                f"Nothing known speaks against what CPUID claims; nothing was executed. {level}"
            )
        return cut(f"OK: what this machine claims, it does. {level}.")
    row = next(r for r in load_table("findings")["finding"] if r["code"] == errors[0].code)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    plain = row["plain"].replace("{features}", names(errors[0].features, 4))
    return cut(f"MISMATCH: {plain}{more}")


def advice_lines(assessment: Assessment) -> Iterator[str]:
    """For a mismatch: why, and which flags have to be off although CPUID claims their features."""
    errors = [finding for finding in assessment.findings if finding.severity == "error"]
    if not errors:
        return
    if errors[0].cause:
        yield cut(f"Cause: {errors[0].cause}")
    table = load_features()
    off = [
        flag
        for flag, value in assessment.cranelift.items()
        if not value
        and (feature := table.by_cranelift.get(flag)) is not None
        and assessment.features[feature.name].cpuid is True
    ]
    if off:
        yield cut(f"To run wasmtime here, switch off: {' '.join(off)}")


def _verdict_style(assessment: Assessment) -> str:
    return {"consistent": "bold green", "insufficient": "yellow", "mismatch": "bold red"}[
        assessment.verdict
    ]


def _feature_table(assessment: Assessment, every_feature: bool) -> Iterator[RenderableType]:
    table = load_features()
    shown = [
        name
        for name, feature in assessment.features.items()
        if every_feature or _matters(name, feature, assessment, table)
    ]
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("feature", "CPUID", "OS", "kernel", "executed", "state", "safe"):
        grid.add_column(heading, no_wrap=True, header_style="bold")
    for name in shown:
        feature = assessment.features[name]
        grid.add_row(
            name,
            answer(feature.cpuid),
            answer(feature.os),
            answer(feature.kernel),
            feature.ran or "-",
            Text(feature.state, style=_STYLES[feature.state]),
            "yes" if feature.safe else "no",
        )
    yield grid
    rest = [f for name, f in assessment.features.items() if name not in shown]
    if rest:
        counts: dict[str, int] = {}
        for feature in rest:
            counts[feature.state] = counts.get(feature.state, 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in counts.items())
        yield Text(f"and {len(rest)} more: {told} (--all shows them)", style="dim")


def _matters(
    name: str, feature: FeatureAssessment, assessment: Assessment, table: FeatureTable
) -> bool:
    if feature.state in _NOTEWORTHY:
        return True
    if any(name in finding.features for finding in assessment.findings):
        return True
    return table[name].cranelift in assessment.cranelift


def _finding(finding: Finding, cpus: int) -> RenderableType:
    head = Text.assemble(
        (f"{finding.code} {finding.severity}", _STYLES[finding.severity]),
        f"  {finding.title}",
    )
    body = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    for number, line in enumerate(finding.evidence):
        body.add_row("evidence" if number == 0 else "", Text(line))
    if finding.cause:
        body.add_row("cause", Text(finding.cause))
    if finding.remedy:
        body.add_row("remedy", Text(finding.remedy))
    if len(finding.cpus) < cpus:
        body.add_row("CPUs", cpu_list(finding.cpus))
    return Group(head, Padding(body, (0, 0, 0, 2)))


def _flags(assessment: Assessment) -> Iterator[RenderableType]:
    version = assessment.wasmtime.version
    found = "" if assessment.wasmtime.installed else ", none installed"
    yield Text(f"safe flags for wasmtime {version}{found}", style="bold")
    for word, wanted in (("on", True), ("off", False)):
        listed = [flag for flag, value in assessment.cranelift.items() if value is wanted]
        body = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        body.add_column(no_wrap=True, width=3)
        body.add_column()
        body.add_row(word, Text(" ".join(listed) or "none"))
        yield Padding(body, (0, 0, 0, 2))
    yield Text(
        "  cpuprobe flags --format rust|c|python|cli|clif|json|text writes them out", style="dim"
    )


def render_many(
    assessments: Sequence[tuple[str, Assessment]], console: Console, *, every_feature: bool = False
) -> None:
    """Prints several assessments, each under the name of its capture."""
    for number, (name, assessment) in enumerate(assessments):
        if number:
            console.print()
        if len(assessments) > 1:
            console.print(Text(f"== {name}", style="bold"))
        render(assessment, console, every_feature=every_feature)

"""A difference as text, at most 100 columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpuprobe.assessment.difference import Difference, Fit
from cpuprobe.assessment.model import FeatureAssessment
from cpuprobe.report.layout import Line, Styled, cells, fold, table
from cpuprobe.words import answer, cpu_list, plain

_NAME_WIDTH = 60


def lines(difference: Difference, width: int) -> Iterator[Line]:
    """What differs, as lines of `width` columns; one line if nothing does."""
    for part in _parts(difference, width):
        yield from fold(part, width)


def _parts(difference: Difference, width: int) -> Iterator[Line]:
    yield Styled("A ", "bold"), _short(difference.a)
    yield Styled("B ", "bold"), _short(difference.b)
    yield ""
    if difference.same:
        yield (Styled("Same: nothing that cpuprobe compares differs.", "bold green"),)
    yield from _identity(difference, width)
    yield from _features(difference, width)
    yield from _findings(difference)
    yield from _flags(difference)
    yield ""
    yield _fits("compiled on A, runs on B?", difference.a_on_b, difference.wasmtime)
    yield _fits("compiled on B, runs on A?", difference.b_on_a, difference.wasmtime)
    for note in difference.notes:
        yield (Styled(f"note: {plain(note)}", "dim"),)


def _short(name: str) -> str:
    name = plain(name)
    return name if cells(name) <= _NAME_WIDTH else "..." + name[-(_NAME_WIDTH - 3) :]


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(str(value)) or "(empty)"


def _identity(difference: Difference, width: int) -> Iterator[Line]:
    rows: list[tuple[str, str, str]] = []
    words: list[str] = []
    for key, pair in difference.identity.items():
        if key.startswith("/proc/cpuinfo ") and pair.a is not None and pair.b is not None:
            a, b = set(str(pair.a).split()), set(str(pair.b).split())
            for side, listed in (("A", a - b), ("B", b - a)):
                if listed:
                    words.append(f"{key}, only {side}: {' '.join(sorted(listed))}")
        else:
            rows.append((key.replace("_", " "), _value(pair.a), _value(pair.b)))
    if rows:
        yield from table(("machine", "A", "B"), rows, width)
    yield from words
    if difference.identity:
        yield ""


def _features(difference: Difference, width: int) -> Iterator[Line]:
    if not difference.features:
        return
    rows = []
    alike = []
    for name, pair in difference.features.items():
        if pair.a.state == pair.b.state and pair.a.safe == pair.b.safe:
            alike.append(name)
        else:
            sides = [(_state(each), _witnesses(each)) for each in (pair.a, pair.b)]
            rows.append((name, *sides[0], *sides[1]))
    if rows:
        said = "cpuid/os/kernel/ran"
        yield from table(("feature", "A: state", said, "B: state", said), rows, width)
    if alike:
        yield (Styled(f"same state, other evidence: {', '.join(alike)}", "dim"),)
    yield ""


def _state(feature: FeatureAssessment) -> Line:
    return (Styled(feature.state, "green" if feature.safe else ""),)


def _witnesses(feature: FeatureAssessment) -> str:
    answers = (
        answer(feature.cpuid),
        answer(feature.os),
        answer(feature.kernel),
        feature.ran or "-",
    )
    return "/".join(answers)


def _findings(difference: Difference) -> Iterator[Line]:
    found = difference.findings
    for side, listed in (("A", found.only_a), ("B", found.only_b)):
        for finding in listed:
            cpus = f" (CPU {cpu_list(finding.cpus)})" if finding.cpus else ""
            yield f"only {side}: {finding.code} {finding.severity}  {finding.title}{cpus}"
    for code, pair in found.changed.items():
        yield f"both: {code}  A: {', '.join(pair.a) or '-'}  B: {', '.join(pair.b) or '-'}"
    if found.only_a or found.only_b or found.changed:
        yield ""


def _flags(difference: Difference) -> Iterator[Line]:
    if not difference.flags:
        return
    for side, other in (("A", "b"), ("B", "a")):
        listed = [
            flag
            for flag, pair in difference.flags.items()
            if getattr(pair, side.lower()) is True and getattr(pair, other) is not True
        ]
        if listed:
            yield f"safe flags only on {side}: {' '.join(listed)}"


def _fits(question: str, fits: Fit, wasmtime: str) -> Line:
    if fits.runs:
        return Styled(question, "bold"), Styled(" yes", "green")
    missing = f": not safe there (wasmtime {wasmtime}): {' '.join(fits.missing)}"
    return Styled(question, "bold"), Styled(" no", "bold red"), missing

"""A difference as text, at most 100 columns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cpuprobe.assessment.difference import Difference, Fit
from cpuprobe.assessment.model import FeatureAssessment
from cpuprobe.words import answer, cpu_list, plain

_NAME_WIDTH = 60


def render_difference(difference: Difference, console: Console) -> None:
    """Prints what differs; one line if nothing does."""
    for part in _parts(difference):
        console.print(part)


def _parts(difference: Difference) -> Iterator[RenderableType]:
    yield Text.assemble(("A ", "bold"), _short(difference.a))
    yield Text.assemble(("B ", "bold"), _short(difference.b))
    yield Text()
    if difference.same:
        yield Text("Same: nothing that cpuprobe compares differs.", style="bold green")
    yield from _identity(difference)
    yield from _features(difference)
    yield from _findings(difference)
    yield from _flags(difference)
    yield Text()
    yield _fits("compiled on A, runs on B?", difference.a_on_b, difference.wasmtime)
    yield _fits("compiled on B, runs on A?", difference.b_on_a, difference.wasmtime)
    for note in difference.notes:
        yield Text(f"note: {plain(note)}", style="dim")


def _short(name: str) -> str:
    name = plain(name)
    return name if cell_len(name) <= _NAME_WIDTH else "..." + name[-(_NAME_WIDTH - 3) :]


def _grid(*headings: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        grid.add_column(heading, header_style="bold", overflow="fold")
    return grid


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain(str(value)) or "(empty)"


def _identity(difference: Difference) -> Iterator[RenderableType]:
    if not difference.identity:
        return
    grid = _grid("machine", "A", "B")
    words = []
    for key, pair in difference.identity.items():
        if key.startswith("/proc/cpuinfo ") and pair.a is not None and pair.b is not None:
            a, b = set(str(pair.a).split()), set(str(pair.b).split())
            words.append(_words(key, "only A", a - b))
            words.append(_words(key, "only B", b - a))
        else:
            grid.add_row(_label(key), _value(pair.a), _value(pair.b))
    if grid.row_count:
        yield grid
    yield from (line for line in words if line is not None)
    yield Text()


def _label(key: str) -> Text:
    return Text(plain(key).replace("_", " "))


def _words(key: str, side: str, words: Iterable[str]) -> Text | None:
    listed = " ".join(sorted(map(plain, words)))
    return Text(f"{plain(key)}, {side}: {listed}") if listed else None


def _features(difference: Difference) -> Iterator[RenderableType]:
    if not difference.features:
        return
    grid = _grid("feature", "A: state", "cpuid/os/kernel/ran", "B: state", "cpuid/os/kernel/ran")
    alike = []
    for name, pair in difference.features.items():
        if pair.a.state == pair.b.state and pair.a.safe == pair.b.safe:
            alike.append(name)
            continue
        grid.add_row(name, _state(pair.a), _witnesses(pair.a), _state(pair.b), _witnesses(pair.b))
    if grid.row_count:
        yield grid
    if alike:
        yield Text(f"same state, other evidence: {', '.join(alike)}", style="dim")
    yield Text()


def _state(feature: FeatureAssessment) -> Text:
    return Text(feature.state, style="green" if feature.safe else "")


def _witnesses(feature: FeatureAssessment) -> str:
    answers = (
        answer(feature.cpuid),
        answer(feature.os),
        answer(feature.kernel),
        feature.ran or "-",
    )
    return "/".join(answers)


def _findings(difference: Difference) -> Iterator[RenderableType]:
    found = difference.findings
    for side, listed in (("A", found.only_a), ("B", found.only_b)):
        for finding in listed:
            yield Text(
                f"only {side}: {finding.code} {finding.severity}  {plain(finding.title)}"
                + (f" (CPU {cpu_list(finding.cpus)})" if finding.cpus else "")
            )
    for code, pair in found.changed.items():
        yield Text(f"both: {code}  A: {', '.join(pair.a) or '-'}  B: {', '.join(pair.b) or '-'}")
    if found.only_a or found.only_b or found.changed:
        yield Text()


def _flags(difference: Difference) -> Iterator[RenderableType]:
    if not difference.flags:
        return
    for side, other in (("A", "b"), ("B", "a")):
        listed = [
            plain(flag)
            for flag, pair in difference.flags.items()
            if getattr(pair, side.lower()) is True and getattr(pair, other) is not True
        ]
        if listed:
            yield Text(f"safe flags only on {side}: {' '.join(listed)}")


def _fits(question: str, fits: Fit, wasmtime: str) -> Text:
    if fits.runs:
        return Text.assemble((question, "bold"), (" yes", "green"))
    missing = " ".join(map(plain, fits.missing))
    return Text.assemble(
        (question, "bold"),
        (" no", "bold red"),
        f": not safe there (wasmtime {plain(wasmtime)}): {missing}",
    )

"""`cpuprobe bench` in words: a table, what makes no difference, and what to conclude."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpuprobe.wasm.bench import Row, Table
from cpuprobe.wasm.bench_rows import SAME, Worth
from cpuprobe.words import columns, within, wrapped

_WIDTH = 78
_JOINED = "\N{NO-BREAK SPACE}"


def to_text(table: Table, version: str) -> str:
    """One module's table, then one line for rows that are alike, then the conclusion."""
    return "\n".join(_lines(table, version))


def _lines(table: Table, version: str) -> Iterator[str]:
    call = f"{table.invoke}({', '.join(table.args)})"
    yield f"{table.module}: {call}, wasmtime {version}, {table.rounds} rounds, CPU time"
    yield f"  {'setup':<30} {'time a call':>12} {'ratio':>7}  quartiles"
    base, *others = table.rows
    yield f"  {base.name:<30} {_numbers(base)}"
    alike = [row for row in others if row.failed is None and row.differs is False]
    for row in others:
        if row not in alike:
            doubt = "" if row.failed is not None or row.differs else "  too noisy to tell"
            yield f"  {row.name:<30} {_numbers(row)}{doubt}"
    if alike:
        names = ", ".join(row.name.replace(" ", _JOINED) for row in alike)
        yield from _wrapped(f"no difference (under {SAME:.0%}, or the same code): {names}")
    yield ""
    yield from _wrapped(conclusion(table.worth, table.rows))


def conclusion(worth: Iterable[Worth], rows: Iterable[Row]) -> str:
    """What a packager wants to know, in a sentence or two."""
    said, pays, unsure = [], "x86-64-v1", False
    for step in worth:
        if step.differs is None:
            said.append(f"{step.step} is too noisy to tell ({step.ratio:.2f})")
        elif not step.differs:
            said.append(f"{step.step} nothing")
        elif step.ratio > 1:
            said.append(f"{step.step} {step.ratio:.2f} times")
        else:
            said.append(f"{step.step} makes it {1 / step.ratio:.2f} times slower")
        if step.differs and step.ratio > 1:
            pays, unsure = step.step, False
        unsure = unsure or step.differs is None
    sentence = f"Worth to this function, each over the step before: {'; '.join(said)}."
    if not said:
        sentence = "Nothing to compare: the levels did not run."
    elif unsure:
        sentence += f" Whether anything beyond {pays} gains is too noisy to tell."
    elif pays == "x86-64-v1":
        sentence += " Defaults of x86-64-v1 lose nothing here."
    elif pays.startswith("x86-64-v"):
        sentence += f" Beyond {pays} no default gains anything here."
    pulley = next((row for row in rows if row.flags is None), None)
    if pulley is not None and pulley.ratio is not None:
        times = f"{pulley.ratio:.{0 if pulley.ratio >= 10 else 2}f}"
        unlike = f" Pulley takes {times} times as long."
        sentence += unlike if pulley.differs else f" Pulley is no slower that shows ({times})."
    return sentence


def _wrapped(text: str) -> list[str]:
    with within(min(_WIDTH, columns())):
        return [line.replace(_JOINED, " ") for line in wrapped(text, "  ", "    ")]


def _numbers(row: Row) -> str:
    if row.failed is not None:
        return f"did not run: {row.failed}"[:68]
    assert row.seconds is not None
    return f"{_time(row.seconds):>12} {row.ratio:>7.3f}  {row.low:.3f} .. {row.high:.3f}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3f} {unit}"
    return f"{seconds * 1e9:.1f} ns"

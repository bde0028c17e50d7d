"""The answer of `cpuprobe explain`: its types, and how it is written as text and as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import msgspec

from cpuprobe import words
from cpuprobe.crash.answer import Explanation, InstructionAnswer
from cpuprobe.version import VERSION
from cpuprobe.words import WIDTH, names

SCHEMA = "cpuprobe.explain/1"


class Answer(msgspec.Struct, frozen=True):
    """The JSON document. `machine` says on which machine the features were looked up."""

    schema: str
    cpuprobe: str
    machine: str
    crashes: tuple[Explanation, ...]


def lacking(answer: Explanation) -> bool:
    """Whether an instruction needs what the machine does not safely have; hints need nothing."""
    needed = {
        name for each in answer.instructions if each.kind == "feature" for name in each.features
    }
    return any(each.name in needed and not each.safe for each in answer.features)


def to_json(machine: str, explanations: Sequence[Explanation]) -> bytes:
    """One document for all crashes, on one line."""
    answer = Answer(SCHEMA, VERSION, machine, tuple(explanations))
    return msgspec.json.encode(answer) + b"\n"


def to_text(machine: str, explanations: Sequence[Explanation]) -> str:
    """What a person reads: the instruction, the verdict, the features, what to do."""
    parts: list[str] = []
    advised: set[tuple[str, ...]] = set()
    for each in explanations:
        parts.append("\n".join(_lines(machine, each, each.advice not in advised)))
        advised.add(each.advice)
    return "\n\n".join(parts) + "\n"


def _wrapped(line: str, lead: str = "", hang: str = "") -> Iterator[str]:
    """The line within the width; commands keep their spacing and are not broken inside of words."""
    if len(lead) + len(line) <= WIDTH:
        yield lead + line
        return
    yield from textwrap.wrap(
        line,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=lead + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(machine: str, answer: Explanation, advise: bool) -> Iterator[str]:
    yield _where(answer)
    for each in answer.instructions:
        yield from _instruction(each)
    for each in answer.ways:
        yield f"  or      in another encoding: needs {names(each.features, 8) or 'x86-64-v1 alone'}"
    yield ""
    yield from _wrapped(answer.summary)
    if answer.features:
        yield ""
        yield from _features(machine, answer)
    if answer.advice and advise:
        yield ""
        yield "what to do"
        for line in answer.advice:
            yield from _wrapped(line, "  ", "  ")
    if answer.notes:
        yield ""
        for line in answer.notes:
            yield from _wrapped(f"note: {line}", "", "  ")


def _where(answer: Explanation) -> str:
    place = ""
    if answer.module is not None:
        place = f" in {answer.module}"
        if answer.offset is not None:
            place += f" + {answer.offset:#x}"
    elif answer.jit:
        place = " in code made at run time"
    return f"{answer.signal or 'instruction'}{place} ({answer.source})"


def _instruction(answer: InstructionAnswer) -> Iterator[str]:
    pairs = [answer.bytes[at : at + 2] for at in range(0, len(answer.bytes), 2)]
    for word, told in (("bytes", " ".join(pairs)), ("Intel", answer.intel), ("AT&T", answer.att)):
        if told:
            yield f"  {word:<7} {told}"
    if answer.other:
        yield f"  needs   {', '.join(answer.other)} (not in cpuprobe's table)"


def _features(machine: str, answer: Explanation) -> Iterator[str]:
    rows = [("feature", "CPUID", "OS", "kernel", "executed", "state", "safe")]
    rows += [
        (
            each.name,
            words.answer(each.cpuid),
            words.answer(each.os),
            words.answer(each.kernel),
            each.ran or "-",
            each.state,
            words.answer(each.safe),
        )
        for each in answer.features
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield f"on {machine}:"
    for row in rows:
        yield (
            "  "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    said: set[str] = set()
    for each in answer.features:
        if each.cause and each.cause not in said:
            said.add(each.cause)
            same = [other.name for other in answer.features if other.cause == each.cause]
            yield from _wrapped(f"{names(same, 8)}: {each.cause}", "  ", "  ")

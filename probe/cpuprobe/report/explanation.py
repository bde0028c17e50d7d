"""The answer of `cpuprobe explain`: how it is written as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from cpuprobe.assessment.model import State
from cpuprobe.crash.model import REFUSED, Judged, Shown, Verdict
from cpuprobe.facts.cases import KnownCase
from cpuprobe.report.explanation_advice import lines as advice_lines
from cpuprobe.report.explanation_sentences import ISAS
from cpuprobe.report.explanation_words import cause, notes, summary
from cpuprobe.report.layout import table, text_of
from cpuprobe.version import VERSION
from cpuprobe.words import answer as witness
from cpuprobe.words import columns, names, plain, wrapped

SCHEMA = "cpuprobe.explain/1"


class InstructionAnswer(msgspec.Struct, frozen=True):
    """One instruction: bytes in hexadecimal, both syntaxes, what it needs.

    `features` are canonical names, `other` names of what has no row in the table.
    """

    bytes: str
    kind: str
    intel: str
    att: str
    features: tuple[str, ...]
    other: tuple[str, ...]


class FeatureAnswer(msgspec.Struct, frozen=True):
    """A needed feature on the machine in question; the witnesses are as in a report."""

    name: str
    state: State
    safe: bool
    cpuid: bool | None
    os: bool | None
    kernel: bool | None
    ran: str | None
    cause: str
    remedy: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What one crash was.

    Attributes:
        source: the kind of record.
        verdict: see `Verdict`.
        summary: the verdict in words.
        signal: the signal or status, None if the record names none.
        isa: the instruction set of the code.
        program: the name of the program.
        function: the symbol at the instruction pointer.
        module: the file that holds the instruction, without folders.
        offset: of the instruction in the module, in bytes.
        jit: the code looks made at run time: it lies in memory of no file. None if not known.
        instructions: the faulting one; several where the input is a piece of code.
        ways: other encodings of the same assembler line.
        features: all that the instructions need beyond x86-64-v1.
        flags: Cranelift settings that keep its code off what is missing.
        advice: what to do.
        cases: public cases that it is like, the closest first.
        notes: what is uncertain.
    """

    source: str
    verdict: Verdict
    summary: str
    signal: str | None = None
    isa: str | None = None
    program: str | None = None
    function: str | None = None
    module: str | None = None
    offset: int | None = None
    jit: bool | None = None
    instructions: tuple[InstructionAnswer, ...] = ()
    ways: tuple[InstructionAnswer, ...] = ()
    features: tuple[FeatureAnswer, ...] = ()
    flags: dict[str, bool] = {}
    advice: tuple[str, ...] = ()
    cases: tuple[KnownCase, ...] = ()
    notes: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """The JSON document. `machine` says on which machine the features were looked up."""

    schema: str
    cpuprobe: str
    machine: str
    crashes: tuple[Explanation, ...]


def worded(answer: Judged) -> Explanation:
    """The answer with its words."""
    crash = answer.crash
    jit = None if crash.anonymous is None else crash.anonymous and crash.executable is not False
    return Explanation(
        source=crash.source,
        verdict=answer.verdict,
        summary=summary(answer),
        signal=crash.signal,
        isa=crash.isa,
        program=None if crash.program is None else plain(crash.program),
        function=None if crash.function is None else plain(crash.function)[:300],
        module=None if crash.module is None else plain(crash.module),
        offset=crash.offset,
        jit=jit,
        instructions=tuple(_instruction(each) for each in answer.instructions),
        ways=tuple(_instruction(each) for each in answer.ways),
        features=tuple(
            FeatureAnswer(
                each.name,
                each.state,
                each.safe,
                each.cpuid,
                each.os,
                each.kernel,
                each.ran,
                cause(each, answer.crash.isa),
                each.remedy,
            )
            for each in answer.features
        ),
        flags=answer.flags,
        advice=tuple(advice_lines(answer)),
        cases=answer.cases,
        notes=tuple(notes(answer)),
    )


def _instruction(shown: Shown) -> InstructionAnswer:
    """As decoded; where only the line of a text is known, its bytes are not."""
    decoded = shown.decoded
    att = decoded.att
    if not decoded.code and "%" in shown.text:
        att = shown.text
    return InstructionAnswer(
        bytes=decoded.code.hex(),
        kind=decoded.kind,
        intel=plain(decoded.intel),
        att=plain(att),
        features=decoded.features,
        other=decoded.other,
    )


def to_json(machine: str, answers: Sequence[Explanation]) -> bytes:
    """One document for all crashes, on one line."""
    return msgspec.json.encode(Answer(SCHEMA, VERSION, machine, tuple(answers))) + b"\n"


def to_text(machine: str, answers: Sequence[Explanation]) -> str:
    """What a person reads: the instruction, the verdict, the features, what to do."""
    if not answers:
        return "No illegal instruction among the newest entries of the journal.\n"
    parts: list[str] = []
    advised: set[tuple[str, ...]] = set()
    for each in answers:
        parts.append("\n".join(_lines(machine, each, each.advice not in advised)))
        advised.add(each.advice)
    return "\n\n".join(parts) + "\n"


def _wrapped(line: str, lead: str = "", hang: str = "") -> list[str]:
    """The line within the width. What begins with blanks is a command: at most between options."""
    if not line.startswith("  "):
        return wrapped(line, lead, lead + hang, whole=True)
    if " -C " not in line:
        command, _, remark = line.strip().partition("  (")
        if not remark or len(lead + line) <= columns():
            return [lead + line]
        return [f"{lead}  {command}", *wrapped(f"({remark}", f"{lead}    ", f"{lead}    ")]
    options = line.strip().replace("-C ", "-C\0")
    indent = lead + "  "
    return [each.replace("\0", " ") for each in wrapped(options, indent, indent, whole=True)]


def _lines(machine: str, answer: Explanation, advise: bool) -> Iterator[str]:
    yield from _wrapped(_where(answer), hang="  ")
    for each in answer.instructions:
        yield from _shown(each)
    for each in answer.ways:
        needs = names(each.features, 8) or "x86-64-v1 alone"
        yield f"  or      in another encoding: needs {needs}"
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
    if answer.cases:
        yield ""
        yield "known cases that are like it"
        for case in answer.cases:
            yield from _wrapped(case.sentence, "  ", "  ")
    if answer.notes:
        yield ""
        for line in answer.notes:
            yield from _wrapped(f"note: {line}", "", "  ")


_UNSIGNALLED = {"status": "exit code"}


def _where(answer: Explanation) -> str:
    place = ""
    if answer.module is not None:
        place = f" in {answer.module}"
        if answer.offset is not None:
            place += f" + {answer.offset:#x}"
    elif answer.jit:
        place = " in code made at run time"
    isa = f", {ISAS[answer.isa]}" if answer.isa not in (None, "x86-64") else ""
    what = (
        "refused"
        if answer.verdict in REFUSED
        else answer.signal or _UNSIGNALLED.get(answer.source, "instruction")
    )
    return f"{what}{place} ({answer.source}{isa})"


def _spaced(code: str) -> str:
    return " ".join(code[at : at + 2] for at in range(0, len(code), 2))


def _shown(answer: InstructionAnswer) -> Iterator[str]:
    if answer.bytes:
        yield f"  bytes   {_spaced(answer.bytes)}"
    if answer.intel:
        yield (
            f"  Intel   {answer.intel}"
            if answer.att != answer.intel
            else f"  code    {answer.intel}"
        )
    if answer.att and answer.att != answer.intel:
        yield f"  AT&T    {answer.att}"
    if answer.other:
        yield f"  needs   {', '.join(answer.other)} (not in cpuprobe's table)"


def _features(machine: str, answer: Explanation) -> Iterator[str]:
    claim = "registers" if answer.isa == "aarch64" else "CPUID"
    rows = [("feature", claim, "OS", "kernel", "executed", "state", "safe")]
    rows += [
        (
            each.name,
            witness(each.cpuid),
            witness(each.os),
            witness(each.kernel),
            each.ran or "-",
            each.state,
            witness(each.safe),
        )
        for each in answer.features
    ]
    yield f"on {machine}:"
    yield from (f"  {text_of(line)}" for line in table(rows[0], rows[1:], columns() - 2))
    said: set[str] = set()
    for each in answer.features:
        if each.cause and each.cause not in said:
            said.add(each.cause)
            same = [other.name for other in answer.features if other.cause == each.cause]
            yield from _wrapped(f"{names(same, 8)}: {each.cause}", "  ", "  ")

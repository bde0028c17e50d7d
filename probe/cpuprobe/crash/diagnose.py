"""A crash and an assessed machine -> what died and what to do. Pure but for the decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cpuprobe.assessment.model import Assessment
from cpuprobe.code import a64
from cpuprobe.code.decode import NEVER_FAULTS
from cpuprobe.crash.advise import advise
from cpuprobe.crash.cases import like
from cpuprobe.crash.features import judged, needed, settings_off
from cpuprobe.crash.instructions import Read, read
from cpuprobe.crash.judge import is_sent, judge
from cpuprobe.crash.model import Judged
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.facts.isa import AARCH64, X86_64, IsaFacts, facts_of_code
from cpuprobe.words import HERE

Machine = Callable[[], Assessment]


def diagnose(
    crash: Crash,
    machine: Machine,
    machine_name: str = HERE,
    capture: str = "",
    isa: Callable[[], str] = lambda: "x86_64",
) -> Judged:
    """What a crash was.

    Args:
        crash: as its record tells it.
        machine: gives the assessment of the machine it is judged on; asked only if the
            instruction, or a program's own word, names something that not every CPU has.
        machine_name: how that machine is called in the words of the answer.
        capture: the path of the file that describes it, empty if there is none.
        isa: gives that machine's instruction set, as observations name it; asked only where it
            matters.

    Raises:
        CannotMeasureError: iced-x86 is not installed, or `machine` cannot be measured.
    """
    crash = _as_typed(crash, isa)
    found = read(crash)
    level = crash.refusal is not None and crash.refusal.kind == "level"
    wanted, facts, foreign = _wanted(crash, found, isa, level)
    if any(each.offence is not None for each in found.found) or (is_sent(crash) and found.shown):
        wanted = ()
    assessment = machine() if (wanted or level) and not foreign else None
    features = () if assessment is None else judged(wanted, assessment, facts)
    ruling = judge(crash, found.found, features, foreign)
    lacking = [each for each in features if each.lacking]
    flags = {} if assessment is None or not lacking else settings_off(lacking, assessment, facts)
    if ruling.verdict not in ("lacks", "flag-mismatch"):
        flags = {}
    name = "" if machine_name == HERE else machine_name
    return Judged(
        crash=crash,
        machine=machine_name,
        verdict=ruling.verdict,
        reason=ruling.reason,
        value=ruling.value,
        instructions=found.shown,
        ways=found.ways,
        features=features,
        flags=flags,
        advice=advise(crash, ruling, features, assessment, flags, name, capture, facts),
        cases=like(crash, ruling, found.shown, features, assessment),
        notes=crash.notes,
        never_faults=tuple(
            (each.decoded.mnemonic, NEVER_FAULTS[each.decoded.mnemonic])
            for each in found.shown
            if each.decoded.mnemonic in NEVER_FAULTS
        ),
        cut=found.cut,
    )


def _as_typed(crash: Crash, isa: Callable[[], str]) -> Crash:
    """What both instruction sets have is of the machine's; a word may stand as a number."""
    both = crash.source == "assembler line" and crash.text.lower() in ("nop", "ret")
    words = crash.source == "bytes" and len(crash.code) % 4 == 0
    if not (both or words) or isa() not in AARCH64.words:
        return crash
    code = crash.code
    if len(code) == 4 and not a64.decode(code).features and a64.decode(code[::-1]).features:
        code = code[::-1]
    return replace(crash, code=code, isa="aarch64")


def _wanted(
    crash: Crash, found: Read, isa: Callable[[], str], level: bool
) -> tuple[tuple[str, ...], IsaFacts, bool]:
    """What is needed, the tables of the code, and whether the machine is of another kind.

    Args:
        crash: as its record tells it.
        found: its instructions.
        isa: the machine's instruction set, asked only where it matters.
        level: the machine's level matters.
    """
    facts = facts_of_code(crash.isa or "x86-64")
    if facts is None:
        return (), X86_64, True
    wanted = needed([each.decoded for each in found.shown], crash.refusal, facts)
    typed = crash.source in ("bytes", "assembler line")
    asked = bool(wanted) or level or typed or facts is not X86_64
    return wanted, facts, asked and isa() not in facts.words

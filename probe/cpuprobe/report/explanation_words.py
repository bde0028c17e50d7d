"""The words of an explanation: its verdict as sentences, causes, notes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cpuprobe.crash.model import FeatureJudged, Judged
from cpuprobe.evidence.crashes.isa import X86
from cpuprobe.evidence.crashes.model import Note
from cpuprobe.facts.hypervisors import hypervisor_called
from cpuprobe.report.explanation_sentences import (
    EMULATORS,
    ISAS,
    NOT_MISSING,
    NOTES,
    SENTENCES,
    STATES,
    WITHOUT_BYTES,
)
from cpuprobe.words import HERE, names, plain


def summary(answer: Judged) -> str:
    """The verdict as a sentence or two."""
    crash = answer.crash
    if answer.verdict in ("lacks", "has"):
        return _needs(answer)
    if answer.verdict == "foreign-isa":
        return _foreign(answer)
    if crash.refusal is not None and answer.verdict in _REFUSED:
        return _REFUSED[answer.verdict](answer)
    template = SENTENCES.get((answer.verdict, answer.reason))
    if not answer.instructions and answer.verdict in WITHOUT_BYTES:
        template = WITHOUT_BYTES[answer.verdict]
    if template is None:  # a bad address, with the instruction
        template = f"The address it used is bad. {NOT_MISSING}"
    first = answer.instructions[0].decoded if answer.instructions else None
    needs_feature = first is not None and first.kind == "feature"
    lead = (
        "The CPU accepted the instruction (a missing feature raises SIGILL): the"
        if needs_feature
        else "The"
    )
    text = template.format(
        signal=crash.signal or "The signal",
        value=plain(answer.value),
        name="" if first is None else first.mnemonic,
        other=names(dict.fromkeys(o for each in answer.instructions for o in each.decoded.other)),
        needs=names([each.name for each in answer.features]),
        machine=answer.machine,
        lead=lead,
        alignment=0 if first is None else first.alignment,
        emulator=EMULATORS.get(crash.emulator or "", "An emulator"),
    )
    if answer.verdict == "kernel-crash" and answer.features:
        text += f" Its instruction needs {names([each.name for each in answer.features])}."
    return text


def _needs(answer: Judged) -> str:
    needs = f"It needs {names([each.name for each in answer.features])}"
    lacking = [each for each in answer.features if each.lacking]
    emulator = EMULATORS.get(answer.crash.emulator or "")
    if emulator is not None:
        needs += f", which {emulator} does not execute; that says nothing of the CPU"
    if lacking:
        return f"{needs}; on {answer.machine} {_states(lacking, answer.crash.isa)}."
    if answer.reason == "illegal elsewhere":
        return (
            f"{needs}; {answer.machine} has all of that: so it died on another machine (give its "
            "report with --on), or the bytes at hand are not those that ran."
        )
    return f"{needs}; {answer.machine} has all of that."


def _states(lacking: Sequence[FeatureJudged], isa: str | None) -> str:
    groups: dict[str, list[str]] = {}
    of = "" if isa == "aarch64" else "by CPUID "
    for each in lacking:
        groups.setdefault(STATES[each.state].replace("by CPUID ", of), []).append(each.name)
    return ", ".join(
        f"{names(each)} {'is' if len(each) == 1 else 'are'} {words}"
        for words, each in groups.items()
    )


def _foreign(answer: Judged) -> str:
    isa = ISAS.get(answer.value, answer.value)
    features = [name for each in answer.instructions for name in each.decoded.features]
    needs = f" The instruction needs {names(features)}." if features else ""
    if answer.value in X86:
        return f"This is code for {isa}, not for the instruction set of {answer.machine}.{needs}"
    if any(each.decoded.kind == "always-invalid" for each in answer.instructions):
        needs = f" {SENTENCES['always-invalid', 'permanently']}"
    judged = "" if answer.value == "aarch64" else ": cpuprobe does not judge it"
    return f"This is code for {isa}, not for x86{judged}.{needs}" + (
        " A CPU without it raises SIGILL there." if features else ""
    )


def _judgement(answer: Judged) -> str:
    lacking = [each for each in answer.features if each.lacking]
    if lacking:
        return f"On {answer.machine} {_states(lacking, answer.crash.isa)}."
    if not answer.features:
        return ""
    if all(each.safe for each in answer.features):
        if answer.machine != HERE:
            return f"On {answer.machine} all of that is there."
        return (
            "This machine has what is named: so it was said on another machine (give its report "
            "with --on)."
        )
    return f"What is known of {answer.machine} does not say whether it has that."


def _flag(answer: Judged) -> str:
    flags = answer.crash.refusal.names if answer.crash.refusal is not None else ()
    return (
        f"Wasmtime refused: {names(flags)} is on in what it should run, and its detector does not "
        f"find that on the host. {_judgement(answer)}"
    ).strip()


def _level(answer: Judged) -> str:
    levels = answer.crash.refusal.names if answer.crash.refusal is not None else ()
    what = names(levels) if levels else "a higher psABI level than the CPU has"
    return (
        f"It was refused before it began: the program, its C library or its runtime wants {what}. "
        f"{_judgement(answer)}"
    ).strip()


def _named(answer: Judged) -> str:
    refusal = answer.crash.refusal
    wanted = refusal.names if refusal is not None else ()
    missing = "misses" if refusal is not None and refusal.exact else "wants"
    return (
        f"The program looked before it started and refused: it {missing} {names(wanted, 20)}. "
        f"{_judgement(answer)}"
    ).strip()


_REFUSED = {"flag-mismatch": _flag, "level-missing": _level, "missing-features-named": _named}


def cause(each: FeatureJudged, isa: str | None) -> str:
    """Why a feature of an instruction set is not safe."""
    if each.cause == "builds on":
        return f"it builds on {names(each.value.split())}, not safe here"
    if each.cpuid is not None:
        absent = "CPUID does not enumerate it"
        if isa == "aarch64":
            absent = "neither ID registers nor HWCAP tell of it"
    elif each.kernel is not None:
        absent = "the kernel does not list it"
    else:
        absent = "it is said to be missing there"
    return {
        "": "",
        "finding": each.value,
        "unproven": "nothing proves that it executes here",
        "masked": f"{absent} (the hypervisor, {hypervisor_called(each.value)}, may have masked it)",
        "not enumerated": absent,
        "not in silicon": f"{absent}, and it does not execute: the CPU lacks it",
        "state": f"it is {each.value}",
    }[each.cause]


def notes(answer: Judged) -> list[str]:
    """What is uncertain, and what else to know."""
    found = [_note(each) for each in answer.notes]
    if answer.cut:
        found.append(f"{answer.cut} bytes at the end are a part of an instruction")
    found += [
        f"{mnemonic} never faults: a CPU that lacks it runs {instead} instead, with another result"
        for mnemonic, instead in answer.never_faults
    ]
    if answer.crash.source == "bytes" and answer.verdict == "undecodable":
        found.append("were these bytes copied from the middle of an instruction?")
    if answer.crash.isa == "i386":
        found.append("32-bit code, decoded as such")
    return list(dict.fromkeys(found))


def _note(note: Note) -> str:
    return NOTES[note.kind].format(plain(note.value))

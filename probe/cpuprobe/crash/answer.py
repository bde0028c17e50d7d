"""The answer of `cpuprobe explain`. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from cpuprobe.assessment.model import State

# What the crash was:
#   lacks        the instruction needs a feature that this machine does not safely have
#   has          it needs features, and this machine has them
#   baseline     every x86-64 CPU has the instruction
#   trap         UD2 and the like: the program ended itself
#   breakpoint   INT3
#   privileged   an instruction of the kernel's
#   alignment    a vector operand at an odd address
#   memory       a bad address
#   arithmetic   a division
#   sent         a signal that no instruction raised
#   data         what was executed is no code
#   undecodable  no instruction that is known
#   unknown      it needs a feature that cpuprobe has no row for
#   no-code      the bytes of the instruction are not known
Verdict = Literal[
    "lacks",
    "has",
    "baseline",
    "trap",
    "breakpoint",
    "privileged",
    "alignment",
    "memory",
    "arithmetic",
    "sent",
    "data",
    "undecodable",
    "unknown",
    "no-code",
]


class InstructionAnswer(msgspec.Struct, frozen=True):
    """One instruction: bytes in hexadecimal, both syntaxes, what it needs.

    `features` are canonical names, `other` iced-x86's names of what has no row in the table.
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
        module: the file that holds the instruction, without folders.
        offset: of the instruction in the module, in bytes.
        jit: the code looks made at run time: it lies in memory of no file. None if not known.
        instructions: the faulting one; several where the input is a piece of code.
        ways: other encodings of the same assembler line.
        features: all that the instructions need beyond x86-64-v1.
        flags: Cranelift settings that keep its code off what is missing.
        advice: what to do.
        notes: what is uncertain.
    """

    source: str
    verdict: Verdict
    summary: str
    signal: str | None = None
    module: str | None = None
    offset: int | None = None
    jit: bool | None = None
    instructions: tuple[InstructionAnswer, ...] = ()
    ways: tuple[InstructionAnswer, ...] = ()
    features: tuple[FeatureAnswer, ...] = ()
    flags: dict[str, bool] = {}
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

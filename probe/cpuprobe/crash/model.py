"""What a crash was, as values: the answer of `diagnose`. Its words are the report's. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from cpuprobe.assessment.model import State
from cpuprobe.code.decode import Decoded
from cpuprobe.evidence.crashes.model import Crash, Note
from cpuprobe.facts.cases import KnownCase

# What the crash was:
#   lacks        the instruction needs a feature that the machine does not safely have
#   has          it needs features, and the machine has them
#   unknown      whether the machine has what it needs is not known
#   baseline     every x86-64 CPU has the instruction
#   trap         UD2 and the like: the program ended itself
#   breakpoint   INT3
#   privileged   an instruction of the kernel's
#   alignment    a vector operand at an odd address
#   memory       a bad address
#   arithmetic   a division
#   sent         a signal that no instruction raised
#   data         what was executed is no code
#   always-invalid  #UD on every CPU, by its encoding
#   undecodable  no instruction that is known
#   no-code      the bytes of the instruction are not known
#   foreign-isa  code of another instruction set
#   kernel-warning, kernel-crash  the kernel's own report
#   flag-mismatch  wasmtime refused what it was told to use
#   level-missing  the loader refused the machine's psABI level
#   missing-features-named  a program refused to start and named what it wants
Verdict = Literal[
    "lacks",
    "has",
    "unknown",
    "baseline",
    "trap",
    "breakpoint",
    "privileged",
    "alignment",
    "memory",
    "arithmetic",
    "sent",
    "data",
    "always-invalid",
    "undecodable",
    "no-code",
    "foreign-isa",
    "kernel-warning",
    "kernel-crash",
    "flag-mismatch",
    "level-missing",
    "missing-features-named",
]
REFUSED = frozenset({"flag-mismatch", "level-missing", "missing-features-named"})

# Why that verdict; the report has a sentence for each.
Reason = Literal[
    "",
    # data
    "not executable",
    "not fetched",
    "zeros",
    "ones",
    "text",
    # trap
    "ud2",
    "sanitizer",
    "fast fail",
    "abort by name",
    "wasm trap",
    "emulated trap",
    # always-invalid
    "prefix",
    "vector length",
    "vvvv",
    "lock",
    "operands",
    "64-bit mode",
    "permanently",
    # baseline
    "illegal all the same",
    "not on every i386",
    "hint",
    # has
    "illegal elsewhere",
    # undecodable
    "cut short",
    # unknown
    "no row",
    "no word",
    "machine untold",
    # memory and alignment
    "taken",
    "operand known",
    "operand unknown",
    # no-code
    "illegal",
    "privileged status",
    "emulator refused",
    "own exit code",
    "not started",
    "no signal",
    "other signal",
]

CauseKind = Literal[
    "", "finding", "builds on", "unproven", "masked", "not enumerated", "not in silicon", "state"
]

AdviceKind = Literal[
    "get bytes",  # the system
    "wasmtime flags",  # the flags
    "wasmtime perhaps",  # the flags
    "wasmtime elsewhere",  # the flags
    "wasmtime none",  # its version
    "all off",  # the machine's name, empty for this one, and the path of its capture if it has one
    "compile anew",  # the file
    "other build",  # the file, the level
    "other build of all",  # the level
    "build without",  # the features
    "made by",  # the runtimes
    "maker unknown",
    "knob",  # a line of profiles/knobs.toml as emit.knobs writes it
    "remedy",  # a remedy of a finding
    "kernel",  # the verdict, the function, the module
    "emulator",  # which
    "virtual machine",  # the hypervisor
    "report the encoding",
    "lower level",  # the level
    "precompile",
    "foreign",  # the instruction set
]


class Advice(NamedTuple):
    """One thing to do."""

    kind: AdviceKind
    values: tuple[str, ...] = ()


class FeatureJudged(msgspec.Struct, frozen=True):
    """A needed feature on the machine in question; the witnesses are as in a report.

    `value` belongs to the cause: a finding's words, other features, a hypervisor.
    """

    name: str
    state: State
    safe: bool
    cpuid: bool | None
    os: bool | None
    kernel: bool | None
    ran: str | None
    cause: CauseKind = ""
    value: str = ""
    remedy: str = ""

    @property
    def lacking(self) -> bool:
        """Whether the machine is known not to have it safely."""
        return not self.safe and self.state != "unknown"


class Shown(NamedTuple):
    """An instruction of the answer, and how it stood in the text if it came from one."""

    decoded: Decoded
    text: str = ""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one crash was.

    Attributes:
        crash: as its record tells it.
        machine: how the machine is called on which it is judged.
        verdict, reason: see there.
        value: belongs to the reason: the offending prefix, an operand's address.
        instructions: the faulting one; several where the input is a piece of code.
        ways: other encodings of the same assembler line.
        features: all that the instructions need beyond x86-64-v1.
        flags: Cranelift settings that keep its code off what is missing.
        advice: what to do.
        cases: public cases that it is like, the closest first.
        notes: what is uncertain.
        never_faults: an instruction that runs as another where it is missing, and which.
        cut: bytes at the end that are a part of an instruction.
    """

    crash: Crash
    machine: str
    verdict: Verdict
    reason: Reason = ""
    value: str = ""
    instructions: tuple[Shown, ...] = ()
    ways: tuple[Shown, ...] = ()
    features: tuple[FeatureJudged, ...] = ()
    flags: dict[str, bool] = {}
    advice: tuple[Advice, ...] = ()
    cases: tuple[KnownCase, ...] = ()
    notes: tuple[Note, ...] = ()
    never_faults: tuple[tuple[str, str], ...] = ()
    cut: int = 0

    @property
    def lacking(self) -> bool:
        """Whether the machine lacks what the instruction, or the program, needs."""
        if self.verdict in REFUSED:
            return any(each.lacking for each in self.features)
        needed = {
            name
            for each in self.instructions
            if each.decoded.kind == "feature"
            for name in each.decoded.features
        }
        return any(each.name in needed and each.lacking for each in self.features)

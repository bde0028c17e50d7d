"""The verdict on a crash, and why. Pure.

The questions come in the order in which a CPU asks them: was it an instruction at all that raised
the signal, was there code, is it an instruction, does the CPU have it, and only then whether its
operands were good. #UD comes before every fault of an operand (SDM vol. 3A, table 7-2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cpuprobe.code.decode import Decoded
from cpuprobe.code.instructions import Instruction
from cpuprobe.crash.model import FeatureJudged, Reason, Verdict
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.status import (
    ARITHMETIC,
    FAILED_FAST,
    ILLEGAL,
    MEMORY,
    PRIVILEGED,
    SENT,
    TRAP,
)

# Given by a person, not told by a record: nothing says that it was executed.
TYPED = frozenset({"bytes", "assembler line", "listing"})
# POSIX, "Exit Status for Commands"; glibc's dynamic loader ends with 127 what it refuses.
NOT_STARTED = frozenset({"126", "127"})
WASM = frozenset({"wasmtime", "wasmer"})
ARTIFACTS = (".cwasm", ".clif", ".wasm")
_SHORTEST_DATA, _SHORTEST_TEXT = 8, 16
# The function that a program calls to end itself, as frame 0 names it.
_ABORT = re.compile(
    r"(?:__GI_)?(?:abort|raise|gsignal|_exit)|__pthread_kill_implementation|__builtin_trap"
    r"|(?:std::process::|core::intrinsics::|panic_abort::.{0,60})abort|rust_panic\w*|__rust_start_panic"
    r"|(?:v8::base::OS::|node::|uv_)?[Aa]bort|WTFCrash\w*|_?assertionFailure.{0,80}|RaiseFailFastException"
    r"|RtlFailFast\d?|__fastfail|__report_gsfailure|__stack_chk_fail|__ubsan_handle_\w+",
)


class Ruling(NamedTuple):
    """A verdict with its reason, and the value that belongs to the reason."""

    verdict: Verdict
    reason: Reason = ""
    value: str = ""


def is_sent(crash: Crash) -> bool:
    """Whether no instruction raised the signal."""
    return crash.sent or crash.signal in SENT


def judge(
    crash: Crash,
    found: Sequence[Instruction],
    features: Sequence[FeatureJudged],
    foreign: bool = False,
) -> Ruling:
    """The verdict.

    Args:
        crash: as its record tells it.
        found: its instructions, none where they are not known.
        features: what these need, on the machine in question.
        foreign: the code is of another instruction set than that machine.
    """
    if crash.kernel is not None:
        return Ruling("kernel-warning" if crash.kernel == "warning" else "kernel-crash")
    known = bool(crash.code or crash.text)
    if crash.refusal is not None and not known:
        return Ruling(_REFUSALS[crash.refusal.kind])
    if is_sent(crash):
        return Ruling("sent")
    if foreign and (known or crash.signal):
        return Ruling("foreign-isa", value=crash.isa or "x86-64")
    if not found:
        return _without_code(crash)
    data = _data(crash)
    if data:
        return Ruling("data", data)
    decoded = [each.decoded for each in found]
    offence = next((each.offence for each in found if each.offence is not None), None)
    if offence is not None:
        return Ruling("always-invalid", offence.reason, offence.value)
    if decoded[0].kind == "always-invalid":
        of_wasm = _of_wasm(crash)
        return Ruling("trap", "wasm trap") if of_wasm else Ruling(decoded[0].kind, "permanently")
    if all(each.kind != "feature" for each in decoded):
        return _plain(crash, decoded)
    if crash.signal in MEMORY:
        return _memory(crash, decoded[0], "taken")
    if any(each.lacking for each in features):
        return Ruling("lacks")
    if any(not each.safe for each in features):
        return Ruling("unknown", "machine untold")
    elsewhere = crash.signal in ILLEGAL and crash.emulator is None
    return Ruling("has", "illegal elsewhere" if elsewhere else "")


_REFUSALS: dict[str, Verdict] = {
    "flag": "flag-mismatch",
    "level": "level-missing",
    "features": "missing-features-named",
}


def _without_code(crash: Crash) -> Ruling:
    if crash.signal in FAILED_FAST:
        return Ruling("trap", "fast fail")
    function = crash.function or ""
    # A handler of SIGSEGV raises what it caught once more.
    if crash.signal not in MEMORY and _ABORT.fullmatch(function.split("(")[0].strip()):
        return Ruling("trap", "abort by name", function[:80])
    if crash.signal in ILLEGAL:
        return Ruling("no-code", "illegal" if crash.emulator is None else "emulator refused")
    if crash.signal in PRIVILEGED:
        return Ruling("privileged", "privileged status")
    if crash.executable is False:
        return Ruling("data", "not fetched")
    if crash.signal in MEMORY:
        return Ruling("memory")
    if crash.signal in TRAP:
        return Ruling("breakpoint")
    if crash.signal in ARITHMETIC:
        return Ruling("arithmetic")
    if crash.emulator is not None:
        return Ruling("no-code", "emulator refused")
    if crash.signal is None:
        own = next((note for note in crash.notes if note.kind == "exit code of its own"), None)
        if own is not None and own.value in NOT_STARTED:
            return Ruling("no-code", "not started", own.value)
        return Ruling("no-code", "no signal" if own is None else "own exit code")
    return Ruling("no-code", "other signal")


def _data(crash: Crash) -> Reason:
    """What the bytes look like, if they are data rather than code."""
    start = crash.code[:_SHORTEST_TEXT]
    if crash.executable is False:
        return "not executable"
    if len(start) >= _SHORTEST_DATA and not any(start):
        return "zeros"
    if crash.source in TYPED and crash.sequence and len(crash.code) > _SHORTEST_TEXT:
        return ""  # a listing of strings is still what its author called code
    if len(start) >= _SHORTEST_DATA and all(byte == 0xFF for byte in start):
        return "ones"
    if len(start) == _SHORTEST_TEXT and all(0x20 <= b < 0x7F or b in b"\t\n\r" for b in start):
        return "text"
    return ""


def _plain(crash: Crash, decoded: Sequence[Decoded]) -> Ruling:
    """Everything that needs no feature of the table."""
    one = next((each for each in decoded if each.kind not in ("baseline", "hint")), decoded[0])
    if one.kind == "trap":
        return _trap(crash, one)
    if one.kind == "breakpoint":
        return Ruling("breakpoint")
    if one.mnemonic == "INT" and one.code[-1:] == b"\x29" and _on_windows(crash):
        return Ruling("trap", "fast fail")
    if one.kind == "privileged" or crash.signal in PRIVILEGED:
        return Ruling("privileged")
    if one.kind == "incomplete":
        return Ruling("undecodable", "cut short")
    if one.kind == "undecodable":
        return Ruling("undecodable")
    if one.kind == "unknown":
        return Ruling("unknown", "no row" if one.other else "no word")
    if crash.signal in MEMORY:
        return _memory(crash, one, "")
    if crash.signal in ARITHMETIC:
        return Ruling("arithmetic")
    if one.kind == "hint":
        return Ruling("baseline", "hint")
    if crash.isa == "i386" and one.early and crash.signal in ILLEGAL:
        return Ruling("baseline", "not on every i386", one.early)
    return Ruling("baseline", "illegal all the same" if crash.signal in ILLEGAL else "")


def _on_windows(crash: Crash) -> bool:
    return crash.system == "windows" or (crash.signal or "").startswith("STATUS_")


def _trap(crash: Crash, one: Decoded) -> Ruling:
    if one.mnemonic == "UD1":
        return Ruling("trap", "sanitizer")
    return Ruling("trap", "wasm trap" if _of_wasm(crash) else "ud2")


def _of_wasm(crash: Crash) -> bool:
    return bool(crash.runtimes & WASM) or (crash.module or "").endswith(ARTIFACTS)


def _memory(crash: Crash, one: Decoded, reason: Reason) -> Ruling:
    if one.alignment and one.operand is not None and one.operand % one.alignment:
        return Ruling("alignment", "operand known", f"{one.operand:#x}")
    if one.alignment and one.operand is None:
        return Ruling("alignment", "operand unknown")
    return Ruling("memory", reason)

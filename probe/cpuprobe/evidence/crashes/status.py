"""Exit codes and statuses: which signal or Windows exception ended a process."""

from __future__ import annotations

import re
import signal

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.model import Crash, Note

# Windows SDK, winnt.h and ntstatus.h.
WINDOWS_STATUS = {
    0x80000003: "STATUS_BREAKPOINT",
    0x80000004: "STATUS_SINGLE_STEP",
    0xC0000005: "STATUS_ACCESS_VIOLATION",
    0xC000001D: "STATUS_ILLEGAL_INSTRUCTION",
    0xC0000025: "STATUS_NONCONTINUABLE_EXCEPTION",
    0xC000008C: "STATUS_ARRAY_BOUNDS_EXCEEDED",
    0xC000008E: "STATUS_FLOAT_DIVIDE_BY_ZERO",
    0xC0000094: "STATUS_INTEGER_DIVIDE_BY_ZERO",
    0xC0000095: "STATUS_INTEGER_OVERFLOW",
    0xC0000096: "STATUS_PRIVILEGED_INSTRUCTION",
    0xC00000FD: "STATUS_STACK_OVERFLOW",
    0xC0000135: "STATUS_DLL_NOT_FOUND",
    0xC0000139: "STATUS_ENTRYPOINT_NOT_FOUND",
    0xC000013A: "STATUS_CONTROL_C_EXIT",
    0xC0000142: "STATUS_DLL_INIT_FAILED",
    0xC0000374: "STATUS_HEAP_CORRUPTION",
    0xC0000409: "STATUS_STACK_BUFFER_OVERRUN",
    0xC0000420: "STATUS_ASSERTION_FAILURE",
}
# Apple's names of Mach exceptions, mach/exception_types.h.
MACH_EXCEPTION = {
    1: "EXC_BAD_ACCESS",
    2: "EXC_BAD_INSTRUCTION",
    3: "EXC_ARITHMETIC",
    6: "EXC_BREAKPOINT",
    10: "EXC_CRASH",
}

ILLEGAL = frozenset({"SIGILL", "STATUS_ILLEGAL_INSTRUCTION", "EXC_BAD_INSTRUCTION"})
PRIVILEGED = frozenset({"STATUS_PRIVILEGED_INSTRUCTION"})
MEMORY = frozenset(
    ["SIGSEGV", "SIGBUS", "STATUS_ACCESS_VIOLATION", "STATUS_STACK_OVERFLOW", "EXC_BAD_ACCESS"]
)
TRAP = frozenset({"SIGTRAP", "STATUS_BREAKPOINT", "EXC_BREAKPOINT"})
ARITHMETIC = frozenset(
    {
        "SIGFPE",
        "STATUS_INTEGER_DIVIDE_BY_ZERO",
        "STATUS_INTEGER_OVERFLOW",
        "STATUS_FLOAT_DIVIDE_BY_ZERO",
        "EXC_ARITHMETIC",
    }
)
# The program ended itself: INT 29h of __fastfail, abort.
FAILED_FAST = frozenset({"STATUS_STACK_BUFFER_OVERRUN", "STATUS_ASSERTION_FAILURE"})
# Signals that no instruction raises: another program, a timer, a limit or the kernel sends them.
SENT = frozenset(
    [
        "SIGABRT",
        "SIGALRM",
        "SIGHUP",
        "SIGINT",
        "SIGKILL",
        "SIGPIPE",
        "SIGQUIT",
        "SIGSYS",
        "SIGTERM",
        "SIGXCPU",
        "SIGXFSZ",
    ]
)
_CLASSES = (ILLEGAL, MEMORY | PRIVILEGED, TRAP, ARITHMETIC)

# Numbers of Linux on x86-64 (signal(7)): the record may come from there even if this is elsewhere.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}
_NAME = re.compile(r"(?:SIG)?([A-Z]{2,7})", re.IGNORECASE)
# What rust-minidump adds to the name of an access violation.
_ACCESS = re.compile(r"(?<=VIOLATION)_(?:READ|WRITE|EXEC)$")
_NUMBER = re.compile(r"[+-]?(?:0x[0-9a-f]{1,16}|[0-9]{1,20})", re.IGNORECASE)
# strsignal of glibc, BSD and Apple, the shells' own, the kernel's names of traps, Windows' names.
_WORDS = {
    "illegal instruction": "SIGILL",
    "illegal hardware instruction": "SIGILL",
    "illegal operation": "SIGILL",
    "invalid opcode": "SIGILL",
    "segmentation fault": "SIGSEGV",
    "segmentation violation": "SIGSEGV",
    "segfault": "SIGSEGV",
    "general protection": "SIGSEGV",
    "general protection fault": "SIGSEGV",
    "page fault": "SIGSEGV",
    "page-fault": "SIGSEGV",
    "stack segment": "SIGBUS",
    "alignment check": "SIGBUS",
    "bus error": "SIGBUS",
    "bounds": "SIGSEGV",
    "overflow": "SIGSEGV",
    "invalid tss": "SIGSEGV",
    "coprocessor segment overrun": "SIGFPE",
    "floating point exception": "SIGFPE",
    "divide error": "SIGFPE",
    "int3": "SIGTRAP",
    "trace/breakpoint trap": "SIGTRAP",
    "trace trap": "SIGTRAP",
    "aborted": "SIGABRT",
    "abort trap": "SIGABRT",
    "killed": "SIGKILL",
    "terminated": "SIGTERM",
    "access violation": "STATUS_ACCESS_VIOLATION",
    "privileged instruction": "STATUS_PRIVILEGED_INSTRUCTION",
    "integer divide-by-zero": "STATUS_INTEGER_DIVIDE_BY_ZERO",
}
# compiler-rt, sanitizer_win.cpp (SignalContext::Describe); and a SIGSEGV at the end of the stack.
_SANITIZERS = {
    "illegal-instruction": "STATUS_ILLEGAL_INSTRUCTION",
    "priv-instruction": "STATUS_PRIVILEGED_INSTRUCTION",
    "access-violation": "STATUS_ACCESS_VIOLATION",
    "breakpoint": "STATUS_BREAKPOINT",
    "int-divide-by-zero": "STATUS_INTEGER_DIVIDE_BY_ZERO",
    "int-overflow": "STATUS_INTEGER_OVERFLOW",
    "stack-overflow": "STATUS_STACK_OVERFLOW",
}


def signal_name(number: int) -> str | None:
    """The name of a Linux signal, None if there is no such signal."""
    if number in _SIGNALS:
        return _SIGNALS[number]
    return f"signal {number}" if 0 < number <= 64 else None


def same_kind(one: str | None, other: str | None) -> bool:
    """Whether two names of signals or statuses can be of one death; an unknown one can be any."""
    if one is None or other is None or one == other:
        return True
    return any(one in kind and other in kind for kind in _CLASSES)


def signal_of(words: str) -> str | None:
    """The signal or status that a word of any system means; None for any other.

    Args:
        words: `SIGILL`, `4`, `ILL`, `illegal instruction`, `EXC_BAD_INSTRUCTION`, `c000001d`.
    """
    word = _ACCESS.sub("", " ".join(words.split()))
    known = _WORDS.get(word.lower()) or _SANITIZERS.get(word.lower())
    if known is not None:
        return known
    try:
        return read_status(word).signal if not word.isdigit() else signal_name(int(word[:9]))
    except CaptureError:
        pass
    bare = re.fullmatch(r"(?:0x)?([8c]0[0-9a-f]{6})", word, re.IGNORECASE)
    return None if bare is None else WINDOWS_STATUS.get(int(bare[1], 16))


def exit_signal(number: int) -> str | None:
    """The signal or status behind an exit code, None if it is the program's own."""
    if number & 0xFFFFFFFF in WINDOWS_STATUS and -(1 << 31) <= number < 1 << 32:
        return WINDOWS_STATUS[number & 0xFFFFFFFF]
    for value in (-number, number - 128):  # Python's subprocess; POSIX shells
        name = signal_name(value)
        if name is not None and (number < 0 or number > 128):
            return name
    return None


def read_status(text: str) -> Crash:
    """The crash behind an exit code, a wait status, a Windows status or the name of a signal.

    Args:
        text: `132` (128 + 4, as shells say), `-4` (as Python says), `0xC000001D` or the same number
            in decimal, signed or not (as Windows says), `SIGILL`, `ILL`.

    Raises:
        CaptureError: it is none of these.
    """
    word = text.strip()
    named = _NAME.fullmatch(word)
    if named is not None:
        name = f"SIG{named[1].upper()}"
        if name in _SIGNALS.values() or name in signal.Signals.__members__:
            return Crash("status", signal=name)
    upper = word.upper()
    if upper in {*WINDOWS_STATUS.values(), *MACH_EXCEPTION.values()}:
        return Crash("status", signal=upper)
    if upper.removeprefix("EXCEPTION_") != upper:
        return read_status(f"STATUS_{upper.removeprefix('EXCEPTION_')}")
    if _NUMBER.fullmatch(word) is None:
        raise CaptureError(
            f"{word[:40]!r}: no exit code, status or signal (such as 132, -4, 0xC000001D, SIGILL)"
        )
    number = int(word, 16 if "x" in word.lower() else 10)
    name_of = exit_signal(number)
    if name_of is not None:
        return Crash("status", signal=name_of)
    if 0 <= number <= 255:
        return Crash("status", notes=(Note("exit code of its own", str(number)),))
    raise CaptureError(f"{word[:40]}: no exit code or status that is known")

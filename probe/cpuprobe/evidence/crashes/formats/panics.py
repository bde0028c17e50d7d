"""Panics of kernels other than Linux. What is told of them is that a kernel stopped, and at what.

Formats: XNU osfmk/kern/debug.c and osfmk/i386/trap.c; FreeBSD sys/amd64/amd64/trap.c and
kern/subr_kdb.c; NetBSD and OpenBSD sys/arch/amd64/amd64/trap.c and ddb/db_trap.c; Zircon
kernel/lib/debug; Xen xen/arch/x86/traps.c.
"""

from __future__ import annotations

from typing import Any

from cpuprobe.evidence.crashes.rules import HEX, Rule, rule

SOURCE = "kernel panic"


def _panic(needs: str, pattern: str, **tells: Any) -> Rule:
    return rule(needs, pattern, kernel="crash", **tells)


RULES = (
    _panic(  # T_PRIVINFLT, which the BSDs make of #UD
        "privileged instruction fault",
        r"\bprivileged instruction fault(?: while in kernel| in supervisor mode| trap, code=)",
        begins=True,
        system="freebsd",
        signal="SIGILL",
    ),
    _panic(
        "kernel trap at",
        rf"\bKernel trap at (?P<ip>{HEX}), type \d{{1,3}}=(?P<signal>[a-z ]{{3,40}}), registers",
        begins=True,
        system="macos",
    ),
    _panic("panic(cpu", rf"\bpanic\(cpu \d{{1,4}} caller {HEX}\)", begins=True, system="macos"),
    _panic(
        "in kernel mode",
        r"\bFatal trap \d{1,3}: (?P<signal>[a-z ]{3,60}?)(?: fault)? while in kernel mode",
        begins=True,
        system="freebsd",
    ),
    _panic("kdb: ", r"\bKDB: (?:stack backtrace|enter): ?", system="freebsd"),
    _panic(
        "in supervisor mode",
        r"\bfatal (?P<signal>[a-z ]{3,60}?)(?: fault)? in supervisor mode",
        begins=True,
        system="freebsd",
    ),
    _panic(
        "kernel: ",
        r"^(?:login: )?kernel: (?P<signal>[a-z ]{3,60}?)(?: fault)? trap, code=",
        system="freebsd",
    ),
    _panic("stopped ", r"^Stopped (?:at|in pid \d{1,8})\b.{0,200}:", system="freebsd"),
    _panic("kernel panic", r"\b(?:ZIRCON|STARNIX) KERNEL PANIC\b", begins=True),
    _panic("xen code around", rf"\bXen code around <(?P<ip>{HEX})>", begins=True),
    _panic(  # Windows: the bug checks of an exception in kernel code, and their first argument
        "exception_not_handled",
        r"\b(?:KMODE|KERNEL_MODE|SYSTEM_THREAD|SYSTEM_SERVICE)_EXCEPTION(?:_NOT_HANDLED)?\b",
        begins=True,
        system="windows",
    ),
    _panic(
        "exception code that",
        r"\bArg1: (?:f{8}`?)?(?P<signal>[8c]0[0-9a-f]{6}), ",
        system="windows",
    ),
    _panic(
        "bad trap: type", r"\bBAD TRAP: type=[0-9a-f]{1,2} \(#\w{2} (?P<signal>[A-Za-z ]{3,40})\)"
    ),
    _panic("exception ", r"^#[A-Z]{2} Exception \d{1,2} in world \d{1,10}:"),  # VMware ESXi
    _panic("panic on cpu", r"\bPanic on CPU \d{1,5}:", begins=True),
    _panic("fatal trap: vector", r"\bFATAL TRAP: vector = \d{1,2} \((?P<signal>[a-z ]{3,40})\)"),
)

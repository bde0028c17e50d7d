"""The kernel's lines on a crash, copied from dmesg, journald, syslog or /dev/kmsg.

Formats: Linux arch/x86/kernel/traps.c (show_signal), arch/x86/mm/fault.c (show_signal_msg),
arch/x86/kernel/dumpstack.c (show_opcodes: the marked byte is the one at RIP), mm/memory.c
(print_vma_addr: `in NAME[start+size]`, since Linux 6.11 `in NAME[offset,start+size]`),
lib/bug.c and kernel/panic.c (WARNING, BUG); arch/arm64/kernel/traps.c (arm64_show_signal, and
dump_instr: the marked word is the one at PC); FreeBSD sys/kern/kern_sig.c; kernel/auditsc.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cpuprobe.evidence.crashes.model import Clue, Crash, Isa, Note
from cpuprobe.evidence.crashes.rules import HEX, clue, marked_bytes, number, rule

SOURCE = "kernel log"

_WHO = r"(?:\btraps: )?(?P<comm>[^\[\]:\s][^\[\]:\n]{0,63})\[(?P<pid>\d{1,8})(?::\d{1,8})?\]:? "
_PLACE = (
    r"(?: in (?P<module>[^\[\]\n]{1,255})"
    rf"\[(?:(?P<offset>{HEX}),)?(?P<start>{HEX})\+(?P<size>{HEX})\])?"
)
_TRAPS = (
    rule(
        " ip:",
        rf"(?:{_WHO})?(?:trap )?(?P<signal>[a-z][a-z0-9 -]{{2,40}}?)(?: fault)? "
        rf"ip:(?P<ip>{HEX}) sp:(?P<sp>{HEX}) error:(?P<error>{HEX}){_PLACE}",
        begins=True,
        system="linux",
    ),
    rule(  # kernels before 2.6.31 or so
        "ip:",
        rf"(?:{_WHO})?(?:trap )?(?P<signal>[a-z][a-z0-9 -]{{2,40}}?)(?: fault)? "
        rf"(?P<pointer>[re]ip):(?P<ip>{HEX}) [re]sp:(?P<sp>{HEX}) error:(?P<error>{HEX}){_PLACE}",
        begins=True,
        system="linux",
    ),
    rule(
        "segfault at",
        rf"(?:{_WHO})?(?P<signal>segfault) at (?P<at>{HEX}) (?P<pointer>[re]?ip)[ :](?P<ip>{HEX}) "
        rf"[re]?sp[ :](?P<sp>{HEX}) error[ :](?P<error>{HEX}){_PLACE}",
        begins=True,
        system="linux",
    ),
)
# Of arm64: before Linux 4.17 and since.
_UNDEFINED = (
    rule(
        "undefined instruction: pc=",
        rf"{_WHO}undefined instruction: pc=(?P<ip>{HEX})",
        begins=True,
        system="linux",
        signal="SIGILL",
    ),
    rule(
        "undefined instruction",
        rf"{_WHO}unhandled exception: (?:[^,\n]{{1,60}}, ESR {HEX}, )?undefined instruction"
        + _PLACE,
        begins=True,
        system="linux",
        signal="SIGILL",
        isa="aarch64",
    ),
)
_WORDS = re.compile(r"\bCode: ?(?:(?:[0-9a-f]{8}|\?{8}) ){0,16}\(([0-9a-f]{8})\)", re.IGNORECASE)
_OF_ARM = re.compile(r"\bpsr ?: ?[0-9a-f]{8}\b|\bpc : \[<", re.IGNORECASE)
_CODE = re.compile(
    r"(?:\bCode: ?|^)((?:[0-9a-f]{2} ){0,64}[<(][0-9a-f]{2}[>)](?: [0-9a-f]{2}){0,64})",
    re.IGNORECASE,
)
_REPORTS = (
    rule(
        "warning: ",
        r"\bWARNING: (?:CPU: \d|at \S{1,200}:\d|\S{1,200}:\d{1,6} at )",
        begins=True,
        kernel="warning",
    ),
    rule(  # lib/dump_stack.c is called by these, and the task goes on
        "bug: ",
        r"\bBUG: (?:K[A-Z]{1,4}SAN|KFENCE|soft lockup|workqueue lockup|sleeping function called"
        r"|scheduling while atomic|using \S{1,60} in preemptible|memory leak"
        r"|Bad (?:page|rss)|spinlock)(?!\w)",
        begins=True,
        kernel="warning",
    ),
    rule(
        "detected",
        r"\bINFO: rcu_\w{1,20}(?: self-| )detected\b"
        r"|\b(?:possible (?:recursive|circular) locking(?: dependency)?|bad unlock balance"
        r"|irq lock inversion dependency) detected\b",
        begins=True,
        kernel="warning",
    ),
    rule("inconsistent lock", r"\binconsistent lock state\b", begins=True, kernel="warning"),
    rule("suspicious rcu", r"\bsuspicious RCU usage\b", begins=True, kernel="warning"),
    rule("ubsan: ", r"\bUBSAN: \w", begins=True, kernel="warning"),
    rule(
        "kernel panic - not",
        r"\bKernel panic - not syncing: (?!Attempted to kill init)",
        kernel="crash",
    ),
    rule(
        "info: task ",
        r"\bINFO: task .{1,64} blocked for more than \d",
        begins=True,
        kernel="warning",
    ),
    rule(
        "fatal signal", r"\bpotentially unexpected fatal signal (?P<signal>\d{1,2})\b", begins=True
    ),
    rule("kernel bug at ", r"\bkernel BUG at \S{1,200}:\d", begins=True, kernel="crash"),
    rule(
        " [#",
        r"\b(?P<signal>invalid opcode|general protection fault|divide error|int3|stack segment)"
        r"\b.{0,100}: 0000 \[#\d{1,4}\]",
        kernel="crash",
    ),
    rule(
        "oops - undefined instruction",
        r"\bOops - undefined instruction: .{0,60}\[#\d{1,4}\]",
        kernel="crash",
        signal="SIGILL",
    ),
    rule("oops: ", r"\bOops: [^\n]{0,60}\[#\d{1,4}\]", kernel="crash"),
    rule("bug: unable to handle", r"\bBUG: unable to handle", begins=True, kernel="crash"),
    rule(
        "comm: ",
        r"\bCPU: \d{1,5} (?:UID: \d{1,10} )?PID: (?P<pid>\d{1,8}) Comm: (?P<comm>\S{1,16})",
        aside=True,
    ),
    rule(
        "ip: 00",
        r"\b[RE]IP: 00[16]0:(?:\[<[0-9a-f]{1,16}>\] {1,2}){0,2}(?P<function>[\w.]{1,120})\+0x"
        r"(?:[0-9a-f]{1,8}/0x[0-9a-f]{1,8} \[(?P<module>[\w-]{1,64})\])?",
        aside=True,
    ),
    rule("eip is at", r"\bEIP is at (?P<function>[\w.]{1,120})\+0x", aside=True, isa="i386"),
)
RULES = (
    # show_regs of a 32-bit Arm
    rule("  isa ", r"\bMode \w{2,10}\s{1,4}ISA (?:ARM|Thumb)\b", aside=True, isa="arm"),
    rule(
        "sig=",
        r"\btype=(?:1701|ANOM_ABEND)\b.{0,200}\bpid=(?P<pid>\d{1,8}) .{0,40}?comm=\""
        r"(?P<program>[^\"]"
        r"{1,64})\".{0,300}\bsig=(?P<signal>\d{1,2})\b",
        begins=True,
        system="linux",
    ),
    rule(
        "on signal",
        r"\bpid (?P<pid>\d{1,8}) \((?P<program>[^()]{1,64})\),.{0,60}exited on signal "
        r"(?P<signal>\d{1,2})\b",
        begins=True,
        system="freebsd",
    ),
)
_MAPPED_FOR_NOTHING = ("anon_inode:", "memfd:", "zero", "SYSV")
_FETCH = 0x10  # of a page fault's error code (SDM vol. 3A, 4.7)
_SEARCHED = re.compile(
    r"ip:|segfault at|Code:|^[0-9a-f <(]{3}.{0,200}[<(][0-9a-f]{2}[>)]|WARNING: "
    r"|BUG|\[#|Comm: |EIP is at|Xen code|IP: 00|undefined instruction|INFO: |detected|fatal signal"
    r"|inconsistent lock|suspicious RCU|UBSAN: |Kernel panic",
    re.IGNORECASE,
)
_NEAR = 40  # lines from a crash's head to its Code: line
_LONG = 400  # the same in a report of the kernel: modules, registers, stack and trace between
_OWN = re.compile(r"\b[RE]IP: 00[16]0:|\bEIP is at |\bXen code around <", re.IGNORECASE)
# How a report of before Linux 4.19 ends, behind its Code: line.
_TAIL = re.compile(r"\bRIP:? {1,2}(?:\[<[0-9a-f]{1,16}>\] {1,2})?[\w.]{1,120}\+0x[0-9a-f]{1,8}/0x")
_PROGRAM = re.compile(r"\b[RE]IP: 00(?:[237]3|2b):(?:0x|\[<)?([0-9a-f]{1,16})", re.IGNORECASE)


@dataclass
class _Place:
    """Where in the kernel's lines a reader is: lines of the last head and the last pointers."""

    head: int = -_LONG
    own: int = -_LONG  # of the kernel
    program: int = -_LONG  # of the program that called it, or that died
    ip: int = 0
    kernel: bool = False

    def code(self, at: int, code: bytes) -> Clue | None:
        """A `Code:` line: of the crash before it, of the kernel, of no crash, or one by itself.

        Since Linux 4.19 it follows the pointer that it is of; before, it ends the report. That of
        a program under a report of the kernel is the system call that the program was in.
        """
        told = Crash(SOURCE, code=code, isa=None)
        of_program = at - self.program <= 2
        if of_program and (self.kernel or self.head < 0) and self.own < self.program:
            return None
        if of_program:
            told = replace(told, address=self.ip)
        near = at - self.head < (_LONG if self.kernel and self.own > self.head else _NEAR)
        if not near and at - self.own < _LONG:
            told, self.kernel = replace(told, kernel="crash", system="linux"), True
            self.head = self.own
            return Clue(at, told, begins=True)
        if not self.kernel:
            self.head = -_LONG
        return Clue(at, told, begins=not near, aside=near)


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """The kernel's lines. A `Code:` line belongs to the crash before it, or is one by itself."""
    place = _Place()
    for at, line in enumerate(lines):
        if _SEARCHED.search(line) is None:
            continue
        word = _WORDS.search(line)
        if word is not None:
            isa: Isa = "arm" if any(map(_OF_ARM.search, lines)) else "aarch64"
            told = Crash(SOURCE, code=int(word[1], 16).to_bytes(4, "little"), isa=isa)
            near = at - place.head < _NEAR
            yield Clue(at, told, begins=not near, aside=near)
            place = _Place()
            continue
        code = _CODE.search(line)
        if code is not None:
            if any(map(_TAIL.search, lines[at + 1 : at + 3])):
                place.own = at
            of_code = place.code(at, marked_bytes(code[1]))
            if of_code is not None:
                yield of_code
            continue
        pointer = _PROGRAM.search(line)
        if pointer is not None:
            place.program, place.ip = at, number(pointer[1])
        elif _OWN.search(line) is not None:
            place.own = at
        found = _trap(line, at) or _report(line, at)
        if found is not None:
            yield found
            if not found.aside:
                place = _Place(head=at, kernel=found.tells.kernel is not None)


def _report(line: str, at: int) -> Clue | None:
    low = line.lower()
    for each in _REPORTS:
        if each.needs in low:
            match = each.pattern.search(line)
            if match is not None:
                found = clue(each, match, SOURCE, at)
                function = found.tells.function
                notes = () if function is None else (Note("in the kernel's", function),)
                return replace(found, tells=replace(found.tells, system="linux", notes=notes))
    return None


def _trap(line: str, at: int) -> Clue | None:
    for each in _UNDEFINED:
        match = each.pattern.search(line)
        if match is not None:
            return clue(each, match, SOURCE, at)
    for each in _TRAPS:
        match = each.pattern.search(line)
        if match is not None:
            found = clue(each, match, SOURCE, at)
            return replace(found, tells=_placed(found.tells, match))
    return None


def _placed(told: Crash, match: re.Match[str]) -> Crash:
    """What the place says: a file, or memory of none, which the kernel does not name."""
    groups = match.groupdict()
    changes: dict[str, object] = {"isa": "x86-64", "signal": told.signal}
    if groups["signal"].lower() == "segfault":
        changes["signal"] = "SIGSEGV"
        if int(groups["error"], 16) & _FETCH:
            changes |= {"executable": False, "notes": (Note("fetch fault"),)}
    address, stack = told.address or 0, number(groups["sp"])
    # A 32-bit program's stack is high in its 4 GiB; old 64-bit ones put threads' in the low 2 GiB.
    if address < 1 << 32 and 1 << 31 <= stack < 1 << 32 and groups.get("pointer") != "rip":
        changes["isa"] = "i386"
    if told.module is None:
        changes["anonymous"] = True
    else:
        changes["anonymous"] = told.module.startswith(_MAPPED_FOR_NOTHING)
        if groups["offset"] is not None:
            changes |= {"origin": "file", "mapping_size": None}
    return replace(told, **changes)  # type: ignore[arg-type]

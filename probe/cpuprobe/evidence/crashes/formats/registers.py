"""Register dumps of all debuggers and reports: names with values, several a line.

The names tell the instruction set: RIP is x86-64's, EIP i386's, X0 and X30 are AArch64's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.crashes.model import Clue, Crash, Isa
from cpuprobe.evidence.crashes.rules import number

SOURCE = "registers"

_X86_64 = [
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    "rip",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "fs_base",
    "gs_base",
]
_I386 = ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "eip"]
_A64 = [f"x{n}" for n in range(31)]
_RISCV = [f"{kind}{n}" for kind, most in (("a", 8), ("s", 12), ("t", 7)) for n in range(most)]
# Go calls the return address `link` on s390x, POWER, MIPS and LoongArch, `lr` on Arm.
_OTHER = [
    *(f"r{n}" for n in (*range(8), *range(16, 32))),
    *["pc", "sp", "lr", "link", "cpsr", "pstate", "ra", "gp", "tp", "xer", "ctr", "lo", "hi"],
]
_PAIR = re.compile(
    rf"(?<![\w%$])(?P<name>{'|'.join([*_X86_64, *_I386, *_A64, *_RISCV, *_OTHER])})"
    r"(?:\s{0,3}[:=]\s{0,2}|\s{1,20})(?P<value>0x[0-9a-f]{1,16}|[0-9a-f]{8}(?:[0-9a-f]{8})?)(?![\w.])",
    re.IGNORECASE,
)
_VALUE = re.compile(r"0x[0-9a-fA-F]|[0-9a-fA-F]{8}")
_POINTERS = ("rip", "eip", "pc")


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """One clue a line that names registers."""
    for at, line in enumerate(lines):
        if len(line) > 1024 or _VALUE.search(line) is None:
            continue
        found: dict[str, int] = {}
        for match in _PAIR.finditer(line):
            found.setdefault(match["name"].lower(), number(match["value"]))
        if found and _is_dump(line, found):
            address = next((found[name] for name in _POINTERS if name in found), None)
            told = Crash(SOURCE, registers=found, address=address)
            yield Clue(at, told, aside=True)


def _is_dump(line: str, found: dict[str, int]) -> bool:
    """Whether the line is of a dump and no instruction or sentence that names a register."""
    first = line.lstrip(" \t*").split(None, 1)[0].lower().rstrip(":=")
    return len(found) > 1 or any(first.startswith(name) for name in found)


def isa_of(registers: dict[str, int]) -> Isa | None:
    """The instruction set that has registers of these names; None where several have."""
    names = set(registers)
    if names & {"rip", "rax", "rsp", "rbx", "rdi"}:
        return "x86-64"
    if names & {"eip", "eax", "esp", "ebp", "ebx"}:
        return "i386"
    if names & {"x0", "x1", "x19", "x29", "x30", "pstate"}:
        return "aarch64"
    if names & {"cpsr"}:
        return "arm"
    if {"ra", "gp"} <= names or {"a0", "a7"} <= names:
        return "riscv64"
    if "r0" in names:
        return _numbered(names, max(registers.values()))
    return "x86-64" if names & {"r13", "r15"} else None


def _numbered(names: set[str], largest: int) -> Isa | None:
    """The same where they are R0, R1 and so on, as Go calls those of most instruction sets.

    Sources: runtime/signal_{arm64,loong64,mips64x,ppc64x,s390x}.go.
    """
    if names & {"xer", "ctr"}:
        return "ppc64"
    if {"lo", "hi"} <= names:
        return "mips"
    if "link" in names:
        return "loongarch64" if names & {"r16", "r22", "r31"} else "s390x"
    return "aarch64" if largest >= 1 << 32 else None

"""Which instruction set the code of a crash is of, as far as its text tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cpuprobe.evidence.crashes.formats.registers import isa_of
from cpuprobe.evidence.crashes.model import Crash, Isa

X86 = frozenset({"x86-64", "i386"})
# Linux gives programs 47 bits of addresses on x86-64, and 48 on AArch64.
_X86_END, _A64_END = 1 << 47, 1 << 48

# Go's toolchain takes a source file by the architecture in its name (`go help buildconstraint`;
# internal/syslist): files of a stack tell what the program was built for.
OF_GO: Mapping[str, Isa] = {
    "386": "i386",
    "amd64": "x86-64",
    "arm": "arm",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips": "mips",
    "mipsle": "mips",
    "mipsx": "mips",
    "mips64": "mips",
    "mips64le": "mips",
    "mips64x": "mips",
    "ppc64": "ppc64",
    "ppc64le": "ppc64",
    "ppc64x": "ppc64",
    "riscv64": "riscv64",
    "riscvx": "riscv64",
    "s390x": "s390x",
}

# Registers as operands. The x86 ones are no register names anywhere else.
_OPERANDS: Mapping[Isa, re.Pattern[str]] = {
    "x86-64": re.compile(
        r"%[a-z]{2}|\b[xyz]mm\d|\b(?:[re][abcd]x|[re][sd]i|[re][sb]p|r"
        r"(?:8|9|1[0-5])[dwb]?)\b|\bptr\b",
        re.I,
    ),
    "aarch64": re.compile(
        r"^brk\s+#|\b[xw](?:[0-9]|[12][0-9]|30)\b|\b[xw]zr\b|\[sp[,\]]|\bv\d{1,2}\.\d{0,2}"
        r"[bhsdq]\b|\bz\d{1,2}\.[bhsdq]\b|^\.inst\s+0x[0-9a-f]{8}\b",
        re.I,
    ),
    "arm": re.compile(
        r"\{(?:r\d{1,2}|lr|pc|d\d|s\d)|\br(?:[0-9]|1[0-2]), ?#|\bsp!|\bp15\b|\br\d{1,2}"
        r", r\d{1,2}\b|\bcr\d{1,2}, ?cr\d{1,2}, ?\{\d\}",
        re.I,
    ),
    "riscv64": re.compile(
        r"\b(?:zero|ra|gp|tp|[ast]\d{1,2}),-?\w|,-?\d{1,5}\((?:sp|[ast]\d)\)", re.I
    ),
    "s390x": re.compile(r"%r\d{1,2}\b"),
}


def isa_of_crash(crash: Crash, named: Sequence[Isa], texts: Sequence[str]) -> Isa:
    """The instruction set of a crash's code.

    Args:
        crash: its own word counts first, then its registers.
        named: what the text around it names.
        texts: instructions that the text shows.

    Returns:
        x86-64 where nothing speaks against it.
    """
    if crash.isa is not None:
        return _width(crash, crash.isa)
    by_register = isa_of(dict(crash.registers))
    if by_register is not None:
        return _width(crash, by_register)
    shown = [crash.text] if crash.text else list(texts)
    by_operand = _by_operands(shown) or _by_operands(texts)
    if by_operand is not None:
        return _width(crash, by_operand)
    others = [isa for isa in named if isa not in X86]
    if others and not set(named) & X86:
        return others[0]
    if crash.address is not None and _X86_END <= crash.address < _A64_END:
        return "aarch64"
    fixed = _fixed_width(crash)
    if fixed is not None:
        return others[0] if others else fixed
    return "i386" if "i386" in named and "x86-64" not in named else "x86-64"


# Immediates and sets of registers that no x86 syntax has.
_NO_X86 = re.compile(r"(?<![%\w])#-?(?:0x)?\d|\{(?:r\d|lr|pc)|\bsp!|\[sp[,\]]")


def isa_of_text(line: str) -> Isa | None:
    """The instruction set of an assembler line by its operands; None if they tell of none."""
    return _by_operands([line])


def _by_operands(texts: Sequence[str]) -> Isa | None:
    counts = {isa: sum(1 for text in texts if each.search(text)) for isa, each in _OPERANDS.items()}
    if any(_NO_X86.search(text) for text in texts):
        counts["x86-64"] = 0
    best = max(counts, key=lambda isa: counts[isa])
    return best if counts[best] else None


def _width(crash: Crash, isa: Isa) -> Isa:
    """i386 if the registers are 32-bit ones."""
    if isa == "x86-64" and "eip" in crash.registers and "rip" not in crash.registers:
        return "i386"
    return isa


def _fixed_width(crash: Crash) -> Isa | None:
    """A listing of whole words; RISC-V's lowest two bits of a 32-bit instruction are set."""
    if len(crash.code) != 4 or not crash.text or crash.text.split()[0] not in _ANYWHERE:
        return None
    return "riscv64" if crash.code[0] & 3 == 3 else "aarch64"


_ANYWHERE = frozenset({"nop", "ret"})

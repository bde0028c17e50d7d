"""Names of instruction sets, as kernels, compilers and people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

X86 = frozenset({"x86_64", "i686"})
JUDGED = X86 | {"aarch64"}
"""The instruction sets whose machines are judged."""

# armv8l is a 32-bit program's view of an arm64 kernel (arch/arm64/include/asm/compat.h).
_NAMES = {
    "x86_64": r"x86[_-]?64|amd64|x64|intel64|em64t|x86_64h",
    "i686": r"i[3-6]86|x86|x86[_-]32|ia-?32|i86pc",
    "aarch64": r"aarch64(?:_be)?|arm64e?|armv[89](?![lb]$)[\w.-]*|arm_8|arm64ec",
    "arm": r"arm|armhf|armel|armv[4-7][\w-]*|armv8[lb]|arm_7|arm32|aarch32|thumb\w*",
    "riscv64": r"riscv(?:64)?\w*|rv64\w*",
    "riscv32": r"riscv32|rv32\w*",
    "s390x": r"s390x?",
    "ppc64le": r"ppc64(?:le|el)|powerpc64le",
    "ppc64": r"ppc64|powerpc64|ppc|powerpc",
    "loongarch64": r"loongarch(?:64)?|loong64",
    "mips64": r"mips(?:64)?(?:el|le)?\w{0,3}",
    "sparc64": r"sparc(?:64|v9)?|sun4[uv]",
    "ia64": r"ia-?64",
    "alpha": r"alpha",
    "parisc": r"parisc(?:64)?|hppa",
    "e2k": r"e2k\w*",
}
_EXPRESSIONS = {isa: re.compile(rf"(?:{names})$", re.IGNORECASE) for isa, names in _NAMES.items()}

# Keys by which another instruction set's /proc/cpuinfo shows: key, what its value must match, name.
# What says more stands before what says less: ARM's two share their keys, and arm64 kernels of
# boards call themselves `ARMv8 Processor rev 1 (v8l)`, as all do to 32-bit programs.
# arch/*/kernel/{cpuinfo,proc,processor,setup}.c
_FOREIGN = (
    ("Features", r"(?:.* )?(?:asimd|fp) ", "aarch64"),
    ("Processor", r"AArch64", "aarch64"),
    ("CPU architecture", r"AArch64", "aarch64"),
    ("Features", r"(?:.* )?(?:half|thumb|neon|vfp\w*|swp)\b", "arm"),
    ("Processor", r"ARM", "arm"),
    ("model name", r"ARM", "arm"),
    ("CPU architecture", r"[4-7]", "arm"),
    ("CPU implementer", r"0x", "aarch64"),
    ("isa", r"rv64", "riscv64"),
    ("isa", r"rv32", "riscv32"),
    ("isa", r"mips", "mips64"),
    ("vendor_id", r"IBM/S390", "s390x"),
    ("features", r"(?:.* )?esan3", "s390x"),
    ("cpu", r"POWER|PPC|pSeries|e[56]500|\w+, altivec supported", "ppc64"),
    ("cpu", r"TI UltraSparc|UltraSparc|SPARC", "sparc64"),
    ("cpu", r"Alpha", "alpha"),
    ("cpu model", r"MIPS|ICT Loongson|Cavium Octeon", "mips64"),
    ("CPU Family", r"Loongson", "loongarch64"),
    ("arch", r"IA-64", "ia64"),
    ("cpu family", r"PA-RISC", "parisc"),
)
_BY_KEY = {
    key: [(rank, re.compile(v), isa) for rank, (k, v, isa) in enumerate(_FOREIGN) if k == key]
    for key, _, _ in _FOREIGN
}
_LISTS = {"s390x": {"esan3", "zarch", "stfle"}, "loongarch64": {"cpucfg", "ual", "lspw"}}
FOREIGN_KEYS = frozenset(_BY_KEY)


def isa_named(word: str) -> str | None:
    """The instruction set that a word names: `amd64` is `x86_64`; None if it names none."""
    word = word.strip().strip("`*\"',;.|").removesuffix("-linux-gnu")
    for isa, expression in _EXPRESSIONS.items():
        if expression.match(word):
            return isa
    # `amd64 (x86_64)` of reportbug, `x86_64 (64-bit)`
    first, _, rest = word.partition(" ")
    return isa_named(first) if rest and len(first) > 2 else None


def isa_of_list(words: Iterable[str]) -> str | None:
    """The instruction set, x86 and ARM apart, whose kernel lists such features; None if neither.

    Sources: arch/s390/kernel/processor.c, arch/loongarch/kernel/proc.c.
    """
    have = set(words)
    return next((isa for isa, signs in _LISTS.items() if signs & have), None)


def isa_of_field(key: str, value: str) -> tuple[int, str | None]:
    """The instruction set that a field of /proc/cpuinfo tells, x86 apart, and how little it says.

    Of two fields that tell different ones the smaller number counts. (0, None) where it tells none.
    """
    rows = (row for row in _BY_KEY.get(key, ()) if row[1].match(value))
    return next(((rank, isa) for rank, _, isa in rows), (0, None))

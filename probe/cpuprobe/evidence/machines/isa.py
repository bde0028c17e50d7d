"""Names of instruction sets, as kernels, compilers and people write them."""

from __future__ import annotations

import re

X86 = frozenset({"x86_64", "i686"})
JUDGED = X86 | {"aarch64"}
"""The instruction sets whose machines are judged."""

_NAMES = {
    "x86_64": r"x86[_-]?64|amd64|x64|intel64|em64t|x86_64h",
    "i686": r"i[3-6]86|x86|x86[_-]32|ia-?32|i86pc",
    "aarch64": r"aarch64(?:_be)?|arm64e?|armv[89][\w.-]*|arm_8|arm64ec",
    "arm": r"arm|armhf|armel|armv[4-7][\w-]*|arm_7|arm32|aarch32|thumb\w*",
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


def isa_named(word: str) -> str | None:
    """The instruction set that a word names: `amd64` is `x86_64`; None if it names none."""
    word = word.strip().strip("`*\"',;.|").removesuffix("-linux-gnu")
    for isa, expression in _EXPRESSIONS.items():
        if expression.match(word):
            return isa
    # `amd64 (x86_64)` of reportbug, `x86_64 (64-bit)`
    first, _, rest = word.partition(" ")
    return isa_named(first) if rest and len(first) > 2 else None

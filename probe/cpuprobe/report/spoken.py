"""How the verdict speaks of an instruction set: who claims, its levels, names that people use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cpuprobe.assessment.model import Assessment


class Spoken(NamedTuple):
    """The words of one instruction set.

    Attributes:
        claim: who claims, as the subject of a sentence.
        column: the same as the head of a column.
        lowest: the level below which there is none.
        ladder: what its levels are called together.
        levels: what a level means.
        names: what people call a feature, by the one that stands for it.
    """

    claim: str
    column: str
    lowest: str
    ladder: str
    levels: Mapping[str | None, str]
    names: Mapping[str, str]


_X86 = Spoken(
    claim="CPUID",
    column="CPUID",
    lowest="x86-64-v1",
    ladder="psABI level",
    levels={
        None: "not every 64-bit program runs",
        "x86-64-v1": "programs built for any x86-64 run",
        "x86-64-v2": "programs built for SSE4.2 run",
        "x86-64-v3": "programs built for AVX2 run",
        "x86-64-v4": "programs built for AVX-512 run",
    },
    names={
        "sse4.2": "SSE4.2",
        "avx": "AVX",
        "avx2": "AVX2",
        "fma": "FMA",
        "bmi2": "BMI2",
        "avxvnni": "AVX-VNNI",
        "avx512f": "AVX-512",
        "amx-tile": "AMX",
        "apxf": "APX",
        "aes": "AES",
        "sha": "SHA",
    },
)

_ARM = Spoken(
    claim="the kernel",
    column="claimed",
    lowest="armv8.0-a",
    ladder="level",
    levels={
        None: "not every 64-bit program runs",
        "armv8.0-a": "programs built for any arm64 run, none that need LSE atomics",
        "armv8.1-a": "programs built for LSE atomics run",
    },
    names={
        "aes": "AES",
        "crc": "CRC32",
        "lse": "LSE",
        "fullfp16": "FP16",
        "dotprod": "dot product",
        "rcpc": "LRCPC",
        "pauth": "PAC",
        "bf16": "BF16",
        "i8mm": "I8MM",
        "sve": "SVE",
        "sve2": "SVE2",
        "sme": "SME",
        "mops": "MOPS",
    },
)


def spoken(assessment: Assessment) -> Spoken:
    """The words for the instruction set of an assessment.

    A kernel's list, a compiler's or a library's is no CPUID.
    """
    if assessment.isa == "aarch64":
        return _ARM
    told = any(each.cpuid is not None for each in assessment.features.values())
    if told:
        return _X86
    return _X86._replace(claim="the kernel" if assessment.basis == "executed" else "the text")


def level_means(assessment: Assessment) -> str:
    """What the level of an assessment means, in a few words."""
    words = spoken(assessment)
    level = assessment.level
    if level in words.levels:
        return words.levels[level]
    return f"programs built for {level} and below run"

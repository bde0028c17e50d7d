"""glibc's loader: `ld.so --help` (levels) and `ld.so --list-diagnostics` (CPUID words)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.names import (
    answers_of_words,
    both_ways,
    claims_of_words,
)
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity

_LEVEL = re.compile(r"^[ \t]*(x86-64-v[234])(?:[ \t]+\(([^)]*)\))?[ \t]*$")
_PLATFORM = re.compile(r"^[ \t]*([a-z0-9_]+) \(AT_PLATFORM")
_MACHINE = re.compile(r"uname\.machine=\"([\w-]+)\"")
_WORD = re.compile(
    r"x86\.cpu_features\.features\[0x([0-9a-f])\]\.(cpuid|active|usable)\[0x([0-3])\]=0x([0-9a-f]+)"
)
_BASIC = re.compile(r"x86\.cpu_features\.basic\.(family|model|stepping)=0x([0-9a-f]{1,3})$")
# sysdeps/x86/include/cpu-features.h, enum cpuid_array index
_LEAVES = (
    (0x1, 0),
    (0x7, 0),
    (0x80000001, 0),
    (0xD, 1),
    (0x80000007, 0),
    (0x80000008, 0),
    (0x7, 1),
    (0x19, 0),
    (0x14, 0),
    (0x24, 0),
)
_REGISTERS = ("eax", "ebx", "ecx", "edx")
# What glibc never marks as active, though it is there: it has no use for it.
_LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def _read(paste: Paste) -> Iterator[Sighting]:
    supported: dict[str, bool] = {}
    words: dict[tuple[int, int, str], int] = {}
    active: dict[tuple[int, int, str], int] = {}
    told: dict[str, int] = {}
    first: int | None = None
    isa: str | None = None
    for number, line in enumerate(paste.lines):
        if (match := _LEVEL.match(line)) is not None:
            supported[match[1]] = "supported" in (match[2] or "")
        elif (match := _WORD.search(line)) is not None:
            index = int(match[1], 16)
            if index < len(_LEAVES):
                key = (*_LEAVES[index], _REGISTERS[int(match[3])])
                (words if match[2] == "cpuid" else active)[key] = int(match[4], 16) & 0xFFFFFFFF
        elif (match := _BASIC.search(line)) is not None:
            told[match[1]] = int(match[2], 16)
        elif (match := _PLATFORM.match(line) or _MACHINE.search(line)) is not None:
            isa = isa or isa_named(match[1])
            continue
        else:
            continue
        first = number if first is None else first
    if isa is not None and isa not in X86:
        yield Sighting(source="glibc", isa=isa)
        return
    claims = [*_of_levels(supported)]
    if words:
        claims.append(claims_of_words("glibc", words))
        claims += _enabled(words, active)
    if claims and first is not None:
        yield Sighting(
            source="glibc",
            line=first,
            isa=isa if isa in X86 else None,
            identity=ToldIdentity(**told) if told else None,  # type: ignore[arg-type]
            claims=tuple(claims),
        )


def _of_levels(supported: dict[str, bool]) -> Iterator[Claims]:
    """`ld.so --help` marks each level that CPU and system support; a mark is on all of them."""
    have = [level for level, yes in supported.items() if yes]
    lack = [level for level, yes in supported.items() if not yes]
    if have or len(lack) == len(_LEVELS):
        yield Claims(
            source="glibc",
            witness="cpuid+os",
            level=max(have, default=None),
            not_level=min(lack, default=None),
        )


def _enabled(
    words: dict[tuple[int, int, str], int], active: dict[tuple[int, int, str], int]
) -> Iterator[Claims]:
    """AVX-class bits that CPUID has and glibc did not take: their register state is off."""
    claimed, taken = answers_of_words(words), answers_of_words(active)
    checked = ("avx", "avx2", "fma", "f16c", "avx512f")
    off = {name: False for name in checked if claimed.get(name) and taken.get(name) is False}
    on = {name: True for name in checked if taken.get(name)}
    yes, no = both_ways({**off, **on})
    if yes or no:
        yield Claims(source="glibc", witness="os", yes=yes, no=no)


FORMAT = Format(
    title="glibc: ld.so --help, ld.so --list-diagnostics",
    carries="--help: psABI levels, both ways, after a look at XCR0; --list-diagnostics: CPUID words"
    " and what of them glibc may use",
    evidence="level",
    make="/lib64/ld-linux-x86-64.so.2 --list-diagnostics",
    read=_read,
)

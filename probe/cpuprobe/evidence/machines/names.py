"""Other people's names of features, and register words, as claims on canonical names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal

from cpuprobe.evidence.observation import Claims
from cpuprobe.facts.features import load_features

Witness = Literal["cpuid", "os", "cpuid+os", "kernel"]

_SEPARATORS = re.compile(r"[-_. ]")
# Names that the feature table does not have, letters and digits only. SDM and APM mnemonics, and
# what NumPy, klauspost/cpuid, Coreinfo, the BSDs, macOS and Google's cpu_features write.
_ALIASES = {
    "fma3": "fma",
    "bmi1": "bmi",
    "clmul": "pclmul",
    "pclmulqdq": "pclmul",
    "pclmuldq": "pclmul",
    "cmpxchg16b": "cx16",
    "cmpxchg8b": "cx8",
    "cx8": "cx8",
    "aesni": "aes",
    "rdrand": "rdrnd",
    "shani": "sha",
    "lahf": "sahf",
    "lahfsahf": "sahf",
    "lahf64": "sahf",
    "lahflm": "sahf",
    "sse3": "sse3",
    "rdwrfsgs": "fsgsbase",
    "clfsopt": "clflushopt",
    "prefetchw": "prfchw",
    "prefetch": "prfchw",
    "3dnowprefetch": "prfchw",
    "avx512vbmi1": "avx512vbmi",
    "avx512popcntdq": "avx512vpopcntdq",
    "avx512vpclmulqdq": "vpclmulqdq",
    "avx512gfni": "gfni",
    "avx512vaes": "vaes",
    "avx512ifma52": "avx512ifma",
    "avx512dqvl": "avx512dq",
    "vpclmul": "vpclmulqdq",
    "gfnisse": "gfni",
    "syscallsysret": "syscall",
    "cmov": "cmov",
    "cmovcc": "cmov",
    "fxsave": "fxsr",
    "fxsavefxrstor": "fxsr",
    "fpu": "x87",
    "tsxrtm": "rtm",
    "amxtile": "amx-tile",
    "amxint8": "amx-int8",
    "amxbf16": "amx-bf16",
    "amxfp16": "amx-fp16",
    "amd3dnow": "3dnow",
    "apx": "apxf",
}


@cache
def _known() -> dict[str, str]:
    names: dict[str, str] = {}
    for name, feature in load_features().items():
        for spelling in (name, feature.kernel.flag, feature.rust, feature.gcc, feature.llvm):
            if spelling:
                names.setdefault(_plain(spelling), name)
    names.update(_ALIASES)
    return names


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


def feature_named(name: str, more: Mapping[str, str] | None = None) -> str | None:
    """The canonical feature that somebody calls `name`, None if the table has no such one.

    Args:
        name: as written; case, dots, dashes and underscores do not matter.
        more: names of one format that mean something else there, as written; "" for no feature.
    """
    if more is not None and name in more:
        return more[name] or None
    return _known().get(_plain(name))


def features_named(names: Iterable[str], more: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The canonical features among some names, each once, in the order of the table."""
    found = {feature_named(name, more) for name in names}
    return in_order(each for each in found if each is not None)


def in_order(features: Iterable[str]) -> tuple[str, ...]:
    """Features in the order of the table, each once."""
    wanted = set(features)
    return tuple(name for name in load_features() if name in wanted)


def both_ways(answers: Mapping[str, bool]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Features that are said to be there, and that are said not to be, in the table's order."""
    return (
        in_order(name for name, answer in answers.items() if answer),
        in_order(name for name, answer in answers.items() if not answer),
    )


Words = Mapping[tuple[int, int, str], int]
"""Register words by leaf, subleaf and register (`ebx`)."""


def answers_of_words(words: Words) -> dict[str, bool]:
    """What single registers of CPUID leaves say, where a text has not the whole leaf."""
    answers: dict[str, bool] = {}
    for name, feature in load_features().items():
        bit = feature.cpuid
        value = words.get((bit.leaf, bit.subleaf, bit.register))
        if value is not None:
            answers[name] = bit.holds(value)
    return answers


def words_in(
    lines: Sequence[str],
    part: str,
    pattern: re.Pattern[str],
    places: Mapping[str, tuple[int, int, str]],
) -> tuple[Words, int | None]:
    """CPUID's registers as a text prints them, each by a name and in hexadecimal.

    Args:
        lines: the text.
        part: stands in every line that has one.
        pattern: finds name and value.
        places: leaf, subleaf and register by name; others are passed over.

    Returns:
        The first value of each register, and the number of the first line that has one.
    """
    words: dict[tuple[int, int, str], int] = {}
    first: int | None = None
    for number, line in enumerate(lines):
        for match in pattern.finditer(line) if part in line else ():
            if match[1] in places:
                words.setdefault(places[match[1]], int(match[2], 16))
                first = number if first is None else first
    return words, first


def claims_of_words(source: str, words: Words, *, with_os: bool = False) -> Claims:
    """The claims of single registers; `with_os` where they were masked by the enabled state."""
    yes, no = both_ways(answers_of_words(words))
    return Claims(source=source, witness="cpuid+os" if with_os else "cpuid", yes=yes, no=no)


def claims_of_names(
    source: str,
    witness: Witness,
    yes: Iterable[str],
    no: Iterable[str] = (),
    more: Mapping[str, str] | None = None,
) -> Claims:
    """Claims by other people's names; what somebody both has and has not got, he has not got."""
    without = features_named(no, more)
    having = tuple(name for name in features_named(yes, more) if name not in without)
    return Claims(source=source, witness=witness, yes=having, no=without)

"""Tiers of features: a test of one vouches for those of its own tier and of lower ones.

Of CPUs that are sold, one that lacks what is in a tier lacks what is in higher ones as well, and of
one tier a CPU has about all or nothing: who tests AVX2 executes BMI2 too, and who tests SSE4.2 has
no business to.
"""

from __future__ import annotations

import functools

from cpuprobe.code.native import lib, names
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.tables import load_table

NONE, V2, MORE, AVX, TOP = range(5)
"""As enum tier in native/scan/ways.h has them."""
_V1, _V2, _V3 = (frozenset(level.features) for level in load_levels()[:3])
_GIVEN = _V1 | _V2 | _V3
_LEVELS = _GIVEN.union(*(level.features for level in load_levels()))
XCR0 = {2: AVX, 5: TOP, 6: TOP, 7: TOP, 17: TOP, 18: TOP, 19: TOP}
"""State components (SDM vol. 1, section 13.1)."""
OSXSAVE = 27
"""Its bit in CPUID.1:ECX: the operating system has told of AVX's registers, or may have."""


def tier(name: str) -> int:
    """The tier of a feature, by its name; of what has none it is that of all CPUs."""
    row = load_features().get(name)
    if row is None or name in _V1:
        return NONE
    if name in _V2:
        return V2
    if row.encoding in ("evex", "amx", "apx"):
        return TOP
    return AVX if name in _V3 or row.encoding.startswith("vex") else MORE


def is_given(name: str) -> bool:
    """Whether a feature is in a level, or every CPU has it: compilers make it of ordinary code."""
    return name in _LEVELS or tier(name) == NONE


@functools.cache
def telling(of: int) -> int:
    """The labels of answers that tell of a tier or of higher ones."""
    return int(sum(lib.ways_labels(each) for each in range(max(of, V2), TOP + 1)))


def _bit(name: str) -> int:
    return int(tier(name) | lib.GIVEN * (name in _GIVEN))


@functools.cache
def tables() -> tuple[bytes, bytes]:
    """For C: the tier of each bit of each word that it knows; the tier of each feature.

    Beside a bit's tier is lib.GIVEN where whoever has a higher tier has it as well.
    """
    places = {
        (1, 0, "ecx"): lib.CPUID_1_ECX,
        (1, 0, "edx"): lib.CPUID_1_EDX,
        (7, 0, "ebx"): lib.CPUID_7_EBX,
        (7, 0, "ecx"): lib.CPUID_7_ECX,
        (7, 0, "edx"): lib.CPUID_7_EDX,
        (0x80000001, 0, "ecx"): lib.CPUID_EXT_1_ECX,
    }
    words = [bytearray(32) for _ in range(lib.WORDS)]
    words[lib.CPU_MODEL][:] = bytes([TOP] * 32)
    for leaf, _, register in places:
        if leaf == 7:  # of what no row tells: newer than anything
            words[places[leaf, 0, register]][:] = bytes([TOP] * 32)
    for name, row in load_features().items():
        word = places.get((row.cpuid.leaf, row.cpuid.subleaf, row.cpuid.register))
        if word is not None:
            words[word][row.cpuid.bit] = _bit(name)
    words[lib.CPUID_1_ECX][OSXSAVE] = AVX | lib.GIVEN
    for bit, of in XCR0.items():
        words[lib.XCR0_EAX][bit] = of | lib.GIVEN
    for bit, name in enumerate(load_table("baseline")["dispatch"]["model"].split()):
        words[lib.CPU_MODEL][bit] = _bit(name)
    return b"".join(map(bytes, words)), bytes(map(tier, names()))

"""What each instruction form means to a scan: computed once for all of iced-x86's codes.

A decoder that is asked for the features of every instruction is three times slower than one that
is asked for its code alone. So codes are looked up in sets made here.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from cpuprobe.errors import CannotMeasureError
from cpuprobe.facts.features import load_features, load_levels, load_table

try:
    from iced_x86 import Code, FlowControl, Instruction, Mnemonic
except ImportError:
    raise CannotMeasureError(
        "iced-x86, the decoder, is not installed: pip install iced-x86"
    ) from None

from cpuprobe.code.spots import patterns
from cpuprobe.code.walk import form_features

_BRANCHES = (
    FlowControl.CONDITIONAL_BRANCH,
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.XBEGIN_XABORT_XEND,
)
_ENDS = (
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.INDIRECT_BRANCH,
    FlowControl.RETURN,
    FlowControl.EXCEPTION,
)


class Meaning(NamedTuple):
    """What codes have in common that say the same.

    Attributes:
        features: canonical names, without x86-64-v1.
        unknown: iced-x86's names of what has no row in the feature table.
        sign: `CPUID`, `XGETBV` or nothing.
        odd: they are invalid, or rare.
    """

    features: tuple[str, ...]
    unknown: tuple[str, ...]
    sign: str
    odd: bool


@dataclass(frozen=True, slots=True)
class Forms:
    """Codes of iced-x86, sorted.

    Attributes:
        quiet: every x86-64 CPU executes them, and they say nothing else either.
        rare: believed only where control flow leads to them.
        data: quiet, but a sign of data where nothing is known of the bytes around.
        faultless: without their feature they do something else and do not fault.
        features: canonical names, without x86-64-v1, of each code that is not quiet.
        unknown: iced-x86's names of what has no row in the feature table.
        branches: what may go on elsewhere.
        ends: what never goes on at the next instruction.
        straight: quiet, and neither branch nor end.
        kinds: of each code that is not quiet, its place in `meanings`.
        meanings: far fewer than codes.
    """

    quiet: frozenset[int]
    rare: frozenset[int]
    data: frozenset[int]
    faultless: frozenset[int]
    features: dict[int, tuple[str, ...]]
    unknown: dict[int, tuple[str, ...]]
    branches: frozenset[int]
    ends: frozenset[int]
    straight: frozenset[int]
    kinds: dict[int, int]
    meanings: tuple[Meaning, ...]


INVALID: int = int(Code.INVALID)
CPUID: int = int(Code.CPUID)
XGETBV: int = int(Code.XGETBV)


@functools.cache
def forms() -> Forms:
    """All codes, sorted by profiles/baseline.toml and the feature table.

    Raises:
        TableError: a table cannot be read.
    """
    table = load_features()
    words = load_table("baseline")
    baseline = set(load_levels()[0].features)
    everywhere = set(words["iced"]["everywhere"])
    rare_names = set(words["iced"]["rare"])
    mnemonics = {value: name for name, value in vars(Mnemonic).items() if name.isupper()}
    harmless, never_faults, signs = (
        set(words["forms"][key]) for key in ("harmless", "never_faults", "data")
    )
    quiet, rare, data, faultless = set(), set(), set(), set()
    branches, ends = set(), set()
    features: dict[int, tuple[str, ...]] = {}
    unknown: dict[int, tuple[str, ...]] = {}
    for code in (value for name, value in vars(Code).items() if name.isupper()):
        names = form_features(code)
        known = tuple(
            table.by_iced[name].name
            for name in names
            if name in table.by_iced
            and table.by_iced[name].name not in baseline
            and not table.by_iced[name].hint
        )
        other = tuple(
            name for name in names if name not in table.by_iced and name not in everywhere
        )
        instruction = Instruction()
        instruction.code = code
        mnemonic = mnemonics[instruction.mnemonic]
        flow = instruction.flow_control
        if flow in _BRANCHES:
            branches.add(code)
        if flow in _ENDS:
            ends.add(code)
        if mnemonic in signs:
            data.add(code)
        if mnemonic in never_faults:
            faultless.add(code)
        if code in (INVALID, CPUID, XGETBV):
            continue
        if mnemonic in harmless or not (known or other):
            quiet.add(code)
            continue
        features[code], unknown[code] = known, other
        if rare_names & set(names):
            rare.add(code)
    # What asks for features is no need of one: XGETBV stands behind a look at CPUID's OSXSAVE bit
    # (SDM vol. 1, section 13.2).
    features[XGETBV], unknown[XGETBV] = (), ()
    asking = {CPUID: "CPUID", XGETBV: "XGETBV"}
    numbers: dict[Meaning, int] = {}
    kinds = {}
    for code in (INVALID, CPUID, *features):
        meaning = Meaning(
            features.get(code, ()),
            unknown.get(code, ()),
            asking.get(code, ""),
            code == INVALID or code in rare,
        )
        kinds[code] = numbers.setdefault(meaning, len(numbers))
    return Forms(
        frozenset(quiet),
        frozenset(rare),
        frozenset(data),
        frozenset(faultless),
        features,
        unknown,
        frozenset(branches),
        frozenset(ends),
        frozenset(quiet - branches - ends),
        kinds,
        tuple(numbers),
    )


@functools.cache
def searches() -> tuple[re.Pattern[bytes], ...]:
    """What to search for where an instruction might begin that is not quiet, nor invalid."""
    return patterns({*forms().features, CPUID})

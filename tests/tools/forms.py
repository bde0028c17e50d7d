"""Writes profiles/forms.json: what each of iced-x86's codes means.

`python -m tests.tools.forms` writes. Made from the feature table, profiles/baseline.toml and the
decoder's own tables; at run time none of them is asked any more.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from iced_x86 import (
    Code,
    CpuidFeature,
    FlowControl,
    Instruction,
    Mnemonic,
)

from cpuprobe.code.decode import NEVER_FAULTS
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.tables import load_table

PATH = Path(__file__).parents[2] / "profiles" / "forms.json"

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
# What asks for features is no need of one: XGETBV stands behind a look at CPUID's OSXSAVE bit
# (SDM vol. 1, section 13.2).
_ASKING: dict[int, str] = {int(Code.CPUID): "cpuid", int(Code.XGETBV): "xgetbv"}


def names_in(module: ModuleType) -> dict[int, str]:
    """The constants of one of iced-x86's modules, by value."""
    return {value: name for name, value in vars(module).items() if name.isupper()}


@functools.cache
def _mnemonics() -> dict[int, str]:
    return names_in(Mnemonic)


def instruction_of(code: int) -> Instruction:
    """An instruction of a form, without operands."""
    instruction = Instruction()
    instruction.code = code  # type: ignore[assignment]  # its constants are typed as a class
    return instruction


@functools.cache
def form_features(code: int) -> tuple[str, ...]:
    """The iced-x86 names of the CPUID features an instruction form needs, all of them."""
    names = names_in(CpuidFeature)
    return tuple(names[feature] for feature in instruction_of(code).cpuid_features())


class Row(NamedTuple):
    """What codes have in common; see cpuprobe.code.forms.Meaning."""

    features: tuple[str, ...]
    unknown: tuple[str, ...]
    marks: tuple[str, ...]


def row_of(code: int, words: Mapping[str, Mapping[str, Any]]) -> Row:
    """The row of a code.

    Args:
        code: of iced-x86.
        words: profiles/baseline.toml.
    """
    table, forms, iced = load_features(), words["forms"], words["iced"]
    names = form_features(code)
    instruction = instruction_of(code)
    mnemonic = _mnemonics()[instruction.mnemonic]
    needed = {table.by_iced[name].name for name in names if name in table.by_iced}
    needed |= {feature for word, feature in forms["needs"].items() if word == mnemonic}
    needed -= set(load_levels()[0].features)
    given = {*iced["everywhere"], *iced["hints"]}
    hint = bool(needed) and all(table[name].hint for name in needed)
    assert hint or not any(table[name].hint for name in needed), mnemonic
    flow = instruction.flow_control
    idle = {
        "hint": hint or mnemonic in forms["hints"] or bool(set(names) & set(iced["hints"])),
        "harmless": mnemonic in forms["harmless"],
        "unsought": mnemonic in forms["unsought"],
    }
    facts = {
        "invalid": code == Code.INVALID,
        _ASKING.get(code, ""): code in _ASKING,
        "trap": mnemonic in forms["traps"],
        "breakpoint": mnemonic in forms["breakpoints"],
        "privileged": instruction.is_privileged,
        **idle,
        "never_faults": mnemonic in NEVER_FAULTS,
        "rare": bool(set(names) & set(iced["rare"])) and not any(idle.values()),
        "data": mnemonic in forms["data"],
        "branch": flow in _BRANCHES,
        "end": flow in _ENDS,
    }
    return Row(
        tuple(name for name in table if name in needed),
        tuple(name for name in names if name not in table.by_iced and name not in given),
        tuple(mark for mark, is_so in facts.items() if is_so),
    )


def _ranges(codes: Iterable[int]) -> list[int]:
    """First and last of each run of consecutive numbers."""
    ranges: list[int] = []
    for code in sorted(codes):
        if ranges and code == ranges[-1] + 1:
            ranges[-1] = code
        else:
            ranges += [code, code]
    return ranges


def make() -> str:
    """The whole of profiles/forms.json."""
    words = load_table("baseline")
    codes: dict[Row, list[int]] = {}
    for code in sorted(names_in(Code)):
        codes.setdefault(row_of(code, words), []).append(code)
    rows = ",\n".join(
        json.dumps({**row._asdict(), "codes": _ranges(those)}) for row, those in codes.items()
    )
    head = "by `make gen` (tests/tools/forms.py), from iced-x86 and these tables"
    return f'{{"made": "{head}",\n"decoder": {len(vars(Code))},\n"meanings": [\n{rows}\n]}}\n'


if __name__ == "__main__":
    PATH.write_text(make(), encoding="ascii")
    print(f"{PATH}", file=sys.stderr)

"""Writes profiles/forms.json: what each of iced-x86's codes means, and how to search for them.

`python -m tests.tools.forms` writes. Made from the feature table, profiles/baseline.toml and the
decoder's own tables; at run time none of them is asked any more.

A search is a regular expression for the bytes that certain forms have of their own (SDM vol. 2A,
chapter 2: opcode maps, VEX and EVEX prefixes; APM vol. 3, section 1.2: XOP and 3DNow!).
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from iced_x86 import (
    Code,
    CpuidFeature,
    DecoderOptions,
    EncodingKind,
    FlowControl,
    Instruction,
    MandatoryPrefix,
    Mnemonic,
    OpCodeInfo,
    OpCodeOperandKind,
    OpCodeTableKind,
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
        "hint": hint or bool(set(names) & set(iced["hints"])),
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
    quiet = {"harmless", "hint", "unsought", "invalid"}
    sought = [
        code
        for row, those in codes.items()
        if not quiet & {*row.marks}
        and (row.features or row.unknown or {"rare", "cpuid"} & {*row.marks})
        for code in those
    ]
    rows = ",\n".join(
        json.dumps({**row._asdict(), "codes": _ranges(those)}) for row, those in codes.items()
    )
    searches = ",\n".join(json.dumps(each.decode("latin-1")) for each in searches_for(sought))
    head = "by `make gen` (tests/tools/forms.py), from iced-x86 and these tables"
    return (
        f'{{"made": "{head}",\n'
        f'"decoder": {len(vars(Code))},\n"meanings": [\n{rows}\n],\n'
        f'"searches": [\n{searches}\n]}}\n'
    )


# --- searches ------------------------------------------------------------------------------------

# SDM vol. 2A, sections 2.1.1 and 2.2.1.
_PREFIX = rb"[\x26\x2e\x36\x3e\x40-\x4f\x64-\x67\xf0\xf2\xf3]"
_MAPS = {
    OpCodeTableKind.T0F: 1,
    OpCodeTableKind.T0F38: 2,
    OpCodeTableKind.T0F3A: 3,
    OpCodeTableKind.MAP5: 5,
    OpCodeTableKind.MAP6: 6,
    OpCodeTableKind.MAP8: 8,
    OpCodeTableKind.MAP9: 9,
    OpCodeTableKind.MAP10: 10,
}
# The field pp of VEX, EVEX and XOP (SDM vol. 2A, table 2-9).
_PP = {
    MandatoryPrefix.NONE: 0,
    MandatoryPrefix.PNP: 0,
    MandatoryPrefix.P66: 1,
    MandatoryPrefix.PF3: 2,
    MandatoryPrefix.PF2: 3,
}

_Bytes = frozenset[int]
_ANY = _Bytes(range(256))


class _Shape(NamedTuple):
    """Bytes that many forms have in common.

    Attributes:
        first: what is searched for: an escape, a VEX, EVEX or XOP prefix, or the opcode.
        prefixed: whether a prefix must stand before it.
        before: those between first and opcode, each with the values that it can have.
        after: those behind the opcode.
    """

    first: int
    prefixed: bool
    before: tuple[_Bytes, ...]
    after: tuple[_Bytes, ...]


def searches_for(codes: Iterable[int]) -> tuple[bytes, ...]:
    """What to search for, one pattern for each byte that can be the first.

    Args:
        codes: of iced-x86. What its decoder knows only with an option set is left out.
    """
    shapes: dict[_Shape, set[int]] = {}
    for code in codes:
        form = OpCodeInfo(code)  # type: ignore[arg-type]  # its constants are typed as a class
        if not form.mode64 or form.decoder_option != DecoderOptions.NONE:
            continue
        for shape, opcodes in _shapes(form):
            shapes.setdefault(shape, set()).update(opcodes)
    choices: dict[int, list[bytes]] = {}
    seconds: dict[int, set[int]] = {}
    for shape, differing in shapes.items():
        sequence = (*shape.before, _Bytes(differing), *shape.after)
        choice = b"".join(map(_class, sequence))
        if shape.prefixed:
            choice += rb"(?<=%b\x%02x%b)" % (_PREFIX, shape.first, b"." * len(sequence))
        choices.setdefault(shape.first, []).append(choice)
        seconds.setdefault(shape.first, set()).update(sequence[0])
    # Nothing but the first byte itself is taken: the next one may be among what follows it.
    found = tuple(
        rb"\x%02x(?=%b)(?=%b)" % (first, _class(_Bytes(seconds[first])), b"|".join(each))
        for first, each in choices.items()
    )
    for pattern in found:
        re.compile(pattern)
    return found


def _shapes(form: OpCodeInfo) -> Iterator[tuple[_Shape, _Bytes]]:
    """The shapes of a form, each with the opcodes that it has there."""
    table, encoding = form.table, form.encoding
    pp = _PP[form.mandatory_prefix]
    if encoding == EncodingKind.D3NOW:  # its opcode stands behind the operands
        yield _Shape(0x0F, False, (), ()), _Bytes(b"\x0f")
        return
    if encoding == EncodingKind.LEGACY:
        yield _legacy(form, pp != 0)
        return
    opcodes = _Bytes({form.op_code >> 8 if form.op_code_len == 2 else form.op_code})
    if encoding == EncodingKind.EVEX:
        before = _low_bits(_MAPS[table], 4), _low_bits(4 | pp, 3), _ANY
        yield _Shape(0x62, False, before, ()), opcodes
        return
    first = 0x8F if encoding == EncodingKind.XOP else 0xC4
    yield _Shape(first, False, (_low_bits(_MAPS[table], 5), _low_bits(pp, 2)), ()), opcodes
    if table == OpCodeTableKind.T0F:
        yield _Shape(0xC5, False, (_low_bits(pp, 2),), ()), opcodes


def _legacy(form: OpCodeInfo, prefixed: bool) -> tuple[_Shape, _Bytes]:
    opcode, second = form.op_code, _modrm(form)
    if form.op_code_len == 2:
        opcode, low = opcode >> 8, opcode & 0xFF
        # PadLock's decode with any register where the manual has the second byte's low bits.
        loose = form.table == OpCodeTableKind.T0F
        second = _Bytes(range(low & 0xF8, (low | 7) + 1) if loose else {low})
    if form.table == OpCodeTableKind.NORMAL:
        return _Shape(opcode, False, (), ()), second
    if form.table == OpCodeTableKind.T0F:
        after = () if second == _ANY else (second,)
        return _Shape(0x0F, prefixed, (), after), _Bytes({opcode})
    escape = b"\x38" if form.table == OpCodeTableKind.T0F38 else b"\x3a"
    return _Shape(0x0F, False, (_Bytes(escape),), ()), _Bytes({opcode})


@functools.cache
def _low_bits(value: int, bits: int) -> _Bytes:
    """The bytes whose low bits have a value."""
    return _Bytes(range(value, 256, 1 << bits))


def _modrm(form: OpCodeInfo) -> _Bytes:
    """The ModR/M bytes that a form can have (SDM vol. 2A, section 2.1.3)."""
    if form.group_index < 0 and form.rm_group_index < 0:
        return _ANY
    end = 0xC0 if OpCodeOperandKind.MEM in form.op_kinds() else 0x100
    return _Bytes(
        byte
        for byte in range(end)
        if form.group_index in (-1, byte >> 3 & 7) and form.rm_group_index in (-1, byte & 7)
    )


@functools.cache
def _class(allowed: _Bytes) -> bytes:
    """A regular expression for one of some bytes."""
    return b"." if allowed == _ANY else b"[%b]" % b"".join(map(rb"\x%02x".__mod__, sorted(allowed)))


if __name__ == "__main__":
    PATH.write_text(make(), encoding="ascii")
    print(f"{PATH}", file=sys.stderr)

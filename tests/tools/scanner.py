"""`make gen`: native/scan/tables.c, the tables of the scanner's decoder.

What stands where in the legacy maps is asked of iced-x86's decoder, with all prefixes and ModRM
bytes that can matter; for VEX, XOP and EVEX its descriptions of forms are read. Where it knows
nothing, the rows of `cpuprobe.code.newer` count. What a form means comes from the same rows as
profiles/forms.json. At run time nobody is asked any more.

Maps and fields: SDM vol. 2A, chapter 2; XOP: APM vol. 3, section 1.2.5; EVEX map 4 and REX2: Intel
355828, chapter 3.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from iced_x86 import (
    Code,
    Decoder,
    DecoderOptions,
    EncodingKind,
    FlowControl,
    Instruction,
    MandatoryPrefix,
    OpCodeInfo,
    OpCodeOperandKind,
    OpCodeTableKind,
)

from cpuprobe.code.apx import promoted
from cpuprobe.code.encoding import fields
from cpuprobe.code.newer import newer, rows
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table
from tests.tools.forms import Row, instruction_of, names_in, row_of
from tests.tools.shapes import Shape, shape_of
from tests.tools.starts import Starts

PATH = Path(__file__).parents[2] / "native" / "scan" / "tables.c"
HEADER = PATH.with_name("decode.h")

_FLOWS = {
    FlowControl.NEXT: "NEXT",
    FlowControl.UNCONDITIONAL_BRANCH: "JMP",
    FlowControl.INDIRECT_BRANCH: "INDIRECT_JMP",
    FlowControl.CONDITIONAL_BRANCH: "JCC",
    FlowControl.RETURN: "RET",
    FlowControl.CALL: "CALL",
    FlowControl.INDIRECT_CALL: "INDIRECT_CALL",
    FlowControl.INTERRUPT: "INTERRUPT",
    FlowControl.XBEGIN_XABORT_XEND: "NEXT",
    FlowControl.EXCEPTION: "TRAP",
}
_IDLE = {"hint", "harmless", "unsought"}
_TOLD = ("invalid", "rare", "data", "cpuid", "xgetbv", "end")
FLAGS = ("QUIET", *(mark.upper() for mark in _TOLD), "NEAR")
_STRIDE = 32

# What else must hold, by the names that decode.h has for it: bits of a leaf's `check`.
_CHECKS = {
    name: int(value)
    for name, value in re.findall(r"^    ([A-Z_]+) = (\d+), +/\*", HEADER.read_text(), re.M)
}
LOCKABLE, NO_REX_R, VVVV_UNUSED = (
    _CHECKS[name] for name in ("LOCKABLE", "NO_REX_R", "VVVV_UNUSED")
)

# An entry of a row: where its leaves begin, and whether there is one for each place.
SPLIT = 0x7F << 16


class Leaf(NamedTuple):
    """What is known of an instruction once its opcode and ModRM are.

    Attributes:
        modrm: operands in ModRM follow, with SIB and displacement.
        tail: bytes behind.
        kind: number of the class.
        check: what else must hold.
        loud: it is not quiet.
        noted: it is not quiet, may not go on at the next instruction, or is a sign of data.
        near: what is behind names a target in the code.
        code: of iced-x86, for its operands; 0 where it knows none.
    """

    modrm: bool = False
    tail: int = 0
    kind: int = 0
    check: int = 0
    loud: bool = True
    noted: bool = True
    near: bool = False
    code: int = 0

    def number(self, is_vex: bool) -> int:
        """As C reads it; `is_vex`: it is of VEX, of which only VVVV_UNUSED is looked at in line."""
        if is_vex:
            rest = not self.kind or self.check & ~VVVV_UNUSED != 0
        else:
            rest = not self.kind or (self.check == NO_REX_R and not self.modrm)
        distance = self.tail.bit_length() if self.near else 0
        marks = self.noted << 4 | self.loud << 5 | rest << 6
        fields = distance << 30 | self.kind << 22 | self.modrm * 7 << 19 | self.check << 7
        return fields | marks | self.tail


class Class(NamedTuple):
    """What forms have in common that are the same to a scan.

    Attributes:
        flags: see native/scan/decode.h.
        flow: how it goes on.
        needs: canonical names of what a program that contains them needs.
        unknown: names of what has no row in the feature table.
    """

    flags: tuple[str, ...]
    flow: str
    needs: tuple[str, ...]
    unknown: tuple[str, ...]


def class_of(row: Row, flow: str, near: bool = False) -> Class:
    """The class of forms with a row; `near`: they name a target in the code."""
    marks = {*row.marks}
    needs = () if marks & {*_IDLE, "xgetbv", "invalid"} else row.features
    heard = marks & {"invalid", "rare", "cpuid", "xgetbv"} or needs or row.unknown
    flags = ["QUIET"] if marks & _IDLE or not heard else []
    flags += [mark.upper() for mark in _TOLD if mark in marks]
    flags += ["NEAR"] if "branch" in marks and near else []
    return Class(tuple(flags), flow, needs, row.unknown)


Answer = tuple[int, int]
"""A code of iced-x86, and the length of the instruction."""


def ask(encodings: Sequence[bytes]) -> list[Answer]:
    """What iced-x86 makes of each of some encodings of at most _STRIDE bytes, zeros behind."""
    decoder = Decoder(64, b"".join(each.ljust(_STRIDE, b"\0") for each in encodings))
    instruction = Instruction()
    answers = []
    for at in range(0, _STRIDE * len(encodings), _STRIDE):
        decoder.position = at
        decoder.decode_out(instruction)
        answers.append((int(instruction.code), instruction.len))
    return answers


_KINDS = names_in(OpCodeOperandKind)
_NEAR = ("BR16", "BR32", "BR64", "XBEGIN")
# ModRM: each register field in memory, then all registers.
_PLACES = (*(reg << 3 for reg in range(8)), *range(0xC0, 0x100))
_REACHED_LAST = ("JMP", "INDIRECT_JMP", "RET", "TRAP", "INVALID")


def class_of_code(code: int, words: Mapping[str, Mapping[str, Any]]) -> Class:
    """The class of a code of iced-x86.

    Args:
        code: the code.
        words: profiles/baseline.toml.
    """
    form = OpCodeInfo(code)  # type: ignore[arg-type]  # its constants are typed as a class
    flow = _FLOWS[instruction_of(code).flow_control] if code else "INVALID"
    near = form.op_count > 0 and _KINDS[form.op0_kind].startswith(_NEAR)
    return class_of(row_of(code, words), flow, near)


class Tables:
    """Collects classes, rows of opcodes, and the leaves that their entries lead to."""

    def __init__(self) -> None:
        """Knows nothing yet but what is no instruction."""
        self._words = load_table("baseline")
        self._kinds: dict[int, int] = {}
        self.classes: dict[Class, int] = {}
        self._entries: dict[tuple[int, ...], int] = {}
        self.leaves: list[int] = []
        self.rows: dict[tuple[int, ...], int] = {}
        self.shapes = Shapes()
        self.kind(Code.INVALID)
        self.apx = {flow: self.newer(("apxf",), flow) for flow in dict.fromkeys(_FLOWS.values())}

    def kind(self, code: int) -> int:
        """The class of a code of iced-x86."""
        if code not in self._kinds:
            self._kinds[code] = self._class(class_of_code(code, self._words))
        return self._kinds[code]

    def newer(self, features: Iterable[str], flow: str = "NEXT") -> int:
        """The class of what iced-x86 does not know: believed only where control flow leads."""
        table = load_features()
        known = tuple(name for name in table if name in features)
        unknown = tuple(sorted(name for name in features if name not in table))
        marks = ("rare", "end") if flow in _REACHED_LAST else ("rare",)
        return self._class(class_of(Row(known, unknown, marks), flow))

    def _class(self, wanted: Class) -> int:
        return self.classes.setdefault(wanted, len(self.classes))

    def entry(self, leaves: Sequence[Leaf], is_vex: bool = False) -> tuple[int, int]:
        """A row's entry, for leaves in the order of _PLACES or of _KEYS; and that of its shapes."""
        flags = [each.flags for each in self.classes]
        numbers = tuple(
            leaf._replace(
                loud="QUIET" not in flags[leaf.kind],
                noted=flags[leaf.kind] != ("QUIET",),
                near="NEAR" in flags[leaf.kind],
            ).number(is_vex)
            for leaf in leaves
        )
        shape = self.shapes.entry([leaf.code for leaf in leaves])
        return placed(numbers, self._entries, self.leaves), shape

    def row(self, entries: Sequence[tuple[int, int]], alone: bool = False) -> int:
        """The number of a row; `alone`: of one that is like no other, as its number is known."""
        self.shapes.row([shape for _, shape in entries])
        key = *(entry for entry, _ in entries), len(self.rows) * alone
        return self.rows.setdefault(key, len(self.rows))


def placed(numbers: tuple[int, ...], known: dict[tuple[int, ...], int], leaves: list[int]) -> int:
    """An entry for the numbers of some leaves, which are added to all if they are new."""
    split = len(set(numbers)) > 1
    numbers = numbers if split else numbers[:1]
    if numbers not in known:
        known[numbers] = len(leaves)
        leaves += numbers
        assert len(leaves) < 1 << 16
    return known[numbers] | SPLIT * split


def _entry_text(entry: int) -> str:
    """An entry as C reads it: struct scan_entry."""
    return f"{{{entry & 0xFFFF}, {entry >> 16}}}"


class Shapes:
    """Collects the shapes of codes in the same way."""

    def __init__(self) -> None:
        """Knows nothing yet but what has no operands."""
        self.numbers: dict[Shape, int] = {Shape(): 0}
        self._of: dict[int, int] = {}
        self._entries: dict[tuple[int, ...], int] = {}
        self.leaves: list[int] = []
        self.rows: dict[tuple[int, ...], int] = {}
        self.order: list[int] = []

    def entry(self, codes: Sequence[int]) -> int:
        """A row's entry, for the codes of its leaves."""
        for code in codes:
            if code not in self._of:
                self._of[code] = self.numbers.setdefault(shape_of(code), len(self.numbers))
        return placed(tuple(self._of[code] for code in codes), self._entries, self.leaves)

    def row(self, entries: Iterable[int]) -> None:
        """Adds a row; they are asked for in the order in which they came."""
        self.order.append(self.rows.setdefault(tuple(entries), len(self.rows)))

    def text(self) -> str:
        """As C reads it."""
        lines = "\n".join(f"    {each.line()}" for each in self.numbers)
        assert max(self.order) < 256
        return (
            f"\nconst struct shape scan_shapes[] = {{\n{lines}\n}};\n"
            + _array("uint8_t scan_shape_rows", self.order)
            + _array("uint16_t scan_shape_leaves", self.leaves)
            + _array(
                "struct scan_entry scan_shape_entries",
                [_entry_text(each) for row in self.rows for each in row],
                12,
            )
        )


# --- legacy --------------------------------------------------------------------------------------

_ESCAPES = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")
# Prefixes, and what begins another map or encoding.
_NO_OPCODES = (
    {*b"\x0f\x26\x2e\x36\x3e\x64\x65\x66\x67\xc4\xc5\x62\xd5\xf0\xf2\xf3", *range(0x40, 0x50)},
    {*b"\x0f\x38\x3a"},
    set[int](),
    set[int](),
)


def _legacy(tables: Tables) -> list[int]:
    """Rows by map, then by bits: W, 66, F3, F2. Of F2 and F3 the last counts: never both."""
    rows: list[int] = []
    for number, escape in enumerate(_ESCAPES):
        for state in range(16):
            if state & 12 == 12:
                rows.append(tables.row([tables.entry([Leaf()])] * 256, alone=True))
                continue
            prefixes = ((2, b"\x66"), (4, b"\xf3"), (8, b"\xf2"), (1, b"\x48"))
            head = b"".join(each for bit, each in prefixes if state & bit)
            entries = []
            for opcode in range(256):
                if opcode in _NO_OPCODES[number]:
                    entries.append(tables.entry([Leaf()]))
                else:
                    leaves = _legacy_leaves(tables, head, escape, opcode)
                    entries.append(tables.entry(leaves))
            rows.append(tables.row(entries, alone=True))
    return rows


def _legacy_leaves(tables: Tables, head: bytes, escape: bytes, opcode: int) -> list[Leaf]:
    """The leaves of one opcode, in the order of _PLACES."""
    start = head + escape + bytes((opcode,))
    # Whether ModRM.rm decides too; if not, it is asked with one value.
    exact = (len(escape), opcode) in _two_byte_opcodes()
    asked = ask([start + bytes((m,)) for m in _PLACES if exact or m < 0xC0 or not m & 7])
    near = asked if exact else asked[:8] + [each for each in asked[8:] for _ in range(8)]
    far = ask([start + bytes((0x80 | reg << 3,)) for reg in range(8)])
    locked = ask([b"\xf0" + start + bytes((modrm,)) for modrm in _PLACES[:8]])
    behind_r = ask(
        [
            head.removesuffix(b"\x48") + b"\x44" + start[len(head) :] + bytes((m,))
            for m in _PLACES[:8]
        ]
    )
    reads = [one[1] + 4 == other[1] for one, other in zip(near, far, strict=False)]
    has_newer = escape in _ESCAPES[2:] and _has_newer(start + bytes(1))
    leaves = []
    for place, (code, length) in enumerate(near):
        reg = _PLACES[place] >> 3 & 7
        known = newer(start + bytes((_PLACES[place], *bytes(15)))) if has_newer else None
        if known is not None and not code:
            tail = known.length - len(start) - 1
            leaves.append(Leaf(True, tail, tables.newer(known.features)))
            continue
        # Of registers a length tells nothing: they are as memory is where that has operands, and
        # the scanner itself knows that LOCK wants memory.
        behind = length - len(start)
        modrm = reads[place] if place < 8 else any(reads) and behind > 0
        check = LOCKABLE * (locked[reg][0] != Code.INVALID and len(escape) < 2)
        check |= NO_REX_R * (near[reg][0] != Code.INVALID == behind_r[reg][0])
        leaves.append(Leaf(modrm, behind - modrm, tables.kind(code), check, code=code))
    return leaves


@functools.cache
def _two_byte_opcodes() -> frozenset[tuple[int, int]]:
    """Maps and opcodes where the whole of ModRM is part of the opcode."""
    maps = OpCodeTableKind.NORMAL, OpCodeTableKind.T0F, OpCodeTableKind.T0F38
    found = set()
    for code in names_in(Code):
        info = OpCodeInfo(code)  # type: ignore[arg-type]  # its constants are typed as a class
        if info.encoding == EncodingKind.LEGACY and info.table in maps:
            if info.op_code_len == 2:
                found.add((maps.index(info.table), info.op_code >> 8))
            elif info.rm_group_index >= 0:
                found.add((maps.index(info.table), info.op_code))
    return frozenset(found)


@functools.cache
def _opcodes_of_newer() -> frozenset[tuple[str, int, int, int]]:
    return frozenset((row.kind, row.map, row.pp, row.opcode) for row in rows())


def _has_newer(code: bytes) -> bool:
    """Whether something newer may have the opcode that some code begins with."""
    found = fields(code)
    assert found is not None
    if found.kind == "evex" and found.map == 4:
        return found.opcode in _MAP4 and (found.pp < 2 or found.opcode in _MAP4_REPEATED)
    place = found.map, found.pp, found.opcode
    of_vex = found.kind == "evex" and (
        place in _opcodes_of_vex() or ("vex", *place) in _opcodes_of_newer()
    )
    return of_vex or (found.kind, *place) in _opcodes_of_newer()


@functools.cache
def _opcodes_of_vex() -> frozenset[tuple[int, int, int]]:
    """Where VEX has instructions of general, mask or tile registers: APX gives them EVEX."""
    return frozenset(
        (number, pp, opcode)
        for (number, pp, _, opcode), forms in _forms(EncodingKind.VEX).items()
        if not any("MM_" in each and "T" not in each for form in forms for each in form.operands)
    )


def _now(tables: Tables) -> int:
    """The row of 3DNow!, whose opcode is the byte behind the operands."""
    answers = ask([bytes((0x0F, 0x0F, 0xC0, opcode)) for opcode in range(256)])
    return tables.row(
        [tables.entry([Leaf(True, 1, tables.kind(code), code=code)]) for code, _ in answers]
    )


# --- VEX, XOP and EVEX ---------------------------------------------------------------------------

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
_PP = {
    MandatoryPrefix.NONE: 0,
    MandatoryPrefix.PNP: 0,
    MandatoryPrefix.P66: 1,
    MandatoryPrefix.PF3: 2,
    MandatoryPrefix.PF2: 3,
}
_TAILS = {"IMM8": 1, "IMM32": 4, "XMM_IS4": 1, "YMM_IS4": 1, "XMM_IS5": 1, "YMM_IS5": 1}
Slot = tuple[int, int, int, int]
"""Map, pp, W, opcode."""


class _Form(NamedTuple):
    """One form of iced-x86 with VEX, XOP or EVEX."""

    code: int
    info: OpCodeInfo
    operands: tuple[str, ...]

    def leaf(self, tables: Tables, modrm: int) -> Leaf:
        """The leaf of a ModRM byte that can belong to it."""
        tail = sum(_TAILS.get(each, 0) for each in self.operands)
        has_modrm = bool(self.operands) or self.info.op_code_len == 2
        kind = tables.kind(self.code)
        return Leaf(has_modrm, tail, kind, self.check(modrm), code=self.code)

    def stands_at(self, modrm: int) -> bool:
        """Whether a ModRM byte can belong to it."""
        info = self.info
        if info.op_code_len == 2:
            return modrm == info.op_code & 0xFF
        if not self.operands:
            return True
        memory = any(each.startswith(("MEM", "SIBMEM")) for each in self.operands)
        either = any("OR_MEM" in each for each in self.operands)
        right = either or memory == (modrm < 0xC0)
        return (
            right
            and info.group_index in (-1, modrm >> 3 & 7)
            and info.rm_group_index in (-1, modrm & 7)
        )

    def check(self, modrm: int) -> int:
        """What must hold of the fields."""
        operands, info = self.operands, self.info
        has_vvvv = any(each.endswith("VVVV") for each in operands)
        vsib = any("VSIB" in each for each in operands)
        of_evex = info.encoding == EncodingKind.EVEX
        to_memory = modrm < 0xC0 and bool(operands) and "MEM" in operands[0]
        facts = {
            "VVVV_UNUSED": not has_vvvv,
            "V_UNUSED": of_evex and not has_vvvv and not vsib,
            "LOW_REG": not {"K_REG", "KP1_REG", "TMM_REG"}.isdisjoint(operands),
            "NARROW_REG": of_evex and not {"R32_REG", "R64_REG"}.isdisjoint(operands),
            "LOW_VVVV": not {"K_VVVV", "TMM_VVVV"}.isdisjoint(operands),
            "LOW_RM": "TMM_RM" in operands,
            "VSIB": vsib or "SIBMEM" in operands,
            "UNIQUE": info.requires_unique_reg_nums,
            "UNLIKE": info.requires_unique_dest_reg_num,
            "NO_MASK": of_evex and not info.can_use_op_mask_register,
            "MASK": of_evex and info.require_op_mask_register,
            "NO_ZEROING": of_evex and (not info.can_use_zeroing_masking or to_memory),
        }
        return sum(_CHECKS[name] for name, is_so in facts.items() if is_so)


def _forms(encoding: int) -> dict[Slot, list[_Form]]:
    """The forms of an encoding by where they stand."""
    found: dict[Slot, list[_Form]] = {}
    for code in sorted(names_in(Code)):
        info = OpCodeInfo(code)  # type: ignore[arg-type]  # its constants are typed as a class
        if info.encoding != encoding or info.decoder_option != DecoderOptions.NONE:
            continue
        form = _Form(code, info, tuple(_KINDS[each] for each in info.op_kinds()))
        opcode = info.op_code >> 8 if info.op_code_len == 2 else info.op_code
        for wide in (0, 1):
            if info.is_wig or info.w == wide:
                slot = _MAPS[info.table], _PP[info.mandatory_prefix], wide, opcode
                found.setdefault(slot, []).append(form)
    return found


def _vex(tables: Tables, lead: int, numbers: Sequence[int]) -> list[int]:
    """Rows by map, then by pp, W and L."""
    forms = _forms(EncodingKind.XOP if lead == 0x8F else EncodingKind.VEX)
    rows = []
    for number in numbers:
        for state in range(16):
            pp, wide, length = state >> 2, state >> 1 & 1, state & 1
            entries = []
            for opcode in range(256):
                head = bytes((lead, 0xE0 | number, wide << 7 | 0x78 | length << 2 | pp, opcode))
                those = [
                    form
                    for form in forms.get((number, pp, wide, opcode), ())
                    if form.info.is_lig or form.info.l == length
                ]
                entries.append(tables.entry(_vex_leaves(tables, head, those), is_vex=True))
            rows.append(tables.row(entries))
    return rows


def _none(start: bytes, modrms: Sequence[int]) -> list[Leaf]:
    """What iced-x86 takes for no instruction behind some opcode, by ModRM."""
    lengths = [
        [length - len(start) for _, length in ask([start + bytes((m | more,)) for m in modrms])]
        for more in (0, 0x80)
    ]
    operands = any(far == near + 4 for near, far in zip(*lengths, strict=True))
    return [
        Leaf(
            far == near + 4 or (m >= 0xC0 and operands),
            near - (far == near + 4 or (m >= 0xC0 and operands)),
        )
        for m, near, far in zip(modrms, *lengths, strict=True)
    ]


def _vex_leaves(tables: Tables, head: bytes, forms: Sequence[_Form]) -> list[Leaf]:
    has_newer = _has_newer(head + bytes(1))
    if not forms and not has_newer:
        return _none(head, _PLACES[:1])
    leaves = []
    for modrm, none in zip(_PLACES, _none(head, _PLACES), strict=True):
        form = next((each for each in forms if each.stands_at(modrm)), None)
        known = newer(head + bytes((modrm, *bytes(15)))) if has_newer else None
        if form is not None:
            leaves.append(form.leaf(tables, modrm))
        elif known is not None:
            leaves.append(Leaf(True, known.length - 5, tables.newer(known.features)))
        else:
            leaves.append(none)
    return leaves


# EVEX: L'L, b, whether ModRM is a register, ModRM.reg.
_KEYS = [(ll, b, of, reg) for ll in range(4) for b in (0, 1) for of in (0, 1) for reg in range(8)]
_EVEX_MAPS = range(1, 8)
_VEX_MAPS = (1, 2, 3, 5, 7)
_XOP_MAPS = (8, 9, 10)
# Of map 4, the opcodes that APX promotes or has made (Intel 355828, table 3.1 and chapter 4).
_MAP4 = {
    *(base + low for base in range(0, 0x40, 8) for low in range(4)),
    *(0x24, 0x2C),
    *range(0x40, 0x50),
    *(0x60, 0x61, 0x65, 0x66, 0x69, 0x6B, 0x80, 0x81, 0x83, 0x84, 0x85, 0x88, 0x8A, 0x8B, 0x8F),
    *(0xA5, 0xAD, 0xAF, 0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, *range(0xD8, 0xE0)),
    *(0xF0, 0xF1, 0xF2, *range(0xF4, 0xFA), 0xFC, 0xFE, 0xFF),
}
# Of these, those that F3 or F2 makes another instruction of.
_MAP4_REPEATED = {*range(0x40, 0x50), 0x66, 0xD8, *range(0xDC, 0xE0), 0xF0, 0xF1, 0xF2, 0xF8}


def _evex(tables: Tables) -> list[int]:
    """Rows by map, then by pp and W."""
    forms = _forms(EncodingKind.EVEX)
    rows = []
    for number in _EVEX_MAPS:
        for state in range(8):
            pp, wide = state >> 1, state & 1
            entries = []
            for opcode in range(256):
                those = forms.get((number, pp, wide, opcode), [])
                head = bytes((0x62, 0xF0 | number, wide << 7 | 0x7C | pp))
                has_newer = _has_newer(head + bytes((8, opcode, 0)))
                keys = _KEYS if those or has_newer else _KEYS[:1]
                leaves = [_evex_leaf(tables, head, opcode, those, key) for key in keys]
                entries.append(tables.entry(leaves))
            rows.append(tables.row(entries))
    return rows


def _evex_leaf(
    tables: Tables, head: bytes, opcode: int, forms: Sequence[_Form], key: tuple[int, int, int, int]
) -> Leaf:
    ll, b, of_register, reg = key
    modrm = 0xC0 * of_register | reg << 3
    for form in forms:
        info = form.info
        rounds = info.can_use_rounding_control or info.can_suppress_all_exceptions
        rounded = b and of_register and rounds  # then L'L is the way of rounding
        fits = rounded or info.l == ll or (info.is_lig and ll < 3)
        with_b = rounds if of_register else info.can_broadcast
        if form.stands_at(modrm) and fits and (with_b or not b):
            return form.leaf(tables, modrm)
    start = head + bytes((ll << 5 | 8 | b << 4, opcode))
    if _has_newer(start + bytes(1)):
        # Tiles want a SIB byte.
        for sib in (0, 0 if of_register else 1):
            code = start + bytes((modrm | 4 * sib, *bytes(15)))
            known = newer(code) or promoted(code)
            if known is not None:
                return Leaf(True, known.length - 6 - sib, tables.newer(known.features))
    return _none(start, [modrm])[0]


# --- the file ------------------------------------------------------------------------------------


def _class_lines(tables: Tables, names: Sequence[str]) -> Iterator[str]:
    groups: dict[tuple[str, ...], int] = {}
    for each in tables.classes:
        counted = [names.index(name) for name in (*each.needs, *each.unknown)]
        mask = sum(1 << names.index(name) for name in each.needs)
        group = groups.setdefault(each.needs, len(groups))
        flags = " | ".join(f"CLASS_{flag}" for flag in each.flags) or "0"
        yield (
            f"{{{flags}, FLOW_{each.flow}, {group}, {len(counted)}, "
            f"{{{', '.join(map(str, counted))}}}, {{{mask & 2**64 - 1:#x}, {mask >> 64:#x}}}}}, "
            f"/* {' '.join((*each.needs, *each.unknown)) or '-'} */"
        )


def _array(head: str, values: Iterable[object], per_line: int = 16) -> str:
    texts = [str(value) for value in values]
    lines = [
        "    " + ", ".join(texts[at : at + per_line]) + "," for at in range(0, len(texts), per_line)
    ]
    return f"\nconst {head}[] = {{\n" + "\n".join(lines) + "\n};\n"


def _bytes_text(starts: Starts) -> str:
    """What is looked up by one byte: ModRM and SIB, and what stands before an opcode."""
    places, lengths, baseless = zip(*map(_modrm, range(256)), strict=True)
    names_none = [4 * (sib & 7 == 5) for sib in range(256)]
    columns = (places, lengths, baseless, names_none, starts.heads, starts.seconds, starts.thirds)
    return (
        "\nconst struct scan_bytes scan_bytes = {\n"
        + "".join(f"    {{{', '.join(map(str, column))}}},\n" for column in columns)
        + "    {\n"
        + "".join(f"        {line}\n" for line in starts.lines())
        + "    },\n};\n"
    )


def _modrm(byte: int) -> tuple[int, int, int]:
    """The place of a ModRM byte, the length with SIB and displacement, and what SIB may add."""
    mod, reg, rm = byte >> 6, byte >> 3 & 7, byte & 7
    if mod == 3:
        return 8 + (byte & 63), 1, 0
    displacement = 4 if (mod, rm) == (0, 5) else (0, 1, 4)[mod]
    return reg, 1 + (rm == 4) + displacement, 4 * ((mod, rm) == (0, 4))


def make() -> str:
    """The whole of tables.c."""
    tables = Tables()
    legacy = _legacy(tables)
    assert legacy == list(range(64))
    rows = {
        "now": [_now(tables)],
        "vex": _vex(tables, 0xC4, _VEX_MAPS),
        "xop": _vex(tables, 0x8F, _XOP_MAPS),
        "evex": _evex(tables),
    }
    counted = {name for each in tables.classes for name in each.needs}
    known = [name for name in load_features() if name in counted]
    unknown = sorted({name for each in tables.classes for name in each.unknown})
    assert max(map(max, rows.values())) < 256
    names = [*known, *unknown]
    apx = ", ".join(f"[FLOW_{flow}] = {kind}" for flow, kind in tables.apx.items())
    named = ",\n".join(f'    "{name}"' for name in names)
    kinds = "\n".join(f"    {line}" for line in _class_lines(tables, names))
    largest = f'_Static_assert({len(names)} <= MOST_FEATURES && {len(known)} <= MOST_KNOWN, "");'
    return (
        "/* GENERATED by `make gen` (tests/tools/scanner.py) from iced-x86, profiles/ and\n"
        " * cpuprobe.code.newer: do not edit. decode.h says what is what. */\n"
        f'#include "operands.h"\n\n{largest}\n'
        f"const unsigned scan_features = {len(names)}, scan_known_features = {len(known)};\n"
        f"const unsigned scan_classes_number = {len(tables.classes)};\n"
        f"\nconst char *const scan_feature_names[] = {{\n{named},\n}};\n"
        f"\nconst struct instruction_class scan_classes[] = {{\n{kinds}\n}};\n"
        f"\nconst uint8_t scan_apx_classes[] = {{{apx}}};\n"
        + "".join(_array(f"uint8_t scan_{name}_rows", rows[name]) for name in rows)
        + _bytes_text(Starts(rows["vex"]))
        + _array("uint32_t scan_leaves", tables.leaves, 12)
        + _array(
            "struct scan_entry scan_entries",
            [_entry_text(entry) for row in tables.rows for entry in row[:-1]],
            12,
        )
        + tables.shapes.text()
    )


if __name__ == "__main__":
    PATH.write_text(make(), encoding="ascii")
    print(f"{PATH}", file=sys.stderr)

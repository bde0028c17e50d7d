"""What the scanner knows of operands: the shapes of native/scan/tables.c (`make gen`).

A shape is what forms of iced-x86 have in common: where their operands stand and how large they are,
what is done with them, whether they read and write flags, and what native/scan/operands.h tells
apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from iced_x86 import (
    Code,
    EncodingKind,
    FlowControl,
    Instruction,
    MemorySize,
    MemorySizeExt,
    Mnemonic,
    OpCodeInfo,
    OpCodeOperandKind,
    TupleType,
)

from cpuprobe.code.decode import NEVER_FAULTS
from tests.tools.forms import instruction_of, names_in

HEADER = Path(__file__).parents[2] / "native" / "scan" / "operands.h"

_IS_COPY = ("MOV", "MOVZX", "MOVSX", "MOVSXD")
_IS: Mapping[str, tuple[str, ...]] = {
    "IS_ASKING": ("CPUID", "XGETBV"),
    "IS_LEA": ("LEA",),
    "IS_MOV": ("MOV",),
    "IS_COPY": _IS_COPY,
    "IS_CLEARING": ("XOR", "SUB", "PXOR"),
    "IS_FLAGS_ONLY": ("CMP", "TEST", "BT", "UCOMISD", "PTEST"),
    "IS_TEST": ("TEST", "AND", "BT"),
    "IS_ADD": ("ADD",),
    "IS_MOVQ": ("MOVQ",),
    "IS_EXCHANGE": ("XCHG",),
    "IS_DOUBLE": ("MUL", "IMUL", "DIV", "IDIV", "CWD", "CDQ", "CQO", "RDTSC"),
    "IS_SIGNED": ("MOVSX", "MOVSXD", "SAR"),
    "NEVER_FAULTS": tuple(NEVER_FAULTS),
}
# What is done with operands (enum work), where that depends on no more than the mnemonic.
_WORKS: Mapping[str, tuple[str, ...]] = {
    "ADDS": ("ADD",),
    "ORS": ("OR",),
    "ADCS": ("ADC",),
    "SBBS": ("SBB",),
    "ANDS": ("AND",),
    "SUBS": ("SUB",),
    "XORS": ("XOR",),
    "COMPARES": ("CMP",),
    "TESTS": ("TEST",),
    "NOTS": ("NOT",),
    "NEGS": ("NEG",),
    "SHIFTS_LEFT": ("SHL",),
    "SHIFTS_RIGHT": ("SHR", "SAR"),
    "BIT_TESTS": ("BT",),
    "COPIES": _IS_COPY,
    "COUNTS_UP": ("INC",),
    "COUNTS_DOWN": ("DEC",),
    "FILLS_LEFT": ("SHLD",),
    "FILLS_RIGHT": ("SHRD",),
    "BIT_SETS": ("BTS",),
    "BIT_CLEARS": ("BTR",),
    "ROTATES_LEFT": ("ROL",),
    "ROTATES_RIGHT": ("ROR",),
    "MULTIPLIES": ("IMUL",),
    "WIDENS_TWO": ("CWDE",),
    "WIDENS_FOUR": ("CDQE",),
    "SPREADS_FOUR": ("CDQ",),
    "SPREADS_EIGHT": ("CQO",),
    "COMPARES_EXCHANGES": ("CMPXCHG",),
    "EXCHANGES_ADDS": ("XADD",),
    "TAKES_ADDRESS": ("LEA",),
    "EXCHANGES": ("XCHG",),
    "PUSHES": ("PUSH",),
    "POPS": ("POP",),
    "LEAVES": ("LEAVE",),
    "VECTOR_COPIES": (
        *("MOVD", "MOVQ", "MOVUPS", "MOVAPS", "MOVDQU", "MOVDQA", "MOVUPD", "MOVAPD"),
    ),
    "VECTOR_PARTS": ("MOVSS", "MOVSD"),
    "VECTOR_XORS": ("PXOR", "XORPS"),
    "VECTOR_JOINS": ("PUNPCKLQDQ", "MOVLHPS", "UNPCKLPD", "MOVHPS", "MOVHPD"),
    "IDLES": ("NOP", "ENDBR64", "MFENCE", "LFENCE"),
}
_WORK = {name: work for work, names in _WORKS.items() for name in names}
_SIZES = {"UINT8": 1, "INT8": 1, "UINT32": 4, "INT32": 4, "UINT64": 8, "INT64": 8}
_BASES = {
    "R": "GENERAL",
    "X": "VECTORS",
    "Y": "VECTORS",
    "Z": "VECTORS",
    "K": "MASKS",
    "M": "MMX",
    "S": "SEGMENTS",
    "T": "TILES",
    "B": "BOUNDS",
}
_SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS")
# By iced-x86's name of an operand; what stands in none of these rows is OTHER.
_EXACT = {
    **dict.fromkeys(("AL", "AX", "EAX", "RAX"), ("FIXED", "RAX")),
    "CL": ("FIXED", "RCX"),
    "DX": ("FIXED", "RDX"),
    "ST0": ("FIXED", "X87"),
    "STI_OPCODE": ("OPCODE", "X87"),
    **{name: ("FIXED", f"SEGMENTS + {at}") for at, name in enumerate(_SEGMENTS)},
    "MEM_OFFS": ("OFFSET", "0"),
    "IMM8": ("IMM8", "0"),
    "IMM8SEX32": ("SIGNED8", "0"),
    "IMM8SEX64": ("SIGNED8", "0"),
    "IMM16": ("IMM16", "0"),
    "IMM32": ("IMM32", "0"),
    "IMM32SEX64": ("SIGNED32", "0"),
    "IMM64": ("IMM64", "0"),
    "IMM8SEX16": ("SHORT", "0"),
    "IMM8_CONST_1": ("SHORT", "0"),
    "IMM4_M2Z": ("SHORT", "0"),
    **dict.fromkeys(("BR64_1", "BR64_4", "XBEGIN_4"), ("TARGET", "0")),
}
_PLACES = {
    "REG": "REG",
    "RM": "RM",
    "VVVV": "VVVV",
    "OPCODE": "OPCODE",
    "IS4": "LAST",
    "IS5": "LAST",
}
_FIXED_SIZES = {"AL": 1, "AX": 2, "EAX": 4, "RAX": 8, "CL": 1}
_VECTOR = 16
_PLAIN = {"0", "RAX", "RCX", "BYTES", "GENERAL", "VECTORS", "NO_REGISTER"}
_REGISTER = re.compile(r"(R8|R16|R32|R64|K|KP1|[XYZ]MM|[XYZ]MMP3|MM|SEG|TMM|BND)_([A-Z]+[45]?)")


class Shape(NamedTuple):
    """As native/scan/operands.h has it; of an operand where it stands, its base, and its bytes."""

    words: tuple[str, ...] = ()
    work: str = "ELSE"
    memory: int = 0
    scale: int = 0
    broadcast: int = 0
    wide: bool = False
    vectors: bool = False
    operands: tuple[tuple[str, str, int], ...] = ()

    def line(self) -> str:
        """As C reads it."""
        operands = ", ".join(
            f"{{OPERAND_{where}, {base}, {size}}}" for where, base, size in self.operands
        )
        numbers = self.memory, self.scale, self.broadcast, int(self.wide), int(self.vectors)
        rest = ", ".join((self.work, *map(str, numbers)))
        return f"{{{' | '.join(self.words) or 0}, {rest}, {{{operands}}}}},"


def _operand(kind: str) -> tuple[str, str]:
    if kind in _EXACT:
        return _EXACT[kind]
    if kind.startswith(("MEM", "SIBMEM")):
        return "RM", "NO_REGISTER"
    found = _REGISTER.match(kind)
    if found is None or found[2] not in {*_PLACES, "OR"}:
        return "OTHER", "0"
    base = "BYTES" if found[1] == "R8" else _BASES[found[1][0]]
    return _PLACES.get(found[2], "RM"), base


def _work(instruction: Instruction, mnemonic: str, operands: list[tuple[str, str]]) -> str:
    """What is done with operands, as far as these are general registers or XMM ones."""
    if any(where == "OTHER" or base not in _PLAIN for where, base in operands):
        return "ELSE"
    if not instruction.condition_code:
        return _WORK.get(mnemonic, "ELSE")
    if instruction.flow_control == FlowControl.CONDITIONAL_BRANCH:
        return "ELSE" if mnemonic.startswith("LOOP") else "JUMPS"  # which count as well
    return "SETS" if len(operands) == 1 else "MOVES_IF"


def _size(kind: str, memory: int) -> int:
    """The bytes of an operand; of a vector register or memory those of memory."""
    if kind in _FIXED_SIZES:
        return _FIXED_SIZES[kind]
    found = _REGISTER.match(kind)
    if found is not None and found[1][0] == "R":
        return int(found[1][1:]) // 8
    if kind == "XMM_REG":
        return _VECTOR
    return memory if kind.startswith(("MEM", "XMM")) else 0


@functools.cache
def _kinds() -> dict[int, str]:
    return names_in(OpCodeOperandKind)


@functools.cache
def _tuples() -> dict[int, tuple[int, int]]:
    """Of each tuple type (SDM vol. 2A, table 2-34) the shifts, without a broadcast and with it."""
    found = {}
    for value, name in names_in(TupleType).items():
        whole, _, one = name[1:].partition("B")
        found[value] = int(whole).bit_length() - 1, int(one or 1).bit_length() - 1
    return found


def shape_of(code: int) -> Shape:
    """The shape of one of iced-x86's codes."""
    if code == Code.INVALID:
        return Shape()
    form, instruction = OpCodeInfo(code), instruction_of(code)  # type: ignore[arg-type]
    instruction.immediate8 = 5  # a shift by nothing leaves flags alone
    mnemonic = names_in(Mnemonic)[instruction.mnemonic]
    kinds = [_kinds()[each] for each in form.op_kinds()]
    words = [word for word, names in _IS.items() if mnemonic in names]
    words += ["READS_FLAGS"] * bool(instruction.rflags_read)
    words += ["WRITES_FLAGS"] * bool(instruction.rflags_modified)
    scale, broadcast = _tuples()[form.tuple_type] if form.encoding == EncodingKind.EVEX else (0, 0)
    operands = [*map(_operand, kinds)]
    is_legacy = form.encoding == EncodingKind.LEGACY
    work = _work(instruction, mnemonic, operands) if is_legacy else "ELSE"
    memory = MemorySizeExt.size(form.memory_size) or _VECTOR
    sizes = [_size(each, memory) if work != "ELSE" else 0 for each in kinds]
    return Shape(
        tuple(words),
        work,
        _SIZES.get(names_in(MemorySize)[form.memory_size], 0),
        scale,
        broadcast,
        bool(kinds) and kinds[0].startswith("R64"),
        any("VSIB" in each for each in kinds),
        tuple((*each, size) for each, size in zip(operands, sizes, strict=True)),
    )

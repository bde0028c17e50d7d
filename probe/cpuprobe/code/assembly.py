"""One assembler line, AT&T or Intel syntax, -> what it needs. No assembler is needed, nor bytes.

The mnemonic, the number of operands and the class of each choose among iced-x86's codes; those that
say the same are one answer. Values are not looked at: no feature hangs on them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cpuprobe.code.assembler_line import Line, Memory, Operand, class_of, parse_line, with_immediate
from cpuprobe.code.decode import Decoded, library, named
from cpuprobe.errors import CaptureError

if TYPE_CHECKING:
    from iced_x86 import Instruction

MAXIMUM_LINE = 300
# AT&T names without a counterpart of the same spelling (GNU as, "i386-Mnemonics").
_ATT_NAMES = (
    ("movabs", "mov"),
    ("movslq", "movsxd"),
    ("cltq", "cdqe"),
    ("cqto", "cqo"),
    ("cltd", "cdq"),
    ("cwtl", "cwde"),
    ("cbtw", "cbw"),
    ("cwtd", "cwd"),
    (r"(\w+)[bwlqxyz]", r"\1"),
    (r"mov([sz])[bw][wlq]", r"mov\1x"),
)
# Their operands are given, and some assemblers print them.
_FIXED = frozenset(
    [
        "clzero",
        "invlpga",
        "monitor",
        "monitorx",
        "mwait",
        "mwaitx",
        "skinit",
        "vmload",
        "vmrun",
        "vmsave",
    ]
)


def read_line(text: str, registers: Mapping[str, int] | None = None) -> tuple[Decoded, ...]:
    """What an assembler line can mean: what GNU as takes first, then what needs something else.

    Args:
        text: `vpmullq %xmm1,%xmm0,%xmm0`, `lock cmpxchg16b [rdi]`; one instruction.
        registers: their values, by lower-case name, for the address of an operand in memory.

    Returns:
        One instruction without bytes for each different set of features, at least one.

    Raises:
        CaptureError: no such instruction.
        CannotMeasureError: iced-x86 is not installed.
    """
    if len(text) > MAXIMUM_LINE:
        raise CaptureError(f"{_shown(text)}...: too long for an instruction")
    error = no_instruction(text)
    try:
        line = parse_line(text)
    except ValueError:
        raise error from None
    found: dict[tuple[object, ...], Decoded] = {}
    for name in _names_for(line.mnemonic):
        intel = f"{name if line.name == line.mnemonic else line.name} {line.shown}".strip()
        for code in _codes(_mnemonics()[name]):
            if _takes(code, line):
                one = named(_instruction(code, line), intel, registers or {})
                found.setdefault((one.kind, one.features, one.other), one)
        if found:
            return tuple(found.values())
    raise error


def no_instruction(text: str) -> CaptureError:
    """What a line is refused with that no table knows, of whatever instruction set."""
    return CaptureError(f"{_shown(text)!r}: no instruction that is known, nor its bytes")


def _shown(text: str) -> str:
    return " ".join(text.split())[:80]


def is_mnemonic(word: str) -> bool:
    """Whether a word is the name of an instruction, or of one with an immediate (`cmpneqps`)."""
    return word.lower() in _mnemonics() or with_immediate(word.lower())


@functools.cache
def _mnemonics() -> dict[str, int]:
    names = vars(library().Mnemonic)
    return {name.lower(): value for name, value in names.items() if isinstance(value, int)}


@functools.cache
def _opcodes() -> dict[int, tuple[int, ...]]:
    """The codes of each mnemonic that 64-bit mode has, in the order GNU as prefers."""
    iced = library()
    order = (iced.EncodingKind.LEGACY, iced.EncodingKind.VEX, iced.EncodingKind.EVEX)
    found: dict[int, list[tuple[int, int]]] = {}
    for code in vars(iced.Code).values():
        if not isinstance(code, int) or code == iced.Code.INVALID:
            continue
        opcode = iced.OpCodeInfo(code)
        if opcode.is_instruction and opcode.mode64 and opcode.decoder_option == 0:
            rank = order.index(opcode.encoding) if opcode.encoding in order else len(order)
            found.setdefault(opcode.mnemonic, []).append((rank, code))
    return {mnemonic: tuple(code for _, code in sorted(rows)) for mnemonic, rows in found.items()}


def _codes(mnemonic: int) -> tuple[int, ...]:
    from cpuprobe.code.forms import forms

    codes = _opcodes().get(mnemonic, ())
    # GNU as takes EVEX there unless told {vex}.
    late = {"avxvnni", "avxifma", "avxneconvert"}
    is_late = any(late.intersection(forms().meaning(code).features) for code in codes)
    return tuple(reversed(codes)) if is_late else codes


def _names_for(name: str) -> list[str]:
    """The mnemonics that a name can mean: itself, or without the suffix that AT&T adds."""
    renamed = [
        match.expand(meant)
        for pattern, meant in _ATT_NAMES
        if (match := re.fullmatch(pattern, name)) is not None
    ]
    again = [meant for pattern, meant in _ATT_NAMES[:8] if pattern in renamed]
    return [each for each in (name, *renamed, *again) if each in _mnemonics()]


def _takes(code: int, line: Line) -> bool:
    """Whether a code can be what a line says."""
    iced = library()
    opcode = iced.OpCodeInfo(code)
    able = (
        ("k[0-7]", opcode.can_use_op_mask_register),
        ("z", opcode.can_use_zeroing_masking),
        (r"1to\d{0,2}", opcode.can_broadcast),
        ("sae", opcode.can_suppress_all_exceptions),
        ("r(?:ne?|[duz])-sae", opcode.can_use_rounding_control),
    )
    if any(not any(re.fullmatch(a, word) and b for a, b in able) for word in line.decorations):
        return False
    high = [re.fullmatch(r"[xyz]mm(1[6-9]|[23]\d)", str(each)) for each in line.operands]
    encoding = "evex" if line.decorations or any(high) else line.encoding
    wanted = {"vex": iced.EncodingKind.VEX, "evex": iced.EncodingKind.EVEX}.get(encoding)
    if wanted not in (None, opcode.encoding):
        return False
    if opcode.op_count == 0 and line.mnemonic in _FIXED:
        return all(isinstance(each, str) for each in line.operands)
    if opcode.op_count != len(line.operands):
        return False
    broadcast = any(word.startswith("1to") for word in line.decorations)
    size = 0 if broadcast else iced.MemorySizeInfo(opcode.memory_size).size
    kinds = [_operand_kinds()[kind] for kind in opcode.op_kinds()]
    return all(_fits(kind, each, size) for kind, each in zip(kinds, line.operands, strict=True))


@functools.cache
def _operand_kinds() -> dict[int, str]:
    names = vars(library().OpCodeOperandKind)
    return {value: name for name, value in names.items() if isinstance(value, int)}


def _fits(kind: str, operand: Operand, size: int) -> bool:
    """Whether a code's operand, of that size in bytes if it is in memory, can be this one."""
    if isinstance(operand, int):
        return kind.startswith(("IMM", "BR", "XBEGIN", "FARBR"))
    if isinstance(operand, str):
        if kind == "ST0":
            return operand in ("st", "st(0)", "st0")
        if "_" not in kind:
            return operand == kind.lower()  # AL, CL, DX, ES
        sort, _, how = kind.partition("_")
        return re.sub(r"P\d$", "", sort) == class_of(operand) and how not in ("RSI", "RDI")
    if kind.startswith("MEM_VSIB"):
        return class_of(operand.scaled) == f"{kind[-1]}MM"
    if class_of(operand.scaled).endswith("MM"):
        return False
    if kind.startswith(("BR", "XBEGIN")):
        return not (operand.base or operand.scaled)
    in_memory = kind.startswith(("MEM", "SIBMEM")) or "_OR_MEM" in kind
    return in_memory and (not operand.size or not size or operand.size == size)


def _instruction(code: int, line: Line) -> Instruction:
    """The code with the operand in memory."""
    iced = library()
    names = vars(iced.Register)
    instruction: Instruction = iced.Instruction()
    instruction.code = code  # type: ignore[assignment]  # iced-x86 types it as a class
    for number, operand in enumerate(line.operands):
        if isinstance(operand, Memory):
            instruction.set_op_kind(number, iced.OpKind.MEMORY)
            instruction.memory_base = names[operand.base.upper() or "NONE"]
            instruction.memory_index = names[operand.scaled.upper() or "NONE"]
            instruction.segment_prefix = names[operand.segment.upper() or "NONE"]
            instruction.memory_index_scale = operand.scale
            instruction.memory_displacement = operand.displacement & (1 << 64) - 1
    return instruction

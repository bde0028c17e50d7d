"""Bytes -> instructions, their features, and what kind of instruction each is.

iced-x86 decodes all it knows; what is newer stands in newer.py and apx.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cpuprobe.errors import CannotMeasureError

if TYPE_CHECKING:
    import iced_x86

    from cpuprobe.code.forms import Meaning

# What an instruction is, as far as it bears on a crash:
#   feature        needs something beyond x86-64-v1
#   baseline       every x86-64 CPU has it
#   hint           a NOP on CPUs that lack it: it never faults for that reason
#   trap           UD0, UD1, UD2: made to fault
#   breakpoint     INT3, INT1
#   privileged     for the kernel alone
#   unknown        it decodes, but the feature it needs has no row in the table
#   always-invalid  raises #UD on every CPU, by its encoding (`code.invalid`)
#   undecodable    no instruction that the decoder knows
#   incomplete     the bytes end inside of it
Kind = Literal[
    "feature",
    "baseline",
    "hint",
    "trap",
    "breakpoint",
    "privileged",
    "unknown",
    "always-invalid",
    "undecodable",
    "incomplete",
]

MAXIMUM_INSTRUCTIONS = 64

# Without the feature these run as another instruction and do not fault (SDM vol. 2, LZCNT, TZCNT).
NEVER_FAULTS = {"LZCNT": "BSR", "TZCNT": "BSF"}
# Aligned moves; with VEX and EVEX too (SDM vol. 2, exceptions type 1).
_ALIGNED = frozenset(
    [
        "MOVAPS",
        "MOVAPD",
        "MOVDQA",
        "MOVNTPS",
        "MOVNTPD",
        "MOVNTDQ",
        "MOVNTDQA",
        "MOVDQA32",
        "MOVDQA64",
    ]
)
_MAY_BE_UNALIGNED = frozenset(
    ["MOVUPS", "MOVUPD", "MOVDQU", "LDDQU", "PCMPESTRI", "PCMPESTRM", "PCMPISTRI", "PCMPISTRM"]
)
_MARKED: tuple[Literal["trap", "breakpoint", "privileged", "hint"], ...] = (
    "trap",
    "breakpoint",
    "privileged",
    "hint",
)
_CANONICAL = 1 << 47
# iced-x86's names of what x86-64 took over from CPUs of 32 bits, not all of which have it.
_NOT_ON_EVERY_I386 = {
    "SSE2": "SSE2",
    "SSE": "SSE",
    "MMX": "MMX",
    "CLFSH": "CLFLUSH",
    "FXSR": "FXSAVE",
    "CMOV": "CMOV",
    "SEP": "SYSENTER",
    "CX8": "CMPXCHG8B",
    "MULTIBYTENOP": "the NOP of several bytes",
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """One instruction.

    Attributes:
        code: its bytes.
        kind: see `Kind`.
        mnemonic: in capitals, empty if unknown.
        intel: in Intel syntax, empty if it cannot be decoded.
        att: in AT&T syntax.
        features: canonical names of all features that iced-x86 names, without x86-64-v1's.
        other: iced-x86's names of what it needs beside these and the table has no row for.
        alignment: bytes to which a memory operand must be aligned; 0 where any address will do.
        operand: the address of the memory operand where the registers are known, else None.
        far: that address is not canonical.
        early: what it needs that every x86-64 CPU has and older ones of 32 bits may lack; empty
            if nothing.
    """

    code: bytes
    kind: Kind
    mnemonic: str = ""
    intel: str = ""
    att: str = ""
    features: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    alignment: int = 0
    operand: int | None = None
    far: bool = False
    early: str = ""


def library() -> Any:
    """iced-x86; CannotMeasureError with what to install if it is missing."""
    try:
        import iced_x86
    except ImportError:
        raise CannotMeasureError(
            "iced-x86, the decoder, is not installed: pip install iced-x86"
        ) from None
    return iced_x86


@functools.cache
def _names(kind: str) -> dict[int, str]:
    names = vars(getattr(library(), kind))
    return {value: name for name, value in names.items() if isinstance(value, int)}


def decode(
    code: bytes,
    *,
    sequence: bool = False,
    registers: Mapping[str, int] | None = None,
    bits: int = 64,
) -> tuple[Decoded, ...]:
    """The instructions at the start of `code`.

    Args:
        code: bytes of code.
        sequence: decode all of it; otherwise the first instruction alone.
        registers: their values at the first instruction, by lower-case name.
        bits: 64, or 32 for code of i386.

    Returns:
        At least one, unless `code` is empty. Decoding ends after one that is not known.

    Raises:
        CannotMeasureError: iced-x86 is not installed.
    """
    decoded: list[Decoded] = []
    at = 0
    while at < len(code) and len(decoded) < MAXIMUM_INSTRUCTIONS:
        one = _one(code[at : at + 15], registers or {}, bits)
        decoded.append(one)
        at += len(one.code)
        if not sequence or one.kind in ("undecodable", "incomplete"):
            break
    return tuple(decoded)


def _one(code: bytes, registers: Mapping[str, int], bits: int = 64) -> Decoded:
    iced = library()
    ip = registers.get("rip" if bits == 64 else "eip", 0)
    decoder = iced.Decoder(bits, code, ip=ip)
    instruction: iced_x86.Instruction = decoder.decode()
    if decoder.last_error == iced.DecoderError.NO_MORE_BYTES:
        return Decoded(code, "incomplete")
    if instruction.is_invalid:
        return Decoded(code, "undecodable")
    mnemonic = _names("Mnemonic")[instruction.mnemonic]
    from cpuprobe.code.forms import forms  # which asks for iced-x86 when it is imported

    meaning = forms().meaning(instruction.code)
    alignment, operand, far = _operand(instruction, mnemonic, registers)
    return Decoded(
        code=code[: instruction.len],
        kind=_kind(meaning),
        mnemonic=mnemonic,
        intel=_formatter("INTEL").format(instruction),
        att=_formatter("GAS").format(instruction),
        features=meaning.features,
        other=meaning.unknown,
        alignment=alignment,
        operand=operand,
        far=far,
        early=_early(instruction),
    )


def _early(instruction: iced_x86.Instruction) -> str:
    names = {_names("CpuidFeature")[each] for each in instruction.cpuid_features()}
    return next((words for name, words in _NOT_ON_EVERY_I386.items() if name in names), "")


@functools.cache
def _formatter(syntax: str) -> Any:
    iced = library()
    formatter = iced.Formatter(getattr(iced.FormatterSyntax, syntax))
    if syntax == "INTEL":
        formatter.space_after_operand_separator = True
        formatter.hex_prefix, formatter.hex_suffix = "0x", ""
    return formatter


def _kind(meaning: Meaning) -> Kind:
    for kind in _MARKED:
        if kind in meaning.marks:
            return kind
    if meaning.features:
        return "feature"
    return "unknown" if meaning.unknown else "baseline"


def _operand(
    instruction: iced_x86.Instruction, mnemonic: str, registers: Mapping[str, int]
) -> tuple[int, int | None, bool]:
    """What alignment the memory operand needs, its address if that can be told, whether it is far.

    Legacy SSE instructions want operands of 16 bytes aligned, those with VEX and EVEX do not, but
    for the aligned moves (SDM vol. 1, section 14.9).
    """
    iced = library()
    kinds = [instruction.op_kind(number) for number in range(instruction.op_count)]
    if iced.OpKind.MEMORY not in kinds:
        return 0, None, False
    size = iced.MemorySizeInfo(instruction.memory_size).size
    alignment = 0
    if instruction.encoding == iced.EncodingKind.LEGACY:
        named = {_names("CpuidFeature")[each] for each in instruction.cpuid_features()}
        of_sse = any(name.startswith(("SSE", "SSSE", "AES", "PCLMUL", "SHA")) for name in named)
        if size == 16 and (of_sse or mnemonic == "CMPXCHG16B"):
            alignment = 0 if mnemonic in _MAY_BE_UNALIGNED else 16
    elif mnemonic.removeprefix("V") in _ALIGNED:
        alignment = size
    if instruction.is_vsib:
        return alignment, None, False
    if instruction.is_ip_rel_memory_operand:
        known = "rip" in registers
        return alignment, instruction.ip_rel_memory_address if known else None, False
    address = instruction.memory_displacement
    register_names = _names("Register")
    scales = (
        (instruction.memory_base, 1),
        (instruction.memory_index, instruction.memory_index_scale),
    )
    for register, scale in scales:
        if register == iced.Register.NONE:
            continue
        value = registers.get(register_names[register].lower())
        if value is None:
            return alignment, None, False
        address += value * scale
    if instruction.segment_prefix in (iced.Register.FS, iced.Register.GS):
        base = registers.get(f"{register_names[instruction.segment_prefix].lower()}_base")
        if base is None:
            return alignment, None, False
        address += base
    address &= (1 << 64) - 1
    return alignment, address, _CANONICAL <= address < (1 << 64) - _CANONICAL


def named(instruction: iced_x86.Instruction, intel: str, registers: Mapping[str, int]) -> Decoded:
    """An instruction of which no bytes are known, as a line of assembler says it.

    Args:
        instruction: its code and its operand in memory.
        intel: the line in Intel's syntax.
        registers: their values, by lower-case name.
    """
    from cpuprobe.code.forms import forms

    mnemonic = _names("Mnemonic")[instruction.mnemonic]
    meaning = forms().meaning(instruction.code)
    alignment, operand, far = _operand(instruction, mnemonic, registers)
    kind, features, other = _kind(meaning), meaning.features, meaning.unknown
    early = _early(instruction)
    return Decoded(b"", kind, mnemonic, intel, "", features, other, alignment, operand, far, early)

"""The scanner's operands: the same registers, memory and immediates that iced-x86 reads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpuprobe.code.elf import Held
from cpuprobe.code.elf_program import read_elf

iced_x86 = pytest.importorskip("iced_x86")
native = pytest.importorskip("cpuprobe._native")
ffi, lib = native.ffi, native.lib

from iced_x86 import (  # noqa: E402
    Decoder,
    Instruction,
    MemorySize,
    Mnemonic,
    OpKind,
    Register,
    RegisterInfo,
)

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
NAMES = ("libc.so.6", "libcrypto.so.3", "libm.so.6")
SAMPLE = 60_000
"""Bytes of a library that are compared."""
NONE = 255
# Registers by their numbers in native/scan/operands.h.
_GENERAL = (
    "RAX",
    "RCX",
    "RDX",
    "RBX",
    "RSP",
    "RBP",
    "RSI",
    "RDI",
    *(f"R{at}" for at in range(8, 16)),
)
NUMBERS: dict[int, int] = {
    getattr(Register, name): first + at
    for first, names in (
        (0, _GENERAL),
        (16, [f"ZMM{at}" for at in range(32)]),
        (48, [f"K{at}" for at in range(8)]),
        (56, [f"MM{at}" for at in range(8)]),
        (64, [f"ST{at}" for at in range(8)]),
        (72, ["ES", "CS", "SS", "DS", "FS", "GS"]),
        (80, [f"TMM{at}" for at in range(8)]),
        (88, [f"BND{at}" for at in range(4)]),
    )
    for at, name in enumerate(names)
}
# Operands by their numbers there (enum operand).
IMMEDIATES: dict[int, int] = {
    OpKind.IMMEDIATE8: 9,
    OpKind.IMMEDIATE8TO32: 10,
    OpKind.IMMEDIATE8TO64: 10,
    OpKind.IMMEDIATE16: 11,
    OpKind.IMMEDIATE32: 12,
    OpKind.IMMEDIATE32TO64: 13,
    OpKind.IMMEDIATE64: 14,
}
BRANCH, SHORT, OTHER = 8, 15, 16
SIZES = {
    MemorySize.UINT8: 1,
    MemorySize.INT8: 1,
    MemorySize.UINT32: 4,
    MemorySize.INT32: 4,
    MemorySize.UINT64: 8,
    MemorySize.INT64: 8,
}
CLEARING = (Mnemonic.XOR, Mnemonic.SUB, Mnemonic.PXOR)
# Two immediates, a byte of [RBX + AL], a shift by nothing, XCHG R8, RAX: nobody asks for them.
LEFT_OUT = (Mnemonic.ENTER, Mnemonic.EXTRQ, Mnemonic.INSERTQ, Mnemonic.XLATB, Mnemonic.XCHG)
IS_CLEARING, READS_FLAGS, WRITES_FLAGS = 16, 512, 1024
VECTORS = 16
CONDITIONAL = (lib.JUMPS, lib.SETS, lib.MOVES_IF)
HIGH_BYTES = (Register.AH, Register.CH, Register.DH, Register.BH)


def number(register: int) -> int:
    """The scanner's number of a register, or of what it is a part of."""
    return NUMBERS.get(RegisterInfo(register).full_register, NONE) if register else NONE  # type: ignore[arg-type]


def ours(made: Any) -> tuple[object, ...]:
    """An instruction as the scanner has it."""
    operands: list[tuple[object, ...]] = []
    for at in range(made.count):
        where, register = made.where[at], made.registers[at]
        if register != NONE:
            operands.append(("register", register))
        elif where in (2, 7):
            operands.append(("memory",))
        elif where == BRANCH or (where in IMMEDIATES.values() and at == 1):
            operands.append((where, made.immediate))
        else:
            operands.append(("other",))
    memory = (
        *(made.displacement, made.base, made.index, made.scale),
        *(made.size, made.absolute, made.is_static),
    )
    sizes = [
        (made.sizes[at], made.upper[at])
        for at in range(min(made.count, 2))
        if made.work and made.registers[at] < VECTORS
    ]
    return (
        bool(made.traits & READS_FLAGS),
        bool(made.traits & WRITES_FLAGS),
        bool(made.same and made.traits & IS_CLEARING),
        operands,
        memory if made.has_memory else None,
        sizes,
        made.condition if made.work in CONDITIONAL else None,
    )


def theirs(each: Instruction) -> tuple[object, ...]:
    """The same as iced-x86 has it."""
    operands: list[tuple[object, ...]] = []
    for at in range(each.op_count):
        kind = each.op_kind(at)
        register = number(each.op_register(at)) if kind == OpKind.REGISTER else NONE
        if register != NONE:
            operands.append(("register", register))
        elif kind == OpKind.MEMORY:
            operands.append(("memory",))
        elif kind == OpKind.NEAR_BRANCH64:
            operands.append((BRANCH, each.near_branch_target))
        elif kind in IMMEDIATES and at == 1 and each.code not in SHIFTS_BY_ONE:
            operands.append((IMMEDIATES[kind], each.immediate(1)))
        else:
            operands.append(("other",))
    memory = None
    if ("memory",) in operands:
        base, index, displacement = each.memory_base, each.memory_index, each.memory_displacement
        relative = each.is_ip_rel_memory_operand
        where = displacement - (displacement >> 63 << 64)
        absolute = not base and not each.segment_prefix
        size = SIZES.get(each.memory_size, 0)
        memory = (
            *(where, NONE if relative else number(base), number(index)),
            *(each.memory_index_scale.bit_length() - 1, size, absolute, relative),
        )
    same = each.mnemonic in CLEARING and each.op0_kind == each.op1_kind == OpKind.REGISTER
    same = same and each.op0_register == each.op1_register
    registers = (
        RegisterInfo(each.op_register(at))
        for at in range(min(each.op_count, 2))
        if each.op_kind(at) == OpKind.REGISTER
    )
    sizes = [
        (info.size, int(info.register in HIGH_BYTES))
        for info in registers
        if number(info.register) < VECTORS
    ]
    return (
        *(bool(each.rflags_read), bool(each.rflags_modified), same, operands, memory),
        *(sizes, each.condition_code - 1 if each.condition_code else None),
    )


SHIFTS_BY_ONE = frozenset(
    value
    for name, value in vars(iced_x86.Code).items()
    if name.endswith(("RM8_1", "M16_1", "M32_1", "M64_1"))
)


def differences(data: bytes) -> Iterator[tuple[str, object, object]]:
    """The instructions that the two take apart in another way."""
    made = ffi.new("struct operation *")
    held = ffi.from_buffer("uint8_t[]", data)
    for each in Decoder(64, data, ip=0x40_0000):
        at = each.ip - 0x40_0000
        if each.is_invalid or each.is_privileged or each.mnemonic in LEFT_OUT:
            continue
        lib.scan_operation(held + at, len(data) - at, each.ip, made)
        mine, other = ours(made), theirs(each)
        if not made.work:  # nobody asks for its sizes
            other = (*other[:5], [], None)
        if mine != other and not (mine[1] and not other[1] and each.op1_kind == OpKind.IMMEDIATE8):
            yield f"{data[at : at + each.len].hex()} {each}", mine, other


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_operands_of_libraries(name: str) -> None:
    """As compilers and people write them."""
    path = LIBRARIES / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    code = max(read_elf(Held(path.read_bytes())).code, key=lambda each: len(each.data))
    middle = len(code.data) // 2

    assert list(differences(bytes(code.data[middle : middle + SAMPLE]))) == []


@pytest.mark.slow
def test_operands_of_vector_instructions() -> None:
    """Registers, broadcasts and compressed displacements of VEX and EVEX, at random."""
    chance = random.Random(5)
    heads = (
        b"\xc4\xe2",
        b"\xc5",
        b"\x62\xf1",
        b"\x62\xf2",
        b"\x62",
        b"\x66\x0f",
        b"\x48\x0f",
        b"\x41",
    )
    pieces = [chance.choice(heads) + chance.randbytes(9) for _ in range(4000)]

    assert list(differences(b"".join(pieces))) == []

"""The instructions of compiled wasm functions, found by following control flow.

Cranelift puts a function's constants (vector literals, shuffle masks) and jump tables behind or
between its code, inside the same symbol. Decoding straight through would read those bytes as
instructions and report features that no instruction needs; so only what can be reached is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from iced_x86 import Code, Decoder, FlowControl, Instruction, Register, RegisterExt

from cpuprobe.code.budget import COMPILED, Budget
from cpuprobe.code.elf import SHT_SYMTAB, STT_FUNC, SYMBOL, ArtifactError, Elf, Held, text

LARGEST_FUNCTION = 4 << 20
"""Bytes; a body in wasm has at most 7.6 MB (JavaScript API, limits), those of real ones some KB."""


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """One function of an artifact.

    Attributes:
        name: the symbol's name, for wasm functions ``wasm[0]::function[7]`` and the like.
        address: offset of the first byte in the text section.
        data: the symbol's bytes, constants and jump tables included.
    """

    name: str
    address: int
    data: bytes


def artifact_functions(artifact: bytes) -> Iterator[FunctionCode]:
    """Yields the functions of a compiled artifact, trampolines included.

    Args:
        artifact: a .cwasm file, as ``Module.serialize()`` returns it.

    Raises:
        ArtifactError: the file is damaged or not an ELF file, or its functions overlap.
    """
    elf = Elf(Held(artifact))
    code = next((section for section in elf.sections if section.name == ".text"), None)
    table = elf.section(SHT_SYMTAB)
    if code is None or table is None:
        return
    data = code.data
    left = len(data)
    seen: set[tuple[int, int]] = set()
    names, symbols = elf.symbols(table)
    rows = struct.iter_unpack(elf.order + SYMBOL, symbols)
    for name, info, _, section, start, size in rows:
        if info & 0xF != STT_FUNC or section != code.number or (start, size) in seen:
            continue
        seen.add((start, size))
        left -= size
        if start + size > len(data) or left < 0:
            raise ArtifactError("ELF: its functions overlap, or reach past the end of the code")
        yield FunctionCode(text(names, name), start, data[start : start + size])


def _jump_table_targets(
    function: FunctionCode, table: int, entries: int | None, seen: bytearray
) -> Iterator[int]:
    """Yields the targets in Cranelift's jump table: 32-bit offsets relative to the table itself.

    Where its length is not known it ends where code that is known to be reachable begins, where
    another table has been, or at the first entry that does not point behind the table's start into
    the function (cranelift/codegen/src/isa/x64/inst/emit.rs, JmpTableSeq).
    """
    size = len(function.data)
    base = position = table - function.address
    lowest = size if entries is None else min(size, base + 4 * entries)
    while position + 4 <= lowest and not seen[position]:
        (offset,) = struct.unpack_from("<i", function.data, position)
        target = base + offset
        if not 0 <= target < size:
            return
        if target > position:
            lowest = min(lowest, target)
        seen[position] = _ENTRY
        yield function.address + target
        position += 4


_GOES_ON = (
    FlowControl.NEXT,
    FlowControl.CALL,
    FlowControl.INDIRECT_CALL,
    FlowControl.CONDITIONAL_BRANCH,
)
_START, _ENTRY = 1, 2  # of an instruction; of a row of a jump table


Instructions = tuple[Instruction, ...]


def reachable_instructions(function: FunctionCode, budget: Budget | None = None) -> Instructions:
    """Decodes what control flow can reach from the function's first byte.

    Args:
        function: one function of an artifact.
        budget: what each instruction is charged to; None: one of its own.

    Returns:
        iced-x86 instructions in address order, with their offsets in the text section as ``ip``.
        Undecodable bytes that are reached appear as an instruction with ``is_invalid`` true.

    Raises:
        ArtifactError: the function is larger than any that Cranelift makes, or too much work.
    """
    start, end = function.address, function.address + len(function.data)
    if end - start > LARGEST_FUNCTION:
        raise ArtifactError(f"a function of {end - start} bytes, no compiler makes such")
    budget, decoder = budget or Budget(), Decoder(64, function.data, ip=start)
    seen = bytearray(end - start)
    found: list[Instruction] = []
    pending = [start]
    tables: list[tuple[int, int | None]] = []
    while pending or tables:
        if not pending:
            # Last, so that as much as possible is known about where the table must end.
            pending += _jump_table_targets(function, *tables.pop(), seen)
            continue
        ip = pending.pop()
        if not start <= ip < end:
            continue
        decoder.position = ip - start
        decoder.ip = ip
        base = -1
        index = Register.NONE
        # The index is compared with the number of entries but the last, which is the default's.
        bounds: dict[int, int] = {}
        while ip < end and seen[ip - start] != _START:
            seen[ip - start] = _START
            budget.spend(COMPILED)
            instruction = decoder.decode()
            found.append(instruction)
            ip = instruction.next_ip
            if instruction.is_invalid:
                break
            if instruction.code == Code.LEA_R64_M and instruction.is_ip_rel_memory_operand:
                base = instruction.ip_rel_memory_address
            elif instruction.code == Code.MOV_R32_IMM32:
                register = RegisterExt.full_register(instruction.op0_register)
                bounds[register] = instruction.immediate32
            elif instruction.code == Code.MOVSXD_R64_RM32:
                index = instruction.memory_index
            flow = instruction.flow_control
            if flow in (FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH):
                pending.append(instruction.near_branch_target)
            elif flow == FlowControl.INDIRECT_BRANCH and start <= base < end:
                most = bounds.get(index)
                tables.append((base, None if most is None else most + 1))
            if flow not in _GOES_ON:
                break
    return tuple(sorted(found, key=lambda instruction: instruction.ip))


@cache
def code_name(code: int) -> str:
    """The iced-x86 name of an instruction form, for example ``VEX_VPADDD_XMM_XMM_XMMM128``."""
    return _codes()[code]


@cache
def _codes() -> dict[int, str]:
    return {value: name for name, value in vars(Code).items() if name.isupper()}

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

from iced_x86 import Code, Decoder, FlowControl, Instruction

from cpuprobe.code.elf_sections import function_symbols, read_sections


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
        ArtifactError: the file is damaged or not an ELF file.
    """
    sections = read_sections(artifact)
    for symbol in function_symbols(sections):
        section = sections[symbol.section]
        if section.name == ".text":
            data = bytes(section.data[symbol.value : symbol.value + symbol.size])
            yield FunctionCode(symbol.name, symbol.value, data)


def _jump_table_targets(
    function: FunctionCode, table: int, known_starts: set[int]
) -> Iterator[int]:
    """Yields the targets in Cranelift's jump table: 32-bit offsets relative to the table itself.

    Its length is not stored. It ends where code that is known to be reachable begins, or at the
    first entry that does not point behind the table's start into the function
    (cranelift/codegen/src/isa/x64/inst/emit.rs, JmpTableSeq).
    """
    end = function.address + len(function.data)
    position = table
    lowest = end
    while position + 4 <= min(end, lowest) and position not in known_starts:
        (offset,) = struct.unpack_from("<i", function.data, position - function.address)
        target = table + offset
        if not function.address <= target < end:
            return
        if target > position:
            lowest = min(lowest, target)
        yield target
        position += 4


def reachable_instructions(function: FunctionCode) -> tuple[Instruction, ...]:
    """Decodes what control flow can reach from the function's first byte.

    Args:
        function: one function of an artifact.

    Returns:
        iced-x86 instructions in address order, with their offsets in the text section as ``ip``.
        Undecodable bytes that are reached appear as an instruction with ``is_invalid`` true.
    """
    start, end = function.address, function.address + len(function.data)
    decoder = Decoder(64, function.data, ip=start)
    found: dict[int, Instruction] = {}
    pending = [start]
    tables: list[int] = []
    while pending or tables:
        if not pending:
            # Last, so that as much as possible is known about where the table must end.
            pending += list(_jump_table_targets(function, tables.pop(), set(found)))
            continue
        ip = pending.pop()
        if not start <= ip < end:
            continue
        decoder.position = ip - start
        decoder.ip = ip
        base = -1
        while ip < end and ip not in found:
            instruction = decoder.decode()
            found[ip] = instruction
            ip = instruction.next_ip
            if instruction.is_invalid:
                break
            if instruction.code == Code.LEA_R64_M and instruction.is_ip_rel_memory_operand:
                base = instruction.ip_rel_memory_address
            flow = instruction.flow_control
            if flow in (FlowControl.NEXT, FlowControl.CALL, FlowControl.INDIRECT_CALL):
                continue
            if flow == FlowControl.CONDITIONAL_BRANCH:
                pending.append(instruction.near_branch_target)
                continue
            if flow == FlowControl.UNCONDITIONAL_BRANCH:
                pending.append(instruction.near_branch_target)
            elif flow == FlowControl.INDIRECT_BRANCH and start <= base < end:
                tables.append(base)
            break
    return tuple(found[ip] for ip in sorted(found))


@cache
def code_name(code: int) -> str:
    """The iced-x86 name of an instruction form, for example ``VEX_VPADDD_XMM_XMM_XMMM128``."""
    return _codes()[code]


@cache
def _codes() -> dict[int, str]:
    return {value: name for name, value in vars(Code).items() if name.isupper()}

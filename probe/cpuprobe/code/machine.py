"""Registers and memory of one run (code.execution). What is not known of them is None."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from iced_x86 import (
    Decoder,
    FlowControl,
    Instruction,
    MemorySizeExt,
    OpKind,
    Register,
    RegisterExt,
)

from cpuprobe.code.program import Binary

Value: TypeAlias = "int | None"

RAX, RCX, RDX, RBX, RSP, RBP = range(6)
BACK = 1 << 48
"""The address to which the function returns."""
_STACK = 1 << 46
"""Where the stack ends; no static memory is as high."""
_GOROUTINE = 1 << 47
"""What R14 points to in Go, which reads from it how far down the stack may go."""
HEAP = 1 << 45
"""Where memory begins that a run is given."""
QWORD = (1 << 64) - 1
_AHEAD = 32
"""Bytes that are decoded at once, as far as no branch is met."""
_IMMEDIATES = range(OpKind.IMMEDIATE8, OpKind.IMMEDIATE32TO64 + 1)
_HIGH_BYTES = (Register.AH, Register.CH, Register.DH, Register.BH)


class Lost(Exception):
    """It is not known how a run goes on, or where it writes to."""


class Refused(Lost):
    """It ends the run."""


class Operand(NamedTuple):
    """What an instruction reads or writes.

    Attributes:
        kind: a register (`high` is one of bits 15:8), memory, a number.
        number: of the register, in the order of encodings; or the number itself.
        size: in bytes.
    """

    kind: Literal["general", "high", "vector", "memory", "number", "other"]
    number: int
    size: int


@dataclass(slots=True)
class Operation:
    """An instruction, taken apart once.

    Attributes:
        mnemonic: as iced-x86 has it.
        flow: likewise.
        condition: likewise.
        operands: its operands.
        parts: of the address of its memory the registers, and what each counts; -1 for one of which
            nothing is known.
        displacement: what is added to them.
        target: where a branch leads to.
        next: the address behind it.
    """

    mnemonic: int
    flow: int
    condition: int
    operands: tuple[Operand, ...]
    parts: tuple[tuple[int, int], ...]
    displacement: int
    target: int
    next: int


def operation(each: Instruction) -> Operation:
    """Takes an instruction apart."""
    parts = []
    if not each.is_ip_rel_memory_operand:
        for register, scale in (each.memory_base, 1), (each.memory_index, each.memory_index_scale):
            if register != Register.NONE:
                parts.append((_part(register), scale))
    if each.memory_segment in (Register.FS, Register.GS):
        parts.append((-1, 1))
    return Operation(
        each.mnemonic,
        each.flow_control,
        each.condition_code,
        tuple(_operand(each, at) for at in range(each.op_count)),
        tuple(parts),
        each.memory_displacement,
        each.near_branch_target,
        each.next_ip,
    )


def _operand(each: Instruction, at: int) -> Operand:
    kind = each.op_kind(at)
    if kind == OpKind.MEMORY:
        return Operand("memory", 0, MemorySizeExt.size(each.memory_size))
    if kind in _IMMEDIATES:
        return Operand("number", each.immediate(at) & QWORD, 0)
    if kind != OpKind.REGISTER:
        return Operand("other", 0, 0)
    return _register(each.op_register(at))


@functools.cache
def _register(register: int) -> Operand:
    number, size = _number(register), RegisterExt.size(register)  # type: ignore[arg-type]
    if register in _HIGH_BYTES:
        return Operand("high", number, size)
    if RegisterExt.is_gpr(register):  # type: ignore[arg-type]
        return Operand("general", number, size)
    is_vector = RegisterExt.is_xmm(register)  # type: ignore[arg-type]
    return Operand("vector" if is_vector else "other", number, size)


@functools.cache
def _part(register: int) -> int:
    """A register that an address counts from; -1: it is none of 64 bits."""
    return _number(register) if RegisterExt.is_gpr64(register) else -1  # type: ignore[arg-type]


def _number(register: int) -> int:
    """Of the register that one is a part of."""
    return RegisterExt.number(RegisterExt.full_register(register))  # type: ignore[arg-type]


class Machine:
    """Registers and memory.

    Attributes:
        memory: bytes by their address.
        writes: where static memory was written, and how many bytes at once.
    """

    def __init__(self, first: Callable[[int], Value], memory: Mapping[int, int]) -> None:
        """As a function begins.

        Args:
            first: what stands at an address of static memory at first.
            memory: bytes of static memory that are known.
        """
        self._first = first
        # Of general registers the value, and which bits are not known.
        self._general: list[tuple[int, int]] = [(0, QWORD)] * 16
        self._general[RSP] = _STACK - 8, 0
        self._general[14] = _GOROUTINE, 0
        self._vectors: dict[int, Value] = {}
        self.memory: dict[int, Value] = dict(memory)
        self.writes: dict[tuple[int, int], None] = {}
        self.store(_STACK - 8, 8, BACK)
        self.store(_GOROUTINE + 16, 8, 0)

    def load(self, address: Value, size: int) -> Value:
        """Some bytes of memory."""
        if address is None:
            return None
        first = None if address in self.memory else self._first(address)
        if first is not None:
            return first & (1 << 8 * size) - 1
        found = [*map(self.memory.get, range(address, address + size))]
        return None if None in found else int.from_bytes(found, "little")  # type: ignore[arg-type]

    def store(self, address: Value, size: int, value: Value) -> None:
        """Writes bytes to memory."""
        if address is None:
            raise Lost
        if value is None:
            self.memory.update(dict.fromkeys(range(address, address + size)))
        else:
            each = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            self.memory.update(enumerate(each, address))
        if address < _STACK >> 1:
            self.writes[address, size] = None

    def value(self, number: int, size: int) -> Value:
        """The lowest bytes of a general register."""
        value, unknown = self._general[number]
        mask = (1 << 8 * size) - 1
        return None if unknown & mask else value & mask

    def put(self, number: int, size: int, value: Value) -> None:
        """Writes the lowest bytes of a general register; of 32 bits the others become zero."""
        old, unknown = self._general[number]
        mask = (1 << 8 * size) - 1
        gone = QWORD if size == 4 else mask
        lost = mask if value is None else 0
        self._general[number] = old & ~gone | (value or 0) & mask, unknown & ~gone | lost

    def known(self, number: int) -> int:
        """A general register that must be known."""
        value = self.value(number, 8)
        if value is None:
            raise Lost
        return value

    def push(self, value: Value) -> None:
        """Puts a value onto the stack."""
        top = self.known(RSP) - 8
        self.put(RSP, 8, top)
        self.store(top, 8, value)

    def pop(self) -> Value:
        """Takes one from it."""
        top = self.known(RSP)
        self.put(RSP, 8, top + 8)
        return self.load(top, 8)

    def address(self, each: Operation) -> Value:
        """The address of an operation's memory."""
        found = each.displacement
        for number, scale in each.parts:
            part = self.value(number, 8) if number >= 0 else None
            if part is None:
                return None
            found += part * scale
        return found & QWORD

    def read(self, each: Operation, at: int) -> Value:
        """An operand."""
        kind, number, size = each.operands[at]
        if kind == "general":
            return self.value(number, size)
        if kind == "number":
            return number
        if kind == "memory":
            return self.load(self.address(each), size)
        if kind == "high":
            word = self.value(number, 2)
            return None if word is None else word >> 8
        return self._vectors.get(number)

    def write(self, each: Operation, at: int, value: Value) -> None:
        """Writes an operand."""
        kind, number, size = each.operands[at]
        if kind == "general":
            self.put(number, size, value)
        elif kind == "memory":
            self.store(self.address(each), size, value)
        elif kind == "vector":
            self._vectors[number] = value
        else:
            raise Lost


class Code64:
    """A file's instructions, each decoded once."""

    def __init__(self, file: Binary) -> None:
        """Nothing is decoded yet."""
        self._file = file
        self._known: dict[int, Operation] = {}

    def at(self, address: int) -> Operation:
        """The instruction at an address.

        Raises:
            Lost: there is none of this file's.
        """
        if address not in self._known:
            code = self._file.code_at(address)
            if code is None or code.name.startswith(".plt"):
                raise Lost
            for each in Decoder(64, code.between(address, address + 2 * _AHEAD), ip=address):
                if each.ip >= address + _AHEAD:  # later ones may be cut off
                    break
                self._known.setdefault(each.ip, operation(each))
                if each.flow_control != FlowControl.NEXT:
                    break
        return self._known[address]

"""The machine state of the model and the access to an instruction's operands.

Operands are read and written as the manuals' pseudocode does: little-endian lanes, merging and
zeroing under a writemask, embedded broadcast, upper bits zeroed by VEX and EVEX and kept by legacy
SSE (SDM vol. 1, 14.1.3 and 15.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from iced_x86 import (
    Decoder,
    EncodingKind,
    Instruction,
    MemorySizeInfo,
    Mnemonic,
    OpKind,
    Register,
    RegisterInfo,
    RoundingControl,
)

if TYPE_CHECKING:
    # The decoder's enumerations are modules at run time and classes only in its stubs.
    from iced_x86._iced_x86_py import Register as RegisterId

SOURCE_ADDRESS = 0x10000
TARGET_ADDRESS = 0x20000
SOURCE_SIZE = 256
TARGET_SIZE = 4096

CF, PF, AF, ZF, SF, OF = 0x1, 0x4, 0x10, 0x40, 0x80, 0x800

_MNEMONICS = {v: k.lower() for k, v in vars(Mnemonic).items() if isinstance(v, int)}
_IMMEDIATES = frozenset(
    v for k, v in vars(OpKind).items() if isinstance(v, int) and k.startswith("IMMEDIATE")
)


class UnsupportedInstruction(ValueError):
    """The model has no meaning for this instruction."""


@dataclass
class State:
    """Registers and the two memory areas a candidate may touch."""

    gpr: list[int] = field(default_factory=lambda: [0] * 16)
    rflags: int = 0x202
    vector: list[int] = field(default_factory=lambda: [0] * 32)
    mask: list[int] = field(default_factory=lambda: [0] * 8)
    mmx: list[int] = field(default_factory=lambda: [0] * 8)
    x87: list[Fraction] = field(default_factory=list)
    tiles: dict[int, list[bytearray]] = field(default_factory=dict)
    tile_config: dict[int, tuple[int, int]] = field(default_factory=dict)
    mxcsr: int = 0x1F80
    source: bytes = bytes(SOURCE_SIZE)
    target: bytearray = field(default_factory=lambda: bytearray(TARGET_SIZE))
    next_ip: int = 0

    def load(self, address: int, size: int) -> bytes:
        """Bytes at an address in either area.

        Raises:
            UnsupportedInstruction: the access leaves the areas.
        """
        for base, area in ((SOURCE_ADDRESS, self.source), (TARGET_ADDRESS, bytes(self.target))):
            if base <= address and address + size <= base + len(area):
                return area[address - base : address - base + size]
        raise UnsupportedInstruction(f"load of {size} bytes at {address:#x} leaves the areas")

    def store(self, address: int, data: bytes) -> None:
        """Write to the target area; the source area is read only.

        Raises:
            UnsupportedInstruction: the access leaves the target area.
        """
        start = address - TARGET_ADDRESS
        if start < 0 or start + len(data) > TARGET_SIZE:
            raise UnsupportedInstruction(f"store of {len(data)} bytes at {address:#x}")
        self.target[start : start + len(data)] = data


def mask_of(bits: int) -> int:
    """The lowest `bits` bits set."""
    return (1 << bits) - 1


def signed(value: int, bits: int) -> int:
    """Read a bit pattern as two's complement."""
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def split(value: int, element: int, count: int) -> list[int]:
    """Cut an integer into lanes, lowest first."""
    return [value >> (i * element) & mask_of(element) for i in range(count)]


def join(lanes: list[int], element: int) -> int:
    """Inverse of `split`; each lane is cut to its width."""
    return sum((lane & mask_of(element)) << (i * element) for i, lane in enumerate(lanes))


class Operation:
    """One decoded instruction bound to the state it runs on."""

    def __init__(self, state: State, instruction: Instruction) -> None:
        """Bind; `instruction` must be valid."""
        self.state = state
        self.instruction = instruction
        self.mnemonic = _MNEMONICS[instruction.mnemonic]
        vex = instruction.encoding in (EncodingKind.VEX, EncodingKind.EVEX, EncodingKind.XOP)
        self.legacy = not vex
        self.name = self.mnemonic[1:] if self.mnemonic[0] == "v" else self.mnemonic
        self.first = 0 if self.legacy else 1
        """Index of the first source of a two-source instruction."""

    @property
    def operands(self) -> int:
        """Number of explicit operands."""
        return self.instruction.op_count

    @property
    def immediate(self) -> int:
        """The last operand, which must be an immediate, as an unsigned byte or wider."""
        return self.instruction.immediate(self.operands - 1) & mask_of(64)

    @property
    def rounding(self) -> int:
        """Rounding mode: embedded if the encoding has one, else round to nearest (MXCSR 1f80)."""
        control = self.instruction.rounding_control
        return 0 if control == RoundingControl.NONE else control - 1

    def is_memory(self, i: int) -> bool:
        """Tell whether operand i is in memory."""
        return self.instruction.op_kind(i) == OpKind.MEMORY

    def is_immediate(self, i: int) -> bool:
        """Tell whether operand i is an immediate."""
        return self.instruction.op_kind(i) in _IMMEDIATES

    def width(self, i: int) -> int:
        """Width of operand i in bits."""
        if self.is_memory(i):
            return int(MemorySizeInfo(self.instruction.memory_size).size) * 8
        if self.is_immediate(i):
            return 64
        return int(RegisterInfo(self.instruction.op_register(i)).size) * 8

    @property
    def vector_width(self) -> int:
        """Width in bits of the widest vector register operand (64 for MMX)."""
        widths = [
            self.width(i)
            for i in range(self.operands)
            if self.instruction.op_kind(i) == OpKind.REGISTER
            and Register.XMM0 <= self.instruction.op_register(i) <= Register.ZMM31
        ]
        return max(widths, default=64)

    def address(self) -> int:
        """Effective address of the memory operand; VSIB operands have their own handler."""
        ins = self.instruction
        result = ins.memory_displacement
        if ins.memory_base != Register.NONE:
            result += self.register(ins.memory_base)
        if ins.memory_index != Register.NONE:
            result += self.register(ins.memory_index) * ins.memory_index_scale
        return result & mask_of(64)

    def _slot(self, register: RegisterId) -> tuple[list[int], int, int, int]:
        info = RegisterInfo(register)
        if Register.MM0 <= register <= Register.MM7:
            return self.state.mmx, register - Register.MM0, 0, 64
        if Register.K0 <= register <= Register.K7:
            return self.state.mask, register - Register.K0, 0, 64
        if Register.XMM0 <= register <= Register.ZMM31:
            return self.state.vector, info.number, 0, info.size * 8
        if register in (Register.AH, Register.CH, Register.DH, Register.BH):
            return self.state.gpr, register - Register.AH, 8, 8
        number = info.number
        if Register.SPL <= register <= Register.R15L and info.size == 1:
            number = RegisterInfo(info.full_register).number
        return self.state.gpr, number, 0, info.size * 8

    def register(self, register: RegisterId) -> int:
        """Value of a register."""
        bank, number, shift, bits = self._slot(register)
        return bank[number] >> shift & mask_of(bits)

    def set_register(self, register: RegisterId, value: int) -> None:
        """Write a register, applying each bank's rule for the bits above its width."""
        bank, number, shift, bits = self._slot(register)
        value &= mask_of(bits)
        if bank is self.state.gpr and bits == 32:
            bank[number] = value
        elif bank is self.state.gpr or (bank is self.state.vector and self.legacy):
            bank[number] = bank[number] & ~(mask_of(bits) << shift) | value << shift
        else:
            bank[number] = value

    def read(self, i: int, bits: int | None = None) -> int:
        """Operand i as an unsigned integer of its own width, or of the lowest `bits`."""
        kind = self.instruction.op_kind(i)
        if kind == OpKind.REGISTER:
            value = self.register(self.instruction.op_register(i))
        elif kind == OpKind.MEMORY:
            size = bits or self.width(i)
            value = int.from_bytes(self.state.load(self.address(), size // 8), "little")
        elif kind in _IMMEDIATES:
            value = self.instruction.immediate(i)
        else:
            raise UnsupportedInstruction(f"{self.mnemonic}: operand kind {kind}")
        return value & mask_of(bits) if bits else value

    def write(self, i: int, value: int, bits: int | None = None) -> None:
        """Write operand i, ignoring any writemask."""
        if self.is_memory(i):
            size = (bits or self.width(i)) // 8
            data = (value & mask_of(size * 8)).to_bytes(size, "little")
            self.state.store(self.address(), data)
        else:
            self.set_register(self.instruction.op_register(i), value)

    def lanes(self, i: int, element: int, count: int) -> list[int]:
        """`count` lanes of operand i; an embedded broadcast repeats its element."""
        if self.is_memory(i) and self.instruction.is_broadcast:
            size = self.width(i)
            value = self.read(i, size)
            return split(join([value] * (count * element // size), size), element, count)
        return split(self.read(i, element * count if self.is_memory(i) else None), element, count)

    def writemask(self) -> int | None:
        """The writemask's value, None without one."""
        register = self.instruction.op_mask
        return None if register == Register.NONE else self.register(register)

    def put(self, lanes: list[int], element: int) -> None:
        """Write lanes to the destination under the writemask."""
        k = self.writemask()
        if k is not None:
            old = [0] * len(lanes)
            if not self.instruction.zeroing_masking:
                old = split(self.read(0, element * len(lanes)), element, len(lanes))
            lanes = [
                a if k >> n & 1 else b for n, (a, b) in enumerate(zip(lanes, old, strict=True))
            ]
        width = element * len(lanes)
        if self.legacy and not self.is_memory(0) and self.width(0) > width:
            old_value = self.read(0)
            self.write(0, old_value & ~mask_of(width) | join(lanes, element))
        else:
            self.write(0, join(lanes, element), width)

    def put_scalar(self, value: int, element: int, upper: int) -> None:
        """Write lane 0; the rest of the low 128 bits comes from operand `upper`."""
        k = self.writemask()
        if k is not None and not k & 1:
            old = 0 if self.instruction.zeroing_masking else self.read(0, element)
            value = old
        above = self.read(upper, 128) & ~mask_of(element)
        if self.legacy:
            above = self.read(0) & ~mask_of(element)
        self.write(0, above | value & mask_of(element))

    def put_mask(self, bits: list[bool]) -> None:
        """Write a comparison's result to a mask register, zeroing what the writemask excludes."""
        k = self.writemask()
        value = sum(1 << n for n, bit in enumerate(bits) if bit and (k is None or k >> n & 1))
        self.write(0, value)

    def flags(self, **values: int | bool) -> None:
        """Set flags by name, e.g. `flags(CF=1, ZF=0)`."""
        table = {"CF": CF, "PF": PF, "AF": AF, "ZF": ZF, "SF": SF, "OF": OF}
        for name, bit in values.items():
            if bit:
                self.state.rflags |= table[name]
            else:
                self.state.rflags &= ~table[name]

    def result_flags(self, value: int, bits: int) -> None:
        """Set SF, ZF and PF from a result."""
        value &= mask_of(bits)
        even = (value & 0xFF).bit_count() % 2 == 0
        self.flags(SF=value >> (bits - 1), ZF=value == 0, PF=even)


Handler = Callable[[Operation], None]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for mnemonics, written in lower case and without a leading v."""

    def register(handler: Handler) -> Handler:
        for name in names:
            if name in HANDLERS:
                raise ValueError(f"{name} has two meanings")
            HANDLERS[name] = handler
        return handler

    return register


def execute(code: bytes, state: State) -> None:
    """Run a straight sequence of instructions on the state.

    Raises:
        UnsupportedInstruction: the bytes do not decode, or the model does not know a mnemonic.
    """
    for instruction in Decoder(64, code):
        if instruction.is_invalid:
            raise UnsupportedInstruction(f"invalid code {code.hex()}")
        state.next_ip = instruction.next_ip
        operation = Operation(state, instruction)
        handler = HANDLERS.get(operation.name) or HANDLERS.get(operation.mnemonic)
        if handler is None:
            raise UnsupportedInstruction(f"no meaning for {operation.mnemonic}")
        handler(operation)

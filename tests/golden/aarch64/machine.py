"""The machine state of the model and the access to an instruction's operands.

Instructions are read as text, in the spelling of GNU and LLVM assemblers. Vectors have 64 bytes,
of which an instruction writes the first 16: what lies in one 128-bit segment of a scalable vector
is the same whatever its length (DDI 0487, A1.3). A predicate has a bit a byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.golden.machine import join, mask_of, split

SOURCE_ADDRESS = 0x10000
TARGET_ADDRESS = 0x20000
SOURCE_SIZE = 256
TARGET_SIZE = 4096
SEGMENT = 128
N, Z, C, V = 8, 4, 2, 1

_WIDTHS = {"b": 8, "h": 16, "s": 32, "d": 64, "q": 128}
_LANES = {"16b": (8, 16), "8b": (8, 8), "8h": (16, 8), "4h": (16, 4), "4s": (32, 4), "2s": (32, 2)}
_LANES |= {"2d": (64, 2), "1d": (64, 1), "1q": (128, 1), "4b": (8, 4), "2h": (16, 2)}


class UnsupportedInstruction(ValueError):
    """The model has no meaning for this instruction."""


@dataclass
class State:
    """Registers and the two memory areas a candidate may touch, and what was written of them."""

    gpr: list[int] = field(default_factory=lambda: [0] * 32)
    nzcv: int = 0
    vector: list[int] = field(default_factory=lambda: [0] * 32)
    predicate: list[int] = field(default_factory=lambda: [0] * 16)
    tiles: dict[tuple[int, int], list[list[int]]] = field(default_factory=dict)
    """Rows of ZA by width of element and number of tile: the first four segments."""
    system: dict[str, int] = field(default_factory=dict)
    source: bytes = bytes(SOURCE_SIZE)
    target: bytearray = field(default_factory=lambda: bytearray(TARGET_SIZE))
    written: dict[tuple[str, int], int] = field(default_factory=dict)
    """Bytes written, by kind and number or offset; of flags, their bits."""
    skip: int = 0
    """Instructions that a branch leaves out."""

    def load(self, address: int, size: int) -> int:
        """A number at an address in either area.

        Raises:
            UnsupportedInstruction: the access leaves the areas.
        """
        for base, area in ((SOURCE_ADDRESS, self.source), (TARGET_ADDRESS, bytes(self.target))):
            if base <= address and address + size <= base + len(area):
                return int.from_bytes(area[address - base : address - base + size], "little")
        raise UnsupportedInstruction(f"load of {size} bytes at {address:#x} leaves the areas")

    def store(self, address: int, value: int, size: int) -> None:
        """Write to the target area; the source area is read only.

        Raises:
            UnsupportedInstruction: the access leaves the target area.
        """
        start = address - TARGET_ADDRESS
        if start < 0 or start + size > TARGET_SIZE:
            raise UnsupportedInstruction(f"store of {size} bytes at {address:#x}")
        self.target[start : start + size] = (value & mask_of(8 * size)).to_bytes(size, "little")
        self.written["MEMORY", start] = max(size, self.written.get(("MEMORY", start), 0))

    def set_flags(self, value: int, defined: int = 15) -> None:
        """Set those of N, Z, C and V that are defined."""
        self.nzcv = self.nzcv & ~defined | value & defined
        self.written["FLAGS", 0] = self.written.get(("FLAGS", 0), 0) | defined


class Operation:
    """One instruction bound to the state it runs on: operand 0 is the first one written."""

    def __init__(self, state: State, text: str) -> None:
        """Bind; raises UnsupportedInstruction if an operand is not understood later on."""
        self.state = state
        self.name, _, rest = text.partition(" ")
        self.operands = _divide(rest)

    def text(self, i: int) -> str:
        """Operand i as it is written."""
        return self.operands[i]

    def has(self, i: int) -> bool:
        """Tell whether there is an operand i."""
        return i < len(self.operands)

    # --- vectors ---------------------------------------------------------------------------

    def number(self, i: int) -> int:
        """The number of the register that operand i names."""
        found = re.match(r"\{?\s*(?:za|[a-z])(\d+)", self.operands[i])
        if found is None:
            raise UnsupportedInstruction(f"{self.name}: no register: {self.operands[i]}")
        return int(found[1])

    def is_scalable(self, i: int) -> bool:
        """Tell whether operand i is a scalable vector."""
        return self.operands[i].lstrip("{ ").startswith("z")

    def shape(self, i: int) -> tuple[int, int]:
        """Bits of a lane and number of lanes of operand i, in a segment where it is scalable."""
        operand = self.operands[i].lstrip("{ ")
        found = re.match(r"[vzp]\d+(?:\.(\w+))?", operand)
        if found and found[1] in _LANES:
            return _LANES[found[1]]
        if found and found[1] in _WIDTHS:
            width = _WIDTHS[found[1]]
            return width, 1 if operand.startswith("v") else SEGMENT // width
        if operand[0] in _WIDTHS:
            return _WIDTHS[operand[0]], 1
        raise UnsupportedInstruction(f"{self.name}: no shape: {operand}")

    def lanes(self, i: int, bits: int = 0, count: int = 0) -> list[int]:
        """The lanes of vector operand i: an element of it, if it names one, as often as asked."""
        width, own = self.shape(i)
        width = bits or width
        value = self.state.vector[self.number(i)]
        index = re.search(r"\[(\d+)\]", self.operands[i])
        if index is not None:
            element = value >> int(index[1]) * width & mask_of(width)
            return [element] * (count or self.shape(0)[1])
        return split(value, width, count or (own if not bits else max(1, SEGMENT // width)))

    def put(self, lanes: Sequence[int], bits: int = 0, i: int = 0) -> None:
        """Write lanes to vector operand i; what lies above them becomes zero."""
        width = bits or self.shape(i)[0]
        self.state.vector[self.number(i)] = join(list(lanes), width)
        self.state.written["VECTOR", self.number(i)] = SEGMENT // 8

    def insert(self, i: int, value: int) -> None:
        """Write the one element that vector operand i names; the others stay."""
        width = self.shape(i)[0]
        index = re.search(r"\[(\d+)\]", self.operands[i])
        assert index is not None
        whole = split(self.state.vector[self.number(i)], width, SEGMENT // width)
        whole[int(index[1])] = value
        self.put(whole, width, i)

    # --- predicates ------------------------------------------------------------------------

    def active(self, i: int, bits: int, count: int = 0) -> list[bool]:
        """Which lanes of a width predicate operand i makes active."""
        predicate = self.state.predicate[self.number(i)]
        return [bool(predicate >> n * bits // 8 & 1) for n in range(count or SEGMENT // bits)]

    def put_predicate(self, lanes: Sequence[bool], bits: int, i: int = 0) -> None:
        """Write a predicate of lanes of a width."""
        value = sum(1 << n * bits // 8 for n, lane in enumerate(lanes) if lane)
        self.state.predicate[self.number(i)] = value
        self.state.written["PREDICATE", self.number(i)] = SEGMENT // 64

    # --- general registers and memory ------------------------------------------------------

    def width(self, i: int) -> int:
        """Width in bits of general register i."""
        return 32 if self.operands[i].startswith("w") else 64

    def read(self, i: int) -> int:
        """General register or immediate i."""
        operand = self.operands[i]
        if operand in ("xzr", "wzr"):
            return 0
        if operand.startswith("#"):
            return int(operand[1:], 0)
        return self.state.gpr[self.number(i)] & mask_of(self.width(i))

    def write(self, value: int, i: int = 0) -> None:
        """Write general register i; one of 32 bits clears the upper half."""
        if self.operands[i] in ("xzr", "wzr"):
            return
        self.state.gpr[self.number(i)] = value & mask_of(self.width(i))
        self.state.written["GPR", self.number(i)] = 8

    def address(self, i: int) -> int:
        """The address of memory operand i; writes its base back where it says so."""
        operand = self.operands[i]
        found = re.fullmatch(r"\[x(\d+)(?:, #(-?\w+))?\](!?)", operand)
        if found is None:
            raise UnsupportedInstruction(f"{self.name}: no address: {operand}")
        base, offset = int(found[1]), int(found[2] or "0", 0)
        result = self.state.gpr[base] + offset
        if found[3]:
            self.state.gpr[base] = result
        elif self.has(i + 1) and self.operands[i + 1].startswith("#"):  # post-indexed
            self.state.gpr[base] += int(self.operands[i + 1][1:], 0)
        return result


Handler = Callable[[Operation], None]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the meaning of mnemonics."""

    def register(function: Handler) -> Handler:
        for name in names:
            assert name not in HANDLERS, name
            HANDLERS[name] = function
        return function

    return register


def _divide(text: str) -> list[str]:
    """Operands, divided at the commas outside of brackets and braces."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()] if text.strip() else []


def execute(text: str, state: State) -> None:
    """Run a sequence, instructions separated by "; ".

    Raises:
        UnsupportedInstruction: the model does not know one of them.
    """
    for instruction in text.split("; "):
        if state.skip:
            state.skip -= 1
            continue
        operation = Operation(state, instruction)
        if operation.name not in HANDLERS:
            raise UnsupportedInstruction(f"no meaning for {operation.name}")
        HANDLERS[operation.name](operation)

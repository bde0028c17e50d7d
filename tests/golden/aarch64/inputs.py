"""The known machine states that candidates start from.

x10 points to 256 bytes that are read, x11 to those that may be written; both areas begin alike.
Values mix edges with ordinary ones, so that a wrong decoding shows. There is no NaN among them:
which of two NaNs survives is a rule of its own, and no feature's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from tests.golden.aarch64.machine import (
    SOURCE_ADDRESS,
    SOURCE_SIZE,
    TARGET_ADDRESS,
    State,
)
from tests.golden.inputs import mixed, noise

SOURCE, TARGET = 10, 11
VARIANTS = 4
"""Inputs that rounds of `--repeat` take in turn, the first included."""
UNIT = 16
"""Bytes that stay together in a variant."""

_GPR = {
    0: 0x0123456789ABCDEF,
    1: 0x80F10F0F12348840,
    2: 0xFEDCBA9876543210,
    3: 0x0F0F0000A5A51005,
    4: 0xFFFFFFFFFFFFFFFF,
    5: 0x0000000000000001,
    6: 0x8000000000000000,
    7: 0x7FFFFFFF80000000,
    8: 0x0000000000000000,
    9: 0x00000000FFFFFF80,
    12: 0x0000000000000000,
    13: 0x5A5A5A5AC3C3C3C3,
    14: 0x0000000000000009,
    15: 0x1122334455667788,
}
# One bit a byte of a vector: all; words of many kinds; every other word; the first half.
_PREDICATE = (0xFFFFFFFFFFFFFFFF, 0x5A6911170FF513C1, 0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF)


@dataclass(frozen=True)
class Input:
    """One input set: what registers and the 256 bytes of memory hold."""

    vectors: tuple[bytes, ...]
    memory: bytes
    gpr: dict[int, int] = field(default_factory=lambda: dict(_GPR))
    predicate: tuple[int, ...] = _PREDICATE
    fixed: bool = False
    """It has no variants."""

    def variant(self, number: int) -> Input:
        """The input of another round of `--repeat`; 0 is this one.

        Vectors and each 64 bytes of memory are rotated by 16 bytes, and predicates with them;
        general registers by bytes. load_variant in machine.c does the same.
        """
        assert not self.fixed or number == 0

        def rotated(block: bytes) -> bytes:
            return block[UNIT * number :] + block[: UNIT * number]

        turn = UNIT * number
        return replace(
            self,
            vectors=tuple(rotated(vector) for vector in self.vectors),
            memory=b"".join(rotated(self.memory[n : n + 64]) for n in range(0, 256, 64)),
            gpr={n: (v << 8 * number | v >> 64 - 8 * number) % 2**64 for n, v in self.gpr.items()},
            predicate=tuple((p >> turn | p << 64 - turn) % 2**64 for p in self.predicate),
        )

    def state(self) -> State:
        """A fresh model state; x10 and x11 hold the model's addresses of the two areas."""
        state = State(source=self.memory)
        for number, value in self.gpr.items():
            state.gpr[number] = value
        state.gpr[SOURCE], state.gpr[TARGET] = SOURCE_ADDRESS, TARGET_ADDRESS
        for number, value in enumerate(self.predicate):
            state.predicate[number] = value & 0xFFFF
        for number, data in enumerate(self.vectors):
            state.vector[number] = int.from_bytes(data, "little")
        state.target[:SOURCE_SIZE] = self.memory
        return state


def _integers() -> Input:
    vectors = (
        mixed("8080ff7f00010203 ffffff7f00000080", 3),
        mixed("ff7f0080ffff0100 0000008000ff80ff", 1),
        mixed("01000080ff7fffff ffffff7f01ff7f80", 2),
        mixed("ff007f80ff7f8000 00ff00ff80017f00", 4),
        mixed("0001020304050607 0f0e0d0c0b0a0918", 11),
        bytes(range(0x40, 0x80)),
        noise(12, 64),
        noise(13, 64),
    )
    return Input(vectors, mixed("0180ff7f00800100 ffffff7f80ff7f01", 5) + noise(6, 192))


def _floats(code: str, bits: int) -> Input:
    """Small numbers and large ones in a format of struct's, as many as 64 bytes take."""
    count = 512 // bits
    largest = {16: 6e3, 32: 3e9, 64: 1e18}[bits]
    seeds = (1.1, -2.5, 3.25, -0.75, 0.1, 7.5, -6.5, 2.0, 0.3, -0.2, 12.75, -1.0, 5.5, 0.5, -3.0, 8)

    def vector(turn: int, scale: float) -> bytes:
        values = [seeds[(n + turn) % 16] * scale * (1 + n % 3) for n in range(count)]
        values[turn % count] = largest if turn % 2 else -largest
        return struct.pack(f"<{count}{code}", *values)

    vectors = tuple(vector(3 * n, (0.7, 1.0, 1.3, 1.0, 0.5, 2.0, 1.1, 0.9)[n]) for n in range(8))
    return Input(vectors, b"".join(vectors[:4]))


_NUMBERS = (1.0, -2.0, 3.5, 0.5, -6.0, 7.0, 0.25, -1.0, 2.0, 5.0, -1.5, 8.0, 0.5, 3.0, -4.0, 1.25)


def _packed(code: str, bits: int, turn: int) -> bytes:
    """64 bytes of numbers; of a number of struct's the upper bits, as far as they are asked for."""
    numbers = [_NUMBERS[(3 * n + turn * 5) % 16] for n in range(512 // bits)]
    return b"".join(struct.pack(code, number)[-bits // 8 :] for number in numbers)


def _small(code: str, bits: int, first: bytes | None = None) -> Input:
    """Small integers and halves only: sums of their products are exact in every format."""
    vectors = [_packed(code, bits, turn) for turn in range(8)]
    if first is not None:
        vectors[0] = first
    return Input(tuple(vectors), b"".join(vectors[:4]))


_SINGLES = _packed("<f", 32, 0)

INPUTS = {
    "INT": _integers(),
    "F16": _floats("e", 16),
    "F32": _floats("f", 32),
    "F64": _floats("d", 64),
    "S8": _small("<e", 8, bytes(64)),
    "S16": _small("<e", 16),
    "W16": _small("<e", 16, _SINGLES),
    "WB16": _small("<f", 16, _SINGLES),
    "S32": _small("<f", 32),
    "S64": _small("<d", 64),
}
"""Input sets by the name that inputs.h gives them. S: small numbers, of eight bits those of E5M2;
W: the same, but v0 holds singles, for what widens; WB16: bfloat16."""

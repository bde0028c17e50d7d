"""Inputs for the operator functions: edge values of each type, and cases made of them.

A case is the contents of the first four operand slots. Cases are drawn with a fixed seed, so that
every run, and both engines, see the same ones.
"""

from __future__ import annotations

import functools
import random
import re
import struct
from collections.abc import Iterable, Sequence

SLOTS = 4
"""Operand slots that a case fills; no operator has more operands."""
SLOT = 16
CASE_SIZE = SLOTS * SLOT

_SEED = 20250
_SHAPE_NAMES = re.compile(r"[if](?:8x16|16x8|32x4|64x2)|8x8|16x4|32x2")

_INTEGERS = {
    8: (0, 1, 2, 3, 7, 8, 15, 16, 31, 0x3F, 0x40, 0x7E, 0x7F, 0x80, 0x81, 0xFF, 0xFE, 0x55, 0xAA),
    16: (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x3FFF, 0x4000, 0x5555, 0xAAAA, 0x7FFE, 0x7FFF,
         0x8000, 0x8001, 0xFF80, 0xFF7F, 0xFFFE, 0xFFFF),
    32: (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF,
         0x8000, 0xFFFF, 0x10000, 0x55555555, 0xAAAAAAAA, 0x12345678, 0x00FFFFFF, 0x01000001,
         0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFF7FFF, 0xFFFF8000, 0xFFFFFF7F,
         0xFFFFFF80, 0xFFFFFFF7, 0xFFFFFFFE, 0xFFFFFFFF),
    64: (0, 1, 2, 3, 5, 7, 8, 31, 32, 33, 63, 64, 65, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF,
         0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x1FFFFFFFFFFFFF, 0x20000000000001,
         0x123456789ABCDEF0, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0x7FFFFFFFFFFFFFFE,
         0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0x8000000000000001, 0x7FFFFFFFFFFFFDFF,
         0x8000000000000400, 0xFFFFFFFF00000000, 0xFFFFFFFF7FFFFFFF, 0xFFFFFFFF80000000,
         0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF),
}  # fmt: skip

# IEEE 754 bit patterns without the sign. Beside zeros, infinities, denormals and NaNs: halves that
# round to even, and the neighbours of 2^31, 2^32, 2^63 and 2^64, where conversions end.
_FLOATS = {
    32: (0x00000000, 0x00000001, 0x00000002, 0x007FFFFF, 0x00800000, 0x00800001, 0x3EFFFFFF,
         0x3F000000, 0x3F000001, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x40000000,
         0x40200000, 0x40490FDB, 0x42FE0000, 0x43000000, 0x4AFFFFFF, 0x4B000000, 0x4B000001,
         0x4EFFFFFF, 0x4F000000, 0x4F000001, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000,
         0x5F7FFFFF, 0x5F800000, 0x7F000000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FA00000,
         0x7FC00000, 0x7FC12345, 0x7FFFFFFF),
    64: (0x0000000000000000, 0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000,
         0x36A0000000000000, 0x380FFFFFE0000000, 0x3690000000000000, 0x3FDFFFFFFFFFFFFF,
         0x3FE0000000000000, 0x3FEFFFFFFFFFFFFF, 0x3FF0000000000000, 0x3FF0000000000001,
         0x3FF0000010000000, 0x3FF8000000000000, 0x4000000000000000, 0x4004000000000000,
         0x400921FB54442D18, 0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000,
         0x41E0000000200000, 0x41EFFFFFFFE00000, 0x41EFFFFFFFF00000, 0x41F0000000000000,
         0x432FFFFFFFFFFFFF, 0x4330000000000000, 0x4330000000000001, 0x43DFFFFFFFFFFFFF,
         0x43E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000, 0x47EFFFFFE0000000,
         0x47EFFFFFF0000000, 0x47F0000000000000, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000,
         0x7FF0000000000001, 0x7FF4000000000000, 0x7FF8000000000000, 0x7FF8000012345678,
         0x7FFFFFFFFFFFFFFF),
}  # fmt: skip


def _signed(width: int) -> tuple[int, ...]:
    sign = 1 << (width - 1)
    return tuple(bits for value in _FLOATS[width] for bits in (value, value | sign))


def _lanes(width: int, values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(width // 8, "little") for value in values)


@functools.cache
def _vectors(lane: str) -> tuple[bytes, ...]:
    """Vectors whose lanes are edge values of one kind: each value in each lane at least once."""
    width = int(lane[1:])
    values = _signed(width) if lane[0] == "f" else _INTEGERS[width]
    count = 128 // width
    draw = random.Random(f"{_SEED} {lane}")
    vectors = []
    # One shuffled run through the values a lane, side by side.
    columns = []
    for _ in range(count):
        column = list(values)
        draw.shuffle(column)
        columns.append(column)
    vectors += [_lanes(width, row) for row in zip(*columns, strict=True)]
    vectors += [_lanes(width, [value] * count) for value in values[:: max(1, len(values) // 8)]]
    return tuple(vectors)


_COMMON = (
    bytes(16),
    b"\xff" * 16,
    bytes(range(16)),
    bytes(reversed(range(16))),
    bytes(range(8, 24)),
    bytes(range(112, 128)) [:8] + bytes(range(128, 136)),
    bytes(range(240, 256)),
    b"\x80" * 16,
    b"\x7f" * 16,
    b"\x00\xff" * 8,
    bytes([15, 16, 17, 127, 128, 129, 143, 144, 255, 0, 1, 14, 31, 32, 239, 240]),
)  # fmt: skip


@functools.cache
def edge_values(kind: str, lanes: tuple[str, ...] = ()) -> tuple[bytes, ...]:
    """The edge values of a value type, 16 bytes each, little endian, zero-filled.

    Args:
        kind: `i32`, `i64`, `f32`, `f64` or `v128`.
        lanes: for `v128` the kinds of lanes that matter, `i8` to `f64`; all of them if empty.
    """
    if kind == "v128":
        chosen = lanes or ("i8", "i16", "i32", "i64", "f32", "f64")
        return tuple(dict.fromkeys(v for lane in chosen for v in (*_vectors(lane), *_COMMON)))
    width = int(kind[1:])
    values = _signed(width) if kind[0] == "f" else _INTEGERS[width]
    return tuple(value.to_bytes(SLOT, "little") for value in values)


def lane_kinds(operator: str) -> tuple[str, ...]:
    """The kinds of lanes an operator's name speaks of: `i32x4.trunc_sat_f32x4_s` i32 and f32."""
    found = [name.partition("x")[0] for name in _SHAPE_NAMES.findall(operator)]
    return tuple(dict.fromkeys(name if name[0] in "if" else f"i{name}" for name in found))


@functools.cache
def make_cases(operands: tuple[str, ...], lanes: tuple[str, ...], count: int) -> tuple[bytes, ...]:
    """Cases for one list of operand types.

    Args:
        operands: value types, at most four.
        lanes: as for `edge_values`.
        count: how many at most. One operand gets every edge value if there is room. For several
            every value of each comes up in turn, in an order drawn anew each round.

    Returns:
        `CASE_SIZE` bytes each, no two alike. Slots that no operand fills hold arbitrary bytes.
    """
    draw = random.Random(f"{_SEED} {operands} {lanes}")
    columns: list[list[bytes]] = []
    pools = [edge_values(kind, lanes) for kind in operands]
    limit = 1
    for pool in pools:
        limit = min(limit * len(pool), count)
    for pool in pools:
        column: list[bytes] = []
        while len(column) < count:
            column += draw.sample(pool, len(pool))
        columns.append(column)
    rest = draw.randbytes(CASE_SIZE)
    rows = zip(*(column[:limit] for column in columns), strict=True) if pools else iter([()])
    cases = [b"".join(row) + rest[SLOT * len(row) :] for row in rows]
    return tuple(dict.fromkeys(cases))


def template(size: int, start: int, condition: int, arms: Sequence[int]) -> bytes:
    """The memory that every case starts from.

    Args:
        size: bytes.
        start: address of operand slot 0.
        condition: the slot that is zero in no case: a fixed condition.
        arms: two slots; the second is the complement of the first, so that a bitwise selection
            between them can be undone.
    """
    draw = random.Random(_SEED)
    memory = bytearray(draw.randbytes(size))
    first = draw.randbytes(SLOT)
    for slot, value in zip(arms, (first, bytes(255 - b for b in first)), strict=True):
        memory[start + SLOT * slot : start + SLOT * (slot + 1)] = value
    struct.pack_into("<i", memory, start + SLOT * condition, 1)
    return bytes(memory)

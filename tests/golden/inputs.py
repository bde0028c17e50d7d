"""The known machine states that candidates start from.

Values mix edges with ordinary ones, so that a wrong decoding shows: LZCNT never equals BSR on a
non-zero source, r11 is zero for TZCNT against BSF, lanes overflow and saturate, floats hold NaN,
infinities, denormals and signed zeros, at most one NaN a lane where the order of NaNs would matter.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from tests.golden.machine import SOURCE_ADDRESS, SOURCE_SIZE, TARGET_ADDRESS, State

RSI, RDI = 6, 7
VARIANTS = 4
"""Inputs that rounds of `--repeat` take in turn, the first included."""

_GPR = {
    0: 0x0123456789ABCDEF,
    1: 0x80F10F0F12348840,
    2: 0xFEDCBA9876543210,
    3: 0x0F0F0000A5A51005,  # as a control: start 5, length 16; as a count: 5
    8: 0xFFFFFFFFFFFFFFFF,
    9: 0x0000000000000001,
    10: 0x8000000000000000,
    11: 0,
}
_MASK = (0xFFFF, 0x5A69, 0x0FF5, 0xC33C, 0, 0, 0, 0)


@dataclass(frozen=True)
class Input:
    """One input set: what registers and the 256 bytes of memory hold."""

    vectors: tuple[bytes, ...]
    memory: bytes
    gpr: dict[int, int] = field(default_factory=lambda: dict(_GPR))
    mask: tuple[int, ...] = _MASK
    fixed: bool = False
    """It has no variants: it holds a configuration and addresses, not only data."""

    def variant(self, number: int) -> Input:
        """The input of another round of `--repeat`; 0 is this one.

        Vectors and each 64 bytes of memory are rotated by quadwords, so that lanes stay together;
        general registers by bytes and masks by four bits. load_variant in state.c does the same.
        """
        assert not self.fixed or number == 0

        def rotated(block: bytes) -> bytes:
            return block[8 * number :] + block[: 8 * number]

        return replace(
            self,
            vectors=tuple(rotated(vector) for vector in self.vectors),
            memory=b"".join(rotated(self.memory[n : n + 64]) for n in range(0, 256, 64)),
            gpr={n: (v << 8 * number | v >> 64 - 8 * number) % 2**64 for n, v in self.gpr.items()},
            mask=tuple((m << 4 * number | m >> 16 - 4 * number) % 2**16 for m in self.mask),
        )

    def state(self) -> State:
        """A fresh model state; RSI and RDI hold the model's addresses of the two areas."""
        state = State(source=self.memory)
        for number, value in self.gpr.items():
            state.gpr[number] = value
        state.gpr[RSI], state.gpr[RDI] = SOURCE_ADDRESS, TARGET_ADDRESS
        state.mask = list(self.mask)
        for number, data in enumerate(self.vectors):
            state.vector[number] = int.from_bytes(data, "little")
        state.target[:SOURCE_SIZE] = self.memory
        return state


def noise(seed: int, count: int) -> bytes:
    """Bytes of a linear congruential generator (Numerical Recipes' constants), high byte each."""
    out = bytearray()
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(seed >> 24)
    return bytes(out)


def mixed(edges: str, seed: int) -> bytes:
    """64 bytes: the edges in hex first in each half, noise after them."""
    head = bytes.fromhex(edges)
    rest = noise(seed, 64)
    return (head + rest[: 32 - len(head)] + rest[32 : 64 - len(head)] + head[::-1])[:64]


_COUNTS32 = (5, 0, 31, 32, 33, 1, 16, 7, 3, 40, 2, 15, 8, 64, 30, 4)


def _integers() -> Input:
    a = mixed("ff7f0080ffff0100 0000008000ff80ff", 1)
    b = mixed("01000080ff7fffff ffffff7f01ff7f80", 2)
    counts = struct.pack("<2Q", 5, 2) + struct.pack("<12I", *_COUNTS32[4:])
    vectors = (
        mixed("8080ff7f00010203 ffffff7f00000080", 3),
        a,
        b,
        mixed("ff007f80ff7f8000 00ff00ff80017f00", 4),
        counts,
        struct.pack("<16I", 1, 5, 2, 7, 0, 12, 3, 9, 4, 30, 8, 6, 11, 10, 14, 13),
        struct.pack("<8Q", 3, 1, 6, 0, 2, 5, 4, 7),
        struct.pack("<16I", *_COUNTS32),
    )
    memory = mixed("0180ff7f00800100 ffffff7f80ff7f01", 5)
    # One dword and one qword equal to vector 1's, for comparisons.
    memory = memory[:40] + a[40:48] + memory[48:]
    small = struct.pack("<2Q", 3, 9) + struct.pack("<12I", *_COUNTS32[:12])
    return Input(vectors, memory + noise(6, 64) + small + bytes(64))


def _f32(*values: float | int) -> bytes:
    """Pack floats; an int is a bit pattern."""
    return b"".join(
        struct.pack("<I", v) if isinstance(v, int) else struct.pack("<f", v) for v in values
    )


def _f64(*values: float | int) -> bytes:
    return b"".join(
        struct.pack("<Q", v) if isinstance(v, int) else struct.pack("<d", v) for v in values
    )


def _f16(*values: float | int) -> bytes:
    return b"".join(
        struct.pack("<H", v) if isinstance(v, int) else struct.pack("<e", v) for v in values
    )


_INF32, _QNAN32, _SNAN32 = 0x7F800000, 0x7FC12345, 0xFF812345
_INF64, _QNAN64, _SNAN64 = 0x7FF0000000000000, 0x7FF8000012345678, 0xFFF0000012345678


def _singles() -> Input:
    v1 = _f32(
        1.1, -2.5, 0x80000000, 3e38, 0.1, _QNAN32, -7.5, 2.5,
        _INF32, 1e10, 0x00012345, -0.3, 4294967040.0, 1.5, -1e-30, 123456.79,
    )  # fmt: skip
    v2 = _f32(
        0.7, 3.25, 0.0, 2.0, -0.2, 1.5, _SNAN32, -2.5,
        -3.0, 3e-10, 0.25, -0.3, -1.0, 16777217.0, 1e-30, 0.001,
    )  # fmt: skip
    v0 = _f32(
        -0.77, 8.125, -1.0, -3e38, 0.02, 2.0, 5.0, _QNAN32,
        1.0, -3.0, 1e-45, -0.09, 7.0, -25165826.0, 0.0, -123.456,
    )  # fmt: skip
    memory = _f32(
        1.3, -0.6, 5.0, -1.0, 0.3, -2.0, 0.5, 2.5,
        0.125, -9.75, 3.0, 0x80000000, 100.5, -0.75, 1e20, 0.9999999,
    )  # fmt: skip
    powers = _f32(*(4.0**n for n in (1, -1, 0, 3, 5, -4, 9, 2, 7, -8, 10, 4, -3, 6, -2, 8)))
    whole = _f32(*(float(n) for n in (1, -1, 0, 3, 5, -4, 9, 2, 7, -8, 10, 4, -3, 6, -2, 8)))
    v3 = _f32(
        -1.5, 2.0, -0.0, 1.0, -4.5, 0.5, 3.5, -8.0,
        0.1, -0.2, 0.3, -0.4, 0.6, -0.7, 0.8, -0.9,
    )  # fmt: skip
    index = struct.pack("<16I", 1, 5, 2, 7, 0, 12, 3, 9, 4, 30, 8, 6, 11, 10, 14, 13)
    tail = whole + powers + _f32(*(n + 0.5 for n in range(-8, 8)))
    return Input((v0, v1, v2, v3, powers, whole, index, memory), memory + tail)


def _doubles() -> Input:
    v1 = _f64(1.1, -2.5, 3e18, 1e308, _QNAN64, -0.1, 4503599627370496.5, 1e-310)
    v2 = _f64(0.7, 3.25, -0.0, 9.0, 1.5, _SNAN64, -2.5, 0.5)
    v0 = _f64(-0.77, 8.125, -1.0, -1e308, 2.0, 5.0, 1e300, 5e-324)
    v3 = _f64(-1.5, 2.0, -0.0, 1.0, -4.5, 0.5, 3.5, -8.0)
    memory = _f64(1.3, -0.6, 5.0, -1.0, 0.3, -2.0, 4294967295.75, 2.5)
    powers = _f64(*(4.0**n for n in (1, -1, 0, 3, 5, -4, 9, 2)))
    whole = _f64(*(float(n) for n in (1, -1, 0, 3, 5, -4, 9, 2)))
    index = struct.pack("<8Q", 3, 1, 6, 0, 2, 5, 4, 7)
    tail = whole + powers + _f64(_INF64, -0.0, 1e-5, 65504.0, 0.1, -7.25, 1024.0, 3.0)
    return Input((v0, v1, v2, v3, powers, whole, index, memory), memory + tail)


def _halves() -> Input:
    v1 = _f16(1.1, -2.5, 0x8000, 60000.0, 0.1, 0x7E12, -7.5, 2.5) * 4
    v2 = _f16(0.7, 3.25, 0.0, 2.0, -0.2, 1.5, 0xFD12, -2.5) * 4
    v0 = _f16(-0.77, 8.125, -1.0, -3000.0, 0.02, 2.0, 5.0, 1.25) * 4
    memory = _f16(1.3, -0.6, 5.0, 0x0001, 0.3, 0x7C00, 0.5, 0xFC00) * 4
    simple = _f16(1.0, 2.0, -3.0, 0.5, 4.0, -1.0, 2.5, -0.25) * 4
    other = _f16(2.0, -1.0, 0.5, 3.0, -2.0, 4.0, 1.5, 8.0) * 4
    return Input((v0, v1, v2, simple, other, v1, v2, v0), memory + simple + other + v1)


def _bf16(*values: float) -> bytes:
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def _brain_floats() -> Input:
    """Small numbers only: sums of their products are exact in binary32."""
    acc = _f32(*(float(n) * 0.5 for n in range(-8, 8)))
    a = _bf16(1.0, -2.0, 3.5, 0.5, -6.0, 7.0, 0.25, 9.0) * 4
    b = _bf16(2.0, 5.0, -1.5, 8.0, 0.5, 3.0, -4.0, 1.25) * 4
    memory = _bf16(-1.0, 6.0, 2.5, -3.0, 1.5, 0.75, 10.0, -0.5) * 4
    return Input((acc, a, b, acc, a, b, a, b), memory + a + b + memory)


def _tile_config(rows: int, bytes_a_row: int) -> bytes:
    """LDTILECFG's 64 bytes: palette 1, tiles 0 to 2 alike (SDM vol. 1, 18.3.1, table 18-1)."""
    columns = struct.pack("<3H", bytes_a_row, bytes_a_row, bytes_a_row) + bytes(26)
    return (b"\x01" + bytes(15) + columns + bytes([rows] * 3) + bytes(13)).ljust(64, b"\0")[:64]


def _tiles(rows_of_data: bytes) -> Input:
    """Tiles of 2 rows of 8 bytes; data at offsets 64, 80 and 96, stride 8 in a register."""
    memory = _tile_config(2, 8) + rows_of_data
    gpr = dict(_GPR)
    gpr[1] = 8
    vectors = tuple(noise(n, 64) for n in range(8))
    return Input(vectors, memory.ljust(SOURCE_SIZE, b"\0"), gpr, fixed=True)


INPUTS = {
    "INT": _integers(),
    "F32": _singles(),
    "F64": _doubles(),
    "F16": _halves(),
    "BF16": _brain_floats(),
    "AMX": _tiles(mixed("ff7f0080ffff0100 0000008000ff80ff", 7)),
    "AMXBF16": _tiles(
        _f32(1.5, -2.0, 3.0, 0.25)
        + _bf16(1.0, -2.0, 3.5, 0.5, -6.0, 7.0, 0.25, 9.0)
        + _bf16(2.0, 5.0, -1.5, 8.0, 0.5, 3.0, -4.0, 1.25)
    ),
    "AMXF16": _tiles(
        _f32(1.5, -2.0, 3.0, 0.25)
        + _f16(1.0, -2.0, 3.5, 0.5, -6.0, 7.0, 0.25, 9.0)
        + _f16(2.0, 5.0, -1.5, 8.0, 0.5, 3.0, -4.0, 1.25)
    ),
}
"""Input sets by the name that inputs.h gives them."""

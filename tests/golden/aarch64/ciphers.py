"""AES, carry-less products, SHA, SM3, SM4 and CRC.

The round formulas are dealt to registers as in DDI 0487.
The tables and functions of the standards are those of tests/golden/ciphers.py.
"""

from __future__ import annotations

from tests.golden.aarch64.machine import Operation, handles
from tests.golden.ciphers import (
    INVERSE_SBOX,
    MIX,
    SBOX,
    SM4_SBOX,
    UNMIX,
    choose,
    majority,
    mix_columns,
    parity,
    rotate_right,
    shift_rows,
)
from tests.golden.integers import rotate_left
from tests.golden.machine import join, mask_of, split


def _source(x: Operation, which: int) -> int:
    """The place of a source: SVE's forms that destroy name their first source again."""
    return which + (x.is_scalable(0) and len(x.operands) == 3)


@handles("aese", "aesd")
def _aes_round(x: Operation) -> None:
    inverse = x.name == "aesd"
    key = x.lanes(_source(x, 1), 8)
    state = [a ^ b for a, b in zip(x.lanes(0, 8), key, strict=True)]
    state = shift_rows(state, -1 if inverse else 1)
    x.put([(INVERSE_SBOX if inverse else SBOX)[b] for b in state], 8)


@handles("aesmc", "aesimc")
def _aes_mix(x: Operation) -> None:
    x.put(mix_columns(x.lanes(1, 8), UNMIX if x.name == "aesimc" else MIX), 8)


def carryless(a: int, b: int) -> int:
    """Product of polynomials over GF(2)."""
    value = 0
    for bit in range(b.bit_length()):
        if b >> bit & 1:
            value ^= a << bit
    return value


@handles("pmull", "pmull2", "pmullb", "pmullt")
def _carryless(x: Operation) -> None:
    width, _ = x.shape(1)
    first, second = x.lanes(1, width), x.lanes(2, width)
    count = len(first) // 2
    if x.is_scalable(0):
        products = [(first[n], second[n]) for n in range(x.name == "pmullt", 2 * count, 2)]
    else:
        start = count if x.name == "pmull2" else 0
        products = [(first[start + n], second[start + n]) for n in range(count)]
    x.put([carryless(a, b) for a, b in products], 2 * width)


_SHA1 = {"sha1c": choose, "sha1p": parity, "sha1m": majority}


@handles("sha1c", "sha1p", "sha1m")
def _sha1_rounds(x: Operation) -> None:
    a, b, c, d = x.lanes(0, 32)
    e = x.lanes(1)[0]
    for word in x.lanes(2):
        total = e + rotate_left(a, 5, 32) + _SHA1[x.name](b, c, d) + word
        a, b, c, d, e = total & mask_of(32), a, rotate_left(b, 30, 32), c, d
    x.put([a, b, c, d], 32)


@handles("sha1h")
def _sha1_hash(x: Operation) -> None:
    x.put([rotate_left(x.lanes(1)[0], 30, 32)], 32)


@handles("sha1su0")
def _sha1_schedule_0(x: Operation) -> None:
    d, n, m = (x.lanes(i) for i in range(3))
    x.put([a ^ b ^ c for a, b, c in zip([*d[2:], *n[:2]], d, m, strict=True)])


@handles("sha1su1")
def _sha1_schedule_1(x: Operation) -> None:
    t = [a ^ b for a, b in zip(x.lanes(0), [*x.lanes(1)[1:], 0], strict=True)]
    out = [rotate_left(a, 1, 32) for a in t]
    out[3] ^= rotate_left(t[0], 2, 32)
    x.put(out)


def _mixed(a: int, bits: int, turns: tuple[int, int, int]) -> int:
    return (rotate_right(a, turns[0], bits) ^ rotate_right(a, turns[1], bits)) ^ rotate_right(
        a, turns[2], bits
    )


def _small(a: int, bits: int, turns: tuple[int, int], shift: int) -> int:
    return rotate_right(a, turns[0], bits) ^ rotate_right(a, turns[1], bits) ^ a >> shift


def _sha256(upper: list[int], lower: list[int], words: list[int]) -> tuple[list[int], list[int]]:
    for word in words:
        a, b, c, d = upper
        e, f, g, h = lower
        t = h + _mixed(e, 32, (6, 11, 25)) + choose(e, f, g) + word
        head = t + _mixed(a, 32, (2, 13, 22)) + majority(a, b, c)
        upper, lower = [head & mask_of(32), a, b, c], [d + t & mask_of(32), e, f, g]
    return upper, lower


@handles("sha256h", "sha256h2")
def _sha256_rounds(x: Operation) -> None:
    own, other, words = x.lanes(0, 32), x.lanes(1, 32), x.lanes(2)
    first = x.name == "sha256h"
    upper, lower = _sha256(own, other, words) if first else _sha256(other, own, words)
    x.put(upper if first else lower, 32)


@handles("sha256su0")
def _sha256_schedule_0(x: Operation) -> None:
    d = x.lanes(0)
    later = [*d[1:], x.lanes(1)[0]]
    x.put([a + _small(b, 32, (7, 18), 3) for a, b in zip(d, later, strict=True)])


@handles("sha256su1")
def _sha256_schedule_1(x: Operation) -> None:
    d, n, m = (x.lanes(i) for i in range(3))
    middle = [*n[1:], m[0]]
    out: list[int] = []
    for i in range(4):
        late = m[2 + i] if i < 2 else out[i - 2]
        out.append(d[i] + middle[i] + _small(late, 32, (17, 19), 10) & mask_of(32))
    x.put(out)


@handles("sha512h")
def _sha512_first(x: Operation) -> None:
    (w0, w1), (x0, x1), (y0, y1) = x.lanes(0, 64), x.lanes(1, 64), x.lanes(2, 64)
    turns = (14, 18, 41)
    high = choose(y1, x0, x1) + _mixed(y1, 64, turns) + w1 & mask_of(64)
    e = high + y0 & mask_of(64)
    x.put([choose(e, y1, x0) + _mixed(e, 64, turns) + w0, high], 64)


@handles("sha512h2")
def _sha512_second(x: Operation) -> None:
    (w0, w1), (x0, _), (y0, y1) = x.lanes(0, 64), x.lanes(1, 64), x.lanes(2, 64)
    turns = (28, 34, 39)
    high = majority(x0, y1, y0) + _mixed(y0, 64, turns) + w1 & mask_of(64)
    x.put([majority(high, y0, y1) + _mixed(high, 64, turns) + w0, high], 64)


@handles("sha512su0")
def _sha512_schedule_0(x: Operation) -> None:
    w = x.lanes(0)
    later = [w[1], x.lanes(1)[0]]
    x.put([a + _small(b, 64, (1, 8), 7) for a, b in zip(w, later, strict=True)])


@handles("sha512su1")
def _sha512_schedule_1(x: Operation) -> None:
    triples = zip(x.lanes(0), x.lanes(1), x.lanes(2), strict=True)
    x.put([w + _small(a, 64, (19, 61), 6) + b for w, a, b in triples])


@handles("rax1")
def _rotate_and_xor(x: Operation) -> None:
    pairs = zip(x.lanes(1), x.lanes(2), strict=True)
    x.put([a ^ rotate_left(b, 1, 64) for a, b in pairs])


@handles("xar")
def _xor_and_rotate(x: Operation) -> None:
    width, _ = x.shape(0)
    pairs = zip(x.lanes(_source(x, 1) - x.is_scalable(0)), x.lanes(2), strict=True)
    x.put([rotate_right(a ^ b, x.read(3), width) for a, b in pairs])


def _rotate32(a: int, count: int) -> int:
    return rotate_left(a & mask_of(32), count, 32)


@handles("sm3ss1")
def _sm3_start(x: Operation) -> None:
    n, m, a = (x.lanes(i)[3] for i in (1, 2, 3))
    x.put([0, 0, 0, _rotate32(_rotate32(n, 12) + m + a, 7)])


@handles("sm3tt1a", "sm3tt1b", "sm3tt2a", "sm3tt2b")
def _sm3_rounds(x: Operation) -> None:
    d0, d1, d2, d3 = x.lanes(0)
    n, word = x.lanes(1)[3], x.lanes(2)[0]
    first, early = x.name[5] == "1", x.name[6] == "a"
    if first:
        mixed = parity(d3, d2, d1) if early else majority(d3, d2, d1)
        total = mixed + d0 + (n ^ _rotate32(d3, 12)) + word & mask_of(32)
        x.put([d1, _rotate32(d2, 9), d3, total])
    else:
        mixed = parity(d3, d2, d1) if early else choose(d3, d2, d1)
        total = mixed + d0 + n + word & mask_of(32)
        x.put([d1, _rotate32(d2, 19), d3, total ^ _rotate32(total, 9) ^ _rotate32(total, 17)])


@handles("sm3partw1")
def _sm3_message_1(x: Operation) -> None:
    d, n, m = (x.lanes(i) for i in range(3))
    out: list[int] = []
    for i in range(4):
        t = d[i] ^ n[i] ^ _rotate32(m[i + 1] if i < 3 else out[0], 15)
        out.append(t ^ _rotate32(t, 15) ^ _rotate32(t, 23))
    x.put(out)


@handles("sm3partw2")
def _sm3_message_2(x: Operation) -> None:
    t = [a ^ _rotate32(b, 7) for a, b in zip(x.lanes(1), x.lanes(2), strict=True)]
    out = [a ^ b for a, b in zip(x.lanes(0), t, strict=True)]
    late = _rotate32(t[0], 15)
    out[3] ^= late ^ _rotate32(late, 15) ^ _rotate32(late, 23)
    x.put(out)


@handles("sm4e", "sm4ekey")
def _sm4_rounds(x: Operation) -> None:
    expand = x.name == "sm4ekey"
    words = x.lanes(1 if expand else 0, 32)
    for key in x.lanes(2 if expand else _source(x, 1), 32):
        mixed = words[-3] ^ words[-2] ^ words[-1] ^ key
        linear = t = join([SM4_SBOX[b] for b in split(mixed, 8, 4)], 8)
        for count in (13, 23) if expand else (2, 10, 18, 24):
            linear ^= _rotate32(t, count)
        words.append(words[-4] ^ linear)
    x.put(words[-4:], 32)


@handles(*(f"crc32{c}{size}" for c in ("", "c") for size in "bhwx"))
def _crc(x: Operation) -> None:
    polynomial = 0x82F63B78 if x.name[5:-1] == "c" else 0xEDB88320
    bits = {"b": 8, "h": 16, "w": 32, "x": 64}[x.name[-1]]
    value = x.read(1) ^ x.read(2) & mask_of(bits)
    for _ in range(bits):
        value = value >> 1 ^ (polynomial if value & 1 else 0)
    x.write(value)

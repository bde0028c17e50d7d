"""AES, SHA-1, SHA-256, SHA-512, SM3, SM4, GF(2^8) and carry-less products.

Tables are computed from their definitions (FIPS 197, GB/T 32907) and not copied. The round formulas
are those of FIPS 180-4, GB/T 32905 and GB/T 32907, dealt to registers as in SDM vol. 2.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.golden.integers import rotate_left
from tests.golden.machine import Operation, handles, join, mask_of, split


def multiply_gf(a: int, b: int, polynomial: int = 0x11B) -> int:
    """Product in GF(2^8); the default polynomial is AES's."""
    result = 0
    for bit in range(8):
        if b >> bit & 1:
            result ^= a << bit
    for bit in range(14, 7, -1):
        if result >> bit & 1:
            result ^= polynomial << (bit - 8)
    return result


def _inverse(a: int, polynomial: int = 0x11B) -> int:
    """The 254th power: 2 + 4 + ... + 128."""
    result, power = 1, a
    for _ in range(7):
        power = multiply_gf(power, power, polynomial)
        result = multiply_gf(result, power, polynomial)
    return result


def _rotate8(a: int, count: int) -> int:
    return rotate_left(a, count, 8)


def _aes_substitute(a: int) -> int:
    b = _inverse(a)
    return b ^ _rotate8(b, 1) ^ _rotate8(b, 2) ^ _rotate8(b, 3) ^ _rotate8(b, 4) ^ 0x63


def _sm4_affine(a: int) -> int:
    """The circulant matrix of the SM4 S-box, first row a7, plus the constant d3."""
    result = 0
    for bit in range(8):
        result |= ((_rotate8(0xA7, bit) & a).bit_count() & 1) << bit
    return result ^ 0xD3


SBOX = bytes(_aes_substitute(a) for a in range(256))
INVERSE_SBOX = bytes(SBOX.index(a) for a in range(256))
INVERSES = bytes(_inverse(a) for a in range(256))
SM4_SBOX = bytes(_sm4_affine(_inverse(_sm4_affine(a), 0x1F5)) for a in range(256))


def shift_rows(state: list[int], direction: int) -> list[int]:
    """ShiftRows of AES; direction -1 undoes it."""
    return [state[i % 4 + 4 * ((i // 4 + direction * (i % 4)) % 4)] for i in range(16)]


def mix_columns(state: list[int], row: tuple[int, ...]) -> list[int]:
    """MixColumns of AES by a circulant matrix, `MIX` or `UNMIX`."""
    out = []
    for i in range(16):
        column = state[i & ~3 : (i & ~3) + 4]
        value = 0
        for n in range(4):
            value ^= multiply_gf(column[n], row[(n - i) % 4])
        out.append(value)
    return out


MIX, UNMIX = (2, 3, 1, 1), (14, 11, 13, 9)


@handles("aesenc", "aesenclast", "aesdec", "aesdeclast")
def _aes_round(x: Operation) -> None:
    decrypt, last = "dec" in x.name, x.name.endswith("last")
    count = x.vector_width // 128
    out = []
    for data, key in zip(
        x.lanes(x.first, 128, count), x.lanes(x.first + 1, 128, count), strict=True
    ):
        state = shift_rows(split(data, 8, 16), -1 if decrypt else 1)
        state = [(INVERSE_SBOX if decrypt else SBOX)[b] for b in state]
        if not last:
            state = mix_columns(state, UNMIX if decrypt else MIX)
        out.append(join(state, 8) ^ key)
    x.put(out, 128)


@handles("aesimc")
def _aes_inverse_mix(x: Operation) -> None:
    x.put(mix_columns(x.lanes(1, 8, 16), UNMIX), 8)


@handles("aeskeygenassist")
def _aes_key_assist(x: Operation) -> None:
    words = x.lanes(1, 32, 4)
    out = []
    for word in (words[1], words[3]):
        substituted = join([SBOX[b] for b in split(word, 8, 4)], 8)
        out += [substituted, rotate_left(substituted, 24, 32) ^ x.immediate & 0xFF]
    x.put(out, 32)


@handles("pclmulqdq")
def _carryless(x: Operation) -> None:
    count = x.vector_width // 128
    i = x.immediate
    out = []
    for p, q in zip(x.lanes(x.first, 128, count), x.lanes(x.first + 1, 128, count), strict=True):
        a, b = split(p, 64, 2)[i & 1], split(q, 64, 2)[i >> 4 & 1]
        value = 0
        for bit in range(64):
            if b >> bit & 1:
                value ^= a << bit
        out.append(value)
    x.put(out, 128)


@handles("gf2p8mulb")
def _multiply_bytes(x: Operation) -> None:
    count = x.vector_width // 8
    pairs = zip(x.lanes(x.first, 8, count), x.lanes(x.first + 1, 8, count), strict=True)
    x.put([multiply_gf(a, b) for a, b in pairs], 8)


@handles("gf2p8affineqb", "gf2p8affineinvqb")
def _affine(x: Operation) -> None:
    """Row i of the matrix is byte 7 - i of its quadword (SDM vol. 2, GF2P8AFFINEQB)."""
    count = x.vector_width // 64
    out = []
    pairs = zip(x.lanes(x.first, 64, count), x.lanes(x.first + 1, 64, count), strict=True)
    for data, matrix in pairs:
        rows = split(matrix, 8, 8)
        for byte in split(data, 8, 8):
            a = INVERSES[byte] if "inv" in x.name else byte
            value = 0
            for bit in range(8):
                value |= ((rows[7 - bit] & a).bit_count() & 1) << bit
            out.append(value ^ x.immediate & 0xFF)
    x.put(out, 8)


def rotate_right(a: int, count: int, bits: int) -> int:
    """ROTR of FIPS 180-4."""
    return rotate_left(a, bits - count, bits)


def choose(e: int, f: int, g: int) -> int:
    """Ch of FIPS 180-4."""
    return (e & f) ^ (~e & g)


def majority(a: int, b: int, c: int) -> int:
    """Maj of FIPS 180-4."""
    return (a & b) ^ (a & c) ^ (b & c)


def parity(a: int, b: int, c: int) -> int:
    """Parity of FIPS 180-4."""
    return a ^ b ^ c


_SHA1: tuple[tuple[Callable[[int, int, int], int], int], ...] = (
    (choose, 0x5A827999),
    (parity, 0x6ED9EBA1),
    (majority, 0x8F1BBCDC),
    (parity, 0xCA62C1D6),
)


@handles("sha1rnds4")
def _sha1_rounds(x: Operation) -> None:
    d, c, b, a = x.lanes(0, 32, 4)
    function, constant = _SHA1[x.immediate & 3]
    e = 0
    for word in reversed(x.lanes(1, 32, 4)):
        total = function(b, c, d) + rotate_left(a, 5, 32) + word + e + constant
        a, b, c, d, e = total & mask_of(32), a, rotate_left(b, 30, 32), c, d
    x.put([d, c, b, a], 32)


@handles("sha1nexte")
def _sha1_next(x: Operation) -> None:
    words = x.lanes(1, 32, 4)
    words[3] += rotate_left(x.lanes(0, 32, 4)[3], 30, 32)
    x.put(words, 32)


@handles("sha1msg1")
def _sha1_message_1(x: Operation) -> None:
    w3, w2, w1, w0 = x.lanes(0, 32, 4)
    _, _, w5, w4 = x.lanes(1, 32, 4)
    x.put([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0], 32)


@handles("sha1msg2")
def _sha1_message_2(x: Operation) -> None:
    old, new = x.lanes(0, 32, 4), x.lanes(1, 32, 4)
    w16 = rotate_left(old[3] ^ new[2], 1, 32)
    w17 = rotate_left(old[2] ^ new[1], 1, 32)
    w18 = rotate_left(old[1] ^ new[0], 1, 32)
    w19 = rotate_left(old[0] ^ w16, 1, 32)
    x.put([w19, w18, w17, w16], 32)


_SIGMAS = {
    32: ((2, 13, 22), (6, 11, 25), (7, 18, 3), (17, 19, 10)),
    64: ((28, 34, 39), (14, 18, 41), (1, 8, 7), (19, 61, 6)),
}


def _big_sigma(n: int, a: int, bits: int) -> int:
    p, q, r = _SIGMAS[bits][n]
    return rotate_right(a, p, bits) ^ rotate_right(a, q, bits) ^ rotate_right(a, r, bits)


def _small_sigma(n: int, a: int, bits: int) -> int:
    p, q, r = _SIGMAS[bits][2 + n]
    return rotate_right(a, p, bits) ^ rotate_right(a, q, bits) ^ a >> r


def _sha2_rounds(abef: list[int], cdgh: list[int], words: list[int], bits: int) -> list[int]:
    f, e, b, a = abef
    h, g, d, c = cdgh
    for word in words:
        t = choose(e, f, g) + _big_sigma(1, e, bits) + word + h
        new = t + majority(a, b, c) + _big_sigma(0, a, bits)
        a, b, c, d, e, f, g, h = new & mask_of(bits), a, b, c, (t + d) & mask_of(bits), e, f, g
    return [f, e, b, a]


@handles("sha256rnds2")
def _sha256_rounds(x: Operation) -> None:
    words = split(x.state.vector[0], 32, 2)
    x.put(_sha2_rounds(x.lanes(1, 32, 4), x.lanes(0, 32, 4), words, 32), 32)


@handles("sha512rnds2")
def _sha512_rounds(x: Operation) -> None:
    x.put(_sha2_rounds(x.lanes(1, 64, 4), x.lanes(0, 64, 4), x.lanes(2, 64, 2), 64), 64)


def _message_1(old: list[int], following: int, bits: int) -> list[int]:
    later = [*old[1:], following]
    return [a + _small_sigma(0, b, bits) for a, b in zip(old, later, strict=True)]


def _message_2(old: list[int], new: list[int], bits: int) -> list[int]:
    first = [(old[i] + _small_sigma(1, new[2 + i], bits)) & mask_of(bits) for i in range(2)]
    return first + [old[2 + i] + _small_sigma(1, first[i], bits) for i in range(2)]


@handles("sha256msg1", "sha512msg1")
def _sha2_message_1(x: Operation) -> None:
    bits = 32 if "256" in x.name else 64
    x.put(_message_1(x.lanes(0, bits, 4), x.read(1) & mask_of(bits), bits), bits)


@handles("sha256msg2", "sha512msg2")
def _sha2_message_2(x: Operation) -> None:
    bits = 32 if "256" in x.name else 64
    x.put(_message_2(x.lanes(0, bits, 4), x.lanes(1, bits, 4), bits), bits)


def _rotate32(a: int, count: int) -> int:
    return rotate_left(a & mask_of(32), count, 32)


@handles("sm3msg1")
def _sm3_message_1(x: Operation) -> None:
    old, late, early = (x.lanes(i, 32, 4) for i in range(3))
    out = []
    for i in range(4):
        t = old[i] ^ early[i] ^ (_rotate32(late[i], 15) if i < 3 else 0)
        out.append(t ^ _rotate32(t, 15) ^ _rotate32(t, 23))
    x.put(out, 32)


@handles("sm3msg2")
def _sm3_message_2(x: Operation) -> None:
    partial, early, late = (x.lanes(i, 32, 4) for i in range(3))
    w = [_rotate32(early[i], 7) ^ late[i] ^ partial[i] for i in range(4)]
    w[3] ^= _rotate32(w[0], 6) ^ _rotate32(w[0], 15) ^ _rotate32(w[0], 30)
    x.put(w, 32)


@handles("sm3rnds2")
def _sm3_rounds(x: Operation) -> None:
    f, e, b, a = x.lanes(1, 32, 4)
    h, g, d, c = x.lanes(0, 32, 4)
    words = x.lanes(2, 32, 4)
    number = x.immediate & 0x3E
    early = number < 16
    c, d, g, h = _rotate32(c, 9), _rotate32(d, 9), _rotate32(g, 19), _rotate32(h, 19)
    for i in range(2):
        constant = _rotate32(0x79CC4519 if early else 0x7A879D8A, number + i)
        s1 = _rotate32(_rotate32(a, 12) + e + constant, 7)
        s2 = s1 ^ _rotate32(a, 12)
        ff = parity(a, b, c) if early else majority(a, b, c)
        gg = parity(e, f, g) if early else choose(e, f, g)
        t1 = (ff + d + s2 + (words[i] ^ words[i + 2])) & mask_of(32)
        t2 = (gg + h + s1 + words[i]) & mask_of(32)
        d, c, b, a = c, _rotate32(b, 9), a, t1
        h, g, f, e = g, _rotate32(f, 19), e, t2 ^ _rotate32(t2, 9) ^ _rotate32(t2, 17)
    x.put([f, e, b, a], 32)


@handles("sm4rnds4", "sm4key4")
def _sm4_rounds(x: Operation) -> None:
    rotations = (2, 10, 18, 24) if x.name == "sm4rnds4" else (13, 23)
    count = x.vector_width // 128
    out = []
    for data, keys in zip(x.lanes(1, 128, count), x.lanes(2, 128, count), strict=True):
        words = split(data, 32, 4)
        for key in split(keys, 32, 4):
            mixed = words[-3] ^ words[-2] ^ words[-1] ^ key
            t = join([SM4_SBOX[b] for b in split(mixed, 8, 4)], 8)
            linear = t
            for count_left in rotations:
                linear ^= _rotate32(t, count_left)
            words.append(words[-4] ^ linear)
        out.append(join(words[-4:], 32))
    x.put(out, 128)

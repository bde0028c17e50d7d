"""The model of the instructions against published examples, written here as literals."""

from __future__ import annotations

import struct
from functools import cache
from math import isnan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden import floats as fp
from tests.golden.entries import assemble
from tests.golden.semantics import State, UnsupportedInstruction, execute


@cache
def code(text: str) -> bytes:
    return assemble([text])[0]


def run(text: str, *vectors: int, **gpr: int) -> State:
    """Execute one instruction with vectors 0, 1, 2, ... and named registers preset."""
    state = State()
    state.vector[: len(vectors)] = vectors
    numbers = {"rax": 0, "rcx": 1, "rdx": 2, "rbx": 3}
    for name, value in gpr.items():
        if name.startswith("k"):
            state.mask[int(name[1:])] = value
        else:
            state.gpr[numbers[name]] = value
    execute(code(text), state)
    return state


def vector(text: str, *vectors: int, register: int = 0, **gpr: int) -> int:
    return run(text, *vectors, **gpr).vector[register]


def lanes(*values: int, width: int = 32) -> int:
    return sum(value << (i * width) for i, value in enumerate(values))


def cut(value: int, width: int = 32, count: int = 4) -> list[int]:
    return [value >> (i * width) & ((1 << width) - 1) for i in range(count)]


def from_bytes(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


# Intel's white paper "AES New Instructions set" (323641): one round on one state and key.
STATE, KEY = 0x7B5B54657374566563746F725D53475D, 0x48692853686179295B477565726F6E5D


@pytest.mark.parametrize(
    ("mnemonic", "expected"),
    [
        ("aesenc", 0xA8311C2F9FDBA3C58B104B58DED7E595),
        ("aesenclast", 0xC7FB881E938C5964177EC42553FDC611),
        ("aesdec", 0x138AC342FAEA2787B58EB95EB730392A),
        ("aesdeclast", 0xC5A391EF6B317F95D410637B72A593D0),
    ],
)
def test_aes_round(mnemonic: str, expected: int) -> None:
    assert vector(f"{mnemonic} xmm0, xmm1", STATE, KEY) == expected


def test_aes_first_round_of_fips_197_appendix_b() -> None:
    state = from_bytes("193de3bea0f4e22b9ac68d2ae9f84808")
    key = from_bytes("a0fafe1788542cb123a339392a6c7605")

    assert vector("aesenc xmm0, xmm1", state, key) == from_bytes("a49c7ff2689f352b6b5bea43026a5049")


def test_aes_key_helpers() -> None:
    """Key assist from the white paper; the columns are the usual examples of MixColumns."""
    assist = vector("aeskeygenassist xmm0, xmm1, 1", 0, 0x3C4FCF098815F7ABA6D2AE2816157E2B)
    unmixed = vector("aesimc xmm0, xmm1", 0, from_bytes("8e4da1bc9fdc589dd5d5d7d64d7ebdf8"))

    assert assist == 0x01EB848BEB848A013424B5E524B5E434
    assert unmixed == from_bytes("db135345f20a225cd4d4d4d52d26314c")


@pytest.mark.parametrize(
    ("immediate", "expected"),
    [
        (0x00, 0x1D4D84C85C3440C0929633D5D36F0451),
        (0x10, 0x1BD17C8D556AB5A17FA540AC2A281315),
        (0x01, 0x1A2BF6DB3A30862FBABF262DF4B7D5C9),
        (0x11, 0x1D1E1F2C592E7C45D66EE03E410FD4ED),
    ],
)
def test_carryless_product(immediate: int, expected: int) -> None:
    """Intel's white paper on PCLMULQDQ (323640), the four choices of halves."""
    assert vector(f"pclmulqdq xmm0, xmm1, {immediate}", STATE, KEY) == expected


def test_crc32c_check_value() -> None:
    """The CRC catalogue's check string under Castagnoli's polynomial."""
    crc = 0xFFFFFFFF
    for byte in b"123456789":
        crc = run("crc32 eax, cl", rax=crc, rcx=byte).gpr[0]
    assert crc ^ 0xFFFFFFFF == 0xE3069283

    crc = run("crc32 rax, rcx", rax=0xFFFFFFFF, rcx=int.from_bytes(b"12345678", "little")).gpr[0]
    assert run("crc32 eax, cl", rax=crc, rcx=ord("9")).gpr[0] ^ 0xFFFFFFFF == 0xE3069283


def test_galois_field_product_of_fips_197() -> None:
    product = vector("gf2p8mulb xmm0, xmm1", lanes(0x57, 0x57, width=8), lanes(0x83, 0x13, width=8))

    assert cut(product, 8, 2) == [0xC1, 0xFE]


def test_affine_inverse_with_the_aes_matrix_is_the_aes_s_box() -> None:
    """FIPS 197, 5.1.1: S-box of 53 is ed, of 00 is 63."""
    result = vector("gf2p8affineinvqb xmm0, xmm1, 0x63", 0x0053, 0xF1E3C78F1F3E7CF8)

    assert cut(result, 8, 2) == [0xED, 0x63]


def _block(word: int) -> list[int]:
    """The padded single block of the message "abc" as big-endian words."""
    size = 16 * word // 8
    data = (b"abc\x80".ljust(size - 1, b"\0") + b"\x18").ljust(size, b"\0")
    return [int.from_bytes(data[i : i + word // 8], "big") for i in range(0, size, word // 8)]


def _primes(count: int) -> list[int]:
    found: list[int] = []
    n = 2
    while len(found) < count:
        if all(n % p for p in found):
            found.append(n)
        n += 1
    return found


def _root(n: int, power: int, bits: int) -> int:
    """Fraction bits of a square or cube root (FIPS 180-4, 4.2.2 and 5.3)."""
    low, high = 0, n << bits
    while low < high:
        middle = (low + high + 1) // 2
        if middle**power <= n << (power * bits):
            low = middle
        else:
            high = middle - 1
    return low & ((1 << bits) - 1)


@pytest.mark.parametrize(
    ("bits", "digest"),
    [
        (32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            64,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ],
)
def test_sha2_of_abc(bits: int, digest: str) -> None:
    """A whole hash out of RNDS2, MSG1 and MSG2 (FIPS 180-4 examples)."""
    rounds = 64 if bits == 32 else 80
    constants = [_root(p, 3, bits) for p in _primes(rounds)]
    start = [_root(p, 2, bits) for p in _primes(8)]
    words = _block(bits)
    if bits == 32:
        first, second = "sha256msg1 xmm0, xmm1", "sha256msg2 xmm0, xmm1"
    else:
        first, second = "vsha512msg1 ymm0, xmm1", "vsha512msg2 ymm0, ymm1"
    m = (1 << bits) - 1

    def helper(text: str, a: list[int], b: list[int]) -> list[int]:
        state = State()
        state.vector[:2] = [lanes(*a, width=bits), lanes(*b, width=bits)]
        execute(SHA512[text] if bits == 64 else code(text), state)
        return cut(state.vector[0], bits)

    for i in range(16, rounds, 4):
        partial = helper(first, words[i - 16 : i - 12], words[i - 12 : i - 8])
        partial = [(p + w) & m for p, w in zip(partial, words[i - 7 : i - 3], strict=True)]
        words += helper(second, partial, words[i - 4 : i])
    a, b, c, d, e, f, g, h = start
    abef, cdgh = [f, e, b, a], [h, g, d, c]
    for i in range(0, rounds, 2):
        wk = lanes(*((words[i + n] + constants[i + n]) & m for n in range(2)), width=bits)
        state = State()
        if bits == 32:
            state.vector[:3] = [wk, lanes(*cdgh), lanes(*abef)]
            execute(code("sha256rnds2 xmm1, xmm2"), state)
            abef, cdgh = cut(state.vector[1]), abef
        else:
            state.vector[:3] = [lanes(*cdgh, width=64), lanes(*abef, width=64), wk]
            execute(SHA512["vsha512rnds2 ymm0, ymm1, xmm2"], state)
            abef, cdgh = cut(state.vector[0], 64), abef
    end = [abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]]
    total = [(s + t) & m for s, t in zip(start, end, strict=True)]
    assert "".join(f"{t:0{bits // 4}x}" for t in total) == digest


# Newer than GNU as 2.40: encodings from the Intel ISE reference (319433).
SHA512 = {
    "vsha512msg1 ymm0, xmm1": bytes.fromhex("c4e27fccc1"),
    "vsha512msg2 ymm0, ymm1": bytes.fromhex("c4e27fcdc1"),
    "vsha512rnds2 ymm0, ymm1, xmm2": bytes.fromhex("c4e277cbc2"),
}


def test_sha1_of_abc() -> None:
    """FIPS 180-4 example; words and state sit with the first one in the top lane."""
    words = _block(32)

    def group(i: int) -> int:
        return lanes(*reversed(words[4 * i : 4 * i + 4]))

    for i in range(4, 20):
        partial = vector("sha1msg1 xmm0, xmm1", group(i - 4), group(i - 3)) ^ group(i - 2)
        new = vector("sha1msg2 xmm0, xmm1", partial, group(i - 1))
        words += reversed(cut(new))
    start = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    abcd = lanes(*reversed(start[:4]))
    e = lanes(0, 0, 0, start[4])
    first = [(x + y) & 0xFFFFFFFF for x, y in zip(cut(e), cut(group(0)), strict=True)]
    e = lanes(*first)
    for i in range(20):
        saved = abcd
        abcd = vector(f"sha1rnds4 xmm0, xmm1, {i // 5}", abcd, e)
        following = group(i + 1) if i < 19 else 0
        e = vector("sha1nexte xmm0, xmm1", saved, following)
    end = [*reversed(cut(abcd)), cut(e)[3]]
    total = [(s + t) & 0xFFFFFFFF for s, t in zip(start, end, strict=True)]
    assert "".join(f"{t:08x}" for t in total) == "a9993e364706816aba3e25717850c26c9cd0d89d"


def test_sm3_of_abc() -> None:
    """GB/T 32905-2016, appendix A.1, out of VSM3MSG1, VSM3MSG2 and VSM3RNDS2."""
    words = _block(32)

    def three(hexadecimal: str, a: list[int], b: list[int], c: list[int]) -> list[int]:
        state = State()
        state.vector[:3] = [lanes(*a), lanes(*b), lanes(*c)]
        execute(bytes.fromhex(hexadecimal), state)
        return cut(state.vector[0])

    for i in range(16, 68, 4):
        w = words[i - 16 :]
        partial = three("c4e270dac2", w[7:11], [*w[13:16], 0], w[0:4])
        words += three("c4e271dac2", partial, w[3:7], w[10:14])
    start = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600]
    start += [0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]

    def back(value: int, count: int) -> int:
        return (value >> count | value << (32 - count)) & 0xFFFFFFFF

    a, b, c, d, e, f, g, h = start
    abef, cdgh = [f, e, b, a], [back(h, 19), back(g, 19), back(d, 9), back(c, 9)]
    for i in range(0, 64, 2):
        mixed = [words[i], words[i + 1], words[i + 4], words[i + 5]]
        abef, cdgh = three(f"c4e371dec2{i:02x}", cdgh, abef, mixed), abef
    c, d, g, h = (back(v, n) for v, n in zip(cdgh[::-1], (23, 23, 13, 13), strict=True))
    end = [abef[3], abef[2], c, d, abef[1], abef[0], g, h]
    digest = "".join(f"{s ^ t:08x}" for s, t in zip(start, end, strict=True))
    assert digest == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_sm4_example() -> None:
    """GB/T 32907-2016, appendix A.1: plaintext and key 0123456789abcdeffedcba9876543210."""
    text = [0x01234567, 0x89ABCDEF, 0xFEDCBA98, 0x76543210]
    family = [0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC]
    keys = [t ^ k for t, k in zip(text, family, strict=True)]
    data = text
    for i in range(8):
        constants = [
            int.from_bytes(bytes((4 * (4 * i + j) + n) * 7 & 0xFF for n in range(4)), "big")
            for j in range(4)
        ]
        state = State()
        state.vector[:3] = [0, lanes(*keys), lanes(*constants)]
        execute(bytes.fromhex("c4e272dac2"), state)
        keys = cut(state.vector[0])
        state.vector[1:3] = [lanes(*data), lanes(*keys)]
        execute(bytes.fromhex("c4e273dac2"), state)
        data = cut(state.vector[0])
    assert "".join(f"{w:08x}" for w in reversed(data)) == "681edf34d206965e86b3e94f536e4246"


def bits64(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


@given(st.floats(), st.floats())
def test_double_arithmetic_is_ieee_754(a: float, b: float) -> None:
    """Python's floats are IEEE doubles too; NaNs differ in payload only and are left out."""
    pairs = [(fp.add, a + b), (fp.subtract, a - b), (fp.multiply, a * b)]
    if b:
        pairs.append((fp.divide, a / b))
    for model, expected in pairs:
        got = model(fp.F64, bits64(a), bits64(b))
        if isnan(expected):
            assert fp.is_nan(fp.F64, got)
        else:
            assert got == bits64(expected)
    if a >= 0:
        assert fp.square_root(fp.F64, bits64(a)) == bits64(sqrt(a))


@given(st.floats(allow_nan=False))
def test_narrowing_rounds_as_ieee_754(a: float) -> None:
    try:
        expected = struct.unpack("<I", struct.pack("<f", a))[0]
    except OverflowError:
        expected = 0x7F800000 | (0x80000000 if a < 0 else 0)
    assert fp.convert(fp.F64, fp.F32, bits64(a)) == expected


@pytest.mark.parametrize(
    ("operation", "operands", "expected"),
    [
        # A product that two roundings would lose: (1 + 2**-12)**2 - (1 + 2**-11) is 2**-24.
        (fp.fused_multiply_add, (0x3F800800, 0x3F800800, 0xBF801000), 0x33800000),
        (fp.fused_multiply_add, (0x7F800000, 0x00000000, 0x3F800000), 0xFFC00000),
        (fp.add, (0x3F800000, 0xBF800000), 0x00000000),
        (fp.add, (0x80000000, 0x80000000), 0x80000000),
        (fp.minimum, (0x00000000, 0x80000000), 0x80000000),
        (fp.maximum, (0x7FC00000, 0x3F800000), 0x3F800000),
        (fp.maximum, (0x3F800000, 0x7FC00000), 0x7FC00000),
        (fp.add, (0x7F800001, 0x3F800000), 0x7FC00001),
        (fp.divide, (0x3F800000, 0x80000000), 0xFF800000),
    ],
)
def test_single_edges(operation: object, operands: tuple[int, ...], expected: int) -> None:
    assert callable(operation)
    assert operation(fp.F32, *operands) == expected


def test_directed_rounding_and_halves() -> None:
    tenth = fp.F32, 0x3F800000, 0x41200000
    assert [fp.divide(*tenth, mode) for mode in range(4)] == [
        0x3DCCCCCD,
        0x3DCCCCCC,
        0x3DCCCCCD,
        0x3DCCCCCC,
    ]
    # 65520 lies half-way between the largest half and what would be the next: it overflows.
    assert fp.convert(fp.F32, fp.F16, 0x477FF000) == 0x7C00
    assert fp.convert(fp.F32, fp.F16, 0x477FEFFF) == 0x7BFF
    # 2**-25 is half of the smallest denormal half: ties go to even, which is zero.
    assert fp.convert(fp.F32, fp.F16, 0x33000000) == 0
    assert fp.convert(fp.F32, fp.F16, 0x33000001) == 1


def test_conversions_to_integers_saturate_to_the_indefinite() -> None:
    big, nan, minus = 0x4F000000, 0x7FC00000, 0xBF800000
    assert cut(vector("cvttps2dq xmm0, xmm1", 0, lanes(big, nan, minus))) == [
        0x80000000,
        0x80000000,
        0xFFFFFFFF,
        0,
    ]
    assert cut(vector("vcvttps2udq xmm0, xmm1", 0, lanes(big, nan, minus))) == [
        0x80000000,
        0xFFFFFFFF,
        0xFFFFFFFF,
        0,
    ]


@pytest.mark.parametrize(
    ("text", "source", "result", "carry", "zero"),
    [
        ("lzcnt eax, ecx", 0x00008000, 16, 0, 0),
        ("lzcnt eax, ecx", 0x00000000, 32, 1, 0),
        ("lzcnt eax, ecx", 0x80000000, 0, 0, 1),
        ("tzcnt rax, rcx", 0, 64, 1, 0),
        ("tzcnt rax, rcx", 1, 0, 0, 1),
        ("popcnt eax, ecx", 0xF0F01, 9, 0, 0),
        ("blsr eax, ecx", 0x58, 0x50, 0, 0),
        ("blsi eax, ecx", 0x58, 0x08, 1, 0),
        ("blsmsk eax, ecx", 0x58, 0x0F, 0, 0),
    ],
)
def test_bit_counting(text: str, source: int, result: int, carry: int, zero: int) -> None:
    state = run(text, rcx=source, rax=0xFFFFFFFFFFFFFFFF)

    assert state.gpr[0] == result
    assert (state.rflags & 1, state.rflags >> 6 & 1) == (carry, zero)


def test_bit_fields() -> None:
    assert run("bextr eax, ecx, ebx", rcx=0x12345678, rbx=0x0C04).gpr[0] == 0x567
    assert run("bzhi eax, ecx, ebx", rcx=0xFFFFFFFF, rbx=5).gpr[0] == 0x1F
    assert run("pdep eax, ecx, ebx", rcx=0x5, rbx=0x0F0).gpr[0] == 0x50
    assert run("pext eax, ecx, ebx", rcx=0x12345678, rbx=0xFF00FF00).gpr[0] == 0x1256
    state = run("mulx rax, rcx, rbx", rdx=2**63, rbx=6)
    assert (state.gpr[0], state.gpr[1]) == (3, 0)


def test_upper_bits_are_kept_by_legacy_and_zeroed_by_vex() -> None:
    full = (1 << 512) - 1

    assert vector("paddd xmm0, xmm1", full, 1) >> 128 == full >> 128
    assert vector("vpaddd xmm0, xmm1, xmm2", full, 1, 1) == lanes(2)
    assert vector("vaddss xmm0, xmm1, xmm2", full, 7 << 96, 0) == 7 << 96


def test_writemask_merges_or_zeroes() -> None:
    old, a, b = lanes(9, 9, 9, 9), lanes(1, 2, 3, 4), lanes(10, 20, 30, 40)

    assert cut(vector("vpaddd xmm0{k1}, xmm1, xmm2", old, a, b, k1=0b0101)) == [11, 9, 33, 9]
    assert cut(vector("vpaddd xmm0{k1}{z}, xmm1, xmm2", old, a, b, k1=0b0101)) == [11, 0, 33, 0]


def test_dot_products_tell_signedness_apart() -> None:
    a, b = lanes(0xFF, 2, width=8), lanes(0xFF, 3, width=8)

    assert vector("{vex} vpdpbusd xmm0, xmm1, xmm2", 0, a, b) == (-255 + 6) & 0xFFFFFFFF
    assert vector("vpdpbssd xmm0, xmm1, xmm2", 0, a, b) == 7
    assert vector("vpdpbuud xmm0, xmm1, xmm2", 0, a, b) == 255 * 255 + 6
    assert vector("vpdpbuuds xmm0, xmm1, xmm2", 0xFFFFFFFF, a, b) == 0xFFFFFFFF


def test_unknown_instructions_are_refused() -> None:
    with pytest.raises(UnsupportedInstruction, match="no meaning for hlt"):
        execute(b"\xf4", State())
    with pytest.raises(UnsupportedInstruction, match="invalid code"):
        execute(b"\x06", State())
    with pytest.raises(UnsupportedInstruction, match="leaves the areas"):
        execute(code("mov eax, dword ptr [rsi]"), State())

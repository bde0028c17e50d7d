"""Packed integer arithmetic: SSE2 to AVX-512, AVX-VNNI, AVX-IFMA (SDM vol. 2, chapters 3 to 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from iced_x86 import Register

from tests.golden.machine import Operation, handles, join, mask_of, signed, split

if TYPE_CHECKING:
    # The decoder's enumerations are modules at run time and classes only in its stubs.
    from iced_x86._iced_x86_py import Register as RegisterId

Binary = Callable[[int, int, int], int]
"""(a, b, element width) to the result lane; lanes are unsigned patterns."""


def saturate(value: int, bits: int) -> int:
    """Clamp to a signed range and return the pattern."""
    return max(-1 << (bits - 1), min(value, mask_of(bits - 1))) & mask_of(bits)


def saturate_unsigned(value: int, bits: int) -> int:
    """Clamp to an unsigned range."""
    return max(0, min(value, mask_of(bits)))


def _sign(a: int, b: int, bits: int) -> int:
    control = signed(b, bits)
    return a if control > 0 else -a if control else 0


def rotate_left(a: int, count: int, bits: int) -> int:
    """Rotate a lane left by count modulo its width."""
    count %= bits
    return (a << count | a >> (bits - count)) & mask_of(bits)


def arithmetic_shift(a: int, count: int, bits: int) -> int:
    """Shift right, filling with the sign; a count past the width fills the lane with it."""
    return signed(a, bits) >> min(count, bits - 1)


_WIDTHS = {"b": 8, "w": 16, "d": 32, "q": 64}


def _family(stem: str, suffixes: str, function: Binary) -> dict[str, tuple[int, Binary]]:
    return {stem + s: (_WIDTHS[s], function) for s in suffixes}


_BINARY: dict[str, tuple[int, Binary]] = {
    **_family("padd", "bwdq", lambda a, b, n: a + b),
    **_family("psub", "bwdq", lambda a, b, n: a - b),
    **_family("padds", "bw", lambda a, b, n: saturate(signed(a, n) + signed(b, n), n)),
    **_family("psubs", "bw", lambda a, b, n: saturate(signed(a, n) - signed(b, n), n)),
    **_family("paddus", "bw", lambda a, b, n: saturate_unsigned(a + b, n)),
    **_family("psubus", "bw", lambda a, b, n: saturate_unsigned(a - b, n)),
    **_family("pavg", "bw", lambda a, b, n: (a + b + 1) >> 1),
    **_family("pminu", "bwdq", lambda a, b, n: min(a, b)),
    **_family("pmaxu", "bwdq", lambda a, b, n: max(a, b)),
    **_family("pmins", "bwdq", lambda a, b, n: min(signed(a, n), signed(b, n))),
    **_family("pmaxs", "bwdq", lambda a, b, n: max(signed(a, n), signed(b, n))),
    **_family("pmull", "wdq", lambda a, b, n: signed(a, n) * signed(b, n)),
    "pmulhw": (16, lambda a, b, n: signed(a, n) * signed(b, n) >> 16),
    "pmulhuw": (16, lambda a, b, n: a * b >> 16),
    "pmulhrsw": (16, lambda a, b, n: ((signed(a, n) * signed(b, n) >> 14) + 1) >> 1),
    "pmuludq": (64, lambda a, b, n: (a & mask_of(32)) * (b & mask_of(32))),
    "pmuldq": (64, lambda a, b, n: signed(a & mask_of(32), 32) * signed(b & mask_of(32), 32)),
    **_family("psign", "bwd", _sign),
    **_family("pcmpeq", "bwdq", lambda a, b, n: -(a == b)),
    **_family("pcmpgt", "bwdq", lambda a, b, n: -(signed(a, n) > signed(b, n))),
    "pand": (64, lambda a, b, n: a & b),
    "pandn": (64, lambda a, b, n: ~a & b),
    "por": (64, lambda a, b, n: a | b),
    "pxor": (64, lambda a, b, n: a ^ b),
    **_family("pand", "dq", lambda a, b, n: a & b),
    **_family("pandn", "dq", lambda a, b, n: ~a & b),
    **_family("por", "dq", lambda a, b, n: a | b),
    **_family("pxor", "dq", lambda a, b, n: a ^ b),
    "andps": (32, lambda a, b, n: a & b),
    "andpd": (64, lambda a, b, n: a & b),
    "andnps": (32, lambda a, b, n: ~a & b),
    "andnpd": (64, lambda a, b, n: ~a & b),
    "orps": (32, lambda a, b, n: a | b),
    "orpd": (64, lambda a, b, n: a | b),
    "xorps": (32, lambda a, b, n: a ^ b),
    "xorpd": (64, lambda a, b, n: a ^ b),
    **_family("psllv", "wdq", lambda a, b, n: a << b if b < n else 0),
    **_family("psrlv", "wdq", lambda a, b, n: a >> b if b < n else 0),
    **_family("psrav", "wdq", arithmetic_shift),
    **_family("prolv", "dq", rotate_left),
    **_family("prorv", "dq", lambda a, b, n: rotate_left(a, -b, n)),
}


@handles(*_BINARY)
def _binary(x: Operation) -> None:
    if x.name.startswith("pcmp") and x.width(0) == 64 and not x.legacy:
        _compare_to_mask(x)
        return
    element, function = _BINARY[x.name]
    count = x.vector_width // element
    pairs = zip(x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count), strict=True)
    x.put([function(a, b, element) & mask_of(element) for a, b in pairs], element)


def _compare_to_mask(x: Operation) -> None:
    element, function = _BINARY[x.name]
    count = x.vector_width // element
    pairs = zip(x.lanes(1, element, count), x.lanes(2, element, count), strict=True)
    x.put_mask([function(a, b, element) != 0 for a, b in pairs])


def _conflict_free(x: Operation) -> None:
    element = 32 if x.name.endswith("d") else 64
    lanes = x.lanes(1, element, x.vector_width // element)
    x.put(
        [sum(1 << j for j in range(i) if lanes[j] == lanes[i]) for i in range(len(lanes))], element
    )


handles("pconflictd", "pconflictq")(_conflict_free)

_UNARY: dict[str, tuple[int, Callable[[int, int], int]]] = {
    **{f"pabs{s}": (w, lambda a, n: abs(signed(a, n))) for s, w in _WIDTHS.items()},
    **{f"popcnt{s}": (w, lambda a, n: a.bit_count()) for s, w in _WIDTHS.items()},
    "plzcntd": (32, lambda a, n: n - a.bit_length()),
    "plzcntq": (64, lambda a, n: n - a.bit_length()),
}


@handles(*_UNARY)
def _unary(x: Operation) -> None:
    element, function = _UNARY[x.name]
    x.put([function(a, element) for a in x.lanes(1, element, x.vector_width // element)], element)


_SHIFTS: dict[str, tuple[int, Binary]] = {
    **_family("psll", "wdq", lambda a, c, n: a << c if c < n else 0),
    **_family("psrl", "wdq", lambda a, c, n: a >> c if c < n else 0),
    **_family("psra", "wdq", arithmetic_shift),
    **_family("prol", "dq", rotate_left),
    **_family("pror", "dq", lambda a, c, n: rotate_left(a, -c, n)),
}


@handles(*_SHIFTS)
def _shift(x: Operation) -> None:
    """One count for all lanes: an immediate, or the low 64 bits of the last operand."""
    element, function = _SHIFTS[x.name]
    last = x.operands - 1
    if x.is_immediate(last):
        count = x.immediate
    else:
        count = x.read(last, 64 if x.vector_width == 64 else 128) & mask_of(64)
    lanes = x.lanes(x.operands - 2, element, x.vector_width // element)
    x.put([function(a, count, element) & mask_of(element) for a in lanes], element)


@handles("pslldq", "psrldq")
def _shift_bytes(x: Operation) -> None:
    count = min(x.immediate, 16) * 8
    lanes = x.lanes(x.operands - 2, 128, x.vector_width // 128)
    left = x.name == "pslldq"
    x.put([(a << count if left else a >> count) & mask_of(128) for a in lanes], 128)


_DOUBLE_SHIFT = {f"psh{d}d{v}{s}" for d in "lr" for v in ("", "v") for s in "wdq"}


@handles(*_DOUBLE_SHIFT)
def _double_shift(x: Operation) -> None:
    """AVX512_VBMI2 concatenated shifts; the variable form has its count in the third operand."""
    element = _WIDTHS[x.name[-1]]
    count = x.vector_width // element
    variable = x.name[5] == "v"
    first = 0 if variable else 1
    a, b = x.lanes(first, element, count), x.lanes(first + 1, element, count)
    c = x.lanes(2, element, count) if variable else [x.immediate] * count
    out = []
    for high, low, distance in zip(a, b, c, strict=True):
        n = distance % element
        if x.name[3] == "l":
            out.append((high << element | low) << n >> element & mask_of(element))
        else:
            out.append((low << element | high) >> n & mask_of(element))
    x.put(out, element)


_MADD: dict[str, tuple[int, bool, bool, bool]] = {
    # source element, first source signed, second source signed, saturate the sum
    "pmaddwd": (16, True, True, False),
    "pmaddubsw": (8, False, True, True),
}


@handles(*_MADD)
def _multiply_add_pairs(x: Operation) -> None:
    element, sign_a, sign_b, clamp = _MADD[x.name]
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    wide = 2 * element
    products = [
        (signed(p, element) if sign_a else p) * (signed(q, element) if sign_b else q)
        for p, q in zip(a, b, strict=True)
    ]
    sums = [products[i] + products[i + 1] for i in range(0, count, 2)]
    x.put([saturate(s, wide) if clamp else s & mask_of(wide) for s in sums], wide)


@handles(*(f"pdpb{p}d{s}" for p in ("uu", "us", "su", "ss") for s in ("", "s")))
def _dot_bytes(x: Operation) -> None:
    """VPDPBUSD and its AVX-VNNI-INT8 kin: first letter is the first source's signedness."""
    _dot(x, 8, x.name[4] == "s", x.name[5] == "s")


@handles(*(f"pdpw{p}d{s}" for p in ("uu", "us", "su", "ss") for s in ("", "s")))
def _dot_words(x: Operation) -> None:
    _dot(x, 16, x.name[4] == "s", x.name[5] == "s")


def _dot(x: Operation, element: int, sign_a: bool, sign_b: bool) -> None:
    group = 32 // element
    clamp = len(x.name) == 8
    both_unsigned = not sign_a and not sign_b
    count = x.vector_width // 32
    old = x.lanes(0, 32, count)
    out = []
    for acc, a, b in zip(old, x.lanes(1, 32, count), x.lanes(2, 32, count), strict=True):
        total = acc if both_unsigned else signed(acc, 32)
        for p, q in zip(split(a, element, group), split(b, element, group), strict=True):
            left = signed(p, element) if sign_a else p
            total += left * (signed(q, element) if sign_b else q)
        if clamp:
            total = saturate_unsigned(total, 32) if both_unsigned else saturate(total, 32)
        out.append(total & mask_of(32))
    x.put(out, 32)


@handles("pmadd52luq", "pmadd52huq")
def _multiply_add_52(x: Operation) -> None:
    count = x.vector_width // 64
    shift = 52 if "h" in x.name else 0
    m = mask_of(52)
    triples = zip(*(x.lanes(i, 64, count) for i in range(3)), strict=True)
    x.put([(c + ((a & m) * (b & m) >> shift & m)) & mask_of(64) for c, a, b in triples], 64)


@handles("psadbw")
def _sum_of_absolute_differences(x: Operation) -> None:
    count = x.vector_width // 8
    a, b = x.lanes(x.first, 8, count), x.lanes(x.first + 1, 8, count)
    d = [abs(p - q) for p, q in zip(a, b, strict=True)]
    x.put([sum(d[i : i + 8]) for i in range(0, count, 8)], 64)


@handles("mpsadbw", "dbpsadbw")
def _multiple_sads(x: Operation) -> None:
    """MPSADBW; VDBPSADBW shuffles its second source by dwords first (SDM vol. 2)."""
    blocks = x.vector_width // 128
    out = []
    for block in range(blocks):
        a = split(x.read(x.first, x.vector_width) >> 128 * block, 8, 16)
        b = split(x.read(x.first + 1, x.vector_width) >> 128 * block, 8, 16)
        control = x.immediate >> (3 * block if x.name == "mpsadbw" else 0)
        if x.name == "mpsadbw":
            start, other = (control >> 2 & 1) * 4, (control & 3) * 4
            for j in range(8):
                out.append(sum(abs(a[start + j + k] - b[other + k]) for k in range(4)))
            continue
        t = [b[4 * (control >> 2 * i & 3) + k] for i in range(4) for k in range(4)]
        for half in (0, 8):
            out.append(sum(abs(a[half + k] - t[half + k]) for k in range(4)))
            out.append(sum(abs(a[half + k] - t[half + 1 + k]) for k in range(4)))
            out.append(sum(abs(a[half + 4 + k] - t[half + 2 + k]) for k in range(4)))
            out.append(sum(abs(a[half + 4 + k] - t[half + 3 + k]) for k in range(4)))
    x.put(out, 16)


@handles("phaddw", "phaddd", "phaddsw", "phsubw", "phsubd", "phsubsw")
def _horizontal(x: Operation) -> None:
    clamp = x.name.endswith("sw") and len(x.name) == 7
    element = 32 if x.name.endswith("d") else 16
    sign = -1 if "sub" in x.name else 1
    block = min(x.vector_width, 128)
    out: list[int] = []
    for start in range(0, x.vector_width, block):
        for i in (x.first, x.first + 1):
            lanes = split(x.read(i, x.vector_width) >> start, element, block // element)
            for p, q in zip(lanes[::2], lanes[1::2], strict=True):
                total = signed(p, element) + sign * signed(q, element)
                out.append(saturate(total, element) if clamp else total & mask_of(element))
    x.put(out, element)


@handles("phminposuw")
def _minimum_position(x: Operation) -> None:
    lanes = x.lanes(1, 16, 8)
    low = min(lanes)
    x.put([low | lanes.index(low) << 16], 128)


@handles("packsswb", "packssdw", "packuswb", "packusdw")
def _pack(x: Operation) -> None:
    element = 32 if x.name.endswith("dw") else 16
    half = element // 2
    clamp = saturate if "ss" in x.name else saturate_unsigned
    block = min(x.vector_width, 128)
    sources = [x.lanes(i, element, x.vector_width // element) for i in (x.first, x.first + 1)]
    per = block // element
    out: list[int] = []
    for start in range(0, x.vector_width // element, per):
        for lanes in sources:
            out += [clamp(signed(a, element), half) for a in lanes[start : start + per]]
    x.put(out, half)


_LETTERS = "bwdq"
_EXTENSIONS = {
    f"pmov{k}x{a}{b}": (_WIDTHS[a], _WIDTHS[b], k == "s")
    for k in "sz"
    for a in _LETTERS
    for b in _LETTERS
    if _WIDTHS[a] < _WIDTHS[b]
}


@handles(*_EXTENSIONS)
def _extend(x: Operation) -> None:
    narrow, wide, keep_sign = _EXTENSIONS[x.name]
    lanes = x.lanes(1, narrow, x.width(0) // wide)
    x.put([(signed(a, narrow) if keep_sign else a) & mask_of(wide) for a in lanes], wide)


_TRUNCATIONS = {
    f"pmov{k}{a}{b}": (_WIDTHS[a], _WIDTHS[b], k)
    for k in ("", "s", "us")
    for a in _LETTERS
    for b in _LETTERS
    if _WIDTHS[a] > _WIDTHS[b]
}


@handles(*_TRUNCATIONS)
def _truncate(x: Operation) -> None:
    wide, narrow, kind = _TRUNCATIONS[x.name]
    lanes = x.lanes(1, wide, x.width(1) // wide)
    if kind == "s":
        lanes = [saturate(signed(a, wide), narrow) for a in lanes]
    elif kind == "us":
        lanes = [saturate_unsigned(a, narrow) for a in lanes]
    x.put([a & mask_of(narrow) for a in lanes], narrow)


@handles("pternlogd", "pternlogq")
def _ternary_logic(x: Operation) -> None:
    element = 32 if x.name.endswith("d") else 64
    count = x.vector_width // element
    table = x.immediate
    out = []
    for a, b, c in zip(*(x.lanes(i, element, count) for i in range(3)), strict=True):
        value = 0
        for bit in range(element):
            index = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1)
            value |= (table >> index & 1) << bit
        out.append(value)
    x.put(out, element)


PREDICATES: tuple[Callable[[int, int], bool], ...] = (
    lambda a, b: a == b,
    lambda a, b: a < b,
    lambda a, b: a <= b,
    lambda a, b: False,
    lambda a, b: a != b,
    lambda a, b: a >= b,
    lambda a, b: a > b,
    lambda a, b: True,
)
"""VPCMPD's predicates by immediate (SDM vol. 2, VPCMPD)."""


@handles(*(f"pcmp{u}{s}" for u in ("", "u") for s in _LETTERS))
def _compare_predicate(x: Operation) -> None:
    element = _WIDTHS[x.name[-1]]
    count = x.vector_width // element
    a, b = x.lanes(1, element, count), x.lanes(2, element, count)
    if x.name[4] != "u":
        a, b = [signed(v, element) for v in a], [signed(v, element) for v in b]
    predicate = PREDICATES[x.immediate & 7]
    x.put_mask([predicate(p, q) for p, q in zip(a, b, strict=True)])


@handles(*(f"ptest{n}m{s}" for n in ("", "n") for s in _LETTERS))
def _test_to_mask(x: Operation) -> None:
    element = _WIDTHS[x.name[-1]]
    count = x.vector_width // element
    want = x.name[5] != "n"
    pairs = zip(x.lanes(1, element, count), x.lanes(2, element, count), strict=True)
    x.put_mask([bool(a & b) == want for a, b in pairs])


@handles("ptest", "testps", "testpd")
def _test(x: Operation) -> None:
    """PTEST and VTESTPS/PD, which look at sign bits only."""
    element = {"ptest": 128, "testps": 32, "testpd": 64}[x.name]
    select = mask_of(x.vector_width)
    if element != 128:
        select = join([1 << (element - 1)] * (x.vector_width // element), element)
    a, b = x.read(0, x.vector_width) & select, x.read(1, x.vector_width) & select
    x.flags(ZF=not a & b, CF=not b & ~a, AF=0, OF=0, PF=0, SF=0)


@handles("pmovmskb", "movmskps", "movmskpd")
def _move_mask(x: Operation) -> None:
    element = {"pmovmskb": 8, "movmskps": 32, "movmskpd": 64}[x.name]
    lanes = split(x.read(1), element, x.width(1) // element)
    x.write(0, sum((a >> (element - 1)) << i for i, a in enumerate(lanes)))


@handles("pmultishiftqb")
def _multishift(x: Operation) -> None:
    count = x.vector_width // 64
    out = []
    for control, data in zip(x.lanes(1, 64, count), x.lanes(2, 64, count), strict=True):
        out += [(data >> (c & 63) | data << (64 - (c & 63))) & 0xFF for c in split(control, 8, 8)]
    x.put(out, 8)


@handles("pshufbitqmb")
def _shuffle_bits(x: Operation) -> None:
    count = x.vector_width // 64
    bits: list[bool] = []
    for data, control in zip(x.lanes(1, 64, count), x.lanes(2, 64, count), strict=True):
        bits += [bool(data >> (c & 63) & 1) for c in split(control, 8, 8)]
    x.put_mask(bits)


@handles("p2intersectd", "p2intersectq")
def _intersect(x: Operation) -> None:
    """Writes the even/odd pair of masks that operand 0 belongs to."""
    element = 32 if x.name.endswith("d") else 64
    count = x.vector_width // element
    a, b = x.lanes(1, element, count), x.lanes(2, element, count)
    x.write(0, sum(1 << i for i in range(count) if a[i] in b))
    pair = cast("RegisterId", x.instruction.op_register(0) + 1)
    x.set_register(pair, sum(1 << i for i in range(count) if b[i] in a))


@handles("p4dpwssd", "p4dpwssds")
def _dot_words_four(x: Operation) -> None:
    """Four successive VPDPWSSD with sources from a block of four registers."""
    acc = [signed(a, 32) for a in x.lanes(0, 32, 16)]
    memory = split(x.read(2, 128), 32, 4)
    number = (x.instruction.op_register(1) - Register.ZMM0) & ~3
    for m in range(4):
        source = split(x.state.vector[number + m], 32, 16)
        for i in range(16):
            p, q = split(source[i], 16, 2), split(memory[m], 16, 2)
            acc[i] += sum(signed(u, 16) * signed(v, 16) for u, v in zip(p, q, strict=True))
            if x.name.endswith("s"):
                acc[i] = signed(saturate(acc[i], 32), 32)
            acc[i] = signed(acc[i] & mask_of(32), 32)
    x.put([a & mask_of(32) for a in acc], 32)

"""Floating point: scalar, Advanced SIMD, and what SVE does alike.

Rounding is to nearest; arithmetic is exact by construction (tests/golden/floats.py). Where the
manual rounds sums of products in an order of its own, the inputs keep every sum exact.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from tests.golden.aarch64.integers import saturate
from tests.golden.aarch64.machine import Operation, UnsupportedInstruction, Z, handles
from tests.golden.floats import (
    BF16,
    F16,
    F32,
    F64,
    FORMATS,
    NEAREST,
    ZERO,
    Format,
    add,
    convert,
    divide,
    encode,
    from_integer,
    fused_multiply_add,
    is_zero,
    less,
    multiply,
    round_integral,
    round_to_integer,
    square_root,
    subtract,
    value,
)
from tests.golden.machine import signed, split


def exact_sum(f: Format, terms: list[Fraction]) -> int:
    """A sum that needs no rounding, whatever the order.

    Raises:
        UnsupportedInstruction: it does need one, and the result depends on the order.
    """
    total = sum(terms, Fraction(0))
    pattern = encode(f, total)
    if value(f, pattern) != total:
        raise UnsupportedInstruction("a sum is rounded: choose smaller inputs")
    return pattern


def _largest(f: Format, a: int, b: int) -> int:
    return b if less(f, a, b) else a


def _magnitude(f: Format, a: int) -> int:
    return a & f.sign - 1


_BINARY: dict[str, Callable[[Format, int, int], int]] = {
    "fadd": add,
    "fsub": subtract,
    "fmul": multiply,
    "fdiv": divide,
    "fmax": _largest,
    "famax": lambda f, a, b: _largest(f, _magnitude(f, a), _magnitude(f, b)),
    "famin": lambda f, a, b: min(_magnitude(f, a), _magnitude(f, b)),
    "bfadd": lambda f, a, b: add(BF16, a, b),
    "bfmul": lambda f, a, b: multiply(BF16, a, b),
    "bfscale": lambda f, a, b: encode(BF16, value(BF16, a) * Fraction(2) ** signed(b, 16)),
}


def merged(x: Operation, values: list[int], i: int = 1) -> list[int]:
    """Under a predicate operand that merges, what is not active stays."""
    if not x.text(i).startswith("p"):
        return values
    width, count = x.shape(0)
    active = x.active(i, width, count)
    return [v if on else k for v, on, k in zip(values, active, x.lanes(0), strict=True)]


def _binary(x: Operation) -> None:
    width, _ = x.shape(0)
    first = 2 if x.text(1).startswith("p") else 1
    pairs = zip(x.lanes(first), x.lanes(first + 1), strict=True)
    x.put(merged(x, [_BINARY[x.name](FORMATS[width], a, b) for a, b in pairs]))


for _name in _BINARY:
    handles(_name)(_binary)


@handles("fmla", "fmls")
def _multiply_accumulate(x: Operation) -> None:
    width, _ = x.shape(0)
    f = FORMATS[width]
    first = 2 if x.text(1).startswith("p") else 1
    flip = f.sign if x.name == "fmls" else 0
    rows = zip(x.lanes(0), x.lanes(first), x.lanes(first + 1), strict=True)
    x.put(merged(x, [fused_multiply_add(f, a ^ flip, b, d) for d, a, b in rows]))


@handles("fmadd")
def _multiply_add(x: Operation) -> None:
    width, _ = x.shape(0)
    a, b, c = (x.lanes(i)[0] for i in (1, 2, 3))
    x.put([fused_multiply_add(FORMATS[width], a, b, c)])


@handles("fsqrt")
def _root(x: Operation) -> None:
    """That of a negative number is the default NaN, which is positive here."""
    f = FORMATS[x.shape(0)[0]]
    x.put([f.infinity | f.quiet if a & f.sign else square_root(f, a) for a in x.lanes(1)])


@handles("fabs")
def _absolute(x: Operation) -> None:
    width, _ = x.shape(0)
    x.put([_magnitude(FORMATS[width], a) for a in x.lanes(1)])


@handles("fclamp")
def _clamp(x: Operation) -> None:
    width, _ = x.shape(0)
    f = FORMATS[width]
    rows = zip(x.lanes(0), x.lanes(1), x.lanes(2), strict=True)
    x.put([c if less(f, c, m) else m for m, c in ((_largest(f, d, a), b) for d, a, b in rows)])


@handles("frintn", "frintz")
def _round(x: Operation) -> None:
    width, _ = x.shape(0)
    mode = ZERO if x.name == "frintz" else NEAREST
    x.put([round_integral(FORMATS[width], a, mode) for a in x.lanes(1)])


@handles("frint32z", "frint32x", "frint64z", "frint64x")
def _round_to_range(x: Operation) -> None:
    """What does not fit an integer of 32 or 64 bits becomes the smallest."""
    width, _ = x.shape(0)
    f, bits = FORMATS[width], int(x.name[5:7])
    mode = ZERO if x.name.endswith("z") else NEAREST
    out = []
    for a in x.lanes(1):
        n = round_to_integer(value(f, a), mode)
        fits = saturate(n, bits) == n
        out.append(round_integral(f, a, mode) if fits else from_integer(f, -1 << bits - 1))
    x.put(out)


@handles("fcvtzs", "fcvtns")
def _to_integer(x: Operation) -> None:
    f = FORMATS[x.shape(1)[0]]
    mode = ZERO if x.name == "fcvtzs" else NEAREST
    if x.text(0)[0] in "wx":
        x.write(saturate(round_to_integer(value(f, x.lanes(1)[0]), mode), x.width(0)))
    else:
        bits = x.shape(0)[0]
        x.put([saturate(round_to_integer(value(f, a), mode), bits) for a in x.lanes(1)])


@handles("scvtf", "ucvtf")
def _from_integer(x: Operation) -> None:
    f = FORMATS[x.shape(0)[0]]
    if x.text(1)[0] in "wx":
        numbers, bits = [x.read(1)], x.width(1)
    else:
        numbers, bits = x.lanes(1), x.shape(1)[0]
    x.put([from_integer(f, signed(n, bits) if x.name == "scvtf" else n) for n in numbers])


@handles("fjcvtzs")
def _to_int32(x: Operation) -> None:
    """ECMAScript's ToInt32; Z says that nothing was lost."""
    a = x.lanes(1)[0]
    exact = value(F64, a)
    n = round_to_integer(exact, ZERO)
    x.write(n)
    lossless = n == exact and saturate(n, 32) == n and not (is_zero(F64, a) and a)
    x.state.set_flags(Z * lossless)


@handles("fcadd")
def _complex_add(x: Operation) -> None:
    width, _ = x.shape(0)
    f = FORMATS[width]
    i = 2 if x.text(1).startswith("p") else 1
    first, second = x.lanes(i), x.lanes(i + 1)
    turn = (f.sign, 0) if x.read(i + 2) == 90 else (0, f.sign)
    out = []
    for n in range(0, len(first), 2):
        out.append(add(f, first[n], second[n + 1] ^ turn[0]))
        out.append(add(f, first[n + 1], second[n] ^ turn[1]))
    x.put(merged(x, out))


@handles("fcmla")
def _complex_multiply_add(x: Operation) -> None:
    width, _ = x.shape(0)
    f = FORMATS[width]
    d, a, b = x.lanes(0), x.lanes(1), x.lanes(2)
    rotation = x.read(3)
    out = []
    for n in range(0, len(d), 2):
        odd = rotation in (90, 270)
        left = a[n + odd]
        real, imaginary = (b[n + 1], b[n]) if odd else (b[n], b[n + 1])
        real ^= f.sign if rotation in (90, 180) else 0
        imaginary ^= f.sign if rotation in (180, 270) else 0
        out.append(fused_multiply_add(f, left, real, d[n]))
        out.append(fused_multiply_add(f, left, imaginary, d[n + 1]))
    x.put(out)


@handles("fmlal", "fmlal2", "fmlsl", "fmlsl2")
def _widening_multiply_add(x: Operation) -> None:
    """Halves of the lower or the upper lanes, into singles."""
    start = 4 if x.name.endswith("2") else 0
    flip = F16.sign if x.name.startswith("fmlsl") else 0
    a, b = (split(x.state.vector[x.number(i)], 16, 8)[start : start + 4] for i in (1, 2))
    wide = [(convert(F16, F32, p ^ flip), convert(F16, F32, q)) for p, q in zip(a, b, strict=True)]
    x.put([fused_multiply_add(F32, p, q, d) for (p, q), d in zip(wide, x.lanes(0), strict=True)])


# --- sums of products ----------------------------------------------------------------------------

E5M2 = Format(5, 2)


def part_format(x: Operation, i: int) -> Format:
    """The format of source i: of bytes the one that FPMR 0 chooses, of halves by the mnemonic."""
    width = x.shape(i)[0]
    if width == 8:
        return E5M2
    return BF16 if width == 16 and x.name.startswith("bf") else FORMATS[width]


def _products(f: Format, a: list[int], b: list[int]) -> list[Fraction]:
    return [value(f, p) * value(f, q) for p, q in zip(a, b, strict=True)]


@handles("bfdot", "fdot")
def _dot(x: Operation) -> None:
    width, count = x.shape(0)
    f, target = part_format(x, 1), FORMATS[width]
    ways = width // f.width
    a, b = x.lanes(1, f.width, count * ways), x.lanes(2, f.width, count * ways)
    out = []
    for n, d in enumerate(x.lanes(0)):
        part = slice(n * ways, (n + 1) * ways)
        out.append(exact_sum(target, [value(target, d), *_products(f, a[part], b[part])]))
    x.put(out)


@handles("fmmla", "bfmmla")
def _matrix(x: Operation) -> None:
    """In each segment of four results, two rows multiplied with two rows."""
    width = x.shape(0)[0]
    f, target = part_format(x, 1), FORMATS[width]
    row = 2 * width // f.width
    a, b = (split(x.state.vector[x.number(i)], f.width, 256 // f.width) for i in (1, 2))
    out = []
    for n, d in enumerate(x.lanes(0)):
        start, i, j = n // 4 * 2 * row, n // 2 % 2, n % 2
        left, right = (slice(start + k * row, start + (k + 1) * row) for k in (i, j))
        terms = _products(f, a[left], b[right])
        out.append(exact_sum(target, [value(target, d), *terms]))
    x.put(out)


@handles("bfmlalb", "bfmlalt", "fmlalb", "fmlalt")
def _widening_pick(x: Operation) -> None:
    """The even or the odd parts, into lanes of twice the width."""
    width, count = x.shape(0)
    f, target = part_format(x, 1), FORMATS[width]
    a, b = x.lanes(1, f.width, 2 * count), x.lanes(2, f.width, 2 * count)
    odd = x.name.endswith("t")
    out = []
    for n, d in enumerate(x.lanes(0)):
        product = value(f, a[2 * n + odd]) * value(f, b[2 * n + odd])
        out.append(encode(target, product + value(target, d)))
    x.put(out)


@handles("bfcvt", "bfcvtn")
def _to_brain_float(x: Operation) -> None:
    if x.is_scalable(0):
        active = x.active(1, 32)
        rows = zip(x.lanes(2), x.lanes(0, 32), active, strict=True)
        x.put([convert(F32, BF16, a) if on else d for a, d, on in rows], 32)
    else:
        x.put([convert(F32, BF16, a) for a in x.lanes(1)], 16)


@handles("f1cvtl")
def _from_byte(x: Operation) -> None:
    x.put([convert(E5M2, F16, a) for a in x.lanes(1)], 16)


@handles("ldfadd")
def _atomic_add(x: Operation) -> None:
    f = FORMATS[x.shape(0)[0]]
    address, size = x.address(2), f.width // 8
    old = x.state.load(address, size)
    x.state.store(address, add(f, old, x.lanes(0)[0]), size)
    x.put([old], 0, 1)

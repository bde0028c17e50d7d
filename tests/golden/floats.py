"""IEEE 754 binary arithmetic on bit patterns, exact by construction.

Every operation decodes its operands to rational numbers, computes the exact result and rounds once.
NaN, minimum, maximum and conversion rules are those of SSE (SDM vol. 1, 4.8.3 and 11.5.2; vol. 2,
MINPS and CVTPS2DQ), not those of the host this runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

NEAREST, DOWN, UP, ZERO = range(4)
"""Rounding control, numbered as MXCSR.RC (SDM vol. 1, table 4-8)."""


@dataclass(frozen=True)
class Format:
    """A binary interchange format: widths of exponent and stored fraction in bits."""

    exponent: int
    fraction: int

    @property
    def bias(self) -> int:
        """Exponent bias, which is also the largest exponent."""
        return (1 << (self.exponent - 1)) - 1

    @property
    def width(self) -> int:
        """Total width in bits."""
        return 1 + self.exponent + self.fraction

    @property
    def sign(self) -> int:
        """The sign bit as a mask."""
        return 1 << (self.width - 1)

    @property
    def infinity(self) -> int:
        """Positive infinity."""
        return ((1 << self.exponent) - 1) << self.fraction

    @property
    def quiet(self) -> int:
        """The bit that makes a NaN quiet."""
        return 1 << (self.fraction - 1)

    @property
    def indefinite(self) -> int:
        """The default NaN: negative and quiet (SDM vol. 1, 4.8.3.7)."""
        return self.sign | self.infinity | self.quiet


F16 = Format(5, 10)
BF16 = Format(8, 7)
F32 = Format(8, 23)
F64 = Format(11, 52)
FORMATS = {16: F16, 32: F32, 64: F64}


def is_nan(f: Format, a: int) -> bool:
    """Tell whether the pattern is a NaN of either kind."""
    return a & (f.sign - 1) > f.infinity


def is_signalling(f: Format, a: int) -> bool:
    """Tell whether the pattern is a signalling NaN."""
    return is_nan(f, a) and not a & f.quiet


def is_infinite(f: Format, a: int) -> bool:
    """Tell whether the pattern is an infinity."""
    return a & (f.sign - 1) == f.infinity


def is_zero(f: Format, a: int) -> bool:
    """Tell whether the pattern is a zero of either sign."""
    return not a & (f.sign - 1)


def value(f: Format, a: int) -> Fraction:
    """The exact value of a finite pattern."""
    exponent = a >> f.fraction & ((1 << f.exponent) - 1)
    fraction = a & ((1 << f.fraction) - 1)
    if exponent:
        fraction |= 1 << f.fraction
    else:
        exponent = 1
    scale = exponent - f.bias - f.fraction
    magnitude = Fraction(fraction << scale) if scale >= 0 else Fraction(fraction, 1 << -scale)
    return -magnitude if a & f.sign else magnitude


def round_to_integer(v: Fraction, mode: int) -> int:
    """Round a rational to an integer by one of the four rounding modes."""
    below = v.numerator // v.denominator
    rest = v - below
    if mode == DOWN or not rest:
        return below
    if mode == UP:
        return below + 1
    if mode == ZERO:
        return below + (v < 0)
    half = Fraction(1, 2)
    return below + (rest > half or (rest == half and below & 1))


def _exponent_of(magnitude: Fraction) -> int:
    e = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return e if magnitude >= Fraction(2) ** e else e - 1


def encode(f: Format, v: Fraction, mode: int = NEAREST, negative_zero: bool = False) -> int:
    """Round an exact value into the format; `negative_zero` is the sign of an exact zero."""
    if not v:
        return f.sign if negative_zero else 0
    sign = f.sign if v < 0 else 0
    e = max(_exponent_of(abs(v)), 1 - f.bias)
    digits = abs(round_to_integer(v / Fraction(2) ** (e - f.fraction), mode))
    # Adding the fraction to the biased exponent lets a carry out of it raise the exponent.
    pattern = ((e + f.bias - 1) << f.fraction) + digits
    if pattern >= f.infinity:
        outward = mode == NEAREST or (mode == DOWN and sign) or (mode == UP and not sign)
        pattern = f.infinity if outward else f.infinity - 1
    return sign | pattern


def _propagate(f: Format, *operands: int) -> int | None:
    for a in operands:
        if is_nan(f, a):
            return a | f.quiet
    return None


def add(f: Format, a: int, b: int, mode: int = NEAREST) -> int:
    """Sum of two patterns."""
    nan = _propagate(f, a, b)
    if nan is not None:
        return nan
    if is_infinite(f, a):
        return f.indefinite if is_infinite(f, b) and a != b else a
    if is_infinite(f, b):
        return b
    if is_zero(f, a) and is_zero(f, b) and a == b:
        return a
    return encode(f, value(f, a) + value(f, b), mode, mode == DOWN)


def subtract(f: Format, a: int, b: int, mode: int = NEAREST) -> int:
    """Difference of two patterns; a NaN keeps its sign."""
    return add(f, a, b if is_nan(f, b) else b ^ f.sign, mode)


def multiply(f: Format, a: int, b: int, mode: int = NEAREST) -> int:
    """Product of two patterns."""
    nan = _propagate(f, a, b)
    if nan is not None:
        return nan
    sign = (a ^ b) & f.sign
    if is_infinite(f, a) or is_infinite(f, b):
        return f.indefinite if is_zero(f, a) or is_zero(f, b) else sign | f.infinity
    return encode(f, value(f, a) * value(f, b), mode, bool(sign))


def divide(f: Format, a: int, b: int, mode: int = NEAREST) -> int:
    """Quotient of two patterns."""
    nan = _propagate(f, a, b)
    if nan is not None:
        return nan
    sign = (a ^ b) & f.sign
    if is_infinite(f, a):
        return f.indefinite if is_infinite(f, b) else sign | f.infinity
    if is_infinite(f, b):
        return sign
    if is_zero(f, b):
        return f.indefinite if is_zero(f, a) else sign | f.infinity
    return encode(f, value(f, a) / value(f, b), mode, bool(sign))


def square_root(f: Format, a: int, mode: int = NEAREST) -> int:
    """Square root; that of a negative number is the default NaN."""
    nan = _propagate(f, a)
    if nan is not None:
        return nan
    if is_zero(f, a):
        return a
    if a & f.sign:
        return f.indefinite
    if is_infinite(f, a):
        return a
    v = value(f, a)
    shift = 2 * (f.fraction + 4) + 2 * max(0, -_exponent_of(v))
    scaled = v * (1 << shift)
    root = isqrt(scaled.numerator // scaled.denominator)
    exact = root * root == scaled
    # A sticky half below the last digit keeps an inexact root strictly between two neighbours.
    return encode(f, Fraction(2 * root + (not exact), 2 << (shift // 2)), mode)


def fused_multiply_add(f: Format, a: int, b: int, c: int, mode: int = NEAREST) -> int:
    """Product of a and b plus c, rounded once; operands are in the order in which NaNs win."""
    nan = _propagate(f, a, b, c)
    if nan is not None:
        return nan
    sign = (a ^ b) & f.sign
    if is_infinite(f, a) or is_infinite(f, b):
        if is_zero(f, a) or is_zero(f, b) or (is_infinite(f, c) and (c & f.sign) != sign):
            return f.indefinite
        return sign | f.infinity
    if is_infinite(f, c):
        return c
    product = value(f, a) * value(f, b)
    if not product and is_zero(f, c) and (c & f.sign) == sign:
        return sign
    return encode(f, product + value(f, c), mode, mode == DOWN)


def negate(f: Format, a: int) -> int:
    """Flip the sign, NaNs excepted, as the operand negation inside VFNMADD does."""
    return a if is_nan(f, a) else a ^ f.sign


def less(f: Format, a: int, b: int) -> bool:
    """Tell whether a < b; neither may be NaN."""
    if is_infinite(f, a) or is_infinite(f, b):
        order = {f.infinity: 1, f.infinity | f.sign: -1}
        return order.get(a, 0) < order.get(b, 0)
    return value(f, a) < value(f, b)


def compare(f: Format, a: int, b: int) -> int | None:
    """-1, 0 or 1 as a is less than, equal to or greater than b; None if unordered."""
    if is_nan(f, a) or is_nan(f, b):
        return None
    return int(less(f, b, a)) - int(less(f, a, b))


def minimum(f: Format, a: int, b: int) -> int:
    """MINPS: the second operand if either is NaN or both are zero."""
    return a if compare(f, a, b) == -1 else b


def maximum(f: Format, a: int, b: int) -> int:
    """MAXPS: the second operand if either is NaN or both are zero."""
    return a if compare(f, a, b) == 1 else b


def convert(source: Format, target: Format, a: int, mode: int = NEAREST) -> int:
    """Convert between formats; a NaN keeps the leading bits of its payload and becomes quiet."""
    sign = target.sign if a & source.sign else 0
    if is_nan(source, a):
        payload = a & ((1 << source.fraction) - 1)
        shift = target.fraction - source.fraction
        payload = payload << shift if shift >= 0 else payload >> -shift
        return sign | target.infinity | target.quiet | payload
    if is_infinite(source, a):
        return sign | target.infinity
    return encode(target, value(source, a), mode, bool(sign))


def to_integer(f: Format, a: int, bits: int, signed: bool, mode: int) -> int:
    """Convert to a `bits` wide integer.

    What does not fit becomes the integer indefinite: the smallest signed number, or all ones when
    the target is unsigned (SDM vol. 1, 4.8.3.7 and vol. 2, VCVTPS2UDQ).
    """
    indefinite = 1 << (bits - 1) if signed else (1 << bits) - 1
    if is_nan(f, a) or is_infinite(f, a):
        return indefinite
    n = round_to_integer(value(f, a), mode)
    low, high = (-1 << (bits - 1), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return n & ((1 << bits) - 1) if low <= n <= high else indefinite


def from_integer(f: Format, n: int, mode: int = NEAREST) -> int:
    """Convert a Python integer."""
    return encode(f, Fraction(n), mode)


def round_integral(f: Format, a: int, mode: int, scale: int = 0) -> int:
    """Round to a multiple of 2**-scale (ROUNDPS, VRNDSCALEPS); the sign of zero is kept."""
    if is_nan(f, a):
        return a | f.quiet
    if is_infinite(f, a):
        return a
    n = round_to_integer(value(f, a) * (1 << scale), mode)
    return encode(f, Fraction(n, 1 << scale), NEAREST, bool(a & f.sign))

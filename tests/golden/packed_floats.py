"""Floating-point vector instructions: SSE to AVX-512, FMA, F16C, BF16, FP16 (SDM vol. 2)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from tests.golden import floats as fp
from tests.golden.machine import Operation, handles, join, mask_of, signed, split

_PACKED = {"ps": 32, "pd": 64, "ph": 16}
_SCALAR = {"ss": 32, "sd": 64, "sh": 16}
_ALL = _PACKED | _SCALAR

_ARITHMETIC: dict[str, Callable[[fp.Format, int, int, int], int]] = {
    "add": fp.add,
    "sub": fp.subtract,
    "mul": fp.multiply,
    "div": fp.divide,
    "min": lambda f, a, b, mode: fp.minimum(f, a, b),
    "max": lambda f, a, b, mode: fp.maximum(f, a, b),
    "sqrt": lambda f, a, b, mode: fp.square_root(f, b, mode),
}


@handles(*(op + s for op in _ARITHMETIC for s in _ALL))
def _arithmetic(x: Operation) -> None:
    suffix = x.name[-2:]
    element = _ALL[suffix]
    f = fp.FORMATS[element]
    function = _ARITHMETIC[x.name[:-2]]
    if suffix in _SCALAR:
        a, b = x.read(x.first) & mask_of(element), x.read(x.first + 1, element)
        x.put_scalar(function(f, a, b, x.rounding), element, x.first)
        return
    count = x.vector_width // element
    last = x.operands - 1
    first = last if x.name.startswith("sqrt") else x.first
    pairs = zip(x.lanes(first, element, count), x.lanes(last, element, count), strict=True)
    x.put([function(f, a, b, x.rounding) for a, b in pairs], element)


_FUSED = {
    f"f{n}m{op}{order}{s}": (n == "n", op == "sub", order, s)
    for n in ("", "n")
    for op in ("add", "sub")
    for order in ("132", "213", "231")
    for s in _ALL
}


def _fused_lane(
    f: fp.Format, name: tuple[bool, bool, str, str], lanes: tuple[int, int, int], mode: int
) -> int:
    negate_product, subtract, order, _ = name
    a, b, c = (lanes[int(digit) - 1] for digit in order)
    # Negating a factor of the product, not the result, keeps the sign rules of an exact zero.
    a = fp.negate(f, a) if negate_product else a
    c = fp.negate(f, c) if subtract else c
    return fp.fused_multiply_add(f, a, b, c, mode)


@handles(*_FUSED)
def _fused(x: Operation) -> None:
    name = _FUSED[x.name]
    element = _ALL[name[3]]
    f = fp.FORMATS[element]
    if name[3] in _SCALAR:
        m = mask_of(element)
        lanes = (x.read(0) & m, x.read(1) & m, x.read(2, element))
        x.put_scalar(_fused_lane(f, name, lanes, x.rounding), element, 0)
        return
    count = x.vector_width // element
    triples = zip(*(x.lanes(i, element, count) for i in range(3)), strict=True)
    x.put([_fused_lane(f, name, (a, b, c), x.rounding) for a, b, c in triples], element)


_ALTERNATING = {
    f"fm{op}{order}{s}": (op, order, s)
    for op in ("addsub", "subadd")
    for order in ("132", "213", "231")
    for s in _PACKED
}


@handles(*_ALTERNATING)
def _fused_alternating(x: Operation) -> None:
    op, order, suffix = _ALTERNATING[x.name]
    element = _PACKED[suffix]
    f = fp.FORMATS[element]
    triples = zip(*(x.lanes(i, element, x.vector_width // element) for i in range(3)), strict=True)
    out = []
    for i, (a, b, c) in enumerate(triples):
        subtract = (i % 2 == 0) == (op == "addsub")
        out.append(_fused_lane(f, (False, subtract, order, suffix), (a, b, c), x.rounding))
    x.put(out, element)


@handles("addsubps", "addsubpd")
def _add_subtract(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    x.put([(fp.add if i % 2 else fp.subtract)(f, a[i], b[i]) for i in range(count)], element)


@handles("haddps", "haddpd", "hsubps", "hsubpd")
def _horizontal(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]
    function = fp.add if "add" in x.name else fp.subtract
    out = []
    for start in range(0, x.vector_width, 128):
        for i in (x.first, x.first + 1):
            lanes = split(x.read(i, x.vector_width) >> start, element, 128 // element)
            out += [function(f, p, q) for p, q in zip(lanes[::2], lanes[1::2], strict=True)]
    x.put(out, element)


@handles("dpps", "dppd")
def _dot_product(x: Operation) -> None:
    """Products are added pairwise, (0 + 1) + (2 + 3) (SDM vol. 2, DPPS)."""
    element = 32 if x.name == "dpps" else 64
    f = fp.FORMATS[element]
    per = 128 // element
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    out: list[int] = []
    for start in range(0, count, per):
        terms = [
            fp.multiply(f, a[start + i], b[start + i]) if x.immediate >> (4 + i) & 1 else 0
            for i in range(per)
        ]
        while len(terms) > 1:
            terms = [fp.add(f, p, q) for p, q in zip(terms[::2], terms[1::2], strict=True)]
        out += [terms[0] if x.immediate >> i & 1 else 0 for i in range(per)]
    x.put(out, element)


def predicate(code: int, order: int | None) -> bool:
    """CMPPS's 32 predicates: bit pattern of less, equal, unordered, then negation.

    Signalling and quiet predicates differ in exceptions only, so bit 4 changes nothing here
    except where it swaps the sense of unordered in 8 to 15 (SDM vol. 2, CMPPD table 3-1).
    """
    unordered = order is None
    code &= 0x0F
    table: tuple[bool, ...] = (
        order == 0,
        order == -1,
        order in (-1, 0),
        unordered,
        order != 0,
        order != -1,
        order not in (-1, 0),
        not unordered,
        unordered or order == 0,
        unordered or order == -1,
        unordered or order in (-1, 0),
        False,
        not unordered and order != 0,
        order in (0, 1),
        order == 1,
        True,
    )
    return table[code]


@handles(*(f"cmp{s}" for s in _ALL))
def _compare(x: Operation) -> None:
    element = _ALL[x.name[-2:]]
    f = fp.FORMATS[element]
    scalar = x.name[-2:] in _SCALAR
    count = 1 if scalar else x.vector_width // element
    a = split(x.read(x.first) if scalar else x.read(x.first, x.vector_width), element, count)
    b = [x.read(x.first + 1, element)] if scalar else x.lanes(x.first + 1, element, count)
    bits = [predicate(x.immediate, fp.compare(f, p, q)) for p, q in zip(a, b, strict=True)]
    if not x.legacy and x.width(0) == 64:
        x.put_mask(bits)
    elif scalar:
        x.put_scalar(-bits[0], element, x.first)
    else:
        x.put([-bit & mask_of(element) for bit in bits], element)


@handles(*(f"{u}comi{s}" for u in ("", "u") for s in _SCALAR))
def _compare_to_flags(x: Operation) -> None:
    element = _SCALAR[x.name[-2:]]
    order = fp.compare(fp.FORMATS[element], x.read(0) & mask_of(element), x.read(1, element))
    x.flags(ZF=order in (None, 0), PF=order is None, CF=order in (None, -1), OF=0, SF=0, AF=0)


@handles("roundps", "roundpd", "roundss", "roundsd")
def _round(x: Operation) -> None:
    mode = fp.NEAREST if x.immediate & 4 else x.immediate & 3
    _round_lanes(x, lambda f, a: fp.round_integral(f, a, mode))


@handles(*(f"rndscale{s}" for s in _ALL))
def _round_scale(x: Operation) -> None:
    mode = fp.NEAREST if x.immediate & 4 else x.immediate & 3
    _round_lanes(x, lambda f, a: fp.round_integral(f, a, mode, x.immediate >> 4 & 15))


@handles(*(f"reduce{s}" for s in _ALL))
def _reduce(x: Operation) -> None:
    mode = fp.NEAREST if x.immediate & 4 else x.immediate & 3

    def reduce(f: fp.Format, a: int) -> int:
        if fp.is_infinite(f, a):
            return 0
        return fp.subtract(f, a, fp.round_integral(f, a, mode, x.immediate >> 4 & 15))

    _round_lanes(x, reduce)


def _round_lanes(x: Operation, function: Callable[[fp.Format, int], int]) -> None:
    """Apply to the last operand before the immediate, packed or scalar."""
    element = _ALL[x.name[-2:]]
    f = fp.FORMATS[element]
    source = x.operands - 2
    if x.name[-2:] in _SCALAR:
        x.put_scalar(function(f, x.read(source, element)), element, x.first)
        return
    lanes = x.lanes(source, element, x.vector_width // element)
    x.put([function(f, a) for a in lanes], element)


@handles("cvtps2pd", "cvtpd2ps", "cvtph2psx", "cvtps2phx", "cvtph2pd", "cvtpd2ph", "cvtph2ps")
def _convert_packed(x: Operation) -> None:
    source, target = _ALL[x.name[3:5]], _ALL[x.name[6:8]]
    count = x.vector_width // max(source, target)
    mode = x.rounding
    f, t = fp.FORMATS[source], fp.FORMATS[target]
    out = [fp.convert(f, t, a, mode) for a in x.lanes(1, source, count)]
    bits = target * count
    if not x.is_memory(0) and bits < 128:
        out += [0] * ((128 - bits) // target)
    x.put(out, target)


@handles("cvtps2ph")
def _convert_to_half(x: Operation) -> None:
    mode = fp.NEAREST if x.immediate & 4 else x.immediate & 3
    count = x.width(1) // 32
    out = [fp.convert(fp.F32, fp.F16, a, mode) for a in x.lanes(1, 32, count)]
    if not x.is_memory(0) and count < 8:
        out += [0] * (8 - count)
    x.put(out, 16)


@handles("cvtss2sd", "cvtsd2ss", "cvtsh2ss", "cvtsh2sd", "cvtss2sh", "cvtsd2sh")
def _convert_scalar(x: Operation) -> None:
    source, target = _SCALAR[x.name[3:5]], _SCALAR[x.name[6:8]]
    value = fp.convert(
        fp.FORMATS[source], fp.FORMATS[target], x.read(x.first + 1, source), x.rounding
    )
    x.put_scalar(value, target, x.first)


_INTEGERS = {"dq": (32, True), "udq": (32, False), "qq": (64, True), "uqq": (64, False)}
_INTEGERS |= {"w": (16, True), "uw": (16, False)}

_TO_INTEGER = {
    f"cvt{t}{s}2{i}": (t == "t", w, *_INTEGERS[i])
    for t in ("", "t")
    for s, w in _PACKED.items()
    for i in _INTEGERS
}


@handles(*_TO_INTEGER)
def _to_integers(x: Operation) -> None:
    truncate, source, target, sign = _TO_INTEGER[x.name]
    count = x.vector_width // max(source, target)
    mode = fp.ZERO if truncate else x.rounding
    f = fp.FORMATS[source]
    out = [fp.to_integer(f, a, target, sign, mode) for a in x.lanes(1, source, count)]
    if target * count < 128:
        out += [0] * ((128 - target * count) // target)
    x.put(out, target)


_FROM_INTEGER = {f"cvt{i}2{s}": (w, *_INTEGERS[i]) for i in _INTEGERS for s, w in _PACKED.items()}


@handles(*_FROM_INTEGER)
def _from_integers(x: Operation) -> None:
    target, source, sign = _FROM_INTEGER[x.name]
    count = x.vector_width // max(source, target)
    f = fp.FORMATS[target]
    values = [signed(a, source) if sign else a for a in x.lanes(1, source, count)]
    out = [fp.from_integer(f, a, x.rounding) for a in values]
    if target * count < 128:
        out += [0] * ((128 - target * count) // target)
    x.put(out, target)


@handles(*(f"cvt{t}{s}2{u}si" for t in ("", "t") for s in _SCALAR for u in ("", "u")))
def _to_general(x: Operation) -> None:
    truncate = x.name[3] == "t"
    element = _SCALAR[x.name[3 + truncate : 5 + truncate]]
    mode = fp.ZERO if truncate else x.rounding
    f = fp.FORMATS[element]
    x.write(0, fp.to_integer(f, x.read(1, element), x.width(0), not x.name.endswith("usi"), mode))


@handles(*(f"cvt{u}si2{s}" for u in ("", "u") for s in _SCALAR))
def _from_general(x: Operation) -> None:
    element = _SCALAR[x.name[-2:]]
    last = x.operands - 1
    bits = x.width(last)
    value = x.read(last)
    if x.name.startswith("cvtsi"):
        value = signed(value, bits)
    x.put_scalar(fp.from_integer(fp.FORMATS[element], value, x.rounding), element, x.first)


def _range(f: fp.Format, a: int, b: int, control: int) -> int:
    """VRANGEPS (SDM vol. 2): minimum or maximum, by value or magnitude, with a chosen sign."""
    if fp.is_signalling(f, a) or (fp.is_nan(f, a) and fp.is_nan(f, b)):
        return a | f.quiet
    if fp.is_signalling(f, b):
        return b | f.quiet
    if fp.is_nan(f, a) or fp.is_nan(f, b):
        chosen = b if fp.is_nan(f, a) else a
    else:
        magnitude = f.sign - 1
        p, q = (a & magnitude, b & magnitude) if control & 2 else (a, b)
        order = fp.compare(f, p, q)
        if order == 0 and fp.is_zero(f, a) and not control & 2:
            order = -1 if a & f.sign else 1
        take_first = order != 1 if not control & 1 else order == 1
        if control & 2 and order == 0:
            take_first = bool(a & f.sign) != bool(control & 1)
        chosen = a if take_first else b
    sign = control >> 2 & 3
    magnitude = chosen & (f.sign - 1)
    return (magnitude | a & f.sign, chosen, magnitude, magnitude | f.sign)[sign]


@handles("rangeps", "rangepd", "rangess", "rangesd")
def _select_range(x: Operation) -> None:
    element = _ALL[x.name[-2:]]
    f = fp.FORMATS[element]
    if x.name[-2:] in _SCALAR:
        a, b = x.read(1) & mask_of(element), x.read(2, element)
        x.put_scalar(_range(f, a, b, x.immediate), element, 1)
        return
    count = x.vector_width // element
    pairs = zip(x.lanes(1, element, count), x.lanes(2, element, count), strict=True)
    x.put([_range(f, a, b, x.immediate) for a, b in pairs], element)


def _class(f: fp.Format, a: int, wanted: int) -> bool:
    """VFPCLASSPS: does the value belong to one of the wanted categories?"""
    negative = bool(a & f.sign)
    nan = fp.is_nan(f, a)
    denormal = not nan and not fp.is_zero(f, a) and not a & f.infinity
    finite = not nan and not fp.is_infinite(f, a)
    categories = (
        nan and not fp.is_signalling(f, a),
        fp.is_zero(f, a) and not negative,
        fp.is_zero(f, a) and negative,
        fp.is_infinite(f, a) and not negative,
        fp.is_infinite(f, a) and negative,
        denormal,
        finite and negative and not fp.is_zero(f, a),
        fp.is_signalling(f, a),
    )
    return any(member for i, member in enumerate(categories) if wanted >> i & 1)


@handles(*(f"fpclass{s}" for s in _ALL))
def _classify(x: Operation) -> None:
    element = _ALL[x.name[-2:]]
    f = fp.FORMATS[element]
    scalar = x.name[-2:] in _SCALAR
    count = 1 if scalar else max(x.vector_width, x.width(1)) // element
    lanes = [x.read(1, element)] if scalar else x.lanes(1, element, count)
    x.put_mask([_class(f, a, x.immediate) for a in lanes])


@handles("getexpps", "getexppd", "getexpph")
def _get_exponent(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]

    def exponent(a: int) -> int:
        if fp.is_nan(f, a):
            return a | f.quiet
        if fp.is_infinite(f, a):
            return f.infinity
        if fp.is_zero(f, a):
            return f.infinity | f.sign
        v = abs(fp.value(f, a))
        e = v.numerator.bit_length() - v.denominator.bit_length()
        return fp.from_integer(f, e if v >= Fraction(2) ** e else e - 1)

    x.put([exponent(a) for a in x.lanes(1, element, x.vector_width // element)], element)


@handles("scalefps", "scalefpd", "scalefph")
def _scale(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]
    count = x.vector_width // element

    def scale(a: int, b: int) -> int:
        if fp.is_nan(f, a) or fp.is_nan(f, b):
            return fp.add(f, a, b, 0)
        if fp.is_infinite(f, b) or fp.is_infinite(f, a):
            if fp.is_infinite(f, a) and fp.is_infinite(f, b):
                return f.indefinite if b & f.sign else a
            if fp.is_infinite(f, a):
                return a
            if b & f.sign:
                return a & f.sign
            return f.indefinite if fp.is_zero(f, a) else f.infinity | a & f.sign
        n = max(-5000, min(5000, fp.round_to_integer(fp.value(f, b), fp.DOWN)))
        return fp.encode(f, fp.value(f, a) * Fraction(2) ** n, x.rounding, bool(a & f.sign))

    pairs = zip(x.lanes(1, element, count), x.lanes(2, element, count), strict=True)
    x.put([scale(a, b) for a, b in pairs], element)


def _power_of_two(f: fp.Format, a: int, power: Fraction) -> int:
    """Approximations are exact for powers of two; the model knows nothing else (SDM tables)."""
    if fp.is_zero(f, a):
        return f.infinity | a & f.sign
    v = fp.value(f, a)
    e = abs(v).numerator.bit_length() - abs(v).denominator.bit_length()
    exact = Fraction(2) ** e
    scaled = Fraction(e) * power
    if abs(v) != exact or scaled.denominator != 1 or (power.denominator != 1 and v < 0):
        raise ValueError(f"approximation of {float(v)} is not defined exactly")
    result = Fraction(2) ** int(scaled)
    return fp.encode(f, -result if v < 0 else result)


_APPROXIMATIONS = {
    f"{k}{n}{s}": -Fraction(1, 2) if k == "rsqrt" else Fraction(-1)
    for k in ("rcp", "rsqrt")
    for n in ("14", "28")
    for s in ("ps", "pd")
}


@handles(*_APPROXIMATIONS)
def _approximate(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]
    lanes = x.lanes(1, element, x.vector_width // element)
    x.put([_power_of_two(f, a, _APPROXIMATIONS[x.name]) for a in lanes], element)


@handles("exp2ps", "exp2pd")
def _exponential(x: Operation) -> None:
    element = _PACKED[x.name[-2:]]
    f = fp.FORMATS[element]
    out = []
    for a in x.lanes(1, element, x.vector_width // element):
        v = fp.value(f, a)
        if v.denominator != 1:
            raise ValueError(f"approximation of 2**{float(v)} is not defined exactly")
        out.append(fp.encode(f, Fraction(2) ** int(v)))
    x.put(out, element)


@handles("4fmaddps", "4fnmaddps")
def _fused_four(x: Operation) -> None:
    """Four multiply-adds with sources from a block of four registers (SDM vol. 2, V4FMADDPS)."""
    number = (x.instruction.op_register(1) - 141) & ~3
    acc = x.lanes(0, 32, 16)
    memory = split(x.read(2, 128), 32, 4)
    for m in range(4):
        source = split(x.state.vector[number + m], 32, 16)
        for i in range(16):
            a = fp.negate(fp.F32, source[i]) if "n" in x.name else source[i]
            acc[i] = fp.fused_multiply_add(fp.F32, a, memory[m], acc[i])
    x.put(acc, 32)


@handles("cvtneps2bf16")
def _to_bfloat(x: Operation) -> None:
    """Rounds to nearest even whatever MXCSR says; denormals count as zero."""
    out = []
    count = x.width(1) // 32
    for a in x.lanes(1, 32, count):
        tiny = not a & fp.F32.infinity
        out.append((a & fp.F32.sign) >> 16 if tiny else fp.convert(fp.F32, fp.BF16, a))
    x.put(out + [0] * max(0, 8 - count), 16)


@handles("cvtne2ps2bf16")
def _two_to_bfloat(x: Operation) -> None:
    count = x.vector_width // 32
    lanes = x.lanes(2, 32, count) + x.lanes(1, 32, count)
    x.put([fp.convert(fp.F32, fp.BF16, a) for a in lanes], 16)


def dot_exact(f: fp.Format, acc: int, a: int, b: int) -> int:
    """Accumulate a0*b0 + a1*b1 in binary32 where every step is exact.

    How often the hardware rounds in between is told differently by different manuals, so the model
    refuses operands for which that matters.
    """
    width = f.width
    total = fp.value(fp.F32, acc)
    for p, q in zip(split(a, width, 2), split(b, width, 2), strict=True):
        total += fp.value(f, p) * fp.value(f, q)
        if fp.value(fp.F32, fp.encode(fp.F32, total)) != total:
            raise ValueError("an intermediate sum is not exact")
    return fp.encode(fp.F32, total)


@handles("dpbf16ps")
def _dot_bfloat(x: Operation) -> None:
    count = x.vector_width // 32
    triples = zip(*(x.lanes(i, 32, count) for i in range(3)), strict=True)
    x.put([dot_exact(fp.BF16, c, a, b) for c, a, b in triples], 32)


@handles("cvtneebf162ps", "cvtneobf162ps", "cvtneeph2ps", "cvtneoph2ps")
def _widen_alternate(x: Operation) -> None:
    """AVX-NE-CONVERT: even or odd halves of a vector in memory."""
    f = fp.BF16 if "bf16" in x.name else fp.F16
    lanes = x.lanes(1, 16, x.vector_width // 16)
    odd = x.name[5] == "o"
    x.put([fp.convert(f, fp.F32, a) for a in lanes[odd::2]], 32)


@handles("bcstnebf162ps", "bcstnesh2ps")
def _broadcast_widened(x: Operation) -> None:
    f = fp.BF16 if "bf16" in x.name else fp.F16
    x.put([fp.convert(f, fp.F32, x.read(1, 16))] * (x.vector_width // 32), 32)


@handles("fmulcph", "fmaddcph")
def _complex(x: Operation) -> None:
    """Complex half precision; each part takes two fused steps (SDM vol. 2, VFMADDCPH)."""
    count = x.vector_width // 32
    accumulate = "madd" in x.name
    zero = [0] * count
    old = x.lanes(0, 32, count) if accumulate else zero
    out = []
    f = fp.F16
    for c, a, b in zip(old, x.lanes(1, 32, count), x.lanes(2, 32, count), strict=True):
        (cr, ci), (ar, ai), (br, bi) = (split(v, 16, 2) for v in (c, a, b))
        if accumulate:
            real = fp.fused_multiply_add(f, ar, br, cr)
            imaginary = fp.fused_multiply_add(f, ai, br, ci)
        else:
            real, imaginary = fp.multiply(f, ar, br), fp.multiply(f, ai, br)
        real = fp.fused_multiply_add(f, fp.negate(f, ai), bi, real)
        imaginary = fp.fused_multiply_add(f, ar, bi, imaginary)
        out.append(join([real, imaginary], 16))
    x.put(out, 32)

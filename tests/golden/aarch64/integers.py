"""Vectors of integers: Advanced SIMD, and what SVE and SVE2 do alike."""

from __future__ import annotations

from collections.abc import Callable

from tests.golden.aarch64.machine import Operation, handles
from tests.golden.machine import mask_of, signed, split


def saturate(value: int, bits: int) -> int:
    """The nearest signed number of that width."""
    return max(-1 << bits - 1, min(value, mask_of(bits - 1)))


def _shift(a: int, count: int) -> int:
    return a << count if count >= 0 else a >> -count


def _deposit(a: int, mask: int, bits: int) -> int:
    places = [n for n in range(bits) if mask >> n & 1]
    return sum((a >> k & 1) << n for k, n in enumerate(places))


def _extract(a: int, mask: int, bits: int) -> int:
    places = [n for n in range(bits) if mask >> n & 1]
    return sum((a >> n & 1) << k for k, n in enumerate(places))


_BINARY: dict[str, Callable[[int, int, int], int]] = {
    "mul": lambda a, b, bits: a * b,
    "sub": lambda a, b, bits: a - b,
    "orr": lambda a, b, bits: a | b,
    "eor": lambda a, b, bits: a ^ b,
    "smax": lambda a, b, bits: max(a, b, key=lambda v: signed(v, bits)),
    "smin": lambda a, b, bits: min(a, b, key=lambda v: signed(v, bits)),
    "umax": lambda a, b, bits: max(a, b),
    "umin": lambda a, b, bits: min(a, b),
    "sabd": lambda a, b, bits: abs(signed(a, bits) - signed(b, bits)),
    "sqadd": lambda a, b, bits: saturate(signed(a, bits) + signed(b, bits), bits),
    "sqdmulh": lambda a, b, bits: saturate(2 * signed(a, bits) * signed(b, bits) >> bits, bits),
    "sqrdmulh": lambda a, b, bits: saturate(
        2 * signed(a, bits) * signed(b, bits) + (1 << bits - 1) >> bits, bits
    ),
    "ushl": lambda a, b, bits: _shift(a, signed(b & 255, 8)),
    "bdep": _deposit,
    "bext": _extract,
    "bgrp": lambda a, b, bits: (
        _extract(a, b, bits) | _extract(a, ~b & mask_of(bits), bits) << b.bit_count()
    ),
}


def _binary(x: Operation) -> None:
    if x.text(0)[0] in "wx":  # CSSC
        x.write(_BINARY[x.name](x.read(1), x.read(2) & mask_of(x.width(0)), x.width(0)))
        return
    width, count = x.shape(0)
    predicated = x.is_scalable(0) and x.text(1).startswith("p")
    first, second = (2, 3) if predicated else (1, 2)
    pairs = zip(x.lanes(first), x.lanes(second), strict=True)
    values = [_BINARY[x.name](a, b, width) for a, b in pairs]
    if predicated:
        active = x.active(1, width, count)
        values = [v if on else k for v, on, k in zip(values, active, x.lanes(0), strict=True)]
    x.put(values)


for _name in _BINARY:
    handles(_name)(_binary)


@handles("sqrdmlah", "sqrdmlsh")
def _rounding_multiply_add(x: Operation) -> None:
    width, _ = x.shape(0)
    sign = 1 if x.name == "sqrdmlah" else -1
    out = []
    for d, a, b in zip(x.lanes(0), x.lanes(1), x.lanes(2), strict=True):
        product = sign * 2 * signed(a, width) * signed(b, width)
        total = (signed(d, width) << width) + product + (1 << width - 1)
        out.append(saturate(total >> width, width))
    x.put(out)


@handles("mla")
def _multiply_add(x: Operation) -> None:
    width, count = x.shape(0)
    first = 2 if x.is_scalable(0) else 1
    triples = zip(x.lanes(0), x.lanes(first), x.lanes(first + 1), strict=True)
    values = [d + a * b for d, a, b in triples]
    if x.is_scalable(0):
        active = x.active(1, width, count)
        values = [v if on else k for v, on, k in zip(values, active, x.lanes(0), strict=True)]
    x.put(values)


@handles("eor3", "bcax", "bsl")
def _ternary(x: Operation) -> None:
    a, b, c = (x.lanes(i, 64) for i in (1, 2, 3))
    rows = zip(a, b, c, strict=True)
    if x.name == "eor3":
        x.put([p ^ q ^ r for p, q, r in rows], 64)
    elif x.name == "bcax":
        x.put([p ^ q & ~r & mask_of(64) for p, q, r in rows], 64)
    else:
        x.put([p & r | q & ~r & mask_of(64) for p, q, r in rows], 64)


@handles("tbl")
def _table(x: Operation) -> None:
    table = x.lanes(1, 8)
    x.put([table[i] if i < len(table) else 0 for i in x.lanes(2)], 8)


@handles("ext")
def _concatenate(x: Operation) -> None:
    both = [*x.lanes(1), *x.lanes(2)]
    start = x.read(3)
    x.put(both[start : start + 16])


@handles("uaddlv", "addv")
def _across(x: Operation) -> None:
    x.put([sum(x.lanes(1))])


# --- dot products and matrices -------------------------------------------------------------------


def _signs(name: str) -> tuple[bool, bool]:
    """Which source is signed: `us` is unsigned by signed."""
    if name.startswith(("us", "su")):
        return name[0] == "s", name[1] == "s"
    return name[0] == "s", name[0] == "s"


def _parts(value: int, bits: int, count: int, is_signed: bool) -> list[int]:
    return [signed(v, bits) if is_signed else v for v in split(value, bits, count)]


@handles("sdot", "udot", "usdot", "sudot")
def _dot(x: Operation) -> None:
    width, count = x.shape(0)
    part = width // 4
    first, second = _signs(x.name)
    out = []
    rows = zip(x.lanes(0), x.lanes(1, width, count), x.lanes(2, width, count), strict=True)
    for d, a, b in rows:
        pairs = zip(_parts(a, part, 4, first), _parts(b, part, 4, second), strict=True)
        out.append(d + sum(p * q for p, q in pairs))
    x.put(out)


@handles("smmla", "ummla", "usmmla")
def _matrix(x: Operation) -> None:
    first, second = _signs(x.name)
    a = [_parts(row, 8, 8, first) for row in x.lanes(1, 64)]
    b = [_parts(row, 8, 8, second) for row in x.lanes(2, 64)]
    d = x.lanes(0)
    places = [(i, j) for i in range(2) for j in range(2)]
    x.put([d[2 * i + j] + sum(p * q for p, q in zip(a[i], b[j], strict=True)) for i, j in places])


@handles("luti2", "luti4")
def _look_up(x: Operation) -> None:
    """Indices of two or four bits, from the part of the last operand that its number picks."""
    bits = int(x.name[4])
    width, count = x.shape(0)
    part = int(x.text(2)[x.text(2).index("[") + 1 : -1])
    table = x.lanes(1, width)
    indices = x.state.vector[x.number(2)] >> part * count * bits
    x.put([table[i] for i in split(indices, bits, count)])

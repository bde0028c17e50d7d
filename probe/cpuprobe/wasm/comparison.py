"""Whether two engines' answers to one case agree as far as the WebAssembly specification asks.

It leaves two things open. *NaN bits* (Core Specification 3.0, section 4.3.3, "NaN propagation"):
sign and payload of a NaN that arithmetic makes, but it must be quiet, and canonical where no
operand is a NaN of another kind. *Relaxed SIMD* (section 4.3.5, "relaxed operations"): a choice
from a short list, which `VARIANTS` spells out in plain wasm so that an engine without choices can
compute each entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cpuprobe.wasm.cases import SLOT
from cpuprobe.wasm.operators import INPUT_OFFSET, SLOT_SIZE, OperatorFunction

ARMS = (6, 7)
"""The operand slots that shapes select between."""
CONDITION = 5

_MAKES_NAN = re.compile(
    r"\bf(?:32|64)(?:x[24])?\.(?:relaxed_)?"
    r"(?:add|sub|mul|div|sqrt|min|max|ceil|floor|trunc|nearest|demote|promote|madd|nmadd)"
)
_MADE = re.compile(r"v128\.(?:const|load\d)|\bi\d+x\d+\.splat")
_FRACTION = {32: 23, 64: 52}


def _relaxed_trunc(kind: str) -> str:
    limits = {
        "f32x4_s": ("f32x4.ge", "-2147483648", "f32x4.lt", "2147483648"),
        "f32x4_u": ("f32x4.gt", "-1", "f32x4.lt", "4294967296"),
        "f64x2_s_zero": ("f64x2.gt", "-2147483649", "f64x2.lt", "2147483648"),
        "f64x2_u_zero": ("f64x2.gt", "-1", "f64x2.lt", "4294967296"),
    }[kind]
    low, least, high, most = limits
    lane = low[:5]
    inside = (
        f"(v128.and ({low} (local.get 0) ({lane}.splat ({lane[:3]}.const {least})))"
        f" ({high} (local.get 0) ({lane}.splat ({lane[:3]}.const {most}))))"
    )
    beyond = "0x80000000" if "_s" in kind else "0xffffffff"
    other = f"(i32x4.splat (i32.const {beyond}))"
    if lane == "f64x2":
        # The upper two lanes are zero; the mask of each f64 lane stands in for its i32 lane.
        zeros = "(v128.const i32x4 0 0 0 0)"
        pick = "0 1 2 3 8 9 10 11 16 17 18 19 20 21 22 23"
        inside = f"(i8x16.shuffle {pick} {inside} {zeros})"
        other = f"(v128.const i32x4 {beyond} {beyond} 0 0)"
    return f"(v128.bitselect (i32x4.trunc_sat_{kind} (local.get 0)) {other} {inside})"


def _relaxed_minmax(lane: str, name: str, chosen: int) -> str:
    a, b = "(local.get 0)", "(local.get 1)"
    zero = f"({lane}.splat ({lane[:3]}.const 0))"
    unordered = f"(v128.or ({lane}.ne {a} {a}) ({lane}.ne {b} {b}))"
    zeros = f"(v128.and ({lane}.eq {a} {zero}) ({lane}.eq {b} {zero}))"
    return (
        f"(v128.bitselect (local.get {chosen}) ({lane}.{name} {a} {b})"
        f" (v128.or {unordered} {zeros}))"
    )


def _products(half: str) -> str:
    """Sums of two products of a signed and an unsigned byte each, exact, in four i32 lanes."""
    return (
        f"(i32x4.dot_i16x8_s (i16x8.mul (i16x8.extend_{half}_i8x16_s (local.get 0))"
        f" (i16x8.extend_{half}_i8x16_u (local.get 1))) (i16x8.splat (i32.const 1)))"
    )


def _wrapped(sums: str) -> str:
    return f"(i32x4.shr_s (i32x4.shl {sums} (i32.const 16)) (i32.const 16))"


_DOT_SATURATED = f"(i16x8.narrow_i32x4_s {_products('low')} {_products('high')})"
_DOT_WRAPPED = f"(i16x8.narrow_i32x4_s {_wrapped(_products('low'))} {_wrapped(_products('high'))})"
_EVEN = "0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27"
_ODD = "4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31"
_DOT_EXACT = (
    f"(i32x4.add (i8x16.shuffle {_EVEN} {_products('low')} {_products('high')})"
    f" (i8x16.shuffle {_ODD} {_products('low')} {_products('high')}))"
)


def _laneselect(shape: str) -> str:
    width = 128 // int(shape.partition("x")[2])
    mask = f"({shape}.shr_s (local.get 2) (i32.const {width - 1}))"
    return f"(v128.bitselect (local.get 0) (local.get 1) {mask})"


def _variants() -> dict[str, tuple[int, tuple[str, ...]]]:
    found: dict[str, tuple[int, tuple[str, ...]]] = {
        "i8x16.relaxed_swizzle": (
            2,
            ("(i8x16.swizzle (local.get 0) (v128.and (local.get 1)"
             " (i8x16.splat (i32.const 0x8f))))",),
        ),
        "i16x8.relaxed_q15mulr_s": (
            2,
            ("(v128.xor (i16x8.q15mulr_sat_s (local.get 0) (local.get 1)) (v128.and"
             " (i16x8.eq (local.get 0) (i16x8.splat (i32.const -32768)))"
             " (i16x8.eq (local.get 1) (i16x8.splat (i32.const -32768)))))",),
        ),
        "i16x8.relaxed_dot_i8x16_i7x16_s": (2, (_DOT_SATURATED, _DOT_WRAPPED)),
        "i32x4.relaxed_dot_i8x16_i7x16_add_s": (
            3,
            (
                f"(i32x4.add (i32x4.extadd_pairwise_i16x8_s {_DOT_SATURATED}) (local.get 2))",
                f"(i32x4.add {_DOT_EXACT} (local.get 2))",
                f"(i32x4.add (i32x4.extadd_pairwise_i16x8_s {_DOT_WRAPPED}) (local.get 2))",
            ),
        ),
    }  # fmt: skip
    for kind in ("f32x4_s", "f32x4_u", "f64x2_s_zero", "f64x2_u_zero"):
        found[f"i32x4.relaxed_trunc_{kind}"] = (1, (_relaxed_trunc(kind),))
    for lane in ("f32x4", "f64x2"):
        product = f"({lane}.mul (local.get 0) (local.get 1))"
        found[f"{lane}.relaxed_madd"] = (3, (f"({lane}.add {product} (local.get 2))",))
        found[f"{lane}.relaxed_nmadd"] = (3, (f"({lane}.sub (local.get 2) {product})",))
        for name in ("min", "max"):
            both = tuple(_relaxed_minmax(lane, name, chosen) for chosen in (1, 0))
            found[f"{lane}.relaxed_{name}"] = (2, both)
    for shape in ("i8x16", "i16x8", "i32x4", "i64x2"):
        found[f"{shape}.relaxed_laneselect"] = (3, (_laneselect(shape),))
    return found


VARIANTS = _variants()
"""Operator to its number of operands and what it may compute beside its deterministic meaning."""


def helper_functions() -> str:
    """WAT of a function for each variant: `$i8x16.relaxed_swizzle:0` and so on."""
    return "".join(
        f"(func ${name}:{number}{' (param v128)' * operands} (result v128) {body})\n"
        for name, (operands, bodies) in VARIANTS.items()
        for number, body in enumerate(bodies)
    )


def variants_of(function: OperatorFunction) -> Iterator[OperatorFunction]:
    """The same function once for each way a relaxed operator in it may behave.

    Yields:
        Functions that call `helper_functions()`; none if there is nothing relaxed in it.
    """
    used = [name for name in VARIANTS if f"({name} " in function.body]
    for number in range(max((len(VARIANTS[name][1]) for name in used), default=0)):
        body = function.body
        for name in used:
            chosen = min(number, len(VARIANTS[name][1]) - 1)
            body = body.replace(f"({name} ", f"(call ${name}:{chosen} ")
        yield replace(function, name=f"{function.name}:{number}", body=body)


def _is_nan(bits: int, width: int) -> bool:
    fraction = _FRACTION[width]
    exponent = ((1 << (width - 1 - fraction)) - 1) << fraction
    return bits & exponent == exponent and bits & ((1 << fraction) - 1) != 0


def _is_quiet(bits: int, width: int) -> bool:
    return bits >> (_FRACTION[width] - 1) & 1 == 1


def _is_canonical(bits: int, width: int) -> bool:
    fraction = _FRACTION[width]
    return bits & ((1 << fraction) - 1) == 1 << (fraction - 1)


def _unmapped(function: OperatorFunction, chunk: bytes, memory: bytes) -> bytes:
    """Undoes what a shape did to the operator's own result, so that its NaNs can be seen."""
    shape = function.name.partition("/")[2].partition(":")[0]
    if shape == "not":
        return bytes(255 - byte for byte in chunk)
    if shape == "bitselect-mask":
        start = INPUT_OFFSET + SLOT_SIZE * ARMS[0]
        arm = memory[start : start + SLOT]
        return bytes(255 - (byte ^ one) for byte, one in zip(chunk, arm, strict=True))
    return chunk


def same_but_for_nans(
    function: OperatorFunction, case: bytes, memory: bytes, one: bytes, other: bytes
) -> bool:
    """Whether two log entries differ in nothing but NaN bits that the specification leaves open.

    Args:
        function: what ran.
        case: its operand slots.
        memory: the window before the case (`cases.template`).
        one: memory after the case.
        other: the same of the other engine.
    """
    if one == other:
        return True
    if _MAKES_NAN.search(function.body) is None:
        return False
    widths = [width for width in (32, 64) if f"f{width}" in function.body]
    closed: bool | None = None
    for start in _differing(one, other, 0, len(one)):
        pair = [_unmapped(function, each[start : start + SLOT], memory) for each in (one, other)]
        fitting = [width for width in widths if _only_nans_differ(pair, width)]
        if not fitting:
            return False
        if all(_all_canonical(pair, width) for width in fitting):
            continue
        if closed is None:
            closed = _only_canonical_operands(function, case, widths)
        if closed:
            return False
    return True


def _differing(one: bytes, other: bytes, start: int, end: int) -> Iterator[int]:
    """Yields the places of the 16-byte pieces that differ."""
    if one[start:end] == other[start:end]:
        return
    if end - start <= SLOT:
        yield start
        return
    middle = start + (end - start) // (2 * SLOT) * SLOT
    yield from _differing(one, other, start, middle)
    yield from _differing(one, other, middle, end)


def _only_canonical_operands(
    function: OperatorFunction, case: bytes, widths: Sequence[int]
) -> bool:
    """Whether no operand can be a NaN that is not canonical."""
    # A constant's lanes may be NaNs of any kind, and so may lanes that are made of narrower ones;
    # what other operands hold is known. Some shapes load from the middle of a slot, at a multiple
    # of 4.
    return _MADE.search(function.body) is None and not any(
        _is_nan(bits, width) and not _is_canonical(bits, width)
        for width in widths
        for start in range(0, len(case) - width // 8 + 1, 4)
        for bits in (int.from_bytes(case[start : start + width // 8], "little"),)
    )


def _lanes(pair: Sequence[bytes], width: int) -> Iterator[tuple[int, int]]:
    """Yields the lanes that differ."""
    size = width // 8
    for start in range(0, SLOT, size):
        left, right = (int.from_bytes(each[start : start + size], "little") for each in pair)
        if left != right:
            yield left, right


def _only_nans_differ(pair: Sequence[bytes], width: int) -> bool:
    return all(
        _is_nan(bits, width) and _is_quiet(bits, width)
        for lanes in _lanes(pair, width)
        for bits in lanes
    )


def _all_canonical(pair: Sequence[bytes], width: int) -> bool:
    return all(_is_canonical(bits, width) for lanes in _lanes(pair, width) for bits in lanes)

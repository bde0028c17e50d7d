"""A function's arguments and results as text, as the wasmtime command takes and prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cpuprobe.wasm.request import Request, Stop, clean
from cpuprobe.words import counted


def parse_arguments(kinds: Sequence[Any], request: Request) -> list[Any]:
    """A function's arguments from text.

    Raises:
        Stop: there are too few or too many, or one does not fit its type.
    """
    name = clean(request.invoke or "")
    if len(kinds) != len(request.args):
        given = len(request.args)
        raise Stop(
            "usage", f"--invoke {name}: takes {counted(len(kinds), 'argument')}, not {given}"
        )
    values: list[Any] = []
    for kind, text in zip((str(each) for each in kinds), request.args, strict=True):
        try:
            values.append(_parse(kind, text))
        except ValueError:
            raise Stop("usage", f"--invoke {name}: {clean(text)!r} is no {kind}") from None
    return values


def _parse(kind: str, text: str) -> Any:
    if kind in ("i32", "i64"):
        return in_range(text, int(kind[1:]))
    if kind in ("f32", "f64"):
        return float(text)
    raise ValueError


def in_range(text: str, bits: int, signed: bool | None = None) -> int:
    """A whole number of so many bits, in decimal or with 0x, 0o, 0b.

    Args:
        text: what was typed.
        bits: its size.
        signed: which numbers fit; None: those of either kind, told as signed.

    Raises:
        ValueError: it is not a number, or does not fit.
    """
    value, half = int(text, 0), 1 << bits - 1
    if not (0 if signed is False else -half) <= value < (half if signed else half * 2):
        raise ValueError
    return value - half * 2 if signed is None and value >= half else value


def spell(value: Any, kind: str) -> str:
    """A result as the wasmtime command prints it: Rust's `{}`, which never uses an exponent."""
    if not isinstance(value, float):
        return clean(str(value))
    import math
    import struct
    from decimal import Decimal

    if math.isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    if kind == "f32":
        # As few digits as lead back to the same 32 bits.
        text = next(
            short
            for digits in range(1, 18)
            if struct.pack("f", float(short := f"{value:.{digits}g}")) == struct.pack("f", value)
        )
    plain = format(Decimal(text), "f")
    return plain.removesuffix(".0") if "." in plain else plain

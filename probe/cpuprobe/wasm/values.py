"""A function's arguments and results as text, as the wasmtime command takes and prints them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cpuprobe.wasm.request import Request, Stop, clean


def parse_arguments(kinds: Sequence[Any], request: Request) -> list[Any]:
    """A function's arguments from text.

    Raises:
        Stop: there are too few or too many, or one does not fit its type.
    """
    name = clean(request.invoke or "")
    if len(kinds) != len(request.args):
        given = len(request.args)
        raise Stop("usage", f"--invoke {name}: takes {len(kinds)} arguments, not {given}")
    values: list[Any] = []
    for kind, text in zip((str(each) for each in kinds), request.args, strict=True):
        try:
            values.append(_parse(kind, text))
        except ValueError:
            raise Stop("usage", f"--invoke {name}: {clean(text)!r} is no {kind}") from None
    return values


def _parse(kind: str, text: str) -> Any:
    if kind in ("i32", "i64"):
        bits = int(kind[1:])
        value = int(text, 0)
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise ValueError
        return value - (1 << bits) if value >= 1 << bits - 1 else value
    if kind in ("f32", "f64"):
        return float(text)
    raise ValueError


def spell(value: Any, kind: str) -> str:
    """A result as the wasmtime command prints it: Rust's `{}`, which never uses an exponent."""
    if not isinstance(value, float):
        return clean(str(value))
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

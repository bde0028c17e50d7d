"""Text: one capture, JSON lines or an array of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece

_PIECE = 1 << 20


def text_pieces(file: Any, label: str, name: str, budget: Budget) -> Iterator[Piece | Skipped]:
    """The captures of a text.

    Args:
        file: to be read, from where it stands.
        label: what to call it.
        name: what it is called without its packing, which tells JSON lines.
        budget: what it may cost.

    Raises:
        CaptureError: it costs more.
    """
    if name.endswith((".jsonl", ".ndjson")):
        yield from _lines(file, label, 1, budget)
        return
    first = file.readline(budget.capture + 1)
    # A report on one line, and another behind it, or an object that wraps a capture.
    if first.lstrip()[:1] == b"{" and len(first) <= budget.capture and _is_json(first):
        number, second = 2, file.readline(budget.capture + 1)
        while second and not second.strip():
            budget.waste(len(second), 1)
            number, second = number + 1, file.readline(budget.capture + 1)
        if not second:
            yield Piece(label, first, wrapped=True)
            return
        if second.lstrip()[:1] == b"{":
            yield Piece(f"{label}:1", first, wrapped=True)
            yield from _line(file, second, label, number, budget)
            yield from _lines(file, label, number + 1, budget)
            return
        first += second
    content = first + file.read(max(0, budget.capture + 1 - len(first)))
    if len(content) > budget.capture:
        budget.waste(len(content), 1)
        yield Skipped(label, budget.too_large, "size")
        return
    if content.lstrip()[:1] == b"[":
        elements = _array(content)
        if elements is not None:
            for number, element in enumerate(elements, 1):
                yield Piece(f"{label}:{number}", bytes(element), wrapped=True)
            return
    yield Piece(label, content)


def _lines(file: Any, label: str, number: int, budget: Budget) -> Iterator[Piece | Skipped]:
    while line := file.readline(budget.capture + 1):
        yield from _line(file, line, label, number, budget)
        number += 1


def _line(
    file: Any, line: bytes, label: str, number: int, budget: Budget
) -> Iterator[Piece | Skipped]:
    if len(line) > budget.capture:
        while line and not line.endswith(b"\n"):
            budget.waste(len(line))
            line = file.readline(_PIECE)
        yield Skipped(f"{label}:{number}", budget.too_large, "size")
    elif line.strip():
        budget.earn()
        yield Piece(f"{label}:{number}", line, wrapped=True)
    else:
        budget.waste(len(line), 1)


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _array(content: bytes) -> list[msgspec.Raw] | None:
    """The objects of an array; None if it is something else, say a log of the kernel."""
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    return elements if all(bytes(each[:1]) == b"{" for each in map(bytes, elements)) else None

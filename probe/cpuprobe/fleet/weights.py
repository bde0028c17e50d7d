"""How much a machine counts: what a weight may be, and the user's file of them."""

from __future__ import annotations

import csv
import io
from decimal import Decimal, InvalidOperation

from cpuprobe.errors import CaptureError
from cpuprobe.files import read_bounded

MAXIMUM = 10**9
SCALE = 6
"""Decimal places. Weights are decimal numbers, so that every backend adds them up exactly."""

_UNIT = Decimal(1).scaleb(-SCALE)
_MAXIMUM_BYTES = 16 << 20
_MAXIMUM_FIELD = 1000


def to_weight(value: object) -> Decimal:
    """A weight of any source as a decimal number with six places.

    Raises:
        CaptureError: it is no number, or not within 0.000001 to 1,000,000,000.
    """
    try:
        weight = Decimal(str(value))
        inside = _UNIT <= weight <= MAXIMUM  # false for NaN too, where it does not raise
    except (InvalidOperation, ValueError):
        inside = False
    if not inside:
        shown = " ".join(str(value)[:40].split())
        raise CaptureError(f"weight {shown!r}: not a number from 0.000001 to 1,000,000,000")
    return weight.quantize(_UNIT)


class Weights:
    """A file of weights: each line names captures, or a CPU model, and says what one counts."""

    def __init__(self, rows: dict[str, Decimal]) -> None:
        """Keep `rows`: the name of a capture or a CPU's brand string, to its weight."""
        self._rows = rows
        self._met: set[str] = set()

    def of(self, label: str, own: Decimal | None, model: str) -> Decimal:
        """The weight of a capture.

        The file's line for its name comes first (the whole name, then what follows the last `/`),
        then the weight that it carries itself, then the file's line for its CPU model, then 1.
        """
        for name in (label, label.rpartition("/")[2]):
            if name in self._rows:
                self._met.add(name)
                return self._rows[name]
        if own is None and model in self._rows:
            self._met.add(model)
            return self._rows[model]
        return Decimal(1).quantize(_UNIT) if own is None else own

    @property
    def unmet(self) -> list[str]:
        """Names that no capture has had, in the order of the file."""
        return [name for name in self._rows if name not in self._met]


def read_weights(path: str) -> Weights:
    """Reads CSV of two columns, name and weight; a first line without a number is a heading.

    Raises:
        CaptureError: it cannot be read, or a line is not so; with the number of the line.
    """
    name, content = read_bounded(path, _MAXIMUM_BYTES, ", no file of weights is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaptureError(f"{name}: not UTF-8 at byte {error.start}") from None
    rows: dict[str, Decimal] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            if fields:
                _add(rows, fields, first=not rows and reader.line_num == 1)
    except (csv.Error, CaptureError) as error:
        raise CaptureError(f"{name}: line {reader.line_num}: {error}") from None
    if not rows:
        raise CaptureError(f"{name}: no line with a name and a weight")
    return Weights(rows)


def _add(rows: dict[str, Decimal], fields: list[str], *, first: bool) -> None:
    if len(fields) != 2 or not fields[0].strip() or len(fields[0]) > _MAXIMUM_FIELD:
        raise CaptureError("not a name and a weight with a comma between them")
    name, number = " ".join(fields[0].split()), fields[1].strip()
    try:
        weight = to_weight(number)
    except CaptureError:
        if first and not any(character.isdigit() for character in number):
            return  # the heading
        raise
    if name in rows:
        raise CaptureError(f"{name!r} stands twice")
    rows[name] = weight

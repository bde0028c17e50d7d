"""What a reader of files gives: captures and why others cannot be had; and what it may cost."""

from __future__ import annotations

import re
from typing import NamedTuple

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.read import MAXIMUM_BYTES
from cpuprobe.words import plain

MAXIMUM_LABEL = 300

# What would tell a user's name in an archive of a whole home directory.
_HOME = re.compile(r"^(?:\.?/)*(?:(?:home|Users)/[^/]+|root)/")
_WASTED_BYTES = 1 << 30
_WASTED_ITEMS = 50_000


class Piece(NamedTuple):
    """One capture.

    Attributes:
        label: what to call it: relative to what the user named.
        content: its bytes, or a line of JSON that holds it.
        wrapped: whether the content may be an object with `capture`, `weight` and `machine`.
        weight: what it counts, where its source says so.
    """

    label: str
    content: bytes
    wrapped: bool = False
    weight: str | None = None


class Budget:
    """What may be read of a file without a capture coming of it.

    A few kilobytes unpack to gigabytes of nothing. A capture earns a little back, so that a large
    archive with much else in it is read to its end.
    """

    def __init__(
        self,
        size: int = _WASTED_BYTES,
        items: int = _WASTED_ITEMS,
        capture: int = MAXIMUM_BYTES,
    ) -> None:
        """So many bytes, so many headers and lines; and how large one capture may be."""
        self.capture = capture
        self._bytes, self._items = self._most = size, items

    @property
    def too_large(self) -> str:
        """Why a capture is left out that is larger."""
        return f"larger than {self.capture >> 20} MiB, no capture is"

    def waste(self, size: int = 0, items: int = 0) -> None:
        """Takes note of bytes, headers and lines that are no capture's.

        Raises:
            CaptureError: it was too much.
        """
        self._bytes -= size
        self._items -= items
        if self._bytes < 0 or self._items < 0:
            size, items = self._most
            raise CaptureError(
                f"given up: more than {size >> 20:,} MiB or {items:,} headers and lines that "
                "hold no capture"
            )

    def earn(self) -> None:
        """Takes note of a capture."""
        self._bytes = min(self._bytes + (256 << 10), self._most[0])
        self._items = min(self._items + 16, self._most[1])


def label_of(text: str) -> str:
    """A name from outside as one short harmless line without a home directory in it."""
    return plain(_HOME.sub("", text))[:MAXIMUM_LABEL]


def why_of(error: BaseException) -> str:
    """What went wrong, as one line."""
    return plain(str(error))[:120] or type(error).__name__

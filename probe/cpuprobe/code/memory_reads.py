"""Where code may read static memory: only where the package has its extension."""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cpuprobe.code.functions import HIGHEST
from cpuprobe.code.lists import Pairs, filled, pairs
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.program import CodeBytes

_AT_FIRST = 1 << 16
"""Reads for which there is room, before it is known how many there are."""
_LONGEST_BEHIND = 4
"""Bytes of an immediate that may stand behind the address."""


def reads(
    code: Sequence[CodeBytes],
    spans: Collection[tuple[int, int]] | None,
    low: int = 0,
    high: int = HIGHEST,
) -> Pairs:
    """Static memory between two addresses, and where the instructions are that may read it.

    Args:
        code: of a file.
        spans: what of it is looked at: where each begins and ends; None: all of it.
        low: the first address.
        high: the one behind the last.
    """
    low, high = max(low, 0), min(max(high, 0), HIGHEST)

    ordered = sorted(spans or ())

    def fill(found: Any) -> None:
        for each in code:
            data, size = ffi.from_buffer("uint8_t[]", each.data), len(each.data)
            inside = slice(*(bisect_left(ordered, (at,)) for at in each.span))
            for start, end in [each.span] if spans is None else ordered[inside]:
                first, last = start - each.address, min(end - each.address, size)
                if first < last:
                    lib.links_reads(data, first, last, each.address, low, high, found)

    return pairs(*filled(fill, _AT_FIRST))


def readers(code: Sequence[CodeBytes], low: int, high: int) -> Iterator[int]:
    """The addresses of instructions that may read static memory between two addresses.

    All code is gone through: for the few addresses of which it matters.
    """
    yield from reads(code, None, low - _LONGEST_BEHIND, high).values
    for each in code if high < 1 << 31 else ():  # where nothing moves, it may be an immediate
        for match in re.finditer(re.escape(struct.pack("<I", low)), each.data):
            yield each.address + match.start() - 1

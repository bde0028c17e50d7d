"""Where in some bytes an instruction of certain forms may begin: found without decoding them.

Each form has bytes of its own. Bytes that hold these at no offset hold no such instruction, in
whatever way they are cut into instructions. A search is many times faster than a decoder, and most
functions of most files are done with it.

What is found is the first byte of what is searched for: an escape, a VEX, EVEX or XOP prefix, or
the opcode. Legacy prefixes and REX stand before it. Such a candidate proves nothing; that there is
none is sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WINDOW = 1 << 18
"""Bytes that are searched at once: in hostile ones every byte can be a candidate."""
_REACH = 8
"""No pattern looks further than 6 bytes from its first."""


def candidate_offsets(
    searches: Iterable[re.Pattern[bytes]], data: bytes, start: int, end: int, most: int
) -> list[int] | None:
    """The candidates in data[start:end], in order; None if there are too many.

    Args:
        searches: patterns of first bytes (cpuprobe.code.forms).
        data: may go on before and behind.
        start: the first offset.
        end: the offset behind the last.
        most: more than these are too many; a window's worth may be held before that shows.
    """
    found: list[int] = []
    for low in range(start, end, WINDOW):
        high = min(low + WINDOW, end)
        for each in searches:
            found += [match.start() for match in each.finditer(data, low, high + _REACH)]
        found.sort()
        while found and found[-1] >= high:
            found.pop()
        if len(found) > most:
            return None
    return found

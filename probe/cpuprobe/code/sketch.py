"""A few numbers by which two builds of one file know each other: a bottom-k sketch of its names.

Of the names in its string tables those are kept whose hashes are smallest (A. Broder, On the
resemblance and containment of documents, 1997): files with most names in common share most of them.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections.abc import Iterable

KEPT = 64
MOST_BYTES = 4 << 20
"""Bytes of string tables that are looked at, the first ones."""
_NAME = re.compile(rb"[!-~]{4,}")


def sketch(tables: Iterable[bytes]) -> tuple[int, ...]:
    """The sketch of what stands in some string tables; empty where there are no names.

    Args:
        tables: names with NUL bytes between.
    """
    hashes: set[int] = set()
    left = MOST_BYTES
    for table in tables:
        hashes.update(map(zlib.crc32, _NAME.findall(table[:left])))
        left -= min(left, len(table))
    return tuple(heapq.nsmallest(KEPT, hashes))

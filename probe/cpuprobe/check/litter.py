"""What is left of files that were judged: in cycles, for sections know their file, and it them.

`check` has Python not look for cycles; so it is done here, before what is left is much.
"""

from __future__ import annotations

import gc

MOST = 64 << 20
"""Bytes of files after which it is done."""

_left = [0]


def drop(size: int) -> None:
    """So many bytes of files were judged, and nothing refers to them any more."""
    _left[0] += size
    if _left[0] > MOST:
        _left[0] = 0
        gc.collect()

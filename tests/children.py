"""The child processes of this one, which no test may add to, or of another."""

from __future__ import annotations

import os
from pathlib import Path


def children(parent: int | None = None) -> dict[int, str]:
    """Process number to command, of those whose parent it is (proc(5), stat).

    Args:
        parent: its number; None for this process.
    """
    parent = os.getpid() if parent is None else parent
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(after.split()[1]) == parent:
                found[int(entry.name)] = before.partition("(")[2]
    return found

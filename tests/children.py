"""The child processes of this one, which no test may add to."""

from __future__ import annotations

import os
from pathlib import Path


def children() -> dict[int, str]:
    """Process number to command, of those whose parent is this process (proc(5), stat)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(after.split()[1]) == os.getpid():
                found[int(entry.name)] = before.partition("(")[2]
    return found

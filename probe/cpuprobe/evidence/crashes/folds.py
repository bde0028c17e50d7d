"""Lines that a program itself breaks in two, whole again."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Each: how the first line ends or begins, and how the second begins.
_FOLDS = (
    # gdb breaks a frame before `from` and `at`.
    (
        re.compile(r"^(?:#\d{1,4} |0x[0-9a-f]{1,16} in ).*(?:\)|\(\)|>)$", re.IGNORECASE),
        re.compile(r"^(?:from /|at \S+:\d)"),
    ),
    # Linux up to 5.x may put the place of a trap on a line of its own, with a time stamp.
    (
        re.compile(r"\bip:[0-9a-f]{1,16} sp:[0-9a-f]{1,16} error:[0-9a-f]{1,8}$", re.IGNORECASE),
        re.compile(
            r"^(?:\[[ +\d.]{3,20}\]\s*)?(?=in [^\[\]\n]{1,255}\[[0-9a-f]{1,16}\+)", re.IGNORECASE
        ),
    ),
)


def unfolded(lines: Sequence[str]) -> list[str]:
    """The lines, those that belong together joined by a blank."""
    whole: list[str] = []
    for line in lines:
        for first, second in _FOLDS if whole and len(line) < 1024 else ():
            start = second.match(line)
            if start is not None and len(whole[-1]) < 1024 and first.search(whole[-1]) is not None:
                rest = line[start.end() :] if start[0].startswith("[") else line
                whole[-1] = f"{whole[-1]} {rest}"
                break
        else:
            whole.append(line)
    return whole

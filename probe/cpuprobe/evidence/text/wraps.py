"""Texts that were broken at a width, as a terminal or a mail program does: whole again.

Whether a line was broken there cannot be told from the text alone. These are the readings that are
possible; the reader takes the one that tells it most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cpuprobe.evidence.text.prefixes import without_quotes

_NARROWEST, _WIDEST = 60, 250
MAXIMUM_TEXT = 1 << 20


def readings(text: str) -> Iterator[str]:
    """The text as it stands, then joined where it is full to its width, then at blanks.

    Args:
        text: with plain line ends, and nothing taken off its lines yet.
    """
    yield text
    lines = text.split("\n")
    if all(line.startswith(">") for line in lines if line.strip()):
        lines = without_quotes(text).split("\n")  # a mail was wrapped before it was quoted
    width = max(map(len, lines), default=0)
    if len(text) > MAXIMUM_TEXT or not _NARROWEST <= width <= _WIDEST or len(lines) < 2:
        return
    yield _joined(lines, width, "")
    yield _joined(lines, width, " ")


def _joined(lines: list[str], width: int, between: str) -> str:
    whole = [lines[0]]
    for before, line in pairwise(lines):
        if between:
            # The first word of the next line did not fit any more.
            first = line.split(None, 1)[:1]
            broken = bool(first and before) and len(before) + 1 + len(first[0]) > width
        else:
            broken = len(before) == width
        if broken:
            whole[-1] += between + (line.lstrip() if between else line)
        else:
            whole.append(line)
    return "\n".join(whole)

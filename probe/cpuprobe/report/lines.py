"""Text of at most WIDTH columns for pages that are made without Rich. Pure."""

from __future__ import annotations

import textwrap

WIDTH = 100


def printable(text: str) -> str:
    """What may go to a terminal: names and words that come from elsewhere."""
    return "".join(c if c.isprintable() else "?" for c in text)


def wrapped(text: str, first: str, rest: str) -> list[str]:
    """Text as lines.

    Args:
        text: what to wrap; words with hyphens stay whole.
        first: what stands before the first line.
        rest: what stands before the others.
    """
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def cut(line: str) -> str:
    """A line that is not longer than the width, its end left out if it must be."""
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."

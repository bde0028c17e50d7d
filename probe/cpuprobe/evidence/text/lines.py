"""The one way in for pasted text: bytes -> clean text -> lines.

What a reporter pastes is rarely the bare data: a mail quotes it, a page wraps it in tags, a shell
writes UTF-16, a log puts a stamp before each line. `clean(text)` takes all of that off, in
small steps that know nothing of what the text is about; a new wrapper is one more step. Beyond
MAXIMUM_PASTE, where nobody pastes, a text is a file as some program wrote it, and only its line
ends are made alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import overload

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.text.decode import plain_characters, plain_line_ends
from cpuprobe.evidence.text.markup import (
    opened_dicts,
    opened_strings,
    without_colour,
    without_entities,
    without_markdown,
    without_soft_breaks,
    without_tags,
)
from cpuprobe.evidence.text.prefixes import without_prefixes, without_quotes

MAXIMUM_PASTE = 4 << 20
MAXIMUM_LINES = 2_000_000  # 65,536 CPUs of /proc/cpuinfo are 1.8 million
MAXIMUM_LINE = 1 << 16

# The order matters: what stands in a string has colours, tags and quotes of its own; an entity may
# be a quote mark, and a quote may stand before or behind a stamp.
STEPS = (
    opened_strings,
    without_colour,
    plain_line_ends,
    plain_characters,
    without_soft_breaks,
    without_tags,
    without_entities,
    plain_characters,
    without_quotes,
    without_prefixes,
    without_quotes,
    opened_dicts,
    without_markdown,
)


def clean(text: str) -> str:
    """A decoded text without anything that was put around or before its lines.

    Indentation and blanks at the end stay, for they tell how a long line was wrapped; fences and
    rules of tables become empty lines.
    """
    if len(text) > MAXIMUM_PASTE:
        return plain_line_ends(text)
    for step in STEPS:
        text = step(text)
    return text


def lines_of(text: str) -> Sequence[str]:
    """The lines of a clean text, those of more than MAXIMUM_LINE characters left out.

    Raises:
        CaptureError: there are more lines than any capture has.
    """
    if text.count("\n") >= MAXIMUM_LINES:
        raise CaptureError(f"more than {MAXIMUM_LINES:,} lines, no capture has so many")
    if len(text) <= MAXIMUM_LINE:
        return text.split("\n")
    if len(text) > MAXIMUM_PASTE:
        return LinesOfFile(text)
    return [line for line in text.split("\n") if len(line) <= MAXIMUM_LINE]


class LinesOfFile(Sequence[str]):
    """The lines of a large text, cut out when asked for: a string costs 49 bytes more."""

    def __init__(self, text: str) -> None:
        """Find where they begin and end."""
        self._text = text
        self._starts = array("Q")
        self._ends = array("Q")
        self._left_out = False
        start = 0
        while start <= len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            if end - start <= MAXIMUM_LINE:
                self._starts.append(start)
                self._ends.append(end)
            else:
                self._left_out = True
            start = end + 1

    @property
    def text(self) -> str:
        """The lines as one text: nothing need be looked for in those that are left out."""
        return "\n".join(self) if self._left_out else self._text

    def __len__(self) -> int:
        """How many there are, those left out not counted."""
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """One, or several, without their ends."""
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return self._text[self._starts[place] : self._ends[place]]

"""Lines with styles, and tables of them, for a terminal of any width. Pure.

What stands in them may come from anywhere: it is made visible before its width is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cpuprobe.words import visible


class Styled(NamedTuple):
    """A piece of a line; the style is words of bold, dim, red, green, yellow, cyan."""

    text: str
    style: str = ""


Line = str | tuple[str | Styled, ...]
Cell = Line | list[Line]
"""What stands in a table: a line, or several that begin anew."""

_WORD = re.compile(r"\s*\S+\s*")


def pieces(line: Line) -> list[Styled]:
    """The pieces of a line, made visible."""
    parts = (line,) if isinstance(line, str) else line
    found = [Styled(part) if isinstance(part, str) else part for part in parts]
    return [Styled(visible(each.text), each.style) for each in found if each.text]


def text_of(line: Line) -> str:
    """A line without its styles."""
    return "".join(each.text for each in pieces(line))


def cells(text: str) -> int:
    """How many columns of a terminal a visible text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def clip(text: str, width: int) -> str:
    """The beginning of a visible text, as much as takes at most so many columns."""
    text = text[:width]
    while cells(text) > width:
        text = text[:-1]
    return text


def fold(line: Line, width: int) -> list[Line]:
    """A line as lines no wider than that, broken at blanks, or within words without any."""
    parts = pieces(line)
    whole = "".join(each.text for each in parts)
    if cells(whole) <= width:
        return [tuple(parts)]
    return [_cut(parts, start, end) for start, end in _breaks(whole, max(width, 1))]


def _breaks(text: str, width: int) -> Iterator[tuple[int, int]]:
    start = end = 0
    for match in _WORD.finditer(text):
        word = match[0].rstrip()
        if cells(text[start : match.start()]) + cells(word) > width and match.start() > start:
            yield start, end
            start = match.start()
        while cells(text[start : match.start() + len(word)]) > width:
            most = next(n for n in range(len(text)) if cells(text[start : start + n + 1]) > width)
            yield start, start + max(most, 1)
            start += max(most, 1)
        end = match.start() + len(word)
    if end > start:
        yield start, end


def _cut(parts: Sequence[Styled], start: int, end: int) -> Line:
    found, at = [], 0
    for text, style in parts:
        piece = text[max(start - at, 0) : max(end - at, 0)]
        found += [Styled(piece, style)] if piece else []
        at += len(text)
    return tuple(found)


def paragraph(line: Line, width: int, lead: Line = "", indent: int | None = None) -> Iterator[Line]:
    """A line folded, with something before its first line and as much room before the others.

    Args:
        line: what to fold.
        width: of the whole.
        lead: stands before the first line.
        indent: columns that the lead takes; None: as many as it has.
    """
    before = pieces(lead)
    taken = cells(text_of(lead))
    room = taken if indent is None else indent
    for number, each in enumerate(fold(line, width - room)):
        blank = " " * (room if number else room - taken)
        yield (*(() if number else before), blank, *pieces(each))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, right: int = 0
) -> Iterator[Line]:
    """Columns, two blanks apart; the widest are folded where there is no room for all.

    Args:
        headings: above the columns; all empty: there is no such row.
        rows: the cells, as many in each as there are headings.
        width: of the whole.
        right: how many columns, from the left, are numbers.
    """
    for lines in table_rows(headings, rows, width, right):
        yield from lines


def table_rows(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, right: int = 0
) -> Iterator[list[Line]]:
    """The same, row by row: the lines that each takes, the headings' first."""
    grid = [[each if isinstance(each, list) else [each] for each in row] for row in rows]
    if any(headings):
        grid.insert(0, [[(Styled(each, "bold"),)] for each in headings])
    widths = [
        max((cells(text_of(line)) for row in grid for line in row[column]), default=0)
        for column in range(len(headings))
    ]
    room = width - 2 * (len(headings) - 1)
    while sum(widths) > room and max(widths) > 1:
        widest = max(widths)
        next_to = max((each for each in widths if each < widest), default=1)
        many = widths.count(widest)
        lower = max(next_to, widest - -(-(sum(widths) - room) // many))
        widths = [min(each, max(lower, 1)) for each in widths]
    for row in grid:
        folded = [
            [part for line in cell for part in fold(line, widths[column])]
            for column, cell in enumerate(row)
        ]
        yield [
            _row([cell[at] if at < len(cell) else "" for cell in folded], widths, right)
            for at in range(max(map(len, folded)))
        ]


def _row(lines: Sequence[Line], widths: Sequence[int], right: int) -> Line:
    found: list[Styled] = []
    for column, (line, width) in enumerate(zip(lines, widths, strict=True)):
        parts = pieces(line)
        blank = Styled(" " * (width - sum(cells(each.text) for each in parts)))
        found += [blank, *parts] if column < right else [*parts, blank]
        found.append(Styled("  "))
    while found and not found[-1].text.strip():
        found.pop()
    return tuple(found)

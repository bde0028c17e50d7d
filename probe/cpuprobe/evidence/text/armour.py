"""A long word of base64 whose lines a paste has wrapped, quoted, or put behind a log's prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BETWEEN = re.compile(r"[\s>|]+")
_LAST = re.compile(r"[^A-Za-z0-9+/]*([A-Za-z0-9+/]+)")


def whole_word(text: str) -> str:
    """All of a text but blanks and quote marks: the word where nothing else stands in its lines."""
    return _BETWEEN.sub("", text)


def last_words(lines: Iterable[str]) -> str:
    """The last run of base64's letters of each line: the word where something stands before them.

    Which of the two it is only what the word holds can tell: a prefix is made of the same letters.
    """
    backwards = (_LAST.match(line[::-1]) for line in lines)
    return "".join(match[1][::-1] for match in backwards if match is not None)

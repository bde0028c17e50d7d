"""Compares what a world showed with what it should show; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Seen = Mapping[str, object]
Expect = Mapping[str, object] | Callable[[Seen], list[str]]


class _Missing:
    def __repr__(self) -> str:
        return "(nothing there)"


MISSING: Final = _Missing()
"""What a path leads to if there is nothing; expect it to say that something has to be absent."""


@dataclass(frozen=True)
class Words:
    """Expects words in a list, in an object's keys, or in a text split at spaces."""

    has: Sequence[str] = ()
    lacks: Sequence[str] = ()

    def __call__(self, value: object) -> bool:
        """Tell whether the value has all of `has` and none of `lacks`."""
        if isinstance(value, str):
            words = set(value.split())
        elif isinstance(value, (Sequence, Mapping)):
            words = {str(item) for item in value}
        else:
            return False
        return words >= set(self.has) and not words & set(self.lacks)


@dataclass(frozen=True)
class Text:
    """Expects a text in which a regular expression is found."""

    pattern: str

    def __call__(self, value: object) -> bool:
        """Tell whether the value, joined to one text if it is a list, matches."""
        if isinstance(value, (list, tuple)):
            value = "\n".join(map(str, value))
        return isinstance(value, str) and re.search(self.pattern, value) is not None


@dataclass(frozen=True)
class Not:
    """Expects anything else, absence included."""

    value: object

    def __call__(self, value: object) -> bool:
        """Tell whether the value does not meet the expectation inside."""
        return not _meets(self.value, value)


def look_up(seen: object, path: str) -> object:
    """Follow a path into parsed JSON.

    Args:
        seen: the parsed JSON.
        path: keys divided by "/", since feature names hold dots; `name[key=value]` picks the first
            object of a list whose key has that value: "assessment/findings[code=CP101]/cause".

    Returns:
        What is there, or `MISSING`.

    Raises:
        ValueError: the path is malformed.
    """
    steps = [re.fullmatch(r"([^\[\]]+)(?:\[(\w+)=([^\[\]]*)\])?", step) for step in path.split("/")]
    here = seen
    for step in steps:
        if step is None:
            raise ValueError(f"not a path: {path!r}")
        name, key, wanted = step.groups()
        if not isinstance(here, Mapping) or name not in here:
            here = MISSING
            continue
        here = here[name]
        if key is not None:
            members = here if isinstance(here, list) else []
            chosen = (m for m in members if isinstance(m, Mapping) and str(m.get(key)) == wanted)
            here = next(chosen, MISSING)
    return here


def _meets(wanted: object, value: object) -> bool:
    if isinstance(wanted, (Words, Text, Not)):
        return wanted(value)
    # 1 == True in Python, and a report that says 1 for true is wrong.
    return type(wanted) is type(value) and wanted == value


def differences(expect: Expect, seen: Seen) -> list[str]:
    """Return one line for each expectation that is not met.

    Args:
        expect: path to value or to one of the matchers above; or a function that returns the lines
            itself.
        seen: what the world showed.
    """
    if callable(expect):
        return expect(seen)
    lines = []
    for path, wanted in expect.items():
        value = look_up(seen, path)
        if not _meets(wanted, value):
            shown = repr(value)
            lines.append(f"{path} is {shown[:200]}, not {wanted!r}")
    return lines

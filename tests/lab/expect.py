"""Compares what a world showed with what it should show; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

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
class Below:
    """Expects a whole number less than another."""

    limit: int

    def __call__(self, value: object) -> bool:
        """Tell whether the value is."""
        return type(value) is int and value < self.limit


@dataclass(frozen=True)
class Codes:
    """Expects a list of findings with these codes and no others, but for those it `may` have."""

    has: Sequence[str]
    may: Sequence[str] = ()

    def __call__(self, value: object) -> bool:
        """Tell whether the codes are these."""
        if not isinstance(value, list):
            return False
        codes = {each.get("code") for each in value if isinstance(each, Mapping)}
        return set(self.has) <= codes <= {*self.has, *self.may}


@dataclass(frozen=True)
class States:
    """Expects features in states, from an assessment's `features`.

    Attributes:
        exactly: for each state that is neither usable nor absent, all the features in it; a state
            not named here has none.
        usable: some of the usable features, each of which has to be safe too.
        absent: some of the absent features.
        leaving: features whose state depends on the emulator's version.
    """

    exactly: Mapping[str, Sequence[str]] = field(default_factory=dict)
    usable: Sequence[str] = ()
    absent: Sequence[str] = ()
    leaving: Sequence[str] = ()

    def __call__(self, value: object) -> bool:
        """Tell whether all features are in the expected states, and nothing else is safe."""
        if not isinstance(value, Mapping) or not value:
            return False
        seen: dict[str, set[str]] = {}
        for name, feature in value.items():
            seen.setdefault(feature["state"], set()).add(name)
            if feature["safe"] and feature["state"] != "usable":
                return False
        usable, absent = seen.pop("usable", set()), seen.pop("absent", set())
        noteworthy = {
            state: names - set(self.leaving)
            for state, names in seen.items()
            if names - set(self.leaving)
        }
        return (
            noteworthy == {state: set(names) for state, names in self.exactly.items()}
            and set(self.usable) <= usable
            and all(value[name]["safe"] for name in self.usable)
            and set(self.absent) <= absent
        )


@dataclass(frozen=True)
class Judged:
    """Expects these features, and no others, in the states that say something of a machine.

    Attributes:
        states: state to features; what is not named is absent, unknown or unverified.
    """

    states: Mapping[str, Sequence[str]]

    def __call__(self, value: object) -> bool:
        """Tell whether they are, and nothing that is not usable is safe."""
        return isinstance(value, Mapping) and bool(value) and not self.differing(value)

    def differing(self, value: Mapping[str, Any]) -> dict[str, str]:
        """The features that are in other states, or safe without being usable."""
        wanted = {name: state for state, names in self.states.items() for name in names}
        quiet = {"absent", "unknown", "unverified"}
        return {
            name: feature["state"] + (", safe" if feature["safe"] else "")
            for name, feature in value.items()
            if feature["state"] != wanted.get(name, feature["state"])
            or (name not in wanted and feature["state"] not in quiet)
            or (feature["safe"] and feature["state"] != "usable")
        } | dict.fromkeys(wanted.keys() - value.keys(), "not there")


@dataclass(frozen=True)
class Not:
    """Expects anything else, absence included."""

    value: object

    def __call__(self, value: object) -> bool:
        """Tell whether the value does not meet the expectation inside."""
        return not _meets(self.value, value)


# A key, perhaps followed by [key=value], where the value may be a list.
_STEP = re.compile(r"([^\[\]]+)(?:\[(\w+)=(\[[^\[\]]*\]|[^\[\]]*)\])?")


def look_up(seen: object, path: str) -> object:
    """Follow a path into parsed JSON.

    Args:
        seen: the parsed JSON.
        path: keys divided by "/", since feature names hold dots; `name[key=value]` picks the first
            object of a list whose key has that value, as Python prints it:
            "assessment/findings[code=CP101]/cause", "observation/groups[cpus=[0, 1]]".

    Returns:
        What is there, or `MISSING`.

    Raises:
        ValueError: the path is malformed.
    """
    steps = [
        re.fullmatch(r"([^\[\]]+)(?:\[(\w+)=(\[[^\[\]]*\]|[^\[\]]*)\])?", step)
        for step in path.split("/")
    ]
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
    if isinstance(wanted, (Words, Text, Below, Codes, States, Judged, Not)):
        return wanted(value)
    # 1 == True in Python, and a report that says 1 for true is wrong.
    return type(wanted) is type(value) and wanted == value


def _shown(wanted: object, value: object) -> str:
    """The part of a value that the expectation is about."""
    if isinstance(wanted, Codes) and isinstance(value, list):
        return repr([each.get("code") for each in value if isinstance(each, Mapping)])
    if isinstance(wanted, Judged) and isinstance(value, Mapping):
        return repr(wanted.differing(value))
    if isinstance(wanted, States) and isinstance(value, Mapping):
        told = {
            name: feature["state"] + ("" if feature["safe"] else ", not safe")
            for name, feature in value.items()
            if feature["state"] not in ("usable", "absent")
            or (feature["state"] == "absent" and name in wanted.usable)
            or (feature["state"] == "usable" and (name in wanted.absent or not feature["safe"]))
        }
        return repr(told)
    return repr(value)


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
            lines.append(f"{path} is {_shown(wanted, value)[:400]}, not {wanted!r}")
    return lines

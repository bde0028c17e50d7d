"""The knob table: how a runtime is kept off an instruction-set extension, and what that misses.

The facts stand in `profiles/knobs.toml`, whose head explains the fields; here are the checks. How a
setting is written is in `emit.knobs`.

Errors: everything wrong with the table is a `features.TableError` of one line, naming the row.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from cpuprobe.facts.features import TableError, load_features, load_table

__all__ = [
    "Ceiling",
    "Knob",
    "Runtime",
    "dialects",
    "load_runtimes",
    "read_runtimes",
    "runtime_of_module",
]

_FILE = "knobs.toml"


class Ceiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a ladder: its name, all its features, and whether old releases lack it."""

    name: str
    features: tuple[str, ...]
    recent: bool = False


class Knob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to switch features off; the head of `profiles/knobs.toml` explains the fields."""

    knob: str
    kind: Literal["env", "option", "build", "api"]
    switches: str
    limits: tuple[str, ...]
    versions: str
    source: str
    style: Literal["items", "ceiling", "cpuid", "compiler", "fixed"]
    dialect: str | None = None
    prefix: str = ""
    item: str = ""
    deny: str = ""
    separator: str = ""
    level: str = ""
    names: dict[str, tuple[str, ...]] = {}
    stays: tuple[str, ...] = ()
    column: Literal["gcc", "llvm", "rust", "cranelift", "kernel"] | None = None
    ceilings: tuple[Ceiling, ...] = ()
    needs: dict[str, tuple[str, ...]] = {}
    implied: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    since: dict[str, str] = {}

    def names_of(self, feature: str) -> tuple[str, ...]:
        """What the runtime calls a feature; empty if it has no name for it.

        Raises KeyError for a feature that is not in features.toml.
        """
        row = load_features()[feature]
        if self.column is None:
            return self.names.get(feature, ())
        name = row.kernel.flag if self.column == "kernel" else getattr(row, self.column)
        return () if name is None else (name,)


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program or library with code for several CPUs, how to know its files, and its knobs."""

    id: str
    title: str
    modules: tuple[str, ...]
    knobs: tuple[Knob, ...] = msgspec.field(name="knob")


def load_runtimes() -> tuple[Runtime, ...]:
    """The runtimes of this installation, in the order of the table, read once and kept.

    Raises TableError if the table cannot be read or breaks a rule.
    """
    return _loaded()


@functools.cache
def _loaded() -> tuple[Runtime, ...]:
    return read_runtimes(load_table("knobs"))


def dialects() -> Mapping[str, Knob]:
    """The knob behind each `cpuprobe flags --format` that is a runtime's."""
    return {
        knob.dialect: knob
        for runtime in load_runtimes()
        for knob in runtime.knobs
        if knob.dialect is not None
    }


def runtime_of_module(name: str) -> Runtime | None:
    """The runtime whose file this is, told from its name alone.

    Args:
        name: a file name as a kernel log line, core file or minidump gives it, with or without a
            folder in Unix or Windows spelling, with or without " (deleted)".

    Returns None if no runtime of the table claims such a name.
    """
    file = re.split(r"[\\/]", name.strip().removesuffix(" (deleted)"))[-1].lower()
    for runtime in load_runtimes():
        if any(fnmatch.fnmatchcase(file, pattern.lower()) for pattern in runtime.modules):
            return runtime
    return None


# --- the rules ---


def read_runtimes(table: Mapping[str, Any], file: str = _FILE) -> tuple[Runtime, ...]:
    """The rows of a knob table, checked against every rule.

    Args:
        table: the content of `profiles/knobs.toml` as plain data.
        file: its name, for errors.

    Raises TableError, naming the row, for an unknown key, feature or placeholder, anything used
    twice, or fields that do not belong to the row's style.
    """
    for other in table:
        if other != "runtime":
            raise TableError(f"{file}: unknown key {other!r}, only [[runtime]] may stand here")
    rows = table.get("runtime")
    if not isinstance(rows, list) or not rows:
        raise TableError(f"{file}: no [[runtime]] rows")
    runtimes: list[Runtime] = []
    taken: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows, 1):
        name = row.get("id") if isinstance(row, dict) else None
        place = f"{file}: [[runtime]] row {number}" + (f" {name!r}" if name is not None else "")
        try:
            runtime = msgspec.convert(row, Runtime)
        except msgspec.ValidationError as error:
            raise TableError(f"{place}: {' '.join(str(error).split())}") from None
        claims = [("the id", runtime.id)]
        claims += [("the module pattern", pattern.lower()) for pattern in runtime.modules]
        claims += [("the dialect", knob.dialect) for knob in runtime.knobs if knob.dialect]
        for claim in claims:
            if taken.setdefault(claim, place) != place:
                raise TableError(f"{place}: {claim[0]} {claim[1]!r} is used twice")
        if not runtime.knobs:
            raise TableError(f"{place}: has no knob")
        for pattern in runtime.modules:
            if not pattern.strip("*?.") or "/" in pattern:
                raise TableError(f"{place}: the module pattern {pattern!r} is no file name")
        for knob in runtime.knobs:
            _check_knob(knob, f"{place}, knob {knob.knob!r}")
        runtimes.append(runtime)
    return tuple(runtimes)


_REQUIRED = {
    "items": frozenset({"item", "separator"}),
    "ceiling": frozenset({"prefix", "ceilings"}),
    "cpuid": frozenset({"prefix"}),
    "compiler": frozenset({"item", "deny", "separator", "level", "column", "dialect"}),
    "fixed": frozenset[str](),
}
_ALLOWED = {
    "items": frozenset({"prefix", "names", "stays", "column", "dialect"}),
    "ceiling": frozenset({"dialect"}),
    "cpuid": frozenset({"dialect"}),
    "compiler": frozenset({"prefix", "needs", "implied", "skip", "since"}),
    "fixed": frozenset[str](),
}
_ALWAYS = frozenset({"knob", "kind", "switches", "limits", "versions", "source", "style"})


def _check_knob(knob: Knob, place: str) -> None:
    features = load_features()
    for key in ("knob", "switches", "versions", "source", *(["dialect"] if knob.dialect else [])):
        text = getattr(knob, key)
        if not text or text != text.strip() or "\n" in text:
            raise TableError(f"{place}: {key} is empty, padded with blanks or more than one line")
    given = {field for field in knob.__struct_fields__ if getattr(knob, field)} - _ALWAYS
    for field in sorted(_REQUIRED[knob.style] - given):
        raise TableError(f"{place}: style {knob.style} needs {field}")
    for field in sorted(given - _REQUIRED[knob.style] - _ALLOWED[knob.style]):
        raise TableError(f"{place}: style {knob.style} has no {field}")
    if knob.style == "items" and bool(knob.names) == (knob.column is not None):
        raise TableError(f"{place}: needs either names or column")
    for key, template, word in (
        ("item", knob.item, "{name}"),
        ("deny", knob.deny, "{name}"),
        ("level", knob.level, "{level}"),
    ):
        if template and template.count(word) != 1:
            raise TableError(f"{place}: {key} must hold {word} once")
    used = [("names", name) for name in knob.names]
    used += [("since", name) for name in knob.since]
    used += [("needs", name) for name in knob.needs]
    used += [("needs", name) for names in knob.needs.values() for name in names]
    used += [("implied", name) for name in knob.implied]
    used += [("stays", name) for name in knob.stays]
    used += [("skip", name) for name in knob.skip]
    used += [("ceilings", name) for ceiling in knob.ceilings for name in ceiling.features]
    for key, feature in used:
        if feature not in features:
            raise TableError(f"{place}: {key}: unknown feature {feature!r}")
    for feature in knob.stays:
        if feature in knob.names:
            raise TableError(f"{place}: stays: {feature!r} has a name")
    for feature, names in knob.names.items():
        if not names or len(set(names)) != len(names) or not all(map(_is_word, names)):
            raise TableError(f"{place}: names of {feature!r}: empty, doubled or not a word")
    if knob.ceilings:
        titles = [ceiling.name for ceiling in knob.ceilings]
        if len(set(titles)) != len(titles) or not all(map(_is_word, titles)):
            raise TableError(f"{place}: ceilings: a name is doubled or not a word")


def _is_word(name: str) -> bool:
    return re.fullmatch(r"-?[A-Za-z0-9][\w.-]*(=\d+)?", name, re.ASCII) is not None

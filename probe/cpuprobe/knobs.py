"""The knob table: how a runtime is kept off an instruction-set extension, and what that misses.

The facts stand in `profiles/knobs.toml`, whose head explains the fields; here are the checks and
the few ways in which a setting is written, each a pure function of the table and its arguments.
`explain` asks `runtime_of_module` and `advice`; the dialects of `emit.runtimes` ask `setting` and
`allow_list`.

Errors: everything wrong with the table is a `features.TableError` of one line, naming the row.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import msgspec

from cpuprobe.features import TableError, load_features, load_levels, load_table

__all__ = [
    "Ceiling",
    "Knob",
    "Runtime",
    "advice",
    "allow_list",
    "dialects",
    "load_runtimes",
    "read_runtimes",
    "runtime_of_module",
    "setting",
    "unnamed",
]

_FILE = "knobs.toml"

# OPENSSL_ia32cap(3) of OpenSSL 3.5: each logical vector is two CPUID registers, the low one first.
_VECTORS = (
    ((0x1, 0, "edx"), (0x1, 0, "ecx")),
    ((0x7, 0, "ebx"), (0x7, 0, "ecx")),
    ((0x7, 0, "edx"), (0x7, 1, "eax")),
    ((0x7, 1, "edx"), (0x7, 1, "ebx")),
    ((0x7, 1, "ecx"), (0x24, 0, "ebx")),
)


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

    def switchable(self, feature: str) -> bool:
        """Whether the knob can take this feature away."""
        if self.style == "cpuid":
            return _vector_bit(feature) is not None
        if self.style == "ceiling":
            return any(feature in ceiling.features for ceiling in self.ceilings)
        return self.style != "fixed" and bool(self.names_of(feature))


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


def advice(runtime: Runtime, features: Iterable[str]) -> tuple[str, ...]:
    """What to do to keep a runtime off these features and off whatever builds on them.

    Returns lines without a line end: for each knob the exact setting with what it switches (or
    that it cannot switch these features), then its limits, each beginning with two blanks.
    Raises KeyError for a feature that is not in features.toml.
    """
    table = load_features()
    named = tuple(dict.fromkeys(features))
    off = {*named, *(each for name in named for each in table.dependents(name))}
    lines: list[str] = []
    for knob in runtime.knobs:
        if knob.style == "fixed":
            lines.append(f"{knob.knob}  ({knob.switches})")
        else:
            lacking = [name for name in named if not knob.switchable(name)]
            text = "" if len(lacking) == len(named) else setting(knob, off)
            if not text:
                example = f"{runtime.title}: no switch for {', '.join(named)}"
                lines.append(f"{example}; what it has looks like {knob.knob}")
                continue
            lines.append(f"{text}  ({knob.switches})")
            if lacking:
                lines.append(f"  no switch for {', '.join(lacking)}")
        lines.extend(f"  {limit}" for limit in knob.limits)
    return tuple(lines)


def setting(knob: Knob, off: Collection[str], on: Collection[str] | None = None) -> str:
    """The setting that takes features away, on one line without its end.

    Args:
        knob: a row of the table.
        off: the features to take away; those the knob has no name for are left out, see `unnamed`.
        on: the features that may be used, where they are known; a ceiling then only names what is
            among them. Without it, no ceiling is named that older releases may not know.

    Returns the empty string if the knob has nothing to say about any of `off`.
    """
    ordered = [name for name in load_features() if name in off]
    if knob.style == "fixed":
        return knob.knob
    if knob.style == "ceiling":
        return _ceiling(knob, frozenset(off), on)
    if knob.style == "cpuid":
        return _vectors(knob, ordered)
    names = [name for feature in ordered for name in knob.names_of(feature)]
    if knob.style == "compiler":
        names = [
            name
            for feature in ordered
            if feature not in knob.skip
            for name in knob.names_of(feature)
        ]
    template = knob.deny if knob.style == "compiler" else knob.item
    items = [template.replace("{name}", name) for name in _lowest(names)]
    return knob.prefix + knob.separator.join(items) if items else ""


def allow_list(knob: Knob, on: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """A compiler's flags for exactly the features in `on`: a psABI level and what goes beyond it.

    Left out are features that the compiler would not know or that bring along others outside `on`;
    denied at the end is what many names bring along, if it is not in `on`.

    Returns the flags on one line, and the features named that only newer releases know.
    """
    level, included = "x86-64", frozenset[str]()
    for each in load_levels():
        if included <= frozenset(each.features) and frozenset(each.features) <= frozenset(on):
            # GCC, Clang and rustc call the lowest level x86-64.
            level, included = each.name.removesuffix("-v1"), frozenset(each.features)
        else:
            break
    baseline = frozenset(load_levels()[0].features)
    beyond = [
        name
        for name, feature in load_features().items()
        if name in on
        and name not in included
        and name not in baseline
        and name not in knob.skip
        and not feature.hint
        and not feature.privileged
        and knob.names_of(name)
        and all(need in on for need in knob.needs.get(name, ()))
    ]
    items = [knob.item.replace("{name}", knob.names_of(name)[0]) for name in beyond]
    if items:
        denied = [
            name for implied in knob.implied if implied not in on for name in knob.names_of(implied)
        ]
        items += [knob.deny.replace("{name}", name) for name in denied]
    text = knob.level.replace("{level}", level)
    if items:
        text += f" {knob.prefix}{knob.separator.join(items)}"
    return text, tuple(name for name in beyond if name in knob.since)


def unnamed(knob: Knob, off: Collection[str]) -> tuple[str, ...]:
    """Those of the features that the setting does not reach.

    They have no switch, and neither has anything they build on, or the runtime is known to use them
    regardless. A ceiling reaches all: what stands in none of its steps, the runtime does not use.
    """
    if knob.style == "ceiling":
        return ()
    told = {feature for feature in off if knob.switchable(feature)}
    table = load_features()
    return tuple(
        name
        for name in off
        if name in knob.stays or (name not in told and not table.closure(name) & told)
    )


def _lowest(names: Iterable[str]) -> list[str]:
    """The names without repetition; of one option with several numbers (`UseAVX=2`) the lowest."""
    kept: dict[str, str] = {}
    for name in names:
        option, equals, number = name.partition("=")
        if not equals or option not in kept:
            kept.setdefault(option, name)
        elif int(number) < int(kept[option].partition("=")[2]):
            kept[option] = name
    return list(kept.values())


def _ceiling(knob: Knob, off: frozenset[str], on: Collection[str] | None) -> str:
    if not any(off & frozenset(ceiling.features) for ceiling in knob.ceilings):
        return ""
    fitting = [
        ceiling.name
        for ceiling in knob.ceilings
        if not off & frozenset(ceiling.features)
        and (not ceiling.recent if on is None else frozenset(ceiling.features) <= frozenset(on))
    ]
    return knob.prefix + fitting[-1] if fitting else ""


def _vector_bit(feature: str) -> tuple[int, int] | None:
    """Which of OpenSSL's vectors holds a feature, and the bit in it; None if none does."""
    bit = load_features()[feature].cpuid
    for number, halves in enumerate(_VECTORS):
        for half, register in enumerate(halves):
            if register == (bit.leaf, bit.subleaf, bit.register):
                return number, bit.bit + 32 * half
    return None


def _vectors(knob: Knob, off: Iterable[str]) -> str:
    masks = [0] * len(_VECTORS)
    for feature in off:
        place = _vector_bit(feature)
        if place is not None:
            masks[place[0]] |= 1 << place[1]
    if not any(masks):
        return ""
    # All of them: what is left out, some releases clear whole; ~0x0 clears nothing.
    return knob.prefix + ":".join(f"~{mask:#x}" for mask in masks)


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

"""The settings of runtimes: how each is kept off an extension, and what that misses.

The facts stand in `profiles/knobs.toml`, whose head explains the fields; its rules are checked
where it is compiled (tests/tools/tables.py). How a setting is written is in `emit.knobs`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import read_table

Line = Annotated[str, msgspec.Meta(pattern=r"\A\S(.*\S)?\Z")]
Word = Annotated[str, msgspec.Meta(pattern=r"\A-?[A-Za-z0-9][A-Za-z0-9_.-]*(=[0-9]+)?\Z")]
OfName = Annotated[str, msgspec.Meta(pattern=r"\A[^{}]*\{name\}[^{}]*\Z")]
OfLevel = Annotated[str, msgspec.Meta(pattern=r"\A[^{}]*\{level\}[^{}]*\Z")]


class Fixed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True,
    tag_field="syntax", tag="fixed",
):  # fmt: skip
    """A setting whose example is all there is; and what every setting has."""

    example: Line
    kind: Literal["env", "option", "build", "api"]
    switches: Line
    limits: tuple[str, ...]
    versions: Line
    source: Line
    dialect: Line | None = None


class Masks(Fixed, frozen=True, kw_only=True, tag="cpuid"):
    """A prefix and masks of CPUID bits (OpenSSL's logical vectors)."""

    prefix: str


class Ceiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a ladder: its name, all its features, and whether old releases lack it."""

    name: Word
    features: tuple[str, ...]
    recent: bool = False


class Ceilings(Fixed, frozen=True, kw_only=True, tag="ceiling"):
    """A prefix and the highest of some names whose features are all allowed; lowest first."""

    prefix: str
    ceilings: tuple[Ceiling, ...]


class Items(Fixed, frozen=True, kw_only=True, tag="items"):
    """A prefix and one item a name, joined by a separator."""

    item: OfName
    separator: str
    prefix: str = ""
    names: dict[str, Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]] = {}
    stays: tuple[str, ...] = ()
    column: Literal["gcc", "llvm", "rust", "cranelift", "kernel"] | None = None

    def names_of(self, feature: str) -> tuple[str, ...]:
        """What the runtime calls a feature; empty if it has no name for it.

        Raises KeyError for a feature that is not in features.toml.
        """
        row = load_features()[feature]
        if self.column is None:
            return self.names.get(feature, ())
        name = row.kernel.flag if self.column == "kernel" else getattr(row, self.column)
        return () if name is None else (name,)


class Compiler(Items, frozen=True, kw_only=True, tag="compiler"):
    """An allow-list: a level, an item for each feature beyond it, and `deny` to switch one off."""

    deny: OfName
    level: OfLevel
    needs: dict[str, tuple[str, ...]] = {}
    implied: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    since: dict[str, str] = {}


Setting = Fixed | Masks | Ceilings | Items | Compiler


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program or library with code for several CPUs, how to know its files, and its settings."""

    id: str
    title: str
    modules: tuple[str, ...]
    makes_code: bool = False
    settings: Annotated[tuple[Setting, ...], msgspec.Meta(min_length=1)] = msgspec.field(
        name="setting"
    )


@functools.cache
def load_runtimes() -> tuple[Runtime, ...]:
    """The runtimes of this installation, in the order of the table, read once and kept.

    Raises TableError if the table cannot be read.
    """
    return read_table("knobs", dict[str, tuple[Runtime, ...]])["runtime"]


def dialects() -> Mapping[str, Setting]:
    """The setting behind each `cpuprobe flags --format` that is a runtime's."""
    return {
        setting.dialect: setting
        for runtime in load_runtimes()
        for setting in runtime.settings
        if setting.dialect is not None
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

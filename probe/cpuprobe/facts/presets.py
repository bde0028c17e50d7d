"""The presets of each wasmtime version, from profiles/presets.toml: what each turns on.

A preset is a name such as `x86-64-v3` that turns on several flags at once. Nothing here asks the
installed wasmtime: the table was measured, and tests hold it against the wheel they find.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.tables import load_table
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, lookup


class Preset(msgspec.Struct, frozen=True):
    """One preset.

    Attributes:
        name: as `wasmtime_config_cranelift_flag_enable` takes it.
        description: Cranelift's own words.
        flags: every `has_*` flag of that wasmtime, and whether the preset turns it on.
    """

    name: str
    description: str
    flags: dict[str, bool]


def presets(version: str) -> dict[str, Preset]:
    """The presets for x86-64 of a version: `50` or `50.0.1`.

    Raises:
        UnknownWasmtimeError: the tables have no such version.
    """
    known = lookup(version)
    for majors, rows in preset_rows():
        if known.major in majors:
            return {name: _preset(name, row, known.flags) for name, row in rows.items()}
    raise UnknownWasmtimeError(f"the presets of wasmtime {version} are not in the table")


Rows = dict[str, tuple[str, str]]
"""Preset to Cranelift's words and the names of the flags it turns on, without `has_`."""


def preset_rows() -> Iterator[tuple[list[int], Rows]]:
    """Yields major releases and the presets that these have alike, newest first."""
    rows: Rows = {}
    for group in load_table("presets")["wasmtime"]:
        known = {**rows, **{name: tuple(row) for name, row in group["presets"].items()}}
        rows = {name: row for name, row in known.items() if name not in group["gone"]}
        yield group["majors"], rows


def _preset(name: str, row: tuple[str, str], flags: tuple[str, ...]) -> Preset:
    words, on = row
    turned_on = {f"has_{each}" for each in on.split()}
    return Preset(name, words, {flag: flag in turned_on for flag in flags})


def as_profile(preset: Preset, version: str) -> Profile:
    """A preset as a profile, so that it can be linted: the features whose flags it turns on."""
    table = load_features().by_cranelift
    on = frozenset(table[flag].name for flag, on in preset.flags.items() if on and flag in table)
    return Profile(
        name=preset.name,
        kind="preset",
        purpose=preset.description,
        source=f"the library of wasmtime {version}",
        origin=f"wasmtime {version}",
        features=on,
        preset=preset.name,
    )

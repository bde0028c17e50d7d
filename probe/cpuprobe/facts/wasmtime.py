"""What is known of each wasmtime version, from profiles/wasmtime.toml.

Nothing here imports wasmtime or starts a process: the default run can afford it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from cpuprobe.facts.tables import read_table

_TABLES = {"x86-64": "wasmtime", "aarch64": "wasmtime-aarch64"}


class UnknownWasmtimeError(ValueError):
    """profiles/wasmtime.toml has no row for this version; the message lists those it has."""


class WasmtimeVersion(msgspec.Struct, frozen=True):
    """What one wasmtime version knows of an instruction set.

    Attributes:
        major: the major version.
        flags: its `has_*` flags in its own order; setting any other aborts the process.
        refuses: flags that it accepts on no host; empty too where that was not measured.
        simd_floor: the features without which it refuses to compile wasm SIMD.
    """

    major: int
    flags: tuple[str, ...]
    refuses: tuple[str, ...] = ()
    simd_floor: tuple[str, ...] = ()


@functools.cache
def known_versions(isa: str = "x86-64") -> Mapping[int, WasmtimeVersion]:
    """Every version measured for an instruction set by its major number, newest first."""
    rows = read_table(_TABLES[isa], dict[str, tuple[WasmtimeVersion, ...]])["version"]
    return MappingProxyType({row.major: row for row in sorted(rows, key=lambda row: -row.major)})


def newest(isa: str = "x86-64") -> WasmtimeVersion:
    """The row of the newest version that was measured for an instruction set."""
    return next(iter(known_versions(isa).values()))


def nearest(version: str | None, isa: str = "x86-64") -> WasmtimeVersion:
    """The row of a version; the newest's where it was never measured, or none is named."""
    if version is None:
        return newest(isa)
    try:
        return lookup(version, isa)
    except UnknownWasmtimeError:
        return newest(isa)


def lookup(version: str, isa: str = "x86-64") -> WasmtimeVersion:
    """The row of a version: `50`, `50.0.1` and `v50` are the same.

    Raises:
        UnknownWasmtimeError: the table has no such version.
    """
    versions = known_versions(isa)
    major = version.removeprefix("v").partition(".")[0]
    if major.isascii() and major.isdecimal() and len(major) < 9 and int(major) in versions:
        return versions[int(major)]
    known = " ".join(str(number) for number in sorted(versions))
    raise UnknownWasmtimeError(f"wasmtime {version!r} is not in the table; known majors: {known}")

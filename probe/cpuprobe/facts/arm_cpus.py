"""The cores of aarch64 by MIDR_EL1: what they are called, what each has by its manual."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from cpuprobe.facts.aarch64 import load_features, load_levels
from cpuprobe.facts.tables import load_table

Part = tuple[int, int]
"""Implementer and part number of MIDR_EL1 (DDI 0487, D24.2.122)."""


class Core(NamedTuple):
    """A core that is known.

    Attributes:
        name: of its row in cpus-aarch64.toml.
        features: what every core of the kind has.
    """

    name: str
    features: frozenset[str]


def part_of(midr: int) -> Part:
    """Implementer and part number of a value of MIDR_EL1."""
    return midr >> 24 & 0xFF, midr >> 4 & 0xFFF


def core_of(part: Part) -> Core | None:
    """The core that a part number is of, None if it is not known."""
    name = _rows_by_part().get(part)
    return None if name is None else Core(name, _features_of(name))


def name_of(part: Part) -> str | None:
    """What people call a part: `Cortex-A72`; None if it is not known."""
    makers = load_table("cpu_names-aarch64")
    maker = makers.get(f"0x{part[0]:02x}")
    return None if maker is None else maker.get(f"0x{part[1]:03x}")


def maker_of(part: Part) -> str | None:
    """Who makes a part: `ARM`; None if the implementer is not known."""
    maker = load_table("cpu_names-aarch64").get(f"0x{part[0]:02x}")
    return None if maker is None else maker["vendor"]


def part_named(vendor: str, name: str) -> Part | None:
    """The part that lscpu calls so; None if it is not known, or several are called so."""
    found = [
        (int(implementer, 16), int(number, 16))
        for implementer, maker in load_table("cpu_names-aarch64").items()
        if maker.get("vendor") == vendor
        for number, called in maker.items()
        if called == name and number != "vendor"
    ]
    return found[0] if len(found) == 1 else None


@functools.cache
def _rows() -> Mapping[str, dict[str, Any]]:
    return {row["name"]: row for row in load_table("cpus-aarch64")["profile"]}


@functools.cache
def _rows_by_part() -> Mapping[Part, str]:
    found: dict[Part, str] = {}
    for name, row in _rows().items():
        for each in row.get("midr", ()):
            implementer, part = each.split("/")
            found[int(implementer, 16), int(part, 16)] = name
    return MappingProxyType(found)


@functools.cache
def _features_of(name: str) -> frozenset[str]:
    levels = {level.name: frozenset(level.features) for level in load_levels()}
    if name in levels:
        return levels[name]
    row, table = _rows()[name], load_features()
    own = frozenset(row.get("features", ()))
    closed = own.union(*(table.closure(each) for each in own))
    return closed.union(*(_features_of(base) for base in row.get("extends", ())))

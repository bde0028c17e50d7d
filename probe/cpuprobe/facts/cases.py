"""Public cases of crashes, from profiles/cases.toml, whose head explains the fields."""

from __future__ import annotations

from typing import Literal

import msgspec

from cpuprobe.facts.tables import read_table

# Why a feature is not safe on a machine, as far as cases tell it apart.
CaseCause = Literal["gds", "masked", "not enumerated", "emulator", "permission"]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One case; an empty sign is not looked at."""

    thread: str
    what: str
    cured: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    emulators: tuple[str, ...] = ()
    mnemonics: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    causes: tuple[CaseCause, ...] = ()
    verdicts: tuple[str, ...] = ()


def load_cases() -> tuple[Case, ...]:
    """The cases of this installation, in the order of the table; TableError if it is broken."""
    return read_table("cases", dict[str, tuple[Case, ...]])["case"]

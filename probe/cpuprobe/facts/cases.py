"""Public cases of crashes, from profiles/cases.toml, whose head explains the fields.

All signs of a row must hold, and what they add up to says how close it is. A signal is no sign: it
is alike in all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from cpuprobe.facts.tables import read_table

MAXIMUM_CASES = 3
# Why a feature is not safe on a machine, as far as cases tell it apart.
CaseCause = Literal[
    "gds",
    "no state",
    "masked",
    "not enumerated",
    "permission",
    "hidden by kernel",
    "wrong result",
    "uneven",
    "incoherent",
    "detector",
    "simd floor",
]
# What a finding is about: its cause says more than its code.
_OF_CAUSE: Mapping[str, CaseCause] = {
    "gds": "gds",
    "gds-likely": "gds",
    "masked": "masked",
    "kernel-quirk-rdrand": "hidden by kernel",
}
_OF_CODE: Mapping[str, CaseCause] = {
    "CP101": "no state",
    "CP103": "permission",
    "CP105": "no state",
    "CP202": "wrong result",
    "CP301": "uneven",
    "CP401": "incoherent",
    "CP502": "simd floor",
    "CP504": "detector",
}
# A name of a file says more than a feature, which says more than a verdict.
_WEIGHTS = {
    "modules": 4,
    "programs": 4,
    "functions": 4,
    "runtimes": 3,
    "emulators": 3,
    "mnemonics": 3,
    "causes": 3,
    "features": 2,
    "verdicts": 1,
}


class KnownCase(msgspec.Struct, frozen=True, kw_only=True):
    """A public case as answers name it: its thread, what it was and what cured it."""

    thread: str
    what: str
    cured: str

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        by = "" if self.cured.startswith(("no cure", "nothing to cure")) else "cured by: "
        return f"{self.thread}: {self.what}; {by}{self.cured}"


class Case(KnownCase, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row; an empty sign is not looked at."""

    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    emulators: tuple[str, ...] = ()
    mnemonics: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    causes: tuple[CaseCause, ...] = ()
    verdicts: tuple[str, ...] = ()

    @property
    def known(self) -> KnownCase:
        """The case without its signs."""
        return KnownCase(thread=self.thread, what=self.what, cured=self.cured)


@functools.cache
def load_cases() -> tuple[Case, ...]:
    """The cases of this installation, in the order of the table; TableError if it is broken."""
    return read_table("cases", dict[str, tuple[Case, ...]])["case"]


def cause_of(code: str, cause_id: str | None) -> CaseCause | None:
    """What the cases call the cause of a finding; None if none of them has it."""
    return _OF_CAUSE.get(cause_id or "") or _OF_CODE.get(code)


def like_crash(told: Mapping[str, Collection[str]]) -> tuple[KnownCase, ...]:
    """The cases whose signs all hold for a crash, the closest first, at most MAXIMUM_CASES.

    Args:
        told: what is known of the crash, by the name of the sign; in lower case.
    """
    found = [
        (-sum(weight for sign, weight in _WEIGHTS.items() if getattr(case, sign)), at, case)
        for at, case in enumerate(load_cases())
        if all(_holds(getattr(case, sign), told.get(sign, ())) for sign in _WEIGHTS)
    ]
    closest = sorted(found, key=lambda each: each[:2])[:MAXIMUM_CASES]
    return tuple(case.known for *_, case in closest)


@functools.lru_cache(maxsize=256)
def like_finding(
    code: str, cause_id: str | None, features: tuple[str, ...]
) -> tuple[KnownCase, ...]:
    """The cases that a finding on a machine is like: feature and cause fit; at most MAXIMUM_CASES.

    Those that ask for no program come first, as a machine tells of none; then those of fewer
    features.
    """
    cause = cause_of(code, cause_id)
    if cause is None:
        return ()
    told: dict[str, Collection[str]] = {"causes": (cause,), "features": features}
    found = [
        (sum(bool(getattr(case, sign)) for sign in _WEIGHTS), len(case.features), at, case)
        for at, case in enumerate(load_cases())
        if case.causes and case.features
        if all(_holds(getattr(case, sign), told[sign]) for sign in told)
    ]
    closest = sorted(found, key=lambda each: each[:3])[:MAXIMUM_CASES]
    return tuple(case.known for *_, case in closest)


def _holds(patterns: Collection[str], values: Collection[str]) -> bool:
    if not patterns:
        return True
    return any(fnmatchcase(value, pattern.lower()) for pattern in patterns for value in values)

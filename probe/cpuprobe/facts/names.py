"""What others call the features, from profiles/names.toml.

Its rules are checked where it is compiled (tests/tools/tables.py).
"""

from __future__ import annotations

import functools

import msgspec

from cpuprobe.facts.tables import load_table


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The names of one dialect.

    Attributes:
        source: where they stand.
        names: feature to name; what is missing has none.
        old: a release in use that does not know the names of `recent`.
        recent: features, or for `march` names, that `old` refuses.
        base: the model that a CPU model is built on (QEMU).
        profile: the profile of what the base has.
        off: what the base has that is no feature of the table; a compiler's names not to propose.
        beyond: a compiler's CPU to features it implies though its CPUs do not all have them.
    """

    source: str
    names: dict[str, str] = {}
    old: str = ""
    recent: tuple[str, ...] = ()
    base: str = ""
    profile: str = ""
    off: tuple[str, ...] = ()
    beyond: dict[str, tuple[str, ...]] = {}


@functools.cache
def names_of(dialect: str) -> Names:
    """The names of `qemu`, `libvirt`, `gentoo`, `nfd` or `march`. Raises KeyError for another."""
    return msgspec.convert(load_table("names")[dialect], Names)

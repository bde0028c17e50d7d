"""What a program is compiled for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

PULLEY = "pulley64"
"""Target triple of wasmtime's portable interpreter; it takes no `has_*` flag."""


class Setup(NamedTuple):
    """What the program is compiled for.

    Attributes:
        target: target triple.
        flags: every `has_*` flag with its value; empty for Pulley.
    """

    target: str
    flags: Mapping[str, bool] = MappingProxyType({})

    @property
    def on(self) -> tuple[str, ...]:
        """The flags that are on."""
        return tuple(flag for flag, value in self.flags.items() if value)

    def without(self, flags: Iterable[str]) -> Setup:
        """The same with these flags off."""
        off = frozenset(flags)
        values = {flag: value and flag not in off for flag, value in self.flags.items()}
        return Setup(self.target, values)

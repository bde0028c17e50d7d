"""Which conditions hold: what SETcc, CMOVcc and Jcc test (SDM vol. 1, appendix B)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Flags: TypeAlias = "dict[str, bool | None]"

UNKNOWN: Flags = dict.fromkeys(("zero", "sign", "carry", "overflow", "parity"))
# What conditions test, in the order of their codes (SDM vol. 1, appendix B).
_CONDITIONS: tuple[tuple[tuple[str, ...], Callable[..., bool]], ...] = (
    (("overflow",), bool),
    (("carry",), bool),
    (("zero",), bool),
    (("carry", "zero"), lambda carry, zero: carry or zero),
    (("sign",), bool),
    (("parity",), bool),  # which is never known
    (("sign", "overflow"), lambda sign, overflow: sign != overflow),
    (("zero", "sign", "overflow"), lambda zero, sign, overflow: zero or sign != overflow),
)


def holds(flags: Mapping[str, bool | None], condition: int) -> bool | None:
    """Whether a condition holds; None where that is not known.

    Args:
        flags: by their names; None: it is not known.
        condition: as iced-x86 numbers them, each before its contrary.
    """
    names, test = _CONDITIONS[(condition - 1) // 2]
    parts = [flags[name] for name in names]
    return None if None in parts else test(*parts) == bool(condition % 2)

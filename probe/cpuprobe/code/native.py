"""The code in C that reads machine code (native/scan/), where the package was built with it."""

from __future__ import annotations

from cpuprobe.extension import extension

ffi, lib = extension()

__all__ = ["NATIVE", "ffi", "lib", "name_of", "names"]

NATIVE = lib is not None
"""Whether it is here."""
_NAMES: list[str] = (
    [ffi.string(lib.scan_feature_names[at]).decode() for at in range(lib.scan_features)]
    if NATIVE
    else []
)


def name_of(number: int) -> str:
    """The name of a feature by its number in C."""
    return _NAMES[number]


def names() -> list[str]:
    """The names of all, in the order of their numbers."""
    return _NAMES

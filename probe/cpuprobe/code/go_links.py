"""How the parts of a Go program refer to each other: as elsewhere, and through closures."""

from __future__ import annotations

from cpuprobe.code.fixed_links import FixedLinks

_VALUES = 1 << 0 | 1 << 3
"""What leads to closures without variables, and to tables of methods, of which the fourth word is
the first method (runtime/runtime2.go, itab)."""
_STRUCTURES = 1 << 0 | 1 << 1 | 1 << 2
"""What leads to structures that begin with these, or with a string before."""


class GoLinks(FixedLinks):
    """Of one file."""

    leading = (_VALUES, _STRUCTURES)

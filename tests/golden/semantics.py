"""What instructions do: `execute` runs machine code on a modelled `State`, on no CPU at all.

The meanings stand in one module a family, imported here for their registration.
"""

from __future__ import annotations

from tests.golden import ciphers, extensions, general, integers, packed_floats, shuffles
from tests.golden.machine import HANDLERS, State, UnsupportedInstruction, execute

FAMILIES = (ciphers, extensions, general, integers, packed_floats, shuffles)

__all__ = ["FAMILIES", "HANDLERS", "State", "UnsupportedInstruction", "execute"]

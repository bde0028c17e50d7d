"""What a Go program says of the CPUs that it was built for.

The linker puts the build's settings into .go.buildinfo (Go 1.18 and later; Go, debug/buildinfo). A
program built for more than GOAMD64=v1 tests the CPU before anything else, and ends
(runtime/asm_amd64.s, bad_cpu): its levels are the psABI's (cmd/compile, GOAMD64).
"""

from __future__ import annotations

import re

_MAGIC = b"\xff Go buildinf:"
_INLINE = 2  # bit of the flags: the strings stand here, from offset 32 on
_SETTING = re.compile(rb"\tGOAMD64=(v[1-4])\n")
MOST = 1 << 20
"""Bytes of the section that are looked at."""


def level(content: bytes) -> str | None:
    """The psABI level that a Go program was built for; None where it does not say.

    Args:
        content: of .go.buildinfo.
    """
    if content[: len(_MAGIC)] != _MAGIC or len(content) < 32 or not content[15] & _INLINE:
        return None
    found = _SETTING.search(content[:MOST])
    return None if found is None else f"x86-64-{found[1].decode()}"

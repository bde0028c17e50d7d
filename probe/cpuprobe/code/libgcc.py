"""Where stripped files have libgcc's __cpu_model, which __builtin_cpu_supports reads.

libgcc/config/i386/cpuinfo.c and LLVM's compiler-rt/lib/builtins/cpu_model/x86.c: their
__cpu_indicator_init first looks whether the vendor is known already, compares the vendor's name,
and fills in vendor, type and subtype.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_VENDOR = b"Genu"
"""The beginning of a vendor's name, as CPUID has it in EBX."""
_FIRST = 64
"""Bytes in which the vendor is looked at first."""
# MOV of 32 bits from static memory, or CMP of it with a number; MOV of 32 or 64 bits to it.
_READ = re.compile(rb"(?:\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]|\x83\x3d)(.{4})", re.DOTALL)
_WRITTEN = re.compile(
    rb"(?:\x89[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})|\xc7\x05(.{4}).{4})", re.DOTALL
)
_RELATIVE = struct.Struct("<i").unpack
_TYPE, _SUBTYPE, FEATURES = 4, 8, 12
"""How far behind its beginning these are; the last are 32 bits, one for each feature."""
ALIGNMENT = 16
"""Of it, and of __cpu_features2, which stands beside it."""


def model(code: bytes, address: int) -> int | None:
    """Where __cpu_model is, if a function is __cpu_indicator_init; None if it is another.

    Args:
        code: the function.
        address: its own.
    """
    first = _READ.search(code, 0, min(_FIRST, len(code)))
    if first is None or _VENDOR not in code:
        return None
    behind = first.end() + (code[first.start()] == 0x83)  # an immediate
    found = address + behind + _RELATIVE(first[1])[0]
    written = set(_targets(code, address))
    return found if {found, found + _TYPE, found + _SUBTYPE} <= written else None


def _targets(code: bytes, address: int) -> Iterator[int]:
    for match in _WRITTEN.finditer(code):
        yield address + match.end() + _RELATIVE(match[1] or match[2])[0]

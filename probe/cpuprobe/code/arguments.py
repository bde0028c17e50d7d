"""What a function is handed, from how it begins."""

from __future__ import annotations

from iced_x86 import Decoder, OpKind, Register

from cpuprobe.code.program import CodeBytes

_PROLOGUE = 256
"""Bytes at a function's start in which it takes its arguments."""
_VECTOR = {
    int(getattr(Register, f"{kind}MM{number}")): number for kind in "XYZ" for number in range(32)
}
_WIDE = frozenset(
    int(getattr(Register, f"{kind}MM{number}")) for kind in "YZ" for number in range(8)
)


def takes_vectors(code: CodeBytes, start: int, end: int) -> bool:
    """Whether it reads a vector of 256 bits or more, in a register that it has not written."""
    written: set[int] = set()
    end = min(end, start + _PROLOGUE)
    for each in Decoder(64, code.between(start, end), ip=start):
        for at in range(1, each.op_count):
            register = each.op_register(at) if each.op_kind(at) == OpKind.REGISTER else 0
            if register in _WIDE and _VECTOR[register] not in written:
                return True
        if each.op0_kind == OpKind.REGISTER:
            written.add(_VECTOR.get(each.op0_register, -1))
    return False

"""What a function is handed, from how it begins."""

from __future__ import annotations

from iced_x86 import Decoder, Mnemonic, OpKind, Register

from cpuprobe.code.program import CodeBytes

_PROLOGUE = 256
"""Bytes at a function's start in which it takes its arguments."""
_VECTOR = {
    int(getattr(Register, f"{kind}MM{number}")): number for kind in "XYZ" for number in range(32)
}
_WIDE = _VECTOR.keys() - range(Register.XMM0, Register.XMM0 + 32)
_HANDED = {each for each in _WIDE if _VECTOR[each] < 8}
_FIRST = {Register.YMM0, Register.ZMM0}


def takes_vectors(code: CodeBytes, start: int, end: int) -> bool:
    """Whether it reads a vector of 256 bits or more, in a register that it has not written."""
    written: set[int] = set()
    end = min(end, start + _PROLOGUE)
    for each in Decoder(64, code.between(start, end), ip=start):
        for at in range(1, each.op_count):
            register = each.op_register(at) if each.op_kind(at) == OpKind.REGISTER else 0
            if register in _HANDED and _VECTOR[register] not in written:
                return True
        if each.op0_kind == OpKind.REGISTER:
            written.add(_VECTOR.get(each.op0_register, -1))
    return False


def leaves_vector(code: CodeBytes, start: int, end: int) -> bool:
    """Whether it returns a vector of 256 bits or more, or hands on one that it was handed.

    It writes the first register of such, and does not clear the upper halves (VZEROUPPER), as what
    no such vector comes from does; or it does that without having any.
    """
    wide = first = clears = False
    for each in Decoder(64, code.between(start, end), ip=start):
        clears |= each.mnemonic in (Mnemonic.VZEROUPPER, Mnemonic.VZEROALL)
        registers = {each.op_register(at) for at in range(each.op_count)}
        wide |= bool(registers & _WIDE)
        first |= bool(registers & _FIRST)
    return first and not clears if wide else clears

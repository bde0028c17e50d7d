"""Encodings that raise #UD on every CPU, whatever it has: no feature is missing there.

SDM vol. 2A, 2.3.2 to 2.3.5 and 2.4 (VEX: no LOCK, 66, F2, F3 or REX before it; exceptions of type
1 to 13: VEX.L and VEX.vvvv where the instruction does not use them), 2.7.11 (EVEX), LOCK in chapter
3; vol. 2D, table A-2 (opcodes that 64-bit mode has given up).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from cpuprobe.code.decode import Decoded, decode, library
from cpuprobe.code.encoding import Fields, fields

Reason = Literal["prefix", "vector length", "vvvv", "lock", "operands", "64-bit mode"]
_NAMES = {0x66: "66", 0xF2: "F2", 0xF3: "F3", 0xF0: "LOCK"}
# PUSH and POP of segments, BCD, PUSHA, POPA, 82, far CALL and JMP, INTO, AAM, D6 (SALC, now UDB).
# C4, C5, 62 and D5 begin VEX, EVEX and REX2 there.
_GIVEN_UP = frozenset(
    b"\x06\x07\x0e\x16\x17\x1e\x1f\x27\x2f\x37\x3f\x60\x61\x82\x9a\xce\xd4\xd6\xea"
)


class Invalid(NamedTuple):
    """Why an encoding is invalid, what offends, and the instruction that was probably meant.

    `value` names the prefix or the opcode, or is VEX.L as a number; empty otherwise.
    """

    reason: Reason
    value: str
    meant: Decoded


def invalid(code: bytes) -> Invalid | None:
    """Why 64-bit code is invalid by its encoding alone; None where nothing is known.

    Asked of what the decoder does not take.
    """
    found = fields(code)
    if found is None:
        return None
    if found.map == 0 and found.opcode in _GIVEN_UP:
        meant = Decoded(code[: found.at], "undecodable")
        return Invalid("64-bit mode", f"{found.opcode:02X}", meant)
    if found.kind != "legacy":
        return _before_vex(code, found) or _vector_length(code, found) or _unchecked(code, found)
    if 0xF0 in found.prefixes:
        at = found.prefixes.index(0xF0)
        plain = decode(code[:at] + code[at + 1 : 15])[0]
        if plain.mnemonic:
            return Invalid("lock", "LOCK", replace(plain, code=code[: len(plain.code) + 1]))
    return None


def _before_vex(code: bytes, found: Fields) -> Invalid | None:
    """A prefix that may not stand before VEX or EVEX."""
    bad = [byte for byte in found.prefixes if byte in _NAMES or byte & 0xF0 == 0x40]
    if not bad:
        return None
    kept = bytes(byte for byte in found.prefixes if byte not in bad)
    plain = decode(kept + code[found.start : 15])[0]
    if not plain.mnemonic:
        return None
    name = _NAMES.get(bad[-1], "REX")
    return Invalid("prefix", name, replace(plain, code=code[: len(plain.code) + len(bad)]))


def _vector_length(code: bytes, found: Fields) -> Invalid | None:
    """The instruction exists with another VEX.L only."""
    if found.kind != "vex":
        return None
    at = found.start + (1 if code[found.start] == 0xC5 else 2)
    flipped = bytearray(code)
    flipped[at] ^= 4
    plain = decode(bytes(flipped[:15]))[0]
    if not plain.mnemonic:
        return None
    return Invalid("vector length", str(found.length), replace(plain, code=code[: len(plain.code)]))


def _unchecked(code: bytes, found: Fields) -> Invalid | None:
    """What only the decoder's checks of unused fields refuse: vvvv, masks, equal registers."""
    iced = library()
    decoder = iced.Decoder(64, code[:15], iced.DecoderOptions.NO_INVALID_CHECK)
    instruction = decoder.decode()
    if instruction.is_invalid:
        return None
    at = found.start + (1 if code[found.start] == 0xC5 else 2)
    ones = bytearray(code)
    ones[at] |= 0x78
    plain = decode(bytes(ones[:15]))[0]
    reason: Reason = "vvvv" if plain.mnemonic else "operands"
    meant = plain if plain.mnemonic else Decoded(code[: instruction.len], "undecodable")
    return Invalid(reason, "", replace(meant, code=code[: instruction.len]))

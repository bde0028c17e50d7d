"""The fields of an instruction's encoding: prefixes, map, opcode, ModRM (SDM vol. 2A, chapter 2).

It knows no instruction: it tells where the fields are, for rules that the decoder does not have.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

LEGACY_PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
_MANDATORY = {0x66: 1, 0xF3: 2, 0xF2: 3}

Kind = Literal["legacy", "vex", "evex"]


class Fields(NamedTuple):
    """One instruction's encoding.

    Attributes:
        kind: how map and prefix are written.
        prefixes: the legacy prefixes before it, and REX.
        start: where VEX, EVEX or the opcode's escape begins.
        map: the opcode map's number: 1 is 0F, 2 0F38, 3 0F3A, up to 7.
        pp: the mandatory prefix: 0 none, 1 66, 2 F3, 3 F2.
        length: VEX.L or EVEX.L'L, 0 for 128 bits; W: the operand-size bit.
        opcode: the byte.
        modrm: the byte behind it, None where the code ends.
        at: where ModRM stands.
        extended: EVEX names one of APX's sixteen more general registers (document 355828, 3.1.2).
    """

    kind: Kind
    prefixes: bytes
    start: int
    map: int
    pp: int
    length: int
    w: int
    opcode: int
    modrm: int | None
    at: int
    extended: bool = False

    @property
    def of_memory(self) -> bool:
        """Whether ModRM names memory."""
        return self.modrm is not None and self.modrm < 0xC0


def fields(code: bytes) -> Fields | None:
    """The fields of 64-bit code; None where it ends before its opcode."""
    at = 0
    while at < len(code) and code[at] in LEGACY_PREFIXES:
        at += 1
    rex = code[at] if at < len(code) and code[at] & 0xF0 == 0x40 else 0
    at += bool(rex)
    prefixes, rest, extended = code[:at], code[at:], False
    if len(rest) >= 3 and rest[0] == 0xC5:
        second = rest[1]
        head = ("vex", 1, second & 3, second >> 2 & 1, 0, 2)
    elif len(rest) >= 4 and rest[0] == 0xC4:
        second = rest[2]
        head = ("vex", rest[1] & 31, second & 3, second >> 2 & 1, second >> 7, 3)
    elif len(rest) >= 5 and rest[0] == 0x62:
        head = ("evex", rest[1] & 7, rest[2] & 3, rest[3] >> 5 & 3, rest[2] >> 7, 4)
        of_memory = len(rest) > 5 and rest[5] < 0xC0
        extended = bool(rest[1] & 8) or (of_memory and not rest[2] & 4)
    else:
        return _legacy(prefixes, rest, rex)
    kind, number, pp, length, w, opcode = head
    placed = _placed(kind, prefixes, number, pp, length, w, rest, opcode)  # type: ignore[arg-type]
    return placed._replace(extended=extended)


def _legacy(prefixes: bytes, rest: bytes, rex: int) -> Fields | None:
    number, at = 0, 0
    if rest[:1] == b"\x0f":
        number, at = {0x38: (2, 2), 0x3A: (3, 2)}.get(rest[1] if len(rest) > 1 else 0, (1, 1))
    if at >= len(rest):
        return None
    # Of F2 and F3 the last counts, and before 66.
    repeat = [_MANDATORY[byte] for byte in prefixes if byte in (0xF2, 0xF3)]
    pp = repeat[-1] if repeat else int(0x66 in prefixes)
    return _placed("legacy", prefixes, number, pp, 0, rex >> 3 & 1, rest, at)


def _placed(
    kind: Kind, prefixes: bytes, number: int, pp: int, length: int, w: int, rest: bytes, at: int
) -> Fields:
    modrm = rest[at + 1] if at + 1 < len(rest) else None
    start = len(prefixes)
    return Fields(kind, prefixes, start, number, pp, length, w, rest[at], modrm, start + at + 1)


def end_of_operands(code: bytes, found: Fields) -> int | None:
    """Where the bytes behind ModRM, SIB and displacement begin; None where the code ends before."""
    if found.modrm is None:
        return None
    at, mod, rm = found.at + 1, found.modrm >> 6, found.modrm & 7
    if mod != 3 and rm == 4:
        if at >= len(code):
            return None
        if mod == 0 and code[at] & 7 == 5:
            mod = 2
        at += 1
    elif mod == 0 and rm == 5:
        mod = 2
    at += {0: 0, 1: 1, 2: 4, 3: 0}[mod]
    return at if at <= len(code) else None

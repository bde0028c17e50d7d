"""Where in some bytes an instruction of certain forms may begin: found without decoding them.

Each form has bytes of its own (SDM vol. 2A, chapter 2: opcode maps, VEX and EVEX prefixes; APM
vol. 3, section 1.2: XOP and 3DNow!). Bytes that hold these at no offset hold no such instruction,
in whatever way they are cut into instructions. A search is many times faster than a decoder, and
most functions of most files are done with it.

A spot is the first byte of what is searched for: an escape, a VEX, EVEX or XOP prefix, or the
opcode. Legacy prefixes and REX stand before it. A spot proves nothing; that there is none is sure.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from iced_x86 import (
    DecoderOptions,
    EncodingKind,
    MandatoryPrefix,
    OpCodeInfo,
    OpCodeOperandKind,
    OpCodeTableKind,
)

WINDOW = 1 << 18
"""Bytes that are searched at once: in hostile ones every byte can be a spot."""
_REACH = 8
"""No pattern looks further than 6 bytes from its spot."""

# SDM vol. 2A, sections 2.1.1 and 2.2.1.
_PREFIX = rb"[\x26\x2e\x36\x3e\x40-\x4f\x64-\x67\xf0\xf2\xf3]"
_MAPS = {
    OpCodeTableKind.T0F: 1,
    OpCodeTableKind.T0F38: 2,
    OpCodeTableKind.T0F3A: 3,
    OpCodeTableKind.MAP5: 5,
    OpCodeTableKind.MAP6: 6,
    OpCodeTableKind.MAP8: 8,
    OpCodeTableKind.MAP9: 9,
    OpCodeTableKind.MAP10: 10,
}
# The field pp of VEX, EVEX and XOP (SDM vol. 2A, table 2-9).
_PP = {
    MandatoryPrefix.NONE: 0,
    MandatoryPrefix.PNP: 0,
    MandatoryPrefix.P66: 1,
    MandatoryPrefix.PF3: 2,
    MandatoryPrefix.PF2: 3,
}


_Bytes = frozenset[int]
_ANY = _Bytes(range(256))


class _Shape(NamedTuple):
    """Bytes that many forms have in common.

    Attributes:
        spot: the first.
        prefixed: whether a prefix must stand before it.
        before: those between spot and opcode, each with the values that it can have.
        after: those behind the opcode.
    """

    spot: int
    prefixed: bool
    before: tuple[_Bytes, ...]
    after: tuple[_Bytes, ...]


def patterns(codes: Iterable[int]) -> tuple[re.Pattern[bytes], ...]:
    """What to search for, one pattern for each byte that can be a spot.

    Args:
        codes: of iced-x86. What its decoder knows only with an option set is left out.
    """
    shapes: dict[_Shape, set[int]] = {}
    for code in codes:
        form = OpCodeInfo(code)  # type: ignore[arg-type]  # iced-x86 types its constants as a class
        if not form.mode64 or form.decoder_option != DecoderOptions.NONE:
            continue
        for shape, opcodes in _shapes(form):
            shapes.setdefault(shape, set()).update(opcodes)
    choices: dict[int, list[bytes]] = {}
    seconds: dict[int, set[int]] = {}
    for shape, differing in shapes.items():
        sequence = (*shape.before, _Bytes(differing), *shape.after)
        choice = b"".join(map(_class, sequence))
        if shape.prefixed:
            choice += rb"(?<=%b\x%02x%b)" % (_PREFIX, shape.spot, b"." * len(sequence))
        choices.setdefault(shape.spot, []).append(choice)
        seconds.setdefault(shape.spot, set()).update(sequence[0])
    return tuple(
        # Nothing but the spot itself is taken: the next one may be among what follows it.
        re.compile(
            rb"\x%02x(?=%b)(?=%b)" % (spot, _class(_Bytes(seconds[spot])), b"|".join(each)),
            re.DOTALL,
        )
        for spot, each in choices.items()
    )


def spots(
    searches: Iterable[re.Pattern[bytes]], data: bytes, start: int, end: int, most: int
) -> list[int] | None:
    """The spots in data[start:end], in order; None if there are too many.

    Args:
        searches: what `patterns` made.
        data: may go on before and behind.
        start: the first offset.
        end: the offset behind the last.
        most: more than these are too many; a window's worth may be held before that shows.
    """
    found: list[int] = []
    for low in range(start, end, WINDOW):
        high = min(low + WINDOW, end)
        for each in searches:
            found += [match.start() for match in each.finditer(data, low, high + _REACH)]
        found.sort()
        while found and found[-1] >= high:
            found.pop()
        if len(found) > most:
            return None
    return found


def _shapes(form: OpCodeInfo) -> Iterator[tuple[_Shape, _Bytes]]:
    """The shapes of a form, each with the opcodes that it has there."""
    table, encoding = form.table, form.encoding
    pp = _PP[form.mandatory_prefix]
    if encoding == EncodingKind.D3NOW:  # its opcode stands behind the operands
        yield _Shape(0x0F, False, (), ()), _Bytes(b"\x0f")
        return
    if encoding == EncodingKind.LEGACY:
        opcode, second = form.op_code, _modrm(form)
        if form.op_code_len == 2:
            opcode, low = opcode >> 8, opcode & 0xFF
            # PadLock's decode with any register where the manual has the second byte's low bits.
            loose = table == OpCodeTableKind.T0F
            second = _Bytes(range(low & 0xF8, (low | 7) + 1) if loose else {low})
        if table == OpCodeTableKind.NORMAL:
            yield _Shape(opcode, False, (), ()), second
        elif table == OpCodeTableKind.T0F:
            after = () if second == _ANY else (second,)
            yield _Shape(0x0F, pp != 0, (), after), _Bytes({opcode})
        else:
            escape = b"\x38" if table == OpCodeTableKind.T0F38 else b"\x3a"
            yield _Shape(0x0F, False, (_Bytes(escape),), ()), _Bytes({opcode})
        return
    opcodes = _Bytes({form.op_code >> 8 if form.op_code_len == 2 else form.op_code})
    if encoding == EncodingKind.EVEX:
        before = _low_bits(_MAPS[table], 4), _low_bits(4 | pp, 3), _ANY
        yield _Shape(0x62, False, before, ()), opcodes
        return
    spot = 0x8F if encoding == EncodingKind.XOP else 0xC4
    yield _Shape(spot, False, (_low_bits(_MAPS[table], 5), _low_bits(pp, 2)), ()), opcodes
    if table == OpCodeTableKind.T0F:
        yield _Shape(0xC5, False, (_low_bits(pp, 2),), ()), opcodes


@functools.cache
def _low_bits(value: int, bits: int) -> _Bytes:
    """The bytes whose low bits have a value."""
    return _Bytes(range(value, 256, 1 << bits))


def _modrm(form: OpCodeInfo) -> _Bytes:
    """The ModR/M bytes that a form can have (SDM vol. 2A, section 2.1.3)."""
    if form.group_index < 0 and form.rm_group_index < 0:
        return _ANY
    end = 0xC0 if OpCodeOperandKind.MEM in form.op_kinds() else 0x100
    return _Bytes(
        byte
        for byte in range(end)
        if form.group_index in (-1, byte >> 3 & 7) and form.rm_group_index in (-1, byte & 7)
    )


@functools.cache
def _class(allowed: _Bytes) -> bytes:
    """A regular expression for one of some bytes."""
    return b"." if allowed == _ANY else b"[%b]" % b"".join(map(rb"\x%02x".__mod__, sorted(allowed)))

"""The function ranges in .eh_frame: which bytes some compiler or assembler called a function.

Layout: Linux Standard Base core specification 5.0, section 10.6; pointer encodings: the same,
section 10.5.1. Only the ranges are read, not the call-frame instructions. Hostile input ends the
reading, never the program: what was read until then counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_FORMATS = {0x0: "<Q", 0x2: "<H", 0x3: "<I", 0x4: "<Q", 0xA: "<h", 0xB: "<i", 0xC: "<q"}
_PC_RELATIVE = 0x10
_OMIT = 0xFF
_USUAL = 0x1B  # relative to itself, 32 bits: what compilers write, read without a detour
_ADDRESS = (1 << 64) - 1
_LONGEST_AUGMENTATION = 16
"""Letters; compilers write up to five."""


Unwind = tuple[int, int, bool]
"""One FDE: the function's start and end, and whether it has landing pads (an LSDA)."""


@dataclass(frozen=True, slots=True)
class _Cie:
    pointer: int
    lsda: int
    augmented: bool


class _Malformed(ValueError):
    pass


def _leb(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 of at most 10 bytes (DWARF 5, section 7.6) and the position behind it."""
    value = 0
    for count in range(10):
        if position + count >= len(data):
            break
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise _Malformed


def _pointer(data: bytes, position: int, encoding: int, address: int) -> tuple[int, int]:
    """An encoded pointer and the position behind it; `address` is where the section is loaded."""
    form = _FORMATS.get(encoding & 0x0F)
    if form is None or encoding & 0x60 or position + struct.calcsize(form) > len(data):
        raise _Malformed
    (value,) = struct.unpack_from(form, data, position)
    if encoding & 0x70 == _PC_RELATIVE and value:
        value += address + position
    return value & _ADDRESS, position + struct.calcsize(form)


_HEAD = struct.Struct("<II")
_ENTRY = struct.Struct("<IIiI")


def _cie(data: bytes, position: int, end: int) -> _Cie:
    version = data[position]
    zero = data.find(b"\0", position + 1, min(end, position + 2 + _LONGEST_AUGMENTATION))
    if zero < 0 or version not in (1, 3):
        raise _Malformed
    augmentation = data[position + 1 : zero]
    _, position = _leb(data, zero + 1)
    _, position = _leb(data, position)
    position = position + 1 if version == 1 else _leb(data, position)[1]
    if not augmentation.startswith(b"z"):
        if augmentation:
            raise _Malformed
        return _Cie(0, _OMIT, False)
    _, position = _leb(data, position)
    pointer, lsda = 0, _OMIT
    for letter in augmentation[1:]:
        if position >= end:
            raise _Malformed
        if letter == ord("R"):
            pointer, position = data[position], position + 1
        elif letter == ord("L"):
            lsda, position = data[position], position + 1
        elif letter == ord("P"):
            _, position = _pointer(data, position + 1, data[position] & 0x0F, 0)
        elif letter not in b"SB":
            raise _Malformed
    return _Cie(pointer, lsda, True)


def read_unwind(data: bytes, address: int) -> Iterator[Unwind]:
    """Yields the function ranges of an .eh_frame section, in its order.

    Args:
        data: the section's bytes.
        address: where it is loaded.
    """
    cies: dict[int, _Cie | None] = {}
    position = 0
    last = len(data) - 16
    while position + 8 <= len(data):
        # The usual entry's first fields at once, where there is room for them.
        row = _ENTRY.unpack_from(data, position) if position <= last else None
        length, reference, begin, size = row or (*_HEAD.unpack_from(data, position), 0, 0)
        start = position + 4
        if length < 4 or length > len(data) - start:
            return  # the end mark, a 64-bit entry (no compiler writes one), or damage
        position = start + length
        if reference == 0:
            continue
        where = start - reference
        if where not in cies:
            cies[where] = _cie_at(data, where)
        cie = cies[where]
        if cie is None:
            continue
        if cie.pointer == _USUAL and length >= 12:
            lsda = False
            if cie.augmented and cie.lsda == _USUAL and length >= 17 and data[start + 12] == 4:
                lsda = data[start + 13 : start + 17] != bytes(4)
            begin = begin + address + start + 4 & _ADDRESS
            if size:
                yield begin, begin + size, lsda
        else:
            try:
                begin, end, lsda = _fde(data, start + 4, cie, address)
            except _Malformed:
                continue
            if 0 < end - begin <= _ADDRESS:
                yield begin, end, lsda


def _cie_at(data: bytes, where: int) -> _Cie | None:
    if where < 0 or where + 12 > len(data):
        return None
    length, mark = struct.unpack_from("<II", data, where)
    if mark != 0 or length > len(data) - where - 4:
        return None
    try:
        return _cie(data, where + 8, where + 4 + length)
    except _Malformed:
        return None


def _fde(data: bytes, position: int, cie: _Cie, address: int) -> Unwind:
    start, position = _pointer(data, position, cie.pointer, address)
    size, position = _pointer(data, position, cie.pointer & 0x0F, 0)
    lsda = 0
    if cie.augmented and cie.lsda != _OMIT:
        length, position = _leb(data, position)
        if length:
            lsda, _ = _pointer(data, position, cie.lsda & 0x0F, 0)
    return start, start + size, lsda != 0

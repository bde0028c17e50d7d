"""Where a word of A64 leads."""

from __future__ import annotations


def signed(value: int, bits: int) -> int:
    """A number of some bits, the highest of which is the sign."""
    return value - (1 << bits) if value >> bits - 1 else value


def branch_target(word: int, address: int) -> int | None:
    """Where a direct branch goes; None if it is none. DDI 0487, C4.1.93."""
    if word & 0x7C000000 == 0x14000000:  # B, BL
        return address + 4 * signed(word & 0x3FFFFFF, 26)
    if word & 0xFF000000 == 0x54000000 or word & 0x7E000000 == 0x34000000:  # B.cond, CBZ, CBNZ
        return address + 4 * signed(word >> 5 & 0x7FFFF, 19)
    if word & 0x7E000000 == 0x36000000:  # TBZ, TBNZ
        return address + 4 * signed(word >> 5 & 0x3FFF, 14)
    return None


def is_end(word: int) -> bool:
    """Whether nothing follows: B, BR, RET and their authenticated forms, UDF, BRK."""
    if word & 0xFC000000 == 0x14000000 or word & 0xFFFF0000 == 0 or word & 0xFFE00000 == 0xD4200000:
        return True
    return word & 0xFE000000 == 0xD6000000 and word >> 21 & 0b11 != 1

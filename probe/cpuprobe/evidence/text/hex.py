"""Bytes of code in hexadecimal, as people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A dump is hexadecimal words and what stands between them, nothing else.
_TOKEN = re.compile(r"(?:0x|\\x|\$0x)?([0-9a-f]+)h?", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s,;:_{}()\[\]\"'<>]+|(?=\\x)")
_BYTE_PREFIX = re.compile(r"^\s*(?:\.?(?:byte|db|hex|bytes?)\b:?|b(?=['\"]))", re.IGNORECASE)
MAXIMUM_TEXT = 4096


def read_hex(text: str) -> bytes | None:
    r"""The bytes that a text spells, None if it is no hexadecimal.

    Args:
        text: `62 f2 fd 08`, `62f2fd08`, `0x62,0xf2`, `\x62\xf2`, `.byte 0x62, 0xf2` and the like.
    """
    if len(text) > MAXIMUM_TEXT:
        return None
    words = [word for word in _SEPARATORS.split(_BYTE_PREFIX.sub("", text)) if word]
    return words_to_bytes(words, big=True)


def words_to_bytes(words: Sequence[str], *, big: bool) -> bytes | None:
    """The bytes of hexadecimal words, None if one of them is something else.

    Args:
        words: each of an even number of digits, or of one digit with others of two (`0x0`).
        big: the first two digits of a long word are the first byte; otherwise the last are, as
            gdb's `x/2xw` and `x/1xg` print memory.
    """
    found = bytearray()
    for word in words:
        match = _TOKEN.fullmatch(word)
        if match is None:
            return None
        digits = match[1]
        if len(digits) % 2:
            prefixed = word[0] in "0\\$" and not digits.startswith(word)
            if len(digits) != 1 or not prefixed:
                return None
            digits = f"0{digits}"
        piece = bytes.fromhex(digits)
        found += piece if big else piece[::-1]
    return bytes(found) if found else None

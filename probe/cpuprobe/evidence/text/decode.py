"""From bytes to text: which encoding a paste or a file is in."""

from __future__ import annotations

import codecs

from cpuprobe.errors import CaptureError
from cpuprobe.files import refuse_compressed

# Beyond this a text is taken one byte a character, so that memory stays a small multiple of it.
MAXIMUM_UNICODE = 8 << 20
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F)]
)
_PLAIN = {
    **dict.fromkeys([0xA0, 0x2007, 0x2009, 0x202F, 0x3000], " "),
    **dict.fromkeys([0x85, 0x2028, 0x2029], "\n"),
    0xFF1A: ":",
    **dict.fromkeys([0x201C, 0x201D, 0x201E], '"'),
    **dict.fromkeys([0x2018, 0x2019, 0x201A], "'"),
    0x2502: "|",
    0x2503: "|",
    0x2551: "|",
    **_INVISIBLE,
}


def decoded(data: bytes) -> str:
    """The text that the bytes spell: UTF-8 or UTF-16, with or without a mark, else Latin-1.

    Raises:
        CaptureError: it is compressed, or claims to be UTF-16 and is not.
    """
    refuse_compressed(data)
    encoding = _utf16(data)
    try:
        if encoding is not None and len(data) <= MAXIMUM_UNICODE:
            return data.decode(encoding)
        if encoding is not None:
            return data.decode(encoding).encode("latin-1", "replace").decode("latin-1")
    except UnicodeDecodeError:
        raise CaptureError("looks like UTF-16 text but is not") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if len(data) <= MAXIMUM_UNICODE:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass  # an old program's code page: what the formats look for is ASCII in all of them
    return data.decode("latin-1")


def _utf16(data: bytes) -> str | None:
    """The UTF-16 codec of a text with a byte order mark, or with zeros where ASCII has them."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = data[:256]
    half = len(start) // 2
    if half >= 16:
        if start[1::2].count(0) == half and 0 not in start[0::2]:
            return "utf-16-le"
        if start[0::2].count(0) >= half and 0 not in start[1::2]:
            return "utf-16-be"
    return None


def plain_characters(text: str) -> str:
    """Without what cannot be seen; no-break blanks, wide colons and box lines as ASCII has them."""
    return text if text.isascii() else text.translate(_PLAIN)


def plain_line_ends(text: str) -> str:
    """Every line ends in one newline, whatever system wrote it; a zero byte ends a line too."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\0", "\n") if "\0" in text else text

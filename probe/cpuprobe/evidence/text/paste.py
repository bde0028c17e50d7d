"""From the bytes of a capture to lines: encodings, quoting, HTML, and the bounds on all of them.

What a reporter pastes is rarely the bare data: a mail or an issue quotes it, a browser wraps it in
tags, a Windows shell writes UTF-16. Text is handled as Latin-1, which takes one byte a character
whatever the bytes are; what the readers look for is ASCII.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from cpuprobe.errors import CaptureError
from cpuprobe.files import refuse_compressed

MAXIMUM_LINES = 2_000_000  # 65,536 CPUs of /proc/cpuinfo are 1.8 million
MAXIMUM_LINE = 1 << 16
MAXIMUM_HTML = 4 << 20

# A no-break space in UTF-8, which browsers make of spaces, as Latin-1 shows it.
_NO_BREAK_SPACE = "\xc2\xa0"
_LINE = re.compile(r"[^\r\n\0]+")
_HTML = re.compile(r"</(?:code|pre|p|div|details|td|span|html|li)\s?>|<br\s?/?>", re.IGNORECASE)
_TAG_ENDING_A_LINE = re.compile(r"<(?:br|/(?:p|div|tr|li|pre|summary|h\d))\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_ENTITIES = (
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&amp;", "&"),  # last: what it yields must not be read a second time
)


def to_text(content: bytes) -> str:
    """The text of a capture, one character a byte.

    Raises:
        CaptureError: it is compressed, or claims to be UTF-16 and is not.
    """
    refuse_compressed(content)
    encoding = _utf16(content)
    if encoding is not None:
        try:
            # What Latin-1 cannot hold is not part of any format.
            content = content.decode(encoding).encode("latin-1", "replace")
        except UnicodeDecodeError:
            raise CaptureError("looks like UTF-16 text but is not") from None
    return content.removeprefix(codecs.BOM_UTF8).decode("latin-1")


def _utf16(content: bytes) -> str | None:
    """The UTF-16 codec of a text with a byte order mark, or with zeros where ASCII has them."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = content[:256]
    half = len(start) // 2
    if half >= 16:
        if start[1::2].count(0) == half and 0 not in start[0::2]:
            return "utf-16-le"
        if start[0::2].count(0) >= half and 0 not in start[1::2]:
            return "utf-16-be"
    return None


def without_tags(text: str) -> str | None:
    """The text of an HTML page or of Markdown with HTML in it; None if there is none."""
    if len(text) > MAXIMUM_HTML or _HTML.search(text) is None:
        return None
    text = _TAG.sub("", _TAG_ENDING_A_LINE.sub("\n", text))
    for entity, character in ((_NO_BREAK_SPACE, " "), *_ENTITIES):
        text = text.replace(entity, character)
    return text


def unquoted(text: str) -> str:
    """The text without the `> ` of a quoted mail or issue before each line."""
    text = text.replace(_NO_BREAK_SPACE, " ")
    return re.sub(r"(?m)^[ \t]{0,16}(?:>[ \t]{0,4}){1,16}", "", text)


def lines(text: str) -> Iterator[str]:
    """The lines that are not empty, without indentation, quoting and code marks around them.

    Overlong lines are left out: no format has them.

    Raises:
        CaptureError: there are more lines than any capture has.
    """
    for number, match in enumerate(_LINE.finditer(text.replace(_NO_BREAK_SPACE, " "))):
        if number >= MAXIMUM_LINES:
            raise CaptureError(f"more than {MAXIMUM_LINES:,} lines, no capture has so many")
        if match.end() - match.start() <= MAXIMUM_LINE:
            line = match[0].lstrip(" \t>`|").rstrip(" \t`|")
            if line:
                yield line

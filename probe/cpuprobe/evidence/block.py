"""The data block: a whole report as lines that mails, issues and pages leave as they are.

    -----BEGIN CPUPROBE REPORT-----
    <base64 of zlib, 64 characters a line>
    -----END CPUPROBE REPORT-----

The manner of RFC 7468, without padding: an equals sign at a line's end is a mail's soft break.
"""

from __future__ import annotations

import base64
import textwrap
import zlib

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.text.armour import last_words, whole_word

BEGIN = "-----BEGIN CPUPROBE REPORT-----"
END = "-----END CPUPROBE REPORT-----"
_COLUMNS = 64


def armoured(document: bytes) -> str:
    """A document as a block, without a line end at its end."""
    body = base64.b64encode(zlib.compress(document, 9)).decode().rstrip("=")
    return "\n".join([BEGIN, *textwrap.wrap(body, _COLUMNS), END])


def opened(body: str, most: int) -> bytes:
    """What a block holds.

    Args:
        body: what stands between its first and its last line's words, with the rests of those
            lines. Blanks, quote marks and a log's prefixes do not count.
        most: how many bytes may come out.

    Raises:
        CaptureError: it is damaged, cut, or too large.
    """
    try:
        return _inflated(whole_word(body).strip("-"), most)
    except CaptureError as error:
        try:
            return _inflated(last_words(body.split("\n")[1:-1]), most)
        except CaptureError:
            raise error from None


def _inflated(text: str, most: int) -> bytes:
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(
            base64.b64decode(text + "=" * (-len(text) % 4), validate=True), most
        )
    except (ValueError, zlib.error):
        raise CaptureError("the data block of the report is damaged: copy it whole") from None
    if not inflate.eof:
        if len(content) >= most:
            raise CaptureError(f"a data block of more than {most >> 20} MiB, no report is")
        raise CaptureError("the data block of the report is cut: copy it whole")
    return content

"""RPM packages: lead, signature, header, and the payload behind them.

Layout: rpm.org, "RPM V4 Package format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Entry, Stream
from cpuprobe.code.elf import ArtifactError

MAGIC = b"\xed\xab\xee\xdb"
_LEAD = 96
_HEADER = b"\x8e\xad\xe8\x01"
_MOST_HEADER = 256 << 20  # rpm's own bound


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The payload, a compressed cpio archive.

    Raises:
        ArtifactError: it is damaged or cut short.
    """
    stream.skip(_LEAD)
    stream.skip(-_header(stream) % 8)
    _header(stream)
    yield Entry("", stream)


def _header(stream: Stream) -> int:
    """Passes over a header; its size."""
    magic, rows, size = struct.unpack(">4s4xII", stream.exactly(16, "an RPM package"))
    size += 16 * rows
    if magic != _HEADER or size > _MOST_HEADER:
        raise ArtifactError("rpm: a header is damaged")
    stream.skip(size)
    return int(size)

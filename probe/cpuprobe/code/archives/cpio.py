"""cpio archives of the newer format: payloads of RPM packages, initramfs images.

Layout: cpio(5), "New ASCII Format".
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Entry, Stream, name_of
from cpuprobe.code.elf import ArtifactError

MAGICS = (b"070701", b"070702")
STRIPPED = b"07070X"
"""What rpm writes for files of 4 GiB and more: sizes stand in the package's header."""
_LONGEST_NAME = 4096
_BLOCK = 512
_TYPE, _REGULAR = 0o170000, 0o100000


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The files of an archive, in their order, and what stands behind it.

    Behind the archive of microcode that an initramfs begins with stands a compressed one.

    Raises:
        ArtifactError: it is damaged or cut short.
    """
    while True:
        header = stream.exactly(110, "a cpio archive")
        if header[:6] not in MAGICS:
            raise ArtifactError("cpio: a header is damaged")
        mode, size, length = (_number(header, field) for field in (1, 6, 11))
        if length > _LONGEST_NAME:
            raise ArtifactError("cpio: a name longer than any")
        raw = stream.exactly(length, "a cpio archive").rstrip(b"\0")
        stream.skip(-(110 + length) % 4)
        if raw == b"TRAILER!!!":
            break
        content = stream.part(size)
        yield Entry(name_of(raw), content if mode & _TYPE == _REGULAR and size else None)
        content.finish()
        stream.skip(-size % 4)
    while (ahead := stream.peek(_BLOCK)) and not ahead.strip(b"\0"):
        stream.skip(len(ahead))
    if ahead:
        stream.skip(len(ahead) - len(ahead.lstrip(b"\0")))
        yield Entry("", stream)


def stripped(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """Of rpm's own format nothing is read."""
    yield Entry("", None, "payload with files of 4 GiB and more")


def _number(header: bytes, field: int) -> int:
    digits = header[6 + 8 * field : 14 + 8 * field]
    if not digits.isalnum():
        raise ArtifactError("cpio: a number in a header is none")
    try:
        return int(digits, 16)
    except ValueError:
        raise ArtifactError("cpio: a number in a header is none") from None

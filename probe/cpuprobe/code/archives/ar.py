"""ar archives: static libraries with the long names of GNU and BSD, and Debian packages.

Layout: System V ABI, chapter 7, "Archive File"; GNU binutils, include/aout/ar.h; deb(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Entry, Stream, name_of
from cpuprobe.code.elf import ArtifactError

MAGIC = b"!<arch>\n"
_MOST_NAMES = 64 << 20
_LONGEST_NAME = 4096
# Tables of symbols, of GNU and BSD.
_TABLES = frozenset({b"/", b"/SYM64/", b"__.SYMDEF", b"__.SYMDEF SORTED", b"__.SYMDEF_64"})


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The members, in their order.

    Raises:
        ArtifactError: it is damaged or cut short.
    """
    stream.skip(len(MAGIC))
    names = b""
    while header := stream.read(60):
        if len(header) < 60 or header[58:] != b"`\n":
            raise ArtifactError("ar: a header is damaged")
        size = _number(header[48:58])
        padding = size & 1
        raw = header[:16].rstrip(b" ")
        if raw == b"//":
            if size > _MOST_NAMES:
                raise ArtifactError("ar: a table of names larger than any")
            names = stream.exactly(size, "an ar archive")
            stream.skip(padding)
            continue
        if raw.startswith(b"#1/"):
            length = _number(raw[3:])
            if length > min(size, _LONGEST_NAME):
                raise ArtifactError("ar: a name longer than any")
            raw = stream.exactly(length, "an ar archive").rstrip(b"\0")
            size -= length
        elif raw[:1] == b"/" and raw[1:].isdigit():
            start = _number(raw[1:])
            end = names.find(b"\n", start, start + _LONGEST_NAME)
            raw = names[start : end if end >= 0 else start].removesuffix(b"/")
        elif raw not in _TABLES:
            raw = raw.removesuffix(b"/")
        content = stream.part(size)
        if raw not in _TABLES:
            yield Entry(name_of(raw), content)
        content.finish()
        stream.skip(padding)


def thin(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """A thin archive holds names of files, no files."""
    yield Entry("", None, "thin archive, whose objects lie elsewhere")


def _number(field: bytes) -> int:
    digits = field.rstrip(b" ")
    if not digits.isdigit():
        raise ArtifactError("ar: a number in a header is none")
    return int(digits)

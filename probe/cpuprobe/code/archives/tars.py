"""tar archives, from start to end: POSIX (ustar, pax) and GNU.

Layout: POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format"; GNU tar manual,
"Basic Tar Format".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Entry, Link, Stream, name_of
from cpuprobe.code.elf import ArtifactError

BLOCK = 512
MOST_SAID = 1 << 20
"""Bytes that a long name, or the records of a pax header, may take."""
_HARD, _SYMBOLIC, _FOLDER = b"125"
_NO_CONTENT = b"12346"  # links, devices, pipes
# Names in a folder, a volume's name, old long names, attributes (GNU tar, Solaris); what else there
# may be is a file (POSIX.1-2017, pax, "typeflag").
_NO_FILE = b"DVNAEX"
_GNU_SPARSE = b"GNU.sparse"
_KEYS = {b"path", b"linkpath", b"size", _GNU_SPARSE}
_SPARSE = "file with holes in a tar archive"


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The files of an archive, in their order.

    Raises:
        ArtifactError: it is damaged or cut short.
    """
    said: dict[bytes, bytes] = {}  # of the next file, by pax
    for_all: dict[bytes, bytes] = {}
    while (block := stream.read(BLOCK)).strip(b"\0"):
        _verify(block)
        kind = block[156:157]
        if kind in b"LKxg":
            size = _size(block)
            if size > MOST_SAID:
                raise ArtifactError("tar: a header larger than any")
            allowance.enter()
            allowance.spend(size)  # a record takes as long as ten bytes of bzip2
            words = stream.exactly(size, "a tar archive")
            stream.skip(-size % BLOCK)
            if kind in b"LK":
                said[b"path" if kind == b"L" else b"linkpath"] = words.rstrip(b"\0")
            else:
                (said if kind == b"x" else for_all).update(_records(words))
            continue
        told = {**for_all, **said}
        said = {}
        name = name_of(told.get(b"path") or _name(block))
        size = _number(told[b"size"], 10) if b"size" in told else _size(block)
        if kind in _NO_CONTENT:
            yield Entry(
                name,
                None,
                link=_link(name, kind[0], told.get(b"linkpath") or _text(block[157:257])),
            )
            continue
        if kind[0] == _FOLDER:
            yield Entry(f"{name.rstrip('/')}/", None)
            continue
        sparse = kind == b"S" or _GNU_SPARSE in told
        more = kind == b"S" and block[482] != 0
        while more:
            allowance.enter()
            more = stream.exactly(BLOCK, "a tar archive")[504] != 0
        content = stream.part(size)
        if sparse:
            yield Entry(name, None, _SPARSE)
        elif kind not in _NO_FILE:
            yield Entry(name, content)
        content.finish()
        stream.skip(-size % BLOCK)


def _verify(block: bytes) -> None:
    """ArtifactError if it is no header."""
    if len(block) < BLOCK:
        raise ArtifactError("a tar archive is cut short")
    if sum(block[:148]) + sum(block[156:]) + 8 * 0x20 != _number(block[148:156], 8):
        raise ArtifactError("tar: a header whose checksum is wrong")


def _size(block: bytes) -> int:
    """The size that a header states; ArtifactError if it is none."""
    field = block[124:136]
    if field[0] & 0x80:  # GNU: a number of many bits
        size = int.from_bytes(field, "big") & (1 << 95) - 1
        if size >> 63:
            raise ArtifactError("tar: a file of an impossible size")
        return size
    return _number(field, 8)


def _number(field: bytes, base: int) -> int:
    digits = field.strip(b" \0").lstrip(b"0")
    if not digits:
        return 0
    if len(digits) > 20 or not digits.isdigit():
        raise ArtifactError("tar: a number in a header is none")
    try:
        return int(digits, base)
    except ValueError:
        raise ArtifactError("tar: a number in a header is none") from None


def _name(block: bytes) -> bytes:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _link(name: str, kind: int, target: bytes) -> Link | None:
    """What a name stands for; symbolic ones are told from the folder that they lie in."""
    if kind == _HARD:
        return Link(name_of(target), True)
    if kind != _SYMBOLIC or target.startswith(b"/"):
        return None
    folder = name.rpartition("/")[0]
    return Link(posixpath.normpath(posixpath.join(folder, name_of(target))), False)


def begins(head: bytes) -> bool:
    """Whether a file that starts like this is a tar archive, of those without a mark included."""
    if not (_text(head[:100]) and head[148:156].strip(b" \0").isdigit()):
        return False
    try:
        _verify(head[:BLOCK])
    except ArtifactError:
        return False
    return True


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keywords and values of a pax header, of those that count; all of GNU's for holes are one."""
    at = 0
    while at < len(content):
        blank = content.find(b" ", at, at + 20)
        length = _number(content[at:blank], 10) if blank > 0 else 0
        if length < 5 or at + length > len(content):
            raise ArtifactError("tar: a pax header is damaged")
        key, _, value = content[blank + 1 : at + length - 1].partition(b"=")
        if key.startswith(_GNU_SPARSE):
            key = _GNU_SPARSE
        if key in _KEYS:
            yield key, value
        at += length

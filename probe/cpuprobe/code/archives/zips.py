"""zip archives: wheels, jar, apk, nupkg, egg, vsix, conda.

Layout: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import bz2
import lzma
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.packed import (
    WITHOUT,
    ZSTD,
    Inflate,
    MakesDecoder,
    Unpacked,
    xz_decoder,
    zstd_decoder,
)
from cpuprobe.code.archives.streams import Cursor, Entry, Stream, Window, name_of
from cpuprobe.code.elf import ArtifactError, Source

MOST_DIRECTORY = 128 << 20
"""Bytes of the central directory; a row has about 100."""
_LONGEST_END = 22 + 0xFFFF
_ENCRYPTED = 1 | 1 << 13
_ABSENT = 0xFFFFFFFF


class _Row(NamedTuple):
    flags: int
    method: int
    packed: int
    size: int
    offset: int
    name: bytes


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The files that the central directory names, in its order.

    Raises:
        ArtifactError: it is damaged, or files in it share their bytes.
    """
    source = stream.whole(allowance)
    if source is None:
        yield Entry("", None, "zip archive too large for memory in an archive")
        return
    try:
        left = source.size
        directory, shift = _directory(source)
        allowance.spend(len(directory))
        for row in _rows(directory):
            left -= 30 + row.packed
            if left < 0:
                raise ArtifactError("zip: its files claim the same bytes many times over")
            if not row.name.endswith(b"/"):
                with allowance.dictionary() as most:
                    yield _entry(source, row, shift, allowance, most)
    finally:
        if stream.holds:
            allowance.hold(-source.size)


def _entry(source: Source, row: _Row, shift: int, allowance: Allowance, most: int) -> Entry:
    name = name_of(row.name)
    if row.flags & _ENCRYPTED:
        return Entry(name, None, "encrypted file")
    if row.method not in _METHODS:
        method = _UNREAD.get(row.method, f"method {row.method}")
        return Entry(name, None, f"file packed by {method} in a zip archive")
    header = source.some(row.offset + shift, 30)
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise ArtifactError("zip: a file is not where the directory says")
    start = row.offset + shift + 30 + sum(struct.unpack_from("<HH", header, 26))
    content = Cursor(Window(source, start, row.packed))
    if row.method == 0:
        return Entry(name, content)
    decoder = _METHODS[row.method](content, row.size, most)
    if decoder is None:
        return Entry(name, None, f"file packed by zstd {WITHOUT.format(ZSTD)}")
    return Entry(name, Unpacked(content, decoder, "zip", allowance).part(row.size))


def _lzma(content: Stream, size: int, most: int) -> MakesDecoder:
    """Of LZMA's own properties, which stand before the rest (5.8.8); 9 bytes in all."""
    words = struct.unpack("<HHBI", content.exactly(9, "a file in a zip archive"))
    _, length, properties, dictionary = words
    rest, literal = divmod(properties, 9)
    if length != 5 or properties >= 225:
        raise ArtifactError("zip: properties of LZMA that are none")
    # It is allocated, whatever is needed of it: no more than the file has.
    dictionary = max(min(dictionary, size, most), 4096)
    chosen = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": dictionary,
        "lc": literal,
        "lp": rest % 5,
        "pb": rest // 5,
    }
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen])


# By method (4.4.5): what makes a decoder, of a file's packed bytes, its size, and what a dictionary
# may take.
_METHODS: dict[int, Callable[[Stream, int, int], MakesDecoder | None]] = {
    0: lambda *_: None,
    8: lambda *_: lambda: Inflate(-15),
    12: lambda *_: bz2.BZ2Decompressor,
    14: _lzma,
    93: lambda _, __, most: zstd_decoder(most),
    95: lambda _, __, most: xz_decoder(most),
}
_UNREAD = {1: "Shrink", 6: "Implode", 9: "Deflate64", 10: "DCL Implode", 98: "PPMd"}


def _directory(source: Source) -> tuple[bytes, int]:
    """The central directory, and by how much offsets are wrong: something stands before it."""
    tail_size = min(source.size, _LONGEST_END)
    tail = source.some(source.size - tail_size, tail_size)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise ArtifactError("zip: cut short, or without a directory")
    size, offset = struct.unpack_from("<II", tail, at + 12)
    end = source.size - tail_size + at
    locator = source.some(end - 20, 20)
    if locator[:4] == b"PK\6\7":
        (place,) = struct.unpack_from("<Q", locator, 8)
        record = source.some(place, 56)
        if len(record) < 56 or record[:4] != b"PK\6\6":
            raise ArtifactError("zip: the record of a large archive is not where it should be")
        size, offset = struct.unpack_from("<QQ", record, 40)
        end = place
    if size > MOST_DIRECTORY or size > end:
        raise ArtifactError("zip: a directory larger than any, or than the file")
    pieces = []
    for piece in range(end - size, end, 16 << 20):
        pieces.append(source.some(piece, min(16 << 20, end - piece)))
    return b"".join(pieces), end - size - offset


def _rows(directory: bytes) -> Iterator[_Row]:
    at = 0
    while at + 46 <= len(directory):
        row = struct.unpack_from("<4s4xHH8xII3H8xI", directory, at)
        magic, flags, method, packed, size, name, extra, comment, offset = row
        if magic != b"PK\1\2":
            raise ArtifactError("zip: the directory is damaged")
        start = at + 46
        at = start + name + extra + comment
        if _ABSENT in (packed, size, offset):
            more = directory[start + name : start + name + extra]
            size, packed, offset = _large(more, size, packed, offset)
        yield _Row(flags, method, packed, size, offset, directory[start : start + name])


def _large(extra: bytes, *values: int) -> list[int]:
    """Numbers that do not fit into 32 bits stand in the extra field, in this order (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + size]
            numbers = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
            return [next(numbers, value) if value == _ABSENT else value for value in values]
        at += 4 + size
    return list(values)

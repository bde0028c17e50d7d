"""squashfs images: snaps, AppImages, live systems.

Layout: Linux, fs/squashfs/squashfs_fs.h; Documentation/filesystems/squashfs.rst, version 4.0.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.blocks import LZO, Unpacks, lz4, lzo, xz, zlib, zstd
from cpuprobe.code.archives.packed import LZ4, WITHOUT, ZSTD
from cpuprobe.code.archives.streams import Cursor, Entry, Stream, Window, name_of
from cpuprobe.code.elf import ArtifactError, Held, Source

MAGIC = b"hsqs"
_METADATA, _LARGEST = 8192, 1 << 20
_MOST_FOLDER = 32 << 20
"""Bytes of one folder's names, and of one file's list of blocks."""
_DEEPEST = 256
_NONE = 0xFFFFFFFF
_SLOWEST = 4  # LZO of zeros takes as many times as long as others
_Packer = tuple[str, str, Callable[[], Unpacks | None]]
_PACKERS: dict[int, _Packer] = {
    1: ("gzip", "", zlib),
    2: ("lzma", "", xz),
    3: ("lzo", LZO, lzo),
    4: ("xz", "", xz),
    5: ("lz4", LZ4, lz4),
    6: ("zstd", ZSTD, zstd),
}
"""By number: what packs blocks, the package that unpacks them if it may be missing, and what makes
a function of that."""
_FOLDER, _FILE, _LARGE_FOLDER, _LARGE_FILE = 1, 2, 8, 9


class _Super(NamedTuple):
    """The superblock, without what is not asked for."""

    block: int
    compression: int
    version: int
    root: int
    inodes: int
    folders: int
    fragments: int


class _File(NamedTuple):
    """Where a file's bytes are: blocks from `start` on, the rest in a fragment."""

    start: int
    size: int
    fragment: int
    inside: int
    blocks: tuple[int, ...]


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The files of an image, folder by folder.

    Raises:
        ArtifactError: it is damaged.
    """
    source = stream.whole(allowance)
    if source is None:
        yield Entry("", None, "squashfs image too large for memory in an archive")
        return
    try:
        yield from _Image(source, allowance).entries()
    finally:
        if stream.holds:
            allowance.hold(-source.size)


class _Blocks:
    """The packed blocks of an image."""

    def __init__(self, source: Source, unpack: Unpacks | None, allowance: Allowance) -> None:
        self._unpack = unpack
        self._source = source
        self._allowance = allowance

    def unpacked(self, start: int, size: int, packed: bool, most: int) -> bytes:
        """A block at an offset; ArtifactError if it is damaged."""
        window = Window(self._source, start, size)
        if window.size < size or size > _LARGEST:
            raise ArtifactError("squashfs: a block reaches past the end of the file")
        content = window.some(0, size)
        if packed and self._unpack is not None:
            content = self._unpack(content, most)
        self._allowance.unpack(size, _SLOWEST * len(content))
        return content[:most]

    def metadata(self, start: int) -> tuple[bytes, int]:
        """A block of metadata, and where the next one begins."""
        head = self._source.some(start, 2)
        if len(head) < 2:
            raise ArtifactError("squashfs: a table reaches past the end of the file")
        (size,) = struct.unpack("<H", head)
        body = self.unpacked(start + 2, size & 0x7FFF, not size & 0x8000, _METADATA)
        return body, start + 2 + (size & 0x7FFF)


class _Image:
    def __init__(self, source: Source, allowance: Allowance) -> None:
        start = source.some(0, 96)
        if len(start) < 96:
            raise ArtifactError("squashfs: cut short")
        form = "<12xI4xH6xH2xQ24xQQQ"
        self._super = _Super(*struct.unpack_from(form, start))
        block = self._super.block
        if self._super.version != 4 or not 4096 <= block <= 1 << 20 or block & block - 1:
            raise ArtifactError("squashfs: a version that is not read, or blocks of an odd size")
        self._source = source
        self._allowance = allowance
        # What is kept refers to the blocks, not to the image: cycles are never looked for.
        number = self._super.compression
        what, package, unpacks = _PACKERS.get(number, (f"method {number}", "", lambda: None))
        unpack = unpacks()
        without = f" {WITHOUT.format(package)}" if package else ""
        self._unread = "" if unpack else f"squashfs image packed by {what}{without}"
        self._blocks = _Blocks(source, unpack, allowance)
        self._metadata = functools.lru_cache(maxsize=64)(self._blocks.metadata)
        self._fragment = functools.lru_cache(maxsize=4)(self._blocks.unpacked)

    def entries(self) -> Iterator[Entry]:
        """The files."""
        if self._unread:
            yield Entry("", None, self._unread)
            return
        seen = {self._super.root}
        pending = [("", self._super.root, 0)]
        while pending:
            folder, inode, depth = pending.pop()
            for name, reference, kind in self._folder(inode):
                self._allowance.enter()
                path = f"{folder}{name}"
                if kind == _FILE:
                    yield Entry(path, _Content(self, self._file(reference)))
                elif kind != _FOLDER:
                    yield Entry(path, None)
                elif reference in seen or depth == _DEEPEST:
                    raise ArtifactError("squashfs: its folders form a loop")
                else:
                    seen.add(reference)
                    pending.append((f"{path}/", reference, depth + 1))

    def _read(self, start: int, inside: int, size: int) -> bytes:
        """Bytes of a table, from a place in a block of it on."""
        if size > _MOST_FOLDER:
            raise ArtifactError("squashfs: a folder or a file larger than any")
        self._allowance.unpack(0, size)  # a block that is kept is copied from many times
        pieces = []
        while size > 0:
            body, start = self._metadata(start)
            piece = body[inside : inside + size]
            if not piece:
                raise ArtifactError("squashfs: a table is cut short")
            pieces.append(piece)
            size -= len(piece)
            inside = 0
        return b"".join(pieces)

    def _inode(self, reference: int, size: int) -> bytes:
        return self._read(self._super.inodes + (reference >> 16), reference & 0xFFFF, size)

    def _folder(self, inode: int) -> Iterator[tuple[str, int, int]]:
        """Name, reference and basic type of what a folder holds."""
        (kind,) = struct.unpack("<H", self._inode(inode, 2))
        if kind == _FOLDER:
            block, size, inside = struct.unpack("<16xI4xHH4x", self._inode(inode, 32))
        elif kind == _LARGE_FOLDER:
            size, block, inside = struct.unpack("<20xII6xH", self._inode(inode, 36))
        else:
            raise ArtifactError("squashfs: a folder is none")
        # Three bytes for . and .., which are not there.
        table = self._read(self._super.folders + block, inside, max(0, size - 3))
        at = 0
        while at + 12 <= len(table):
            count, start, _ = struct.unpack_from("<III", table, at)
            at += 12
            for _ in range(count + 1):
                if at + 8 > len(table):
                    return
                offset, _, basic, length = struct.unpack_from("<HhHH", table, at)
                raw = table[at + 8 : at + 9 + length]
                at += 9 + length
                yield name_of(raw), start << 16 | offset, basic

    def _file(self, reference: int) -> _File:
        (kind,) = struct.unpack("<H", self._inode(reference, 2))
        if kind == _FILE:
            form = "<16xIIII"
            head = self._inode(reference, struct.calcsize(form))
            start, fragment, inside, size = struct.unpack(form, head)
        elif kind == _LARGE_FILE:
            form = "<16xQQ8x4xII4x"
            head = self._inode(reference, struct.calcsize(form))
            start, size, fragment, inside = struct.unpack(form, head)
        else:
            raise ArtifactError("squashfs: a file is none")
        block = self._super.block
        count = size // block if fragment != _NONE else -(-size // block)
        body = self._inode(reference, len(head) + 4 * count)[len(head) :]
        return _File(start, size, fragment, inside, struct.unpack(f"<{count}I", body))

    def content(self, file: _File) -> Iterator[bytes]:
        """The bytes of a file, block by block."""
        left, start = file.size, file.start
        for size in file.blocks:
            most = min(left, self._super.block)
            if size == 0:  # a hole
                self._allowance.unpack(0, most)
                piece = bytes(most)
            else:
                piece = self._blocks.unpacked(start, size & 0xFFFFFF, not size >> 24 & 1, most)
                start += size & 0xFFFFFF
            if len(piece) < most:
                raise ArtifactError("squashfs: a block is cut short")
            left -= most
            yield piece
        if left and file.fragment != _NONE:
            place = self._source.some(self._super.fragments + 8 * (file.fragment // 512), 8)
            if len(place) < 8:
                raise ArtifactError("squashfs: a fragment is nowhere")
            (table,) = struct.unpack("<Q", place)
            row = self._read(table, 16 * (file.fragment % 512), 16)
            begin, size = struct.unpack("<QI4x", row)
            whole = self._fragment(begin, size & 0xFFFFFF, not size >> 24 & 1, self._super.block)
            piece = whole[file.inside : file.inside + left]
            if len(piece) < left:
                raise ArtifactError("squashfs: a fragment is cut short")
            yield piece


class _Content(Stream):
    """A file of an image."""

    def __init__(self, image: _Image, file: _File) -> None:
        super().__init__()
        self._pieces = image.content(file)
        self._piece = b""

    def _more(self, size: int) -> bytes:
        if not self._piece:
            self._piece = next(self._pieces, b"")
        piece, self._piece = self._piece[:size], self._piece[size:]
        return piece


def appimage(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """What an AppImage of type 2 holds: the program that mounts it, and the image behind that.

    Layout: AppImage specification, "Type 2 image format"; the image begins where the program's
    table of sections ends.

    Raises:
        ArtifactError: it is damaged.
    """
    source = stream.whole(allowance)
    if source is None:
        yield Entry("", None, "AppImage too large for memory in an archive")
        return
    try:
        head = source.some(0, 64)
        if len(head) < 64:
            raise ArtifactError("an AppImage cut short")
        (table,) = struct.unpack_from("<Q", head, 40)
        size, count = struct.unpack_from("<HH", head, 58)
        end = table + size * count
        if end > _MOST_FOLDER:
            raise ArtifactError("an AppImage whose program is larger than any")
        runtime = source.some(0, end)
        # Without the mark it is what it was before: a program.
        yield Entry("runtime", Cursor(Held(runtime[:8] + bytes(3) + runtime[11:])))
        image = Window(source, end, source.size - end)
        if image.some(0, len(MAGIC)) == MAGIC:
            yield Entry("", Cursor(image))
        else:  # DwarFS, say
            yield Entry("image", None, "image of an unknown kind")
    finally:
        if stream.holds:
            allowance.hold(-source.size)

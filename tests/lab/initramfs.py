"""Builds the archive a kernel unpacks as its first file system, with no root and no cpio program.

Format: "newc" of Documentation/driver-api/early-userspace/buffer-format.rst in the kernel source.
Device nodes are mere headers there, so making one needs no privilege.
"""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Entry:
    """One member of the archive.

    Attributes:
        mode: type and permission bits as in st_mode.
        data: a file's content or a symbolic link's target.
        device: major and minor number of a device node.
    """

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(data: bytes, mode: int = 0o644) -> Entry:
    """Return an ordinary file."""
    return Entry(stat.S_IFREG | mode, data)


def program(data: bytes) -> Entry:
    """Return an executable file."""
    return file(data, 0o755)


def folder(mode: int = 0o755) -> Entry:
    """Return a folder."""
    return Entry(stat.S_IFDIR | mode)


def character_device(major: int, minor: int, mode: int = 0o600) -> Entry:
    """Return a character device; numbers as in Documentation/admin-guide/devices.txt."""
    return Entry(stat.S_IFCHR | mode, device=(major, minor))


# The kernel opens /dev/console for the first process before that can mount devtmpfs.
BASE: Mapping[str, Entry] = {
    "dev": folder(),
    "dev/console": character_device(5, 1),
    "dev/null": character_device(1, 3, 0o666),
    "disk": folder(),
    "lab": folder(),
    "proc": folder(),
    "sys": folder(),
    "tmp": folder(0o1777),
}


def _header(name: bytes, entry: Entry, inode: int) -> bytes:
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (
        inode,
        entry.mode,
        0,
        0,
        links,
        0,
        len(entry.data),
        0,
        0,
        *entry.device,
        len(name) + 1,
        0,
    )
    return b"070701" + b"".join(b"%08X" % field for field in fields)


def _padded(blob: bytes) -> bytes:
    return blob + bytes(-len(blob) % 4)


def _members(entries: Mapping[str, Entry]) -> Iterable[tuple[str, Entry]]:
    """Return the entries with every missing parent folder, parents first."""
    complete: dict[str, Entry] = {}
    for name, entry in entries.items():
        path = PurePosixPath(name.lstrip("/"))
        if not path.parts or ".." in path.parts:
            raise ValueError(f"not a path inside the archive: {name!r}")
        for parent in list(path.parents)[-2::-1]:
            complete.setdefault(str(parent), folder())
        complete[str(path)] = entry
    return sorted(complete.items(), key=lambda item: PurePosixPath(item[0]).parts)


def archive(entries: Mapping[str, Entry]) -> bytes:
    """Return an uncompressed newc archive.

    Args:
        entries: path (a leading slash is ignored) to member; missing parent folders are added.

    Raises:
        ValueError: a path is empty or climbs out with "..".
    """
    blob = bytearray()
    members = [*_members(entries), ("TRAILER!!!", Entry(0))]
    for inode, (name, entry) in enumerate(members, 1):
        raw = name.encode()
        blob += _padded(_header(raw, entry, inode) + raw + b"\0")
        blob += _padded(entry.data)
    return bytes(blob)


def build(entries: Mapping[str, Entry]) -> bytes:
    """Return a gzip'd archive of `BASE` and the entries; same entries, same bytes."""
    # Level 1: the guest's emulated inflate costs more than the bytes saved.
    return gzip.compress(archive({**BASE, **entries}), compresslevel=1, mtime=0)

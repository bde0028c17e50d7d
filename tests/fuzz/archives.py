"""Seeds of what holds files, of Windows and of macOS programs, and where they keep their numbers.

Nothing in them is packed, so that a change meets a table and not a checksum.
"""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.archives import ar_of, cpio_of, library, oci, tar_of, zip_of

DATA = Path(__file__).parents[1] / "data"
Field = tuple[int, int]
"""Where a number stands, and its size in bytes."""
_DIGITS = (b"0", b"7", b"8", b"9", b"-", b"F", b" ", b"1")


def seeds() -> dict[str, bytes]:
    """A file of each kind."""
    core = library()
    found = {
        path.name: path.read_bytes()
        for path in (
            *(DATA / "binaries" / name for name in ("symbols.exe", "tls.dll", "load.dylib")),
            *(DATA / "binaries" / name for name in ("entry.obj", "big.obj")),
            DATA / "archives" / "plain.squashfs",
        )
    }
    found["zip"] = zip_of({"a/core.so": core, "b.zip": zip_of({"c": core})}, zipfile.ZIP_STORED)
    found["tar"] = tar_of({"a/core.so": core, "é" * 120: core, "text": b"x\n"})
    found["deb"] = ar_of({"debian-binary": b"2.0\n", "data.tar": tar_of({"core.so": core})})
    found["ar"] = ar_of({"/": bytes(4), "//": b"a_long_name_indeed.o/\n", "/0": core, "b.o/": core})
    switch = (DATA / "binaries" / "switch.o").read_bytes()
    found["macos.a"] = ar_of({"a.o": switch, "b.o": switch})
    found["cpio"] = cpio_of({"init": core, "text": b"x\n"})
    found["image"] = tar_of(oci(tar_of({"a.so": core}), tar_of({"b.so": core, ".wh.a.so": b""})))
    found["rpm"] = _rpm(cpio_of({"usr/core.so": core}))
    heads = struct.pack(">4sI", b"\xca\xfe\xba\xbe", 2)
    macho = found["load.dylib"]
    for number, machine in enumerate((0x01000007, 0x0100000C)):
        heads += struct.pack(">IIIII", machine, 3, 4096 + number * len(macho), len(macho), 12)
    found["universal"] = heads + bytes(4096 - len(heads)) + macho * 2
    return found


def _rpm(payload: bytes) -> bytes:
    header = b"\x8e\xad\xe8\x01" + struct.pack(">4xII", 1, 8) + bytes(24)
    return b"\xed\xab\xee\xdb" + bytes(92) + header + header + payload


def fields(content: bytes) -> list[Field]:
    """Where the numbers of a file's tables stand, as far as they are known."""
    find = next((find for magic, find in _FIELDS.items() if content.startswith(magic)), None)
    return [] if find is None or len(content) < 96 else [*find(content)]


def digits(content: bytes) -> list[Field]:
    """Where numbers stand as digits: in the headers of tar, ar and cpio."""
    found: list[Field] = []
    for magic, fields in _WORDS.items():
        at = content.find(magic)
        while at >= 0 and len(found) < 400:
            found += [(at + offset, width) for offset, width in fields]
            at = content.find(magic, at + 1)
    return [(at, width) for at, width in found if 0 <= at <= len(content) - width]


def change_digits(content: bytearray, places: list[Field], chance: random.Random) -> None:
    """Puts another number into one of some places."""
    at, width = chance.choice(places)
    if at + width > len(content):  # another change has cut it off
        return
    if chance.random() < 0.5:
        content[at : at + width] = chance.choice(_DIGITS) * width
    else:
        content[at + chance.randrange(width)] = chance.choice(_DIGITS)[0]


# What stands near numbers as digits, and where those are from there.
_WORDS = {
    b"ustar": [(-257 + at, 8 if at != 124 else 12) for at in (100, 108, 116, 124, 148)],
    b"`\n": [(-10, 10), (-58, 16)],
    b"070701": [(6 + 8 * number, 8) for number in range(13)],
}


def _pe(content: bytes) -> Iterator[Field]:
    (start,) = struct.unpack_from("<I", content, 60)
    yield 60, 4
    yield from ((start + at, 2) for at in (4, 6, 20, 22, 24))
    yield from ((start + at, 4) for at in (12, 16))
    yield from ((start + 24 + at, 4) for at in range(16, 240, 4))
    for row in range(9):
        yield from ((start + 264 + 40 * row + at, 4) for at in range(8, 40, 4))
    for at in range(0x400, len(content) - 4, 4):
        if content[at : at + 4] not in (bytes(4), b"\xff" * 4) and at > 0x600:
            yield at, 4


def _coff(content: bytes) -> Iterator[Field]:
    big = content[:2] == bytes(2)
    header, symbol, counts = (56, 20, (44, 48, 52)) if big else (20, 18, (8, 12))
    yield from () if big else ((2, 2), (16, 2))
    yield from ((at, 4) for at in counts)
    yield from ((header + 40 * row + at, 4) for row in range(7) for at in range(8, 40, 4))
    (table,) = struct.unpack_from("<I", content, counts[-2])
    for at in range(table, len(content) - symbol, symbol):
        yield from ((at + offset, 4) for offset in (0, 4, 8))
        yield at + symbol - 1, 1


def _macho(content: bytes) -> Iterator[Field]:
    yield from ((at, 4) for at in range(4, 28, 4))
    at = 32
    for _ in range(30):
        if at + 8 > len(content):
            return
        (size,) = struct.unpack_from("<I", content, at + 4)
        yield from ((at + offset, 4) for offset in range(0, min(size, 480), 4))
        at += size


def _static(content: bytes) -> Iterator[Field]:
    """Of objects for macOS, the first with its sections, symbols and relocations."""
    at = content.find(b"\xcf\xfa\xed\xfe")
    if at >= 0:
        yield from ((at + place, width) for place, width in _macho(content[at:]))
        yield from ((place, 4) for place in range(at + 1000, len(content) // 2, 4))


def _universal(content: bytes) -> Iterator[Field]:
    yield from ((at, 4) for at in range(4, 48, 4))
    yield from ((4096 + at, width) for at, width in _macho(content[4096:]))


def _zip(content: bytes) -> Iterator[Field]:
    for magic, shorts, longs in (
        (b"PK\1\2", (8, 10, 28, 30, 32), (20, 24, 42)),
        (b"PK\3\4", (26, 28), (18, 22)),
        (b"PK\5\6", (8, 10, 20), (12, 16)),
    ):
        at = content.find(magic)
        while at >= 0:
            yield from ((at + offset, 2) for offset in shorts)
            yield from ((at + offset, 4) for offset in longs)
            at = content.find(magic, at + 1)


def _rpm_fields(content: bytes) -> Iterator[Field]:
    yield from ((at, 4) for at in (*range(96, 120, 4), *range(136, 160, 4)))


def _squashfs(content: bytes) -> Iterator[Field]:
    yield from ((at, 4) for at in range(0, 32, 4))
    yield from ((at, 2) for at in range(20, 32, 2))
    yield from ((at, 8) for at in range(32, 96, 8))
    (inodes,) = struct.unpack_from("<Q", content, 64)
    yield from ((at, 4) for at in range(inodes, len(content) - 4, 2))


_FIELDS: dict[bytes, Callable[[bytes], Iterator[Field]]] = {
    b"MZ": _pe,
    b"\x64\x86": _coff,
    b"\0\0\xff\xff": _coff,
    b"\xcf\xfa\xed\xfe": _macho,
    b"\xca\xfe\xba\xbe": _universal,
    b"PK\3\4": _zip,
    b"\xed\xab\xee\xdb": _rpm_fields,
    b"hsqs": _squashfs,
    b"!<arch>\n": _static,
}

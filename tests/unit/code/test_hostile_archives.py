"""Archives, packages, Windows and macOS programs made to cost time or memory.

Each ends in an answer, within 20 s and 1 GB.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import struct
import tarfile
from pathlib import Path

import pytest
from tests.archives import ar_of, cpio_of, library, tar_of, zip_of
from tests.limits import assert_answered

pytest.importorskip("iced_x86")

from cpuprobe.check.contents import contents
from cpuprobe.code.archives import allowance

BINARIES = Path(__file__).parents[2] / "data" / "binaries"
LIBRARY = library()


def header(name: str, size: int = 0) -> bytes:
    """Of one file in a tar archive."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def nested() -> bytes:
    """Twelve archives in each of seven levels, with a megabyte and a library in the lowest."""
    content = zip_of({"a.so": LIBRARY, "zeros": bytes(1 << 20)})
    for _ in range(7):
        content = zip_of({f"{number}.zip": content for number in range(12)})
    return content


def overlapping() -> bytes:
    """60,000 files that are all the same bytes."""
    whole = zip_of({"a": bytes(1 << 22)})
    row, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    rows = whole[row:end] * 60_000
    return whole[:row] + rows + struct.pack("<4s8xIIH", b"PK\5\6", len(rows), row, 0)


def bomb(start: bytes) -> bytes:
    """A member of 8 GiB in 4 KB: bzip2 of bzip2's zeros."""
    return bz2.compress(header("f", 8 << 30) + start) + bz2.compress(bytes(45 << 20)) * 40


def million_of_zip() -> bytes:
    """A million empty files."""
    head = struct.pack("<4s22xHHc", b"PK\3\4", 1, 0, b"a")
    row = struct.pack("<4s24xHHH12xc", b"PK\1\2", 1, 0, 0, b"a")
    count = 1_000_000
    heads, rows = head * count, row * count
    start = len(heads)
    record = struct.pack("<4sQ28xQQ", b"PK\6\6", 44, len(rows), start)
    locator = struct.pack("<4s4xQ4x", b"PK\6\7", start + len(rows))
    end = struct.pack("<4s18x", b"PK\5\6")
    return gzip.compress(heads + rows + record + locator + end, 1)


def records_of_pax() -> bytes:
    """60 MB of records for all files, and 20,000 files."""
    said = b"".join(b"15 k%08d=x\n" % number for number in range(60_000))
    head = bytearray(header("x", len(said)))
    head[156:157], head[148:156] = b"g", b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    whole = bytes(head) + said + bytes(-len(said) % 512)
    return gzip.compress(whole + header("f") * 20_000 + whole * 60, 1)


def extra_of_zip() -> bytes:
    """A directory of 100 MB of extra fields that are not those that are sought."""
    extra = struct.pack("<HH", 2, 0) * 16_000
    row = b"PK\1\2" + bytes(16) + b"\xff" * 8 + struct.pack("<HHH12x", 1, len(extra), 0) + b"a"
    rows = (row + extra) * 1600
    return gzip.compress(b"PK\3\4" + rows + struct.pack("<4s8xIIH", b"PK\5\6", len(rows), 4, 0), 1)


def libraries() -> bytes:
    """200,000 of them in 60 KB."""
    one = header("f", len(LIBRARY)) + LIBRARY + bytes(-len(LIBRARY) % 512)
    return lzma.compress(one * 200_000, preset=0)


def whiteouts() -> bytes:
    """An image whose one layer lies on itself a thousand times, and hides each of its files."""
    layer = "blobs/sha256/" + "0" * 64
    content = b"".join(header(f"d/{at}/.wh.f") + header(f"d/{at}/f") for at in range(40_000))
    manifest = json.dumps([{"Layers": [layer] * 1000}]).encode()
    return gzip.compress(tar_of({layer: content, "manifest.json": manifest}), 1)


def functions_of_pe(rows: bytes) -> bytes:
    """A program with this .pdata."""
    program = bytearray((BINARIES / "entry.exe").read_bytes())
    program += bytes(-len(program) % 512)
    at, place = program.index(b".pdata"), len(program)
    (start,) = struct.unpack_from("<I", program, 60)
    struct.pack_into("<IIII", program, at + 8, len(rows), 0x100000, len(rows), place)
    struct.pack_into("<II", program, start + 136 + 8 * 3, 0x100000, len(rows))
    return gzip.compress(bytes(program) + rows, 1)


def sections_of_pe() -> bytes:
    """65,535 of them over the same bytes."""
    program = bytearray((BINARIES / "entry.exe").read_bytes())
    (start,) = struct.unpack_from("<I", program, 60)
    struct.pack_into("<H", program, start + 6, 0xFFFF)
    return bytes(program) + bytes(3 << 20)


def command_of_macho(number: int, content: bytes, form: str = "<II") -> bytes:
    """A library whose load command points to this."""
    program = bytearray((BINARIES / "load.dylib").read_bytes())
    place = len(program)
    at = 32
    while struct.unpack_from("<I", program, at)[0] != number:
        at += int(struct.unpack_from("<I", program, at + 4)[0])
    struct.pack_into(form, program, at + 8, place, len(content))
    return bytes(program) + content


def symbols_of_macho() -> bytes:
    """A million symbols at one place, in a string table that they are as well."""
    rows = struct.pack("<IBBHQ", 0, 0xF, 1, 0, 0x3D0) * 1_000_000
    program = bytearray(command_of_macho(2, rows))
    at = program.index(struct.pack("<II", len(program) - len(rows), len(rows)))
    place = len(program) - len(rows)
    struct.pack_into("<IIII", program, at, place, 1_000_000, place, len(rows))
    return gzip.compress(bytes(program), 1)


def slices() -> bytes:
    """A universal file of 32 slices that are all of it."""
    row = struct.pack(">IIIII", 0x01000007, 3, 4096, 1 << 20, 0)
    return struct.pack(">4sI", b"\xca\xfe\xba\xbe", 32) + row * 32 + bytes(1 << 20)


def test_holes_buy_no_work(tmp_path, monkeypatch):
    """A bomb before a terabyte of nothing."""
    monkeypatch.setattr(allowance, "WORK", 100_000)
    path = tmp_path / "sparse"
    path.write_bytes(gzip.compress(b"".join(map(header, map(str, range(2000)))), 1))
    os.truncate(path, 1 << 40)

    assert [met.error for met in contents(str(path)).met] == ["what it holds is too much work"]


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (nested, True),
        (overlapping, True),
        (million_of_zip, True),
        (lambda: bomb(b"text"), True),
        (lambda: bomb(b"\x7fELF\2\1\1"), True),
        (lambda: gzip.compress(header("f") * 600_000, 1), True),
        (lambda: gzip.compress(cpio_of({"f": b""})[:-124] * 600_000, 1), True),
        (lambda: gzip.compress(ar_of({"f": b""}) + ar_of({"f": b""})[8:] * 600_000, 1), True),
        (records_of_pax, True),
        (extra_of_zip, True),
        (libraries, True),
        (whiteouts, True),
        (sections_of_pe, True),
        (lambda: functions_of_pe(struct.pack("<III", 0x1000, 0x1041, 0x4000) * 2_000_000), True),
        (lambda: functions_of_pe(struct.pack("<III", 0x1000, 0x1041, 0x4000) * 1_000_000), False),
        (lambda: command_of_macho(0x26, b"\1" * (2 << 20)), False),
        (lambda: command_of_macho(0x26, b"\x80" * (2 << 20)), True),
        (lambda: command_of_macho(0x29, struct.pack("<IHH", 976, 8, 1) * 1_000_000), False),
        (lambda: command_of_macho(0x80000022, bytes.fromhex("11 22 00 60 f0 ff ff 01")), True),
        (lambda: gzip.compress(gzip.compress(b"") * 3_000_000, 1), True),
        (symbols_of_macho, False),
        (slices, True),
    ],
    ids=[
        "nested", "overlapping", "million-of-zip", "bomb", "bomb-of-code", "tar-headers",
        "cpio-headers", "ar-headers", "records", "extra", "libraries", "whiteouts", "sections",
        "functions-refused", "functions", "starts", "numbers", "data-in-code", "moved",
        "empty-members", "symbols", "slices",
    ],
)  # fmt: skip
def test_what_is_made_to_cost(make, refused, tmp_path):
    """A verdict, or one line."""
    path = tmp_path / "made"
    path.write_bytes(make())

    assert_answered("check", path, "--against", "x86-64-v2", refused=refused)

"""Captures from folders, archives, lines and Parquet; and from those who mean harm."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import tarfile

import pytest
from tests.fleet.common import five, write_folder

from cpuprobe.errors import CaptureError
from cpuprobe.fleet.archives import pieces_of
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece
from cpuprobe.fleet.sources import Reading, expand

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(*paths):
    """Every piece of some paths; labels and contents, and labels and reasons."""
    ingested, arguments = expand([str(path) for path in paths])
    assert not ingested
    return sorted_out(Reading(arguments).pieces())


def read_within(path, **budget):
    """The same of one file with a budget of its own."""
    with open(path, "rb") as file:
        return sorted_out(pieces_of(file, path.name, Budget(**budget)))


def sorted_out(found):
    pieces = list(found)
    good = [each for each in pieces if isinstance(each, Piece)]
    return good, {each.capture: each.why for each in pieces if isinstance(each, Skipped)}


def labels(pieces):
    return [each.label for each in pieces]


def tar_of(files, mode="w"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_a_folder_is_walked_by_name(tmp_path):
    """Files first, then subfolders; hidden files and links are left out, pipes are named."""
    folder = write_folder(tmp_path / "fleet", {"b.txt": b"b", "a.txt": b"a", ".hidden": b"h"})
    write_folder(folder / "sub", {"c.txt": b"c"})
    (folder / "loop").symlink_to(folder)
    (folder / "link.txt").symlink_to(folder / "a.txt")
    os.mkfifo(folder / "pipe")

    good, bad = read(folder)

    assert labels(good) == ["a.txt", "b.txt", "sub/c.txt"]
    assert [each.content for each in good] == [b"a", b"b", b"c"]
    assert bad == {"pipe": "not a regular file"}


def test_a_very_deep_folder_is_walked(tmp_path):
    """Deeper than Python may recurse."""
    top = tmp_path / "top"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)

    try:
        good, bad = read(top)
    finally:  # pytest's own cleaning would recurse too far
        subprocess.run(["rm", "-r", top], check=True)

    assert (good, bad) == ([], {})


def test_a_pattern_that_no_shell_expanded(tmp_path):
    """Its matches, called by what lies behind its fixed part."""
    write_folder(tmp_path / "x", {"a.json": b"1", "b.txt": b"2"})
    write_folder(tmp_path / "y", {"a.json": b"3"})

    good, _ = read(tmp_path / "*" / "*.json")

    assert labels(good) == ["x/a.json", "y/a.json"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    """It is there, so it is meant."""
    (tmp_path / "a[1].txt").write_bytes(b"x")

    assert labels(read(tmp_path / "a[1].txt")[0]) == ["a[1].txt"]


@pytest.mark.parametrize("name", ["nothing", "*.nothing", "a\0b"])
def test_what_is_not_there(name, tmp_path):
    """An error at once: it is a slip of the user's."""
    with pytest.raises(CaptureError):
        expand([str(tmp_path / name)])


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"]
)
def test_archives(pack, tmp_path):
    """Of every packing, whatever the name; members are called behind the archive."""
    (tmp_path / "fleet.bin").write_bytes(pack(tar_of({"d/a.txt": b"a", "d/b.txt": b"b" * 513})))

    good, bad = read(tmp_path / "fleet.bin")

    assert labels(good) == ["fleet.bin:d/a.txt", "fleet.bin:d/b.txt"]
    assert [each.content for each in good] == [b"a", b"b" * 513]
    assert not bad


def test_an_archive_of_a_home_directory_names_no_user(tmp_path):
    """`tar cz ~/reports` keeps the path."""
    (tmp_path / "x.tar").write_bytes(tar_of({"home/zzalice/r/a.txt": b"a", "/root/b.txt": b"b"}))

    assert labels(read(tmp_path / "x.tar")[0]) == ["x.tar:r/a.txt", "x.tar:b.txt"]


def test_lines_in_an_archive(tmp_path):
    """A member may hold many captures."""
    content = b'{"a": 1}\n{"b": 2}\n'
    (tmp_path / "x.tar").write_bytes(tar_of({"many.jsonl": content, "z.txt": b"z"}))

    good, _ = read(tmp_path / "x.tar")

    assert labels(good) == ["x.tar:many.jsonl:1", "x.tar:many.jsonl:2", "x.tar:z.txt"]


def test_links_and_devices_in_archives_are_not_read(tmp_path):
    """Nothing is unpacked, so nothing can be reached through them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"kind{kind.decode()}")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    (tmp_path / "x.tar").write_bytes(made.getvalue())

    good, bad = read(tmp_path / "x.tar")

    assert not good
    assert sorted(bad) == ["x.tar:kind1", "x.tar:kind3", "x.tar:kind6"]


def test_a_huge_member_is_left_out(tmp_path):
    """Only so much of it is ever read; those behind it are."""
    packed = gzip.compress(tar_of({"huge.txt": bytes(8 << 20), "a.txt": b"a"}))
    (tmp_path / "x.tgz").write_bytes(packed)

    good, bad = read_within(tmp_path / "x.tgz", capture=1 << 20)

    assert labels(good) == ["x.tgz:a.txt"]
    assert bad == {"x.tgz:huge.txt": "larger than 1 MiB, no capture is"}


def test_an_archive_that_unpacks_for_ever_is_given_up(tmp_path):
    """What would have to be unpacked only to be skipped is bounded."""
    packed = gzip.compress(tar_of({"huge.txt": bytes(8 << 20), "a.txt": b"a"}))
    (tmp_path / "x.tgz").write_bytes(packed)

    good, bad = read_within(tmp_path / "x.tgz", capture=1 << 10, size=1 << 20)

    assert not good
    assert "given up: more than 1 MiB" in bad["x.tgz"]


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"], ids=["name", "link", "pax", "global"])
def test_a_huge_header_is_refused(kind, tmp_path):
    """The module would read it whole: a gigabyte from a megabyte of gzip."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 1 << 33
    start = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tgz").write_bytes(gzip.compress(start + bytes(4 << 20)))

    good, bad = read(tmp_path / "x.tgz")

    assert not good
    assert "a header larger than 256 KiB" in bad["x.tgz"]


def test_damaged_archives_are_one_line(tmp_path):
    """Bytes flipped, cut off, or doubled: no other exception, no endless loop."""
    chance = random.Random(4)
    whole = tar_of({"a.json": b"{" * 700, "x" * 200: b"b" * 900, "c.jsonl": b"{}\n" * 400})
    path = tmp_path / "x.tar"
    for number in range(300):
        content = bytearray(whole)
        for _ in range(chance.randrange(1, 40)):
            content[chance.randrange(len(content))] = chance.choice((0, 0xFF, 0x20, 0x37, 0x80))
        if number % 3 == 0:
            del content[chance.randrange(600, len(content)) :]
        packed = content
        if number % 2:
            packed = bytearray(gzip.compress(content))
            packed[chance.randrange(20, len(packed))] ^= 1 << chance.randrange(8)
        path.write_bytes(packed)

        _, bad = read_within(path)

        assert all(why.isprintable() and len(why) < 300 for why in bad.values())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text(pack, tmp_path):
    """Lines as a log rotator leaves them, and a capture alone."""
    (tmp_path / "a.jsonl.gz").write_bytes(pack(b'{"a":1}\nx\n'))
    (tmp_path / "b.txt.gz").write_bytes(pack(b"one"))

    good, bad = read(tmp_path)

    assert [(each.label, each.content) for each in good] == [
        ("a.jsonl.gz:1", b'{"a":1}\n'),
        ("a.jsonl.gz:2", b"x\n"),
        ("b.txt.gz", b"one"),
    ]
    assert not bad


def test_damaged_packing(tmp_path):
    """What came before is read; then one line says what is wrong."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(random.Random(1).randbytes(9000))[:5000])
    (tmp_path / "b.xz").write_bytes(b"\xfd7zXZ\0" + bytes(100))
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(b"no archive" * 200))

    good, bad = read(tmp_path)

    assert not good
    assert [why.partition(":")[0] for why in bad.values()] == [
        "damaged (gzip)",
        "damaged (xz)",
        "no tar archive, or damaged after 0 members",
    ]


def test_a_bomb_of_text_is_not_unpacked_whole(tmp_path):
    """A gigabyte of nothing in a megabyte of gzip."""
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(bytes(64 << 20)))

    good, bad = read_within(tmp_path / "a.txt.gz", capture=1 << 16)

    assert not good
    assert bad == {"a.txt.gz": "larger than 0 MiB, no capture is"}


def test_zstd_says_what_to_do(tmp_path):
    """Python reads it from 3.14 on."""
    (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))

    good, bad = read(tmp_path / "a.tar.zst")

    assert not good
    assert "zstd" in bad["a.tar.zst"] or "Zstandard" in bad["a.tar.zst"]


def test_lines_by_name_and_by_content(tmp_path):
    """`.jsonl`, and anything whose first two lines are objects; empty lines do not count."""
    (tmp_path / "a.jsonl").write_bytes(b'\n{"a":1}\nnot json\n\n{"b":2}')
    (tmp_path / "b.log").write_bytes(b'{"a":1}\n\n{"b":2}\n')

    assert labels(read(tmp_path / "a.jsonl")[0]) == ["a.jsonl:2", "a.jsonl:3", "a.jsonl:5"]
    assert labels(read(tmp_path / "b.log")[0]) == ["b.log:1", "b.log:3"]


def test_a_capture_that_begins_with_json_stays_whole(tmp_path):
    """An issue with a report in its first line, and words behind it."""
    content = b'{"a":1}\nThis is what I got.\n'
    (tmp_path / "a.md").write_bytes(content)

    good, _ = read(tmp_path / "a.md")

    assert [(each.label, each.content, each.wrapped) for each in good] == [("a.md", content, False)]


def test_an_array_gives_its_objects(tmp_path):
    """As `cpuprobe inspect --json A B` prints it."""
    (tmp_path / "a.json").write_bytes(b' [{"a": 1},\n {"b": [2]}]')

    good, _ = read(tmp_path / "a.json")

    assert [(each.label, each.content) for each in good] == [
        ("a.json:1", b'{"a": 1}'),
        ("a.json:2", b'{"b": [2]}'),
    ]


def test_a_kernel_log_is_no_array(tmp_path):
    """Its lines begin with a bracket too."""
    (tmp_path / "a.txt").write_bytes(b"[    0.000000] microcode: updated\n")

    assert labels(read(tmp_path / "a.txt")[0]) == ["a.txt"]


def test_a_line_without_end_is_skipped(tmp_path):
    """Bounded by what a capture may be; the lines behind it are read."""
    (tmp_path / "a.jsonl").write_bytes(b"{" + b" " * (5 << 20) + b'}\n{"b":2}\n')

    good, bad = read_within(tmp_path / "a.jsonl", capture=1 << 16)

    assert labels(good) == ["a.jsonl:2"]
    assert list(bad) == ["a.jsonl:1"]


@pytest.mark.parametrize("content", [b"x\n" * (1 << 17), b"x" * (1 << 17)])
def test_a_large_file_is_skipped(content, tmp_path):
    """A file of text is read no further than a capture may be long."""
    (tmp_path / "a.txt").write_bytes(content)

    good, bad = read_within(tmp_path / "a.txt", capture=1 << 16)

    assert not good
    assert list(bad) == ["a.txt"]


def test_parquet_of_captures(tmp_path):
    """Text or bytes, a weight, and what the machine is called."""
    table = pa.table(
        {
            "capture": ["one", "two", None],
            "weight": [2.5, None, 1.0],
            "machine": ["web", None, "gone"],
            "more": [1, 2, 3],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(pa.table({"capture": [b"\xff\x00"]}), tmp_path / "b.parquet")

    good, bad = read(tmp_path)

    assert [(each.label, each.content, each.weight and str(each.weight)) for each in good] == [
        ("web", b"one", "2.5"),
        ("a.parquet:2", b"two", None),
        ("b.parquet:1", b"\xff\x00", None),
    ]
    assert bad == {"gone": "no text in column `capture`"}


def test_a_million_references_to_one_large_text_stay_one(tmp_path):
    """A dictionary of one value, referred to from many rows, is not written out."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["x" * (8 << 20)])
    pq.write_table(pa.table({"capture": column}), tmp_path / "a.parquet")
    before = pa.default_memory_pool().max_memory()

    good, bad = read_within(tmp_path / "a.parquet", capture=1 << 12)

    assert not good
    assert len(bad) == 5000
    assert pa.default_memory_pool().max_memory() - before < 256 << 20


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + bytes(400) + b"PAR1", b"PAR1xPAR1" * 50])
def test_broken_parquet(content, tmp_path):
    """One line, whatever is wrong."""
    (tmp_path / "a.parquet").write_bytes(content)

    good, bad = read(tmp_path / "a.parquet")

    assert not good
    assert bad["a.parquet"].startswith("not Parquet that can be read")


def test_parquet_of_something_else(tmp_path):
    """It says which column is missing."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")

    assert "column `capture`" in read(tmp_path / "a.parquet")[1]["a.parquet"]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Named, and the others are read."""
    write_folder(tmp_path / "x", {"a.txt": b"a", "b.txt": b"b"})
    real = os.open

    def refuse(path, *arguments, **more):
        if str(path).endswith("a.txt"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)

    good, bad = read(tmp_path / "x")

    assert labels(good) == ["b.txt"]
    assert bad == {"a.txt": "Permission denied"}


def test_how_far_the_reading_is(tmp_path):
    """Bytes done and in all, for the bar."""
    folder = write_folder(tmp_path / "x", five())
    reading = Reading(expand([str(folder)])[1])
    size = sum(len(each) for each in five().values())

    assert reading.total() == size
    seen = [reading.done for _ in reading.pieces()]

    assert seen == sorted(seen)
    assert reading.done == size


def test_names_from_strangers_are_harmless(tmp_path):
    """No control characters, no endless names."""
    (tmp_path / "x.tar").write_bytes(tar_of({"a\x1b[2J\n" + "b" * 900: b"a"}, "w"))

    (label,) = labels(read(tmp_path / "x.tar")[0])

    assert label.isprintable()
    assert len(label) < 400
    assert json.dumps(label)

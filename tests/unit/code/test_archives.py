"""What files hold: every format, every way of naming, nested; and what is not read is said."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import random
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NoReturn

import pytest
from tests.archives import ar_of, cpio_of, library, tar_of, zip_of

from cpuprobe.code.archives import allowance, blocks, packed, walk
from cpuprobe.code.archives.table import kind_of
from cpuprobe.code.archives.walk import members
from cpuprobe.code.elf import Held
from cpuprobe.files import HEAD

DATA = Path(__file__).parents[2] / "data" / "archives"
LIBRARY = library()


def held(content: bytes, name: str = "x") -> dict[str, tuple[str, bytes | str]]:
    """By name, the kind of each member, and its bytes or why there are none."""
    return {
        member.name: (
            member.kind.name,
            member.source.some(0, member.source.size) if member.source else member.error,
        )
        for member in members(Held(content), name)
    }


FILES = {"lib/core.so": LIBRARY, "readme.txt": b"nothing\n", "data.bin": b"\x80\x01\x00\xff"}
READ = {
    "x!lib/core.so": ("ELF file", LIBRARY),
    "x!readme.txt": ("text file", ""),
    "x!data.bin": ("other file", ""),
}


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip(method):
    assert held(zip_of(FILES, method)) == READ


def of_method(number: int, content: bytes, packed: bytes) -> bytes:
    """A zip archive with one file, packed by a method that Python does not write."""
    row = struct.pack("<HHIIIIHH", 0, number, 0, 0, len(packed), len(content), 1, 0)
    whole = b"PK\3\4\x14\0" + row + b"a" + packed
    directory = b"PK\1\2\x14\0\x14\0" + row + bytes(14) + b"a"
    return whole + directory + struct.pack("<4s8xIIH", b"PK\5\6", len(directory), len(whole), 0)


def test_methods_of_zip():
    """xz is read; the others are named, by number where they have no name."""
    assert held(of_method(95, LIBRARY, lzma.compress(LIBRARY))) == {"x!a": ("ELF file", LIBRARY)}
    assert held(of_method(9, b"", b"")) == {
        "x!a": ("file packed by Deflate64 in a zip archive", "")
    }
    assert held(of_method(19, b"", b"")) == {
        "x!a": ("file packed by method 19 in a zip archive", "")
    }


def test_a_dictionary_of_lzma_that_is_larger_than_its_file_takes_no_memory(monkeypatch):
    """4 GiB by its own word, of which a file of some KB needs none."""
    content = zip_of({"core.so": LIBRARY}, zipfile.ZIP_LZMA)
    at = content.index(b"core.so") + 7 + 4 + 1
    given = []

    def made(form: int, filters: list[dict[str, int]]) -> lzma.LZMADecompressor:
        given.append(filters[0]["dict_size"])
        return lzma_of(form, filters=filters)

    lzma_of = lzma.LZMADecompressor
    monkeypatch.setattr(lzma, "LZMADecompressor", made)

    assert held(content[:at] + b"\xff" * 4 + content[at + 4 :])["x!core.so"][1] == LIBRARY
    assert max(given) <= 4096


def test_a_zip_behind_a_script():
    """Its offsets count from its own start, or are put right; Python and Java run both."""
    content = b"#!/usr/bin/env python3\n" + zip_of(FILES)
    long = b"#!/bin/sh\n" + b"#" * HEAD + b"\n" + zip_of(FILES)

    assert held(content) == READ
    found = held(long, "x.pyz")
    assert {name.replace("x.pyz", "x"): told for name, told in found.items()} == READ
    assert held(long) == {"x": ("script with data behind it", "")}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packing", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_tar(form, packing):
    assert held(packing(tar_of(FILES, form))) == READ


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_long_name_in_a_tar(form):
    name = "/".join(["folder"] * 40) + "/é.so"

    assert held(tar_of({name: LIBRARY, "next": b"x"}, form)) == {
        f"x!{name}": ("ELF file", LIBRARY),
        "x!next": ("text file", ""),
    }


def test_a_tar_made_by_gnu_tar_with_links_and_a_hole(tmp_path):
    """Links have no content, and what has holes is named."""
    (tmp_path / "core.so").write_bytes(LIBRARY)
    (tmp_path / "again.so").hardlink_to(tmp_path / "core.so")
    (tmp_path / "link.so").symlink_to("core.so")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(LIBRARY)
    command = ["tar", "cSf", "-", "--sort=name", "core.so", "again.so", "link.so", "hole"]
    archive = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    assert held(archive) == {
        "x!core.so": ("ELF file", LIBRARY),
        "x!again.so": ("link or folder", ""),
        "x!link.so": ("link or folder", ""),
        "x!hole": ("file with holes in a tar archive", ""),
    }


def test_a_size_in_a_pax_header_counts():
    """What stands in its place in the header need not be a number."""
    member = tarfile.TarInfo("core.so")
    member.size, member.pax_headers = len(LIBRARY), {"size": f"{len(LIBRARY):030}"}
    content = bytearray(member.tobuf(tarfile.PAX_FORMAT) + LIBRARY + bytes(-len(LIBRARY) % 512))
    content[1024 + 124 : 1024 + 136], content[1024 + 148 : 1024 + 156] = b"\x20xyz" * 3, b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])

    assert held(bytes(content)) == {"x!core.so": ("ELF file", LIBRARY)}


def test_a_tar_from_before_posix():
    """It has no mark: its checksum makes it one. Letters that nobody knows are files."""
    content = bytearray(tar_of({"core.so": LIBRARY}, tarfile.USTAR_FORMAT))
    content[156:157], content[257:265], content[148:156] = b"!", bytes(8), b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])

    assert held(bytes(content)) == {"x!core.so": ("ELF file", LIBRARY)}
    content[0] ^= 1
    assert held(bytes(content)) == {"x": ("other file", "")}


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")
def test_zstd(monkeypatch):
    archive = subprocess.run(["zstd", "-c"], input=tar_of(FILES), capture_output=True, check=True)

    skipped = b"\x50\x2a\x4d\x18\x02\0\0\0ab"
    if packed.zstd_decoder(1 << 20) is not None:
        assert held(archive.stdout) == held(skipped + archive.stdout) == READ
    monkeypatch.setattr(importlib, "import_module", missing)
    assert held(archive.stdout) == {
        "x": ("zstd file without a library for it (pip install backports.zstd)", "")
    }


@pytest.mark.skipif(shutil.which("ar") is None, reason="no binutils here")
def test_a_static_library_of_binutils(tmp_path):
    """Short names, long ones, the table of symbols; a thin one holds nothing."""
    long = "a_name_of_more_than_fifteen_letters.o"
    for name in ("short.o", long):
        (tmp_path / name).write_bytes(LIBRARY)
    for options in ("qcS", "qcST"):
        command = ["ar", options, f"{options}.a", "short.o", long]
        subprocess.run(command, cwd=tmp_path, check=True)

    assert held((tmp_path / "qcS.a").read_bytes()) == {
        "x!short.o": ("ELF file", LIBRARY),
        f"x!{long}": ("ELF file", LIBRARY),
    }
    assert held((tmp_path / "qcST.a").read_bytes()) == {
        "x": ("thin archive, whose objects lie elsewhere", "")
    }


def test_a_static_library_of_bsd():
    """A long name stands before the content, in its size."""
    name = b"a name with blanks.o\0\0\0\0"

    assert held(ar_of({"__.SYMDEF SORTED": b"", f"#1/{len(name)}": name + LIBRARY})) == {
        "x!a name with blanks.o": ("ELF file", LIBRARY)
    }


def test_a_debian_package():
    """Its name is put together of all that it lies in."""
    package = ar_of(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzip.compress(tar_of({"control": b"Package: x\n"})),
            "data.tar.xz": lzma.compress(tar_of({"./usr/lib/core.so": LIBRARY})),
        }
    )

    assert held(package, "x.deb") == {
        "x.deb!debian-binary": ("text file", ""),
        "x.deb!control.tar.gz!control": ("text file", ""),
        "x.deb!data.tar.xz!usr/lib/core.so": ("ELF file", LIBRARY),
    }


def test_an_rpm_package():
    """Made by rpmbuild (tests/data/archives); a hard link has its content but once."""
    assert held((DATA / "tiny.rpm").read_bytes()) == {
        "x!usr/lib64/again.so": ("link or folder", ""),
        "x!usr/lib64/core.so": ("ELF file", LIBRARY),
        "x!usr/lib64/l.so": ("link or folder", ""),
        "x!usr/lib64/readme": ("text file", ""),
    }


def test_an_initramfs():
    """An archive of microcode, zeros, and a compressed archive."""
    first = cpio_of({"kernel/x86/microcode/GenuineIntel.bin": b"\1\0\0\0"})
    both = first + bytes(-len(first) % 512) + gzip.compress(cpio_of({"init": LIBRARY}))

    assert held(both) == {
        "x!kernel/x86/microcode/GenuineIntel.bin": ("other file", ""),
        "x!init": ("ELF file", LIBRARY),
    }


IMAGE = {
    "x!link": ("link or folder", ""),
    "x!readme": ("text file", ""),
    "x!usr/lib/core.so": ("ELF file", LIBRARY),
    "x!usr/lib/two.so": ("ELF file", LIBRARY + b"0123456789" * 900),
    "x!usr/zeros": ("other file", ""),
}


PACKAGES = {"gzip": "", "xz": "", "zstd": packed.ZSTD, "lz4": packed.LZ4, "lzo": blocks.LZO}


@pytest.mark.parametrize("packing", PACKAGES)
def test_a_squashfs_image(packing, monkeypatch):
    """Made by mksquashfs: files of blocks and fragments; without a library it is named."""
    content = (DATA / f"tiny.{packing}.squashfs").read_bytes()
    package = PACKAGES[packing]
    if not package or packed.module_of(package):
        assert held(content) == IMAGE
        assert held(gzip.compress(content)) == IMAGE
    monkeypatch.setattr(importlib, "import_module", missing)
    what = f"squashfs image packed by {packing} without a library for it (pip install {package})"

    assert held(content) == ({"x": (what, "")} if package else IMAGE)


def missing(name: str) -> NoReturn:
    raise ImportError(name)


@pytest.mark.parametrize("packing", ["lz4", "lzo"])
def test_a_damaged_block_is_an_error_and_nothing_worse(packing):
    pytest.importorskip(PACKAGES[packing])
    content = (DATA / f"tiny.{packing}.squashfs").read_bytes()
    errors = set()
    for at in range(96, len(content)):
        changed = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
        errors |= {each.error for each in members(Held(changed), "x")}

    assert f"damaged ({packing})" in errors


def test_a_squashfs_image_of_another_packing_is_named():
    content = bytearray((DATA / "tiny.gzip.squashfs").read_bytes())
    struct.pack_into("<H", content, 20, 9)

    assert held(bytes(content)) == {"x": ("squashfs image packed by method 9", "")}


def test_an_lz4_file(monkeypatch):
    """Read as a stream, however large; one byte after the other is damaged."""
    lz4 = pytest.importorskip("lz4.frame")
    content = lz4.compress(LIBRARY + bytes(1 << 20), store_size=False)

    assert held(content) == {"x": ("ELF file", LIBRARY + bytes(1 << 20))}
    for at in range(len(content)):
        assert len(held(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])) == 1
    monkeypatch.setattr(importlib, "import_module", missing)
    assert held(content) == {"x": ("lz4 file without a library for it (pip install lz4)", "")}


def test_an_appimage():
    """The program that mounts it is judged as well."""
    runtime = bytearray(LIBRARY)
    runtime[8:11] = b"AI\2"
    content = bytes(runtime) + (DATA / "tiny.gzip.squashfs").read_bytes()

    assert held(content) == {"x!runtime": ("ELF file", LIBRARY), **IMAGE}


def test_an_appimage_with_another_image():
    """DwarFS, say: what is not read is told of by its path."""
    runtime = bytearray(LIBRARY)
    runtime[8:11] = b"AI\2"

    assert held(bytes(runtime) + b"DWARFS\2\5" + bytes(600)) == {
        "x!runtime": ("ELF file", LIBRARY),
        "x!image": ("image of an unknown kind", ""),
    }


def test_folders_in_a_loop():
    """A folder that holds itself is refused, not followed."""
    content = bytearray((DATA / "tiny.gzip.squashfs").read_bytes())
    found = list(members(Held(bytes(content)), "x"))
    (inodes, folders) = struct.unpack_from("<QQ", content, 64)
    (size,) = struct.unpack_from("<H", content, folders)
    names = bytearray(zlib.decompress(content[folders + 2 : folders + 2 + (size & 0x7FFF)]))
    (root,) = struct.unpack_from("<Q", content, 32)
    at = names.index(b"usr", names.index(b"readme")) - 8
    struct.pack_into("<H", names, at, root & 0xFFFF)
    table = struct.pack("<H", 0x8000 | len(names)) + names
    moved = bytes(content) + table
    changed = bytearray(moved)
    struct.pack_into("<Q", changed, 72, len(content))

    assert len(found) == len(IMAGE)
    assert inodes < folders
    errors = [each.error for each in members(Held(bytes(changed)), "x") if each.error]
    assert errors == ["squashfs: its folders form a loop"]


def test_one_compressed_file_keeps_its_name():
    assert held(gzip.compress(LIBRARY), "core.so.gz") == {"core.so.gz": ("ELF file", LIBRARY)}


def test_streams_that_follow_each_other_are_read():
    """As `cat a.gz b.gz`, with zeros between them."""
    one, other = LIBRARY[:50], LIBRARY[50:]
    for packing in (gzip.compress, bz2.compress, lzma.compress):
        content = packing(one) + bytes(64) + packing(other) + bytes(8)

        assert held(content) == {"x": ("ELF file", LIBRARY)}


def test_an_encrypted_file_is_named():
    content = bytearray(zip_of(FILES))
    row = content.index(b"PK\x01\x02")
    content[row + 8] |= 1

    found = held(bytes(content))
    assert found["x!lib/core.so"] == ("encrypted file", "")
    assert found["x!readme.txt"] == READ["x!readme.txt"]


def test_a_large_zip():
    """Its numbers stand in the extra field, and its directory is found by another record."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", allowZip64=True) as archive:
        with archive.open("lib/core.so", "w", force_zip64=True) as file:
            file.write(LIBRARY)
        archive.comment = b"with a comment"
    content = target.getvalue()
    row, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    size, name = len(LIBRARY), len("lib/core.so")
    head = bytearray(content[row : row + 46])
    struct.pack_into("<III", head, 20, 0xFFFFFFFF, 0xFFFFFFFF, name)
    struct.pack_into("<HH", head, 28, name, 28)
    struct.pack_into("<I", head, 42, 0xFFFFFFFF)
    extra = struct.pack("<HHQQQ", 1, 24, size, size, 0)
    directory = bytes(head) + b"lib/core.so" + extra
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), row)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, row + len(directory), 1)
    last = bytearray(content[end:])
    struct.pack_into("<HHII", last, 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)

    large = content[:row] + directory + record + locator + bytes(last)
    with zipfile.ZipFile(io.BytesIO(large)) as archive:  # another reader takes it for one too
        assert archive.read("lib/core.so") == LIBRARY
    assert held(large) == {"x!lib/core.so": READ["x!lib/core.so"]}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.obj", b"\x64\x86\x02\0", "COFF object file"),
        ("x", b"\0\0\xff\xff\2\0\x64\x86", "COFF object file"),
        ("x.bin", b"\x64\x86\x02\0", "other file"),
        ("x.lib!app.dll", b"\x64\x86\x03\0", "COFF object file"),
        ("x.lib!core.pyd", b"\0\0\xff\xff\0\0\x64\x86", "import from a DLL"),
        ("x.o", b"BC\xc0\xde", "LLVM bitcode file"),
        ("x.msi", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Windows installer"),
        ("x.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "other file"),
        ("X.DMG", b"\x78\xda\0", "macOS disk image"),
        ("x.class", b"\xca\xfe\xba\xbe\0\0\0\x34", "Java class file"),
        ("x", b"", "text file"),
        ("x.so", b"", "empty or damaged program"),
        (".wh.x.so", b"", "text file"),
        ("x.tar!lib/._x.dylib", b"\0\5\x16\7", "other file"),
        ("X.DLL", bytes(400), "empty or damaged program"),
        ("x.so", b"\x01\xf7\0\4" + bytes(40), "AIX file"),
        ("x.so", b"/* GNU ld script */\nGROUP(libx.so.1)\n", "text file"),
        ("x.so", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        ("x", "tschüß".encode("utf-16"), "text file"),
        ("x", "ü".encode() * 256, "text file"),
        ("x", bytes(257) + b"ustar\0" + bytes(249), "tar archive"),
    ],
)
def test_kinds(name, content, kind):
    """By the first bytes, and by the name where those say too little."""
    assert kind_of(content[:HEAD], name).name == kind


def test_too_deep():
    content = LIBRARY
    for number in range(allowance.MOST_NESTED):
        content = zip_of({f"{number}": content})
    assert [kind for kind, _ in held(content).values()] == ["ELF file"]

    assert held(zip_of({"a": content, "b": LIBRARY})) == {
        "x!a!7!6!5!4!3!2!1": ("archive nested too deep", ""),
        "x!b": ("ELF file", LIBRARY),
    }


def test_what_memory_does_not_hold_is_named(monkeypatch):
    """Stored as it is, it needs no memory; packed, it does."""
    monkeypatch.setattr(allowance, "MOST_HELD", len(LIBRARY) - 1)

    assert held(zip_of(FILES, zipfile.ZIP_STORED)) == READ
    assert held(zip_of(FILES))["x!lib/core.so"] == (walk.TOO_LARGE.name, "")
    assert held(gzip.compress(zip_of(FILES))) == {
        "x": ("zip archive too large for memory in an archive", "")
    }


def of_dictionary(content: bytes, size: int) -> bytes:
    """Packed by xz, with a dictionary of 1 << size bytes (xz-file-format.txt, 3.1 and 5.3.1)."""
    least = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
    whole = bytearray(lzma.compress(content, check=lzma.CHECK_NONE, filters=least))
    end = 12 + 4 * whole[12]
    whole[16] = 2 * (size - 12)
    struct.pack_into("<I", whole, end, zlib.crc32(whole[12:end]))
    return bytes(whole)


def test_dictionaries_in_each_other_are_small():
    """Three of 64 MiB, as of `xz -9`; a fourth may have 16, as would another behind the third."""
    inside = of_dictionary(of_dictionary(of_dictionary(LIBRARY, 24), 26), 26)
    beside = {str(at): inside for at in range(4)}

    assert held(of_dictionary(LIBRARY, 28)) == {"x": ("xz file", "damaged (xz)")}
    assert set(held(of_dictionary(tar_of(beside), 26)).values()) == {("ELF file", LIBRARY)}
    assert held(of_dictionary(of_dictionary(inside, 26), 26)) == {"x": ("xz file", "damaged (xz)")}


def test_damage_ends_what_it_is_in_and_no_more():
    """What stands before it and beside it is read."""
    whole = gzip.compress(tar_of({"a.so": LIBRARY, "b.so": LIBRARY * 300}))
    found = held(zip_of({"cut.tgz": whole[: len(whole) // 2], "good.so": LIBRARY}))

    assert found["x!cut.tgz!a.so"] == ("ELF file", LIBRARY)
    assert found["x!cut.tgz"] == ("tar archive", "cut short (gzip)")
    assert found["x!good.so"] == ("ELF file", LIBRARY)


def test_every_prefix_and_every_flipped_byte_has_an_answer():
    """A damaged archive is a member with a sentence, never an exception."""
    chance = random.Random(1)
    package = ar_of({"debian-binary": b"2.0\n", "data.tar.gz": gzip.compress(tar_of(FILES))})
    image = (DATA / "tiny.gzip.squashfs").read_bytes()
    rpm = (DATA / "tiny.rpm").read_bytes()
    for content in (zip_of(FILES), tar_of(FILES), package, lzma.compress(LIBRARY), image, rpm):
        for _ in range(60):
            damaged = bytearray(content[: chance.randrange(1, len(content) + 1)])
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            for member in members(Held(bytes(damaged)), "x"):
                assert member.error.isprintable()

"""What a file is, by its first bytes or its name: code, what holds files, what is not read."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpuprobe.code import coff, macho
from cpuprobe.code.archives import ar, cpio, fat, packed, rpm, squashfs, tars, zips
from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Entry, Stream
from cpuprobe.files import HEAD, is_tar, open_regular

Opener = Callable[[Stream, Allowance], Iterator[Entry]]


class Kind(NamedTuple):
    """One kind of file.

    Attributes:
        name: for people; an s makes it several.
        start: its first bytes; empty: it is known by the end of its name.
        end: of its name.
        opens: yields the files in it, for what holds files.
        code: it is judged itself.
        named: it may hold code, so that each one that is not read is told of by its path.
    """

    name: str
    start: bytes = b""
    end: str = ""
    opens: Opener | None = None
    code: bool = False
    named: bool = True

    @property
    def unread(self) -> bool:
        """Whether it may hold code, but is not read."""
        return self.named and not self.code and self.opens is None


ELF = Kind("ELF file", b"\x7fELF", code=True)
TAR = Kind("tar archive", opens=tars.entries)
IMAGE = Kind("image as a folder", opens=tars.entries)
"""An OCI layout, which is read as a tar archive of it would be."""
UNIVERSAL = Kind("universal macOS program", opens=fat.entries)
APPIMAGE = Kind("AppImage", opens=squashfs.appimage)
LIBRARY = Kind("static library", ar.MAGIC, opens=ar.entries)
MODULE = Kind("WebAssembly module", b"\x00asm")
"""To be compiled, which is not this package's."""
TEXT = Kind("text file", named=False)
SCRIPT = Kind("text file", b"#!", named=False)
"""A text that may start programs."""
BUNDLE = Kind("script with data behind it")
"""An installer that unpacks itself, say."""
MOST_OF_SCRIPT = 1 << 16
"""Bytes of a script that are looked at."""
OTHER = Kind("other file", named=False)
_PROGRAM = re.compile(r"(?:^|[/!])[^./!][^/!]*\.(?:so|dll|pyd|node|dylib|exe)$")
"""A dot stands before the names of whiteouts, and of what macOS keeps beside a file."""
BROKEN = Kind("empty or damaged program")
"""What has a program's name, and neither code nor text: linker scripts are called so as well."""

KINDS = (
    ELF,
    Kind("Windows program", b"MZ", code=True),
    *(Kind("macOS program", magic, code=True) for magic in (macho.MAGIC, *macho.FURTHER_MAGIC)),
    # An import library calls its own objects as the DLL is called that it is of.
    *(
        Kind("COFF object file", coff.MAGIC, end, code=True)
        for end in (".o", ".obj", ".dll", ".pyd", ".exe")
    ),
    Kind("COFF object file", coff.BIG_MAGIC, code=True),
    MODULE,
    # What holds files.
    Kind("Debian package", b"!<arch>\ndebian", opens=ar.entries),
    LIBRARY,
    Kind("static library", b"!<thin>\n", opens=ar.thin),
    Kind("zip archive", b"PK\x03\x04", opens=zips.entries),
    Kind("zip archive", b"PK\x05\x06", opens=zips.entries),  # an empty one
    *(Kind("zip archive", b"#!", end, opens=zips.entries) for end in (".pyz", ".pex", ".jar")),
    Kind("gzip file", b"\x1f\x8b", opens=packed.gzip),
    Kind("bzip2 file", b"BZh", opens=packed.bzip2),
    Kind("xz file", b"\xfd7zXZ\x00", opens=packed.xz),
    Kind("lzma file", b"\x5d\x00\x00", end=".lzma", opens=packed.xz),
    Kind("zstd file", b"\x28\xb5\x2f\xfd", opens=packed.zstd),
    # pzstd's begin with a frame that is to be skipped (RFC 8878, 3.1.2).
    Kind("zstd file", b"\x50\x2a\x4d\x18", opens=packed.zstd),
    Kind("lz4 file", b"\x04\x22\x4d\x18", opens=packed.lz4),
    Kind("RPM package", rpm.MAGIC, opens=rpm.entries),
    *(Kind("cpio archive", magic, opens=cpio.entries) for magic in cpio.MAGICS),
    Kind("cpio archive", cpio.STRIPPED, opens=cpio.stripped),
    Kind("squashfs image", squashfs.MAGIC, opens=squashfs.entries),
    # What may hold code and is not read.
    Kind("7-Zip archive", b"7z\xbc\xaf\x27\x1c"),
    Kind("RAR archive", b"Rar!\x1a\x07"),
    Kind("cabinet", b"MSCF"),
    Kind("Windows installer", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", end=".msi"),
    Kind("macOS package", b"xar!"),
    Kind("macOS disk image", end=".dmg"),
    *(Kind("disk image", end=end) for end in (".iso", ".img", ".qcow2", ".vdi", ".vhdx", ".vmdk")),
    Kind("lz4 file of the old form", b"\x02\x21\x4c\x18"),
    Kind("lzip file", b"LZIP"),
    Kind("lzop file", b"\x89LZO"),
    Kind("file of compress", b"\x1f\x9d"),
    *(Kind("cpio archive of an old format", magic) for magic in (b"070707", b"\xc7\x71")),
    Kind("Electron archive", b"\4\0\0\0", end=".asar"),
    # IMPORT_OBJECT_HEADER of winnt.h (Windows SDK), version 0: names one function of a DLL.
    Kind("import from a DLL", b"\0\0\xff\xff\0\0", named=False),
    # Of cl /GL: ANON_OBJECT_HEADER of winnt.h (Windows SDK), version 1.
    Kind("COFF object file of a compiler's own code", b"\0\0\xff\xff\1\0\x64\x86"),
    # As it is, and in the wrapper that Apple's linker wants (llvm, BitcodeReader.h).
    *(Kind("LLVM bitcode file", each) for each in (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")),
    # What stands for a file that was not fetched, whatever that is (git-lfs, docs/spec.md).
    Kind("Git LFS pointer", b"version https://git-lfs.github.com/spec/"),
    Kind("Java class file", b"\xca\xfe\xba\xbe", named=False),
    Kind("Android bytecode file", b"dex\n", named=False),
    # XCOFF of one CPU alone (IBM, AIX 7.3, "XCOFF Object File Format"; "ar File Format (Big)").
    *(Kind("AIX file", each, named=False) for each in (b"\x01\xf7\0", b"\x01\xdf\0", b"<bigaf>\n")),
    SCRIPT,
)

_UTF_8 = codecs.getincrementaldecoder("utf-8")
_APPIMAGE = b"\x7fELF\2\1", b"AI\2"
_BY_FIRST: dict[bytes, list[Kind]] = {b"": []}
for _kind in KINDS:
    _BY_FIRST.setdefault(_kind.start[:1], []).append(_kind)


def kind_of(head: bytes, name: str) -> Kind:
    """What a file is.

    Args:
        head: its first HEAD bytes, or all.
        name: its path.
    """
    if head.startswith(_APPIMAGE[0]) and head.startswith(_APPIMAGE[1], 8):
        return APPIMAGE
    if fat.begins(head):
        return UNIVERSAL
    lower = name.lower()
    if head.startswith(b"#!") and b"\nPK\3\4" in head:  # of Python's zipapp, whatever its name
        lower += ".pyz"
    kind: Kind
    for kind in (*_BY_FIRST.get(head[:1], ()), *_BY_FIRST[b""]):
        if head.startswith(kind.start) and lower.endswith(kind.end):
            return kind
    if is_tar(head) or tars.begins(head):
        return TAR
    if (not head or not _is_text(head)) and _PROGRAM.search(lower):
        return BROKEN
    return TEXT if _is_text(head) else OTHER


def kind_of_script(start: bytes) -> Kind:
    """What a script is, by its first MOST_OF_SCRIPT bytes."""
    return BUNDLE if b"\0" in start else SCRIPT


def kind_of_file(path: str) -> Kind | None:
    """What the file at a path is; None if it cannot be read or is no regular file."""
    if os.path.isdir(path):
        return IMAGE if os.path.isfile(os.path.join(path, "oci-layout")) else None
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            head = file.read(HEAD) or b""
            kind = kind_of(head, path)
            return kind_of_script(file.read(MOST_OF_SCRIPT) or b"") if kind is SCRIPT else kind
    except OSError:
        return None


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if not head or b"\0" in head:
        return not head
    try:
        # A character may be cut at the end.
        _UTF_8().decode(head)
    except UnicodeDecodeError:
        return False
    return True

"""What a file is, by its first bytes: what may hold code and is read, or is not read yet."""

from __future__ import annotations

from cpuprobe.files import open_regular

ELF = "ELF file"
OTHER = "other file"

# Offset, bytes, and what such files are: the first that fits.
_MAGIC = (
    (0, b"\x7fELF", ELF),
    (0, b"MZ", "Windows program"),
    (0, b"\xcf\xfa\xed\xfe", "macOS program"),
    (
        0,
        b"\xca\xfe\xba\xbe\x00\x00\x00",
        "macOS program",
    ),  # fat; Java's class files go on otherwise
    (0, b"!<arch>\ndebian", "Debian package"),
    (0, b"!<arch>\n", "static library"),
    (0, b"\xed\xab\xee\xdb", "RPM package"),
    (0, b"PK\x03\x04", "zip archive"),  # wheels, jar, apk, nupkg
    (0, b"\x1f\x8b", "gzip file"),
    (0, b"BZh", "bzip2 file"),
    (0, b"\xfd7zXZ\x00", "xz file"),
    (0, b"\x28\xb5\x2f\xfd", "zstd file"),
    (257, b"ustar", "tar archive"),
    (0, b"hsqs", "squashfs image"),
    (0, b"\x00asm", "WebAssembly module"),
)
_ENOUGH = 264


def kind_of(path: str) -> str | None:
    """What a file is; None if it cannot be read or is no regular file."""
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            start = file.read(_ENOUGH) or b""
    except OSError:
        return None
    return next((kind for at, magic, kind in _MAGIC if start[at:].startswith(magic)), OTHER)

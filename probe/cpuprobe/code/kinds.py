"""What a file is, by its first bytes: what may hold code and is read, or is not read yet."""

from __future__ import annotations

from cpuprobe.files import HEAD, is_tar, open_regular

ELF = "ELF file"
OTHER = "other file"

# First bytes, and what such files are: the first that fits.
_MAGIC = (
    (b"\x7fELF", ELF),
    (b"MZ", "Windows program"),
    (b"\xcf\xfa\xed\xfe", "macOS program"),
    # A fat one; Java's class files go on otherwise.
    (b"\xca\xfe\xba\xbe\x00\x00\x00", "macOS program"),
    (b"!<arch>\ndebian", "Debian package"),
    (b"!<arch>\n", "static library"),
    (b"\xed\xab\xee\xdb", "RPM package"),
    (b"PK\x03\x04", "zip archive"),  # wheels, jar, apk, nupkg
    (b"\x1f\x8b", "gzip file"),
    (b"BZh", "bzip2 file"),
    (b"\xfd7zXZ\x00", "xz file"),
    (b"\x28\xb5\x2f\xfd", "zstd file"),
    (b"hsqs", "squashfs image"),
    (b"\x00asm", "WebAssembly module"),
)


def kind_of(path: str) -> str | None:
    """What a file is; None if it cannot be read or is no regular file."""
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            start = file.read(HEAD) or b""
    except OSError:
        return None
    by_start = next((kind for magic, kind in _MAGIC if start.startswith(magic)), OTHER)
    return "tar archive" if by_start == OTHER and is_tar(start) else by_start

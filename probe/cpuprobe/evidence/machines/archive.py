"""Archives of logs about one machine, as hw-probe makes them (hw.info.txz): the texts in it.

Unpacked in memory, never further than a bound, and only files by whose name a format is known.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable

from cpuprobe.errors import CaptureError
from cpuprobe.files import is_tar

MAXIMUM_UNPACKED = 64 << 20
_MAXIMUM_FILE = 4 << 20
_MAXIMUM_FILES = 10_000
_MEMORY = 256 << 20  # what xz may ask for
# Logs of hw-probe (HW_DIR/logs) and what people put into an archive by hand.
_NAMES = frozenset({"lscpu", "cpuid", "cpuinfo", "dmesg", "hwinfo", "lshw", "inxi", "uname"})


def _gzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data, MAXIMUM_UNPACKED + 1)


# A Python that was built without their libraries has neither bz2 nor lzma.
def _bzip2(data: bytes) -> bytes:
    import bz2

    return bz2.BZ2Decompressor().decompress(data, MAXIMUM_UNPACKED + 1)


def _xz(data: bytes) -> bytes:
    import lzma

    try:
        return lzma.LZMADecompressor(memlimit=_MEMORY).decompress(data, MAXIMUM_UNPACKED + 1)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from None


_PACKERS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bzip2),
    (b"\xfd7zXZ\0", _xz),
    (b"", bytes),
)


def texts_of_archive(data: bytes) -> bytes | None:
    """The texts of an archive one after the other; None if the bytes are no tar archive.

    Raises:
        CaptureError: it unpacks to more than any such archive, or has no log that is read.
    """
    unpack = next(unpack for magic, unpack in _PACKERS if data.startswith(magic))
    try:
        content = unpack(data)
    except ImportError as error:
        raise CaptureError(f"compressed, and this Python has no {error.name}: unpack it") from None
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    if not is_tar(content):
        return None
    if len(content) > MAXIMUM_UNPACKED:
        raise CaptureError(f"an archive of more than {MAXIMUM_UNPACKED >> 20} MiB: give its lscpu")
    texts: list[bytes] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for _ in range(_MAXIMUM_FILES):
                member = archive.next()
                if member is None:
                    break
                name = member.name.rpartition("/")[2].partition(".")[0].lower()
                if name in _NAMES and member.isreg() and member.size <= _MAXIMUM_FILE:
                    file = archive.extractfile(member)
                    texts.append(file.read(_MAXIMUM_FILE) if file is not None else b"")
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError):
        raise CaptureError("a damaged archive: unpack it and give its lscpu") from None
    if not texts:
        raise CaptureError("an archive without lscpu, cpuid or cpuinfo in it")
    return b"\n\n".join(texts)

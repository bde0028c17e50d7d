"""Blocks that are packed as a whole, by whatever packs those of a squashfs image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cpuprobe.code.archives.packed import (
    DAMAGED,
    LZ4,
    Inflate,
    MakesDecoder,
    module_of,
    xz_decoder,
    zstd_decoder,
)
from cpuprobe.code.elf import ArtifactError

LZO = "lzallright"
"""The package that unpacks LZO1X."""
_DICTIONARY = 16 << 20
"""Bytes for a dictionary, which is never larger than a block (mksquashfs(1), -Xdict-size)."""
Unpacks = Callable[[bytes, int], bytes]
"""A block, and the bytes that it unpacks to at most."""


def zlib() -> Unpacks:
    """What unpacks zlib's form."""
    return _of_stream(lambda: Inflate(15), "gzip")


def xz() -> Unpacks:
    """What unpacks xz and the older form of LZMA."""
    return _of_stream(xz_decoder(_DICTIONARY), "xz")


def zstd() -> Unpacks | None:
    """What unpacks zstd; None without its library."""
    decoder = zstd_decoder(_DICTIONARY)
    return decoder and _of_stream(decoder, "zstd")


def lzo() -> Unpacks | None:
    """What unpacks LZO1X; None without its library."""
    module = module_of(LZO)
    return module and _unpacks(module.LZOCompressor.decompress, module.LZOError, "lzo")


def lz4() -> Unpacks | None:
    """What unpacks LZ4; None without its library."""
    module = module_of(f"{LZ4}.block")
    return module and _unpacks(module.decompress, module.LZ4BlockError, "lz4")


def _of_stream(make: MakesDecoder, what: str) -> Unpacks:
    return _unpacks(lambda block, most: make().decompress(block, most), DAMAGED, what)


def _unpacks(
    unpack: Callable[[bytes, int], Any],
    errors: type[Exception] | tuple[type[Exception], ...],
    what: str,
) -> Unpacks:
    def unpacked(block: bytes, most: int) -> bytes:
        try:
            return bytes(unpack(block, most))
        except errors as error:
            raise ArtifactError(f"damaged ({what})") from error

    return unpacked

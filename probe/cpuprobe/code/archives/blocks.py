"""Blocks that are packed as a whole, by what Python's library does not read: LZO and LZ4."""

from __future__ import annotations

from collections.abc import Callable

from cpuprobe.code.archives.packed import module_of
from cpuprobe.code.elf import ArtifactError

LZO, LZ4 = "lzallright", "lz4"
"""The packages that unpack them."""
Unpacks = Callable[[bytes, int], bytes]
"""A block, and the bytes that it unpacks to at most."""


def lzo() -> Unpacks | None:
    """What unpacks LZO1X; None without its library."""
    module = module_of(LZO)
    if module is None:
        return None

    def unpack(block: bytes, most: int) -> bytes:
        try:
            piece: bytes = module.LZOCompressor.decompress(block, most)
        except module.LZOError as error:
            raise ArtifactError("damaged (lzo)") from error
        return piece

    return unpack


def lz4() -> Unpacks | None:
    """What unpacks LZ4; None without its library."""
    module = module_of("lz4.block")
    if module is None:
        return None

    def unpack(block: bytes, most: int) -> bytes:
        try:
            piece: bytes = module.decompress(block, uncompressed_size=most)
        except module.LZ4BlockError as error:
            raise ArtifactError("damaged (lz4)") from error
        return piece

    return unpack

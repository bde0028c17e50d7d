"""Compressed streams: gzip, bzip2, xz, lzma, zstd, lz4."""

from __future__ import annotations

import bz2
import contextlib
import functools
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from cpuprobe.code.archives.allowance import UNPACKED, Allowance
from cpuprobe.code.archives.streams import Entry, Stream
from cpuprobe.code.elf import ArtifactError

ZSTD, LZ4 = "backports.zstd", "lz4"
WITHOUT = "without a library for it (pip install {})"
_PACKED = 1 << 16
_AT_ONCE = 1 << 16
_MEMBER = 256  # steps to begin another stream
DAMAGED = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""What decoders raise."""


class Decoder(Protocol):
    """As in bz2, lzma and compression.zstd."""

    @property
    def eof(self) -> bool:
        """Whether the end was met."""

    @property
    def needs_input(self) -> bool:
        """Whether it has given all that it was given."""

    @property
    def unused_data(self) -> bytes:
        """What stands behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes of what was packed."""


MakesDecoder = Callable[[], Decoder]


class Inflate:
    """zlib's decoder with the interface of the others."""

    def __init__(self, bits: int) -> None:
        """Takes zlib's wbits: 31 for gzip, -15 for what zip archives hold."""
        self._decoder = zlib.decompressobj(bits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end was met."""
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        """What stands behind the end."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes of what was packed."""
        piece = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length
        return piece


class Unpacked(Stream):
    """What a compressed stream unpacks to; of several one after the other, all."""

    def __init__(
        self, packed: Stream, decoder: MakesDecoder, what: str, allowance: Allowance
    ) -> None:
        """Unpacks as it is read.

        Args:
            packed: the stream.
            decoder: makes a decoder.
            what: its name, for errors.
            allowance: what it is charged to.
        """
        super().__init__()
        self._packed = packed
        self._make = decoder
        self._decoder = decoder()
        self._what = what
        self._allowance = allowance
        self._piece, self._given = b"", 0

    def _more(self, size: int) -> bytes:
        # Decoders copy what they have not used: they are asked for much at once.
        if self._given == len(self._piece):
            self._piece, self._given = self._unpacked(max(size, _AT_ONCE)), 0
        piece = self._piece[self._given : self._given + size]
        self._given += len(piece)
        return piece

    def _unpacked(self, size: int) -> bytes:
        data = b""
        while True:
            decoder = self._decoder
            if decoder.eof:
                # Another one may follow; zeros between them fill blocks of tapes.
                data = (decoder.unused_data or self._read()).lstrip(b"\0")
                if not data:
                    return b""
                self._allowance.spend(_MEMBER + len(data) * UNPACKED)
                self._decoder = decoder = self._make()
            elif decoder.needs_input and not data:
                data = self._read()
                if not data:
                    raise ArtifactError(f"cut short ({self._what})")
            try:
                piece = decoder.decompress(data, size)
            except DAMAGED as error:
                raise ArtifactError(f"damaged ({self._what})") from error
            data = b""
            if piece:
                self._allowance.unpack(0, len(piece))
                return piece

    def _read(self) -> bytes:
        data = self._packed.read(_PACKED)
        self._allowance.unpack(len(data), 0)
        return data


def _only(decoder: MakesDecoder, what: str) -> Callable[[Stream, Allowance], Iterator[Entry]]:
    def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
        yield Entry("", Unpacked(stream, decoder, what, allowance))

    return entries


gzip = _only(lambda: Inflate(31), "gzip")
bzip2 = _only(bz2.BZ2Decompressor, "bzip2")


def _with_dictionary(
    make: Callable[[int], MakesDecoder | None], what: str, package: str = ""
) -> Callable[[Stream, Allowance], Iterator[Entry]]:
    def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
        with allowance.dictionary() as most:
            decoder = make(most)
            if decoder is None:
                yield Entry("", None, f"{what} file {WITHOUT.format(package)}")
            else:
                yield Entry("", Unpacked(stream, decoder, what, allowance))

    return entries


def xz_decoder(most: int) -> MakesDecoder:
    """What makes a decoder of xz, whose dictionary may take so many bytes."""
    return lambda: lzma.LZMADecompressor(memlimit=most)


def zstd_decoder(most: int) -> MakesDecoder | None:
    """Likewise of zstd: Python's own from 3.14 on, or its backport; None without."""
    module = module_of("compression.zstd") or module_of(ZSTD)
    if module is None:
        return None
    # 128 MiB is the library's own bound: zstd has more of its users ask for it.
    bound = {module.DecompressionParameter.window_log_max: min(27, most.bit_length() - 1)}
    make = functools.partial(module.ZstdDecompressor, options=bound)
    return functools.partial(_Library, make, module.ZstdError)


def _lz4_decoder(_: int) -> MakesDecoder | None:
    module = module_of("lz4.frame")
    return module and functools.partial(_Library, module.LZ4FrameDecompressor, RuntimeError)


def module_of(name: str) -> Any:
    """A module that may be missing: None then."""
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


class _Library:
    """A library's decoder, with an error that is known without it."""

    def __init__(self, make: Callable[[], Decoder], error: type[Exception]) -> None:
        """Takes what makes one, and what it raises."""
        self._decoder = make()
        self._error = error
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes of what was packed."""
        decoder = self._decoder
        try:
            piece = decoder.decompress(data, max_length)
        except self._error as error:
            raise ValueError("damaged") from error
        self.eof, self.needs_input = decoder.eof, decoder.needs_input
        self.unused_data = decoder.unused_data or b""  # LZ4's has None where there is nothing
        return piece


xz = _with_dictionary(xz_decoder, "xz")
zstd = _with_dictionary(zstd_decoder, "zstd", ZSTD)
lz4 = _with_dictionary(_lz4_decoder, "lz4", LZ4)

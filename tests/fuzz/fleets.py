"""Seeds, a mutator that knows the tables, and the promise: for archives and Parquet of fleets."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import random
import tarfile
import tempfile
import time
from collections.abc import Callable

from cpuprobe.fleet.apart import Apart
from cpuprobe.fleet.archives import pieces_of
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece

SECONDS = 5.0
"""CPU time for one input of some KB."""

_BLOCK = 512
# Of a header: where a field stands, and its length (POSIX, "ustar Interchange Format").
_FIELDS = ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
_KINDS = b"0\x001234567xgLKSDVM\xff"
_SIZES = (
    b"00000000000\0",
    b"77777777777\0",
    b"00000000777\0",
    b"\x80" + b"\xff" * 11,
    b"-1".ljust(12),
)
_PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
}


def seeds() -> dict[str, bytes]:
    """A valid file of each kind; a packed archive is mutated before it is packed."""
    found = {"tar": _tar()}
    with contextlib.suppress(ImportError):  # an extra
        found["parquet"] = _parquet()
    return found


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (
            ("a.json", b'{"a": 1}'),
            ("d/many.jsonl", b'{"capture": "x", "weight": 2}\n\n{}\n' * 9),
            ("\u00fc" * 120, b"long name in a pax header"),
            ("b.json", b"[{}, {}]"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        member = tarfile.TarInfo("n" * 200)
        member.size = 3
        made.write(member.tobuf(tarfile.GNU_FORMAT) + b"end".ljust(_BLOCK, b"\0"))
    return made.getvalue()[: 30 * _BLOCK]


def _parquet() -> bytes:
    pa, pq = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    made = io.BytesIO()
    rows = [f"text {number % 3}" for number in range(40)]
    table = pa.table({"capture": rows, "weight": [1.5] * 40, "machine": [None, "m"] * 20})
    pq.write_table(table, made, row_group_size=20, compression="zstd")
    return bytes(made.getvalue())


def mutate(content: bytes, chance: random.Random, most: int = 1 << 17) -> bytes:
    """Another file, near to this one; an archive may be packed.

    Args:
        content: the file.
        chance: decides.
        most: bytes that it may have.
    """
    changed = bytearray(content)
    if changed[:4] == b"PAR1" and len(changed) > 16:
        return bytes(_parquet_mutated(changed, chance)[:most])
    for _ in range(chance.randint(1, 4)):
        if len(changed) < 2 * _BLOCK:
            break
        block = _BLOCK * chance.randrange(len(changed) // _BLOCK)
        at, size = chance.choice(_FIELDS)
        kind = chance.random()
        if kind < 0.25:
            changed[block + 156 : block + 157] = bytes([chance.choice(_KINDS)])
        elif kind < 0.5:
            changed[block + 124 : block + 136] = chance.choice(_SIZES)
        elif kind < 0.7:
            changed[block + at : block + at + size] = chance.randbytes(size)
        elif kind < 0.85:
            changed[block:block] = changed[block : block + _BLOCK] * chance.randint(1, 60)
        else:
            del changed[chance.randrange(len(changed)) :]
        _sign(changed, block)
    return _PACKINGS[chance.choice([*_PACKINGS])](bytes(changed[:most]))


def _sign(content: bytearray, block: int) -> None:
    """Makes the checksum of a header right, without which it is not looked at."""
    if block + _BLOCK <= len(content):
        content[block + 148 : block + 156] = b" " * 8
        content[block + 148 : block + 156] = b"%06o\0 " % sum(content[block : block + _BLOCK])


def _parquet_mutated(changed: bytearray, chance: random.Random) -> bytearray:
    """Most of what is said of sizes stands in the footer, the rest in the heads of pages."""
    footer = int.from_bytes(changed[-8:-4], "little")
    for _ in range(chance.randint(1, 5)):
        start = max(4, len(changed) - 8 - footer) if chance.random() < 0.7 else 4
        at = chance.randrange(start, len(changed) - 4)
        if chance.random() < 0.3:
            changed[at : at + 5] = b"\xff\xff\xff\xff\x0f"  # a number, as Thrift packs it
        else:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return changed


def check(content: bytes, apart: Apart | None = None) -> str:
    """Reads a file as a fleet does.

    Args:
        content: the file.
        apart: where it is read; None for this process.

    Returns:
        What came of it, in short.

    Raises:
        AssertionError: what is said of it is not one short line, or it took too long.
    """
    start = time.process_time()
    if apart is None:
        reader = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type,unused-ignore]
        found = list(pieces_of(reader, "x", Budget()))
    else:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            found = list(apart.pieces(file.fileno(), "x"))
    for each in found:
        if isinstance(each, Skipped):
            assert each.why and len(each.why) < 300 and each.why.isprintable(), each.why
    assert time.process_time() - start < SECONDS
    good = sum(isinstance(each, Piece) for each in found)
    return f"{good} read, {len(found) - good} refused"

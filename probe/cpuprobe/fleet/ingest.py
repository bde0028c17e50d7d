"""Captures to tables: several processes read and assess, this one writes, in the order given."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal

from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.rows import REMEMBERED, Reader, Row
from cpuprobe.fleet.sources import Piece
from cpuprobe.fleet.tables import (
    MAXIMUM_FLAGS,
    SCHEMA,
    Manifest,
    Writer,
    new_folder,
    write_manifest,
)
from cpuprobe.fleet.weights import Weights
from cpuprobe.version import VERSION

NAMED = 100
"""How many captures that could not be read are named."""

_CHUNK_BYTES = 1 << 20
_CHUNK_PIECES = 64
_AHEAD = 3
"""Chunks that are read ahead for each process: all that is ever held of the input."""


def target_version(wanted: str | None) -> str:
    """The version of wasmtime that all machines are assessed for.

    Args:
        wanted: the user's; None for the installed one, or the newest known if there is none or it
            was never measured.

    Raises:
        UsageError: `wanted` was never measured.
    """
    if wanted is None:
        installed = installed_version()
        with contextlib.suppress(UnknownWasmtimeError):
            if installed is not None:
                lookup(installed)
                return installed
        return str(next(iter(known_versions())))
    try:
        lookup(wanted)
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    return wanted.removeprefix("v")


def ingest(
    pieces: Iterable[Piece | Skipped],
    folder: str,
    *,
    wasmtime: str,
    weights: Weights | None = None,
    processes: int = 1,
    strict: bool = False,
    remembered: int = REMEMBERED,
    progress: Callable[[int], None] = lambda machines: None,
    complain: Callable[[Skipped], None] = lambda skipped: None,
) -> Manifest:
    """Reads captures and writes their tables, all or nothing.

    Args:
        pieces: the captures, as `sources.Reading` gives them.
        folder: what to make; one that was made earlier is replaced.
        wasmtime: the version that the flags are for.
        weights: the user's own, if any.
        processes: how many may work at once.
        strict: whether the first capture that cannot be read ends it all.
        remembered: see `rows.Reader`; 0 for no memory.
        progress: called with the number of captures that are done.
        complain: called with each capture that could not be read.

    Raises:
        CaptureError: not one capture could be read, or with `strict` one could not.
        UsageError: something else is in the folder's place.
        CannotMeasureError: a process was killed, or the folder cannot be written.
    """
    flags = lookup(wasmtime).flags
    if len(flags) > MAXIMUM_FLAGS:
        raise CannotMeasureError(f"wasmtime {wasmtime} has more than {MAXIMUM_FLAGS} flags")
    weights = weights or Weights({})
    skipped: list[Skipped] = []
    unread = 0
    # The command line switches it off for its short runs; this one is long.
    collecting = gc.isenabled()
    gc.enable()
    try:
        with (
            new_folder(folder) as temporary,
            contextlib.closing(_read(pieces, wasmtime, processes, remembered)) as rows,
        ):
            writer = Writer(temporary)
            for done, row in enumerate(rows, 1):
                if isinstance(row, Skipped):
                    if strict:
                        raise CaptureError(f"{row.capture}: {row.why}")
                    unread += 1
                    if len(skipped) < NAMED:
                        skipped.append(row)
                    complain(row)
                else:
                    writer.add(row.label, _weight(weights, row), row.facts)
                progress(done)
            writer.close()
            if writer.machines == 0:
                raise CaptureError(_nothing(skipped, unread))
            manifest = Manifest(
                schema=SCHEMA,
                cpuprobe=VERSION,
                wasmtime=wasmtime,
                flags=flags,
                machines=writer.machines,
                unread=unread,
                skipped=tuple(skipped),
            )
            write_manifest(temporary, manifest)
    finally:
        if not collecting:
            gc.disable()
    return manifest


def _weight(weights: Weights, row: Row) -> Decimal:
    return weights.of(row.label, row.weight, row.facts.model)


def _nothing(skipped: list[Skipped], unread: int) -> str:
    if not skipped:
        return "no captures there"
    first = f"{skipped[0].capture}: {skipped[0].why}"
    return (
        first if unread == 1 else f"none of {unread:,} captures could be read; the first: {first}"
    )


# --- the work, here or in other processes ---


def _read(
    pieces: Iterable[Piece | Skipped], wasmtime: str, processes: int, remembered: int
) -> Generator[Row | Skipped, None, None]:
    """The rows of all pieces, in their order."""
    chunks = _chunks(pieces)
    start = list(itertools.islice(chunks, processes))
    if processes < 2 or len(start) < processes:  # starting a process costs more than it saves
        reader = Reader(wasmtime, remembered)
        for chunk in itertools.chain(start, chunks):
            yield from _chunk_rows(reader, chunk)
        return
    context = multiprocessing.get_context("spawn")  # threads of other libraries may be about
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(wasmtime, remembered)
    )
    waiting: deque[Future[list[Row | Skipped]]] = deque()
    try:
        for chunk in itertools.chain(start, chunks):
            with _uninterrupted():
                waiting.append(pool.submit(_work, chunk))
            if len(waiting) >= processes * _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        # Before Python 3.11.6 the pool waits for ever for its queue's feeder, which waits for the
        # dead to read on (CPython issue 94777): without this end of the pipe it is refused.
        with contextlib.suppress(AttributeError, OSError):
            pool._call_queue._reader.close()  # type: ignore[attr-defined]
        raise CannotMeasureError(
            "a process that read captures was killed (out of memory?): nothing was written"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(pieces: Iterable[Piece | Skipped]) -> Iterator[list[Piece | Skipped]]:
    chunk: list[Piece | Skipped] = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece.content) if isinstance(piece, Piece) else 0
        if len(chunk) >= _CHUNK_PIECES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _chunk_rows(reader: Reader, chunk: list[Piece | Skipped]) -> Iterator[Row | Skipped]:
    for piece in chunk:
        yield piece if isinstance(piece, Skipped) else reader.read(piece)


_readers: list[Reader] = []


@contextlib.contextmanager
def _uninterrupted() -> Generator[None, None, None]:
    """Ctrl-C waits. Processes that start meanwhile inherit that: it is not for them to answer."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(wasmtime: str, remembered: int) -> None:
    """Makes a process ready."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.enable()
    load_features()
    _readers.append(Reader(wasmtime, remembered))


def _end_with_parent() -> None:
    """Ends this process when the first one is gone: killed, it can end no other."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: list[Piece | Skipped]) -> list[Row | Skipped]:
    return list(_chunk_rows(_readers[0], chunk))

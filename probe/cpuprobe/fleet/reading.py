"""Captures to machines and facts, in their order: several processes read and assess.

What the answer depends on is assessed once, whichever process has read it: one task reads a chunk
of captures, this process picks the evidence that is new to it, and another task assesses that.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, ParamSpec, TypeVar

import msgspec

from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features
from cpuprobe.fleet.machine import Facts, Machine, facts_of, read_machine
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.sources import Piece

REMEMBERED = 32_768
"""Assessments that are kept; each takes about a kilobyte."""

_CHUNK_BYTES = 1 << 20
_CHUNK_PIECES = 128
_WORTH = 3
"""Chunks below which another process costs more than it saves."""
_AHEAD = 3
"""Chunks that are read ahead for each process: all that is ever held of the input."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Chunk = list[Piece | Skipped]


class _Read(NamedTuple):
    """A chunk that was read: its machines, and the evidence of each key, packed."""

    machines: list[Machine | Skipped]
    evidence: dict[bytes, bytes]


def read(
    pieces: Iterable[Piece | Skipped],
    wasmtime: str,
    processes: int = 1,
    remembered: int = REMEMBERED,
) -> Generator[tuple[Machine, Facts] | Skipped, None, None]:
    """The machines of all pieces, in their order.

    Args:
        pieces: the captures, as `sources.Reading` gives them.
        wasmtime: the version that the flags are for.
        processes: how many may work at once.
        remembered: how many assessments are kept for evidence that comes again.

    Raises:
        CannotMeasureError: a process was killed.
    """
    collecting = gc.isenabled()
    gc.enable()  # the command line switches it off for its short runs; this one is long
    chunks = _chunks(pieces)
    start = list(itertools.islice(chunks, _WORTH))
    alone = processes < 2 or len(start) < _WORTH
    pool = _Here() if alone else _processes(processes)
    try:
        every = itertools.chain(start, chunks)
        yield from _rows(pool, every, wasmtime, 1 if alone else processes * _AHEAD, remembered)
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
        if not collecting:
            gc.disable()


def _rows(
    pool: Executor, chunks: Iterable[_Chunk], wasmtime: str, ahead: int, remembered: int
) -> Generator[tuple[Machine, Facts] | Skipped, None, None]:
    known: OrderedDict[bytes, list[Facts]] = OrderedDict()  # empty lists wait for their facts
    reading: deque[Future[_Read]] = deque()
    assessing: deque[_Assessing] = deque()
    for chunk in itertools.chain(chunks, itertools.repeat([])):
        if chunk:
            reading.append(_submit(pool, _read_chunk, chunk))
        elif not reading and not assessing:
            return
        if reading and (len(reading) >= ahead or not chunk):
            assessing.append(_assess_new(pool, reading.popleft().result(), known, wasmtime))
            while len(known) > remembered:
                known.popitem(last=False)
        if assessing and (len(assessing) >= ahead or not reading):
            yield from assessing.popleft().rows()


class _Assessing(NamedTuple):
    """A chunk whose new evidence is being assessed, and the places where the facts go."""

    read: _Read
    facts: dict[bytes, list[Facts]]
    waiting: list[list[Facts]]
    future: Future[list[Facts]] | None

    def rows(self) -> Iterator[tuple[Machine, Facts] | Skipped]:
        """The machines with their facts."""
        if self.future is not None:
            for place, facts in zip(self.waiting, self.future.result(), strict=True):
                place.append(facts)
        for machine in self.read.machines:
            if isinstance(machine, Skipped):
                yield machine
                continue
            (facts,) = self.facts[machine.key]
            yield machine, facts._replace(model=machine.model) if machine.model else facts


def _assess_new(
    pool: Executor, read: _Read, known: OrderedDict[bytes, list[Facts]], wasmtime: str
) -> _Assessing:
    facts: dict[bytes, list[Facts]] = {}
    new = []
    for key in read.evidence:
        if key in known:
            known.move_to_end(key)
        else:
            known[key] = []
            new.append(key)
        facts[key] = known[key]
    evidence = [read.evidence.pop(key) for key in new]
    future = _submit(pool, _assess, evidence, wasmtime) if new else None
    return _Assessing(read._replace(evidence={}), facts, [facts[key] for key in new], future)


def _chunks(pieces: Iterable[Piece | Skipped]) -> Iterator[_Chunk]:
    chunk: _Chunk = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece.content) if isinstance(piece, Piece) else 0
        if len(chunk) >= _CHUNK_PIECES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


# --- the tasks ---


def _read_chunk(chunk: _Chunk) -> _Read:
    read = _Read([], {})
    for piece in chunk:
        found = piece if isinstance(piece, Skipped) else read_machine(piece)
        if isinstance(found, Skipped):
            read.machines.append(found)
        else:
            machine, packed = found
            read.machines.append(machine)
            read.evidence[machine.key] = packed
    return read


def _assess(evidence: list[bytes], wasmtime: str) -> list[Facts]:
    return [facts_of(msgspec.msgpack.decode(each, type=Observation), wasmtime) for each in evidence]


# --- where they run ---


class _Here(Executor):
    """Runs a task at once, in this process."""

    def submit(self, task: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """The result, in a future."""
        future: Future[_T] = Future()
        future.set_result(task(*args, **kwargs))
        return future


def _processes(count: int) -> Executor:
    context = multiprocessing.get_context("spawn")  # threads of other libraries may be about
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin)


def _submit(
    pool: Executor, task: Callable[_P, _T], *args: _P.args, **more: _P.kwargs
) -> Future[_T]:
    """Hands over a task. Ctrl-C waits meanwhile.

    Processes that start inherit that it is blocked: it is not for them to answer.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(task, *args, **more)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Makes a process ready."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.enable()
    load_features()


def _end_with_parent() -> None:
    """Ends this process when the first one is gone: killed, it can end no other."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

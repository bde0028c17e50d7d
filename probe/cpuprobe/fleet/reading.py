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
from cpuprobe.fleet.piece import Piece

REMEMBERED = 32_768
"""Assessments that are kept; each takes about a kilobyte."""

_CHUNK_BYTES = 1 << 20
_CHUNK_PIECES = 128
_WORTH = 3
"""Chunks below which another process costs more than it saves."""
_AHEAD = 3
"""Chunks that are read ahead for each process: all that is ever held of the input."""
_AHEAD_BYTES = 16 << 20
"""Larger chunks are read one at a time."""
_RUN_BYTES = 64 << 20
_RUN = 20_000
"""Captures in a row that cannot be read: as many as one may waste time with."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Chunk = list[Piece | Skipped]


class _Read(NamedTuple):
    """A chunk that was read.

    Attributes:
        machines: what it holds.
        evidence: the evidence of each key, packed.
        size: bytes of the captures.
    """

    machines: list[Machine | Skipped]
    evidence: dict[bytes, bytes]
    size: int


def read(
    pieces: Iterable[Piece | Skipped],
    wasmtime: str,
    processes: int = 1,
    remembered: int = REMEMBERED,
    give_up: Callable[[], object] = lambda: None,
) -> Generator[tuple[Machine, Facts] | Skipped, None, None]:
    """The machines of all pieces, in their order.

    Args:
        pieces: the captures, as `sources.Reading` gives them.
        wasmtime: the version that the flags are for.
        processes: how many may work at once.
        remembered: how many assessments are kept for evidence that comes again.
        give_up: called where so much in a row is no capture that the rest of a file is given up.

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
        ahead = 1 if alone else processes * _AHEAD
        yield from _rows(pool, every, _Way(wasmtime, ahead, remembered, give_up))
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


class _Way(NamedTuple):
    """How captures are read; see `read`."""

    wasmtime: str
    ahead: int
    remembered: int
    give_up: Callable[[], object]


def _rows(
    pool: Executor, chunks: Iterable[_Chunk], way: _Way
) -> Generator[tuple[Machine, Facts] | Skipped, None, None]:
    known: OrderedDict[bytes, list[Facts]] = OrderedDict()  # empty lists wait for their facts
    reading: deque[Future[_Read]] = deque()
    assessing: deque[_Assessing] = deque()
    run = size = 0
    for chunk in itertools.chain(chunks, itertools.repeat([])):
        if chunk:
            reading.append(_submit(pool, _read_chunk, chunk))
        elif not reading and not assessing:
            return
        enough = 1 if _bytes_of(chunk) > _AHEAD_BYTES else way.ahead
        while reading and (len(reading) >= enough or not chunk):
            read = reading.popleft().result()
            run, size = (0, 0) if read.evidence else (run + len(read.machines), size + read.size)
            if run > _RUN or size > _RUN_BYTES:
                way.give_up()
                run = size = 0
            assessing.append(_assess_new(pool, read, known, way.wasmtime))
            while len(known) > way.remembered:
                known.popitem(last=False)
            if not chunk:
                break
        if assessing and (len(assessing) >= way.ahead or not reading):
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
        size += _bytes_of([piece])
        if len(chunk) >= _CHUNK_PIECES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _bytes_of(chunk: _Chunk) -> int:
    return sum(len(piece.content) for piece in chunk if isinstance(piece, Piece))


# --- the tasks ---


def _read_chunk(chunk: _Chunk) -> _Read:
    read = _Read([], {}, _bytes_of(chunk))
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

"""Strangers' archives, tables and large files are read in a process of its own.

It has little memory, and time only as long as captures come. What kills it is one file that could
not be read; the next file gets a new process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from cpuprobe.fleet.archives import pieces_of
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece
from cpuprobe.scratch import boot

MEMORY = 768 << 20
"""Bytes of address space that the process has."""
PATIENCE = 10
"""Seconds of CPU time that it may take without giving anything."""

_BATCH_BYTES = 256 << 10
_BATCH_PIECES = 64
_SIZE = struct.Struct("!I")
_Batch = list[Piece | Skipped]


class Apart:
    """The process, started when it is first needed."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def pieces(self, descriptor: int, label: str) -> Iterator[Piece | Skipped]:
        """What an open file holds; see `archives.pieces_of`."""
        if self._socket is None:
            self._start()
        assert self._socket is not None
        assert self._process is not None
        try:
            socket.send_fds(self._socket, [label.encode("utf-8", "replace")], [descriptor])
            while batch := self._receive():
                yield from batch
        except (EOFError, OSError):
            code = self._process.wait()
            self.close()
            slow = code == -signal.SIGXCPU
            why = f"took {PATIENCE} s without a capture" if slow else "ended the process reading it"
            yield Skipped(label, f"given up: {why}", "damaged")

    def close(self) -> None:
        """Ends the process."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._socket = self._process = None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            script = f"{boot()}from {__name__} import serve; serve({number})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", script],
                stdin=subprocess.PIPE,  # its end tells the process that this one is gone
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[number],
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},  # reserves no room
            )
        self._socket = ours

    def _receive(self) -> _Batch:
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size))
        batch: _Batch = msgspec.msgpack.decode(self._exactly(size), type=_Batch)
        return batch

    def _exactly(self, size: int) -> bytearray:
        assert self._socket is not None
        content = bytearray(size)
        view = memoryview(content)
        while view:
            got = self._socket.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return content


def serve(number: int) -> None:
    """What the process does: reads each file whose descriptor comes over a socket.

    Args:
        number: the socket's descriptor.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is not for this process to answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with socket.socket(fileno=number) as connection, contextlib.suppress(OSError):
        while True:
            label, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
            if not descriptors:
                return
            with open(descriptors[0], "rb") as file:
                _serve_file(connection, file, label.decode())


def _serve_file(connection: socket.socket, file: Any, label: str) -> None:
    batch: _Batch = []
    size = 0
    _more_time()
    for piece in pieces_of(file, label, Budget()):
        batch.append(piece)
        size += len(piece.content) if isinstance(piece, Piece) else 0
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
            _send(connection, batch)
            batch, size = [], 0
    if batch:
        _send(connection, batch)
    _send(connection, [])


def _send(connection: socket.socket, batch: _Batch) -> None:
    content = msgspec.msgpack.encode(batch)
    connection.sendall(_SIZE.pack(len(content)))
    connection.sendall(content)
    _more_time()


def _more_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + PATIENCE + 1
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)

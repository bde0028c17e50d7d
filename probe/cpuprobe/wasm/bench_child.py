"""A process that has one function compiled under one setup, and runs it when asked."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec

from cpuprobe.code.elf import read_sections
from cpuprobe.wasm.children import word_of
from cpuprobe.wasm.engine import compiled, make_engine
from cpuprobe.wasm.fork import fork
from cpuprobe.wasm.guest import ready
from cpuprobe.wasm.request import Request, Stop, one_line

_ANSWER = 120.0
"""Seconds after which a child is taken for hung."""


class Child:
    """A process that has the function compiled under one setup and runs it when asked."""

    def __init__(self, request: Request) -> None:
        """Starts it; the first answer tells the hash of the code, which is `code`."""
        ours, theirs = os.pipe(), os.pipe()

        def serve() -> None:
            os.close(ours[1])
            os.close(theirs[0])
            with (
                suppress(BrokenPipeError),
                open(theirs[1], "wb", buffering=0) as out,
                open(ours[0], "rb", buffering=0) as lines,
            ):
                for document in _answers(request, lines):
                    out.write(msgspec.json.encode(document) + b"\n")

        self.pid = fork(serve)
        os.close(ours[0])
        os.close(theirs[1])
        self._asks, self._answers = ours[1], theirs[0]
        self._rest = b""

    def answer(self) -> dict[str, Any]:
        """The next answer; `failed` in it says why there is none."""
        deadline = time.monotonic() + _ANSWER
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                os.kill(self.pid, signal.SIGKILL)
                return {"failed": f"no answer within {_ANSWER:g} s"}
            part = os.read(self._answers, 65536)
            if not part:
                return {"failed": self._death()}
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return msgspec.json.decode(line, type=dict[str, Any])

    def ask(self, calls: int) -> dict[str, Any]:
        """How long so many calls take: `seconds`."""
        with suppress(BrokenPipeError):
            os.write(self._asks, b"%d\n" % calls)
        return self.answer()

    def _death(self) -> str:
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # WNOHANG is not set
        if ended.si_code == os.CLD_EXITED:
            return f"ended with exit code {ended.si_status}"
        return f"died by {word_of(ended.si_status)}"

    def close(self) -> None:
        """Ends it."""
        for descriptor in (self._asks, self._answers):
            os.close(descriptor)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _answers(request: Request, lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    try:
        engine = make_engine(request)
        program = compiled(engine, request)
    except Stop as stop:
        yield {"kind": stop.kind, "failed": str(stop)}
        return
    import wasmtime

    sections = read_sections(bytes(program.serialize()))
    code = b"".join(bytes(each.data) for each in sections if each.name == ".text")
    yield {"code": hashlib.sha256(code).hexdigest()}
    for line in lines:
        try:
            # Each batch on an instance of its own: nothing is left from the one before.
            store, function, arguments = ready(engine, program, request, wasmtime.WasiConfig())
            started = time.thread_time_ns()
            for _ in range(int(line)):
                function(store, *arguments)
            yield {"seconds": (time.thread_time_ns() - started) / 1e9}
        except Stop as stop:
            yield {"kind": stop.kind, "failed": str(stop)}
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            yield {"kind": "trap", "failed": one_line(str(error))}

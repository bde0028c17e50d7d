"""The guarded child process: forks, watches with ptrace, and tells how it ended.

The child is a plain fork, not a new interpreter: it starts at once, and under an emulator in user
mode it stays there. It is watched (`watch`); wasmtime's own handlers see every signal as ever.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from cpuprobe.errors import CannotMeasureError
from cpuprobe.wasm.ending import Attempt, Ending, Fault, side_effects
from cpuprobe.wasm.fork import PASSED_ON, fork
from cpuprobe.wasm.guest import io_counters, run
from cpuprobe.wasm.request import Request
from cpuprobe.wasm.setup import Setup
from cpuprobe.wasm.spool import keep_input
from cpuprobe.wasm.watch import read_text, trace_me, watch


def attempts(
    request: Request, *, spool: bool, between: Callable[[], str | None] | None = None
) -> Attempt:
    """What runs the program once under a setup.

    Args:
        request: the program; its target and flags are replaced by the setup's.
        spool: keep a piped standard input in a temporary file, so that a second run finds it
            again. The first run then begins only when the pipe has ended.
        between: asked for a folder of this run's own for compiled code, when it runs again.

    Raises:
        UsageError, CannotMeasureError: as `keep_input`.
    """
    kept = keep_input(spool)
    cache = request.cache
    again = False

    def attempt(setup: Setup, muted: bool) -> Ending:
        nonlocal cache, again
        # Nearly every program runs once. One that dies runs again, under what was tried before.
        if again and cache is None and between is not None:
            cache = between()
        again = True
        asked = request._replace(target=setup.target, flags=setup.flags, cache=cache)
        if kept:
            os.lseek(0, start, os.SEEK_SET)
        return run_once(lambda report: run(asked, report), bool(request.dirs), kept, muted)

    start = os.lseek(0, 0, os.SEEK_CUR) if kept else 0
    return attempt


Program = Callable[[Callable[[dict[str, Any]], None]], None]


def run_once(program: Program, dirs: bool, input_is_kept: bool, muted: bool) -> Ending:
    """Runs a function in a guarded child.

    Args:
        program: called in the child with a function that takes what it reports.
        dirs: whether it was given folders.
        input_is_kept: see `side_effects`.
        muted: send its output to /dev/null.

    Raises:
        CannotMeasureError: the child cannot be made.
    """
    reader, writer = os.pipe()

    def report(document: dict[str, Any]) -> None:
        os.write(writer, json.dumps(document).encode() + b"\n")

    def traced() -> None:
        os.close(reader)
        faulthandler.disable()  # It would print the parent's stack.
        trace_me()
        gc.enable()
        if muted:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
        program(report)

    try:
        pid = fork(traced)
    except CannotMeasureError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    with open(reader, "rb") as pipe, _passing_on(pid):
        status, faults = watch(pid)
        counters = read_text(f"/proc/{pid}/io")
        os.waitpid(pid, 0)
        lines = pipe.read().splitlines()
    return _ending(status, faults.get(status.si_status), lines, counters, dirs, input_is_kept)


@contextmanager
def _passing_on(pid: int) -> Iterator[None]:
    """Signals that mean to end cpuprobe go to the child; how that ends is passed on."""

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def written_bytes(before: str | None, after: str | None) -> int | None:
    """The growth of `wchar` between two texts of /proc/PID/io; None if it cannot be told."""
    values = []
    for text in (before, after):
        for line in (text or "").splitlines():
            name, _, number = line.partition(": ")
            if name == "wchar" and number.isdecimal():
                values.append(int(number))
    return max(values[1] - values[0], 0) if len(values) == 2 else None


@functools.cache
def last_words(number: int) -> int:
    """Bytes that are written in a process's name when a signal ends it, though it writes none.

    An emulator says so itself: QEMU's user mode, "uncaught target signal". Found by ending one.

    Args:
        number: the signal.
    """
    reader, writer = os.pipe()

    def die() -> None:
        faulthandler.disable()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.write(writer, (io_counters() or "").encode())
        os.kill(os.getpid(), number)

    try:
        pid = fork(die)
    finally:
        os.close(writer)
    with open(reader, encoding="ascii") as pipe:
        before = pipe.read()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    written = written_bytes(before, read_text(f"/proc/{pid}/io"))
    os.waitpid(pid, 0)
    return max((written or 0) - len(before), 0)


def _ending(
    status: os.waitid_result,
    fault: Fault | None,
    lines: list[bytes],
    counters: str | None,
    dirs: bool,
    input_is_kept: bool,
) -> Ending:
    stages: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        try:
            document: dict[str, Any] = json.loads(line)
        except ValueError:  # It died while it wrote.
            continue
        stages[document["stage"]] = document
        sizes[document["stage"]] = len(line) + 1
    if status.si_code != os.CLD_EXITED:
        effects = None
        if "started" in stages:
            written = written_bytes(stages["started"]["io"], counters)
            if written is not None:
                written = max(written - sizes["started"], 0)
                written = written and max(written - last_words(status.si_status), 0)
            effects = side_effects(
                stages["compiled"]["imports"],
                dirs=dirs,
                input_is_kept=input_is_kept,
                written=written,
            )
        return Ending("signal", signal=status.si_status, fault=fault, effects=effects)
    ended = stages.get("ended")
    if ended is None:
        raise CannotMeasureError(f"the child process ended early, exit code {status.si_status}")
    if ended["kind"] == "missing":
        raise CannotMeasureError(ended["message"])
    return Ending(ended["kind"], ended.get("code", 0), ended.get("message", ""))

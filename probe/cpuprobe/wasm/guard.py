"""The guarded child process: forks, watches with ptrace, and tells how it ended.

The child is a plain fork, not a new interpreter: it starts at once, and under an emulator in user
mode it stays there. It is watched (`watch`); wasmtime's own handlers see every signal as ever.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.errors import CannotMeasureError
from cpuprobe.wasm import questions
from cpuprobe.wasm.children import word_of
from cpuprobe.wasm.engine import load_wasmtime
from cpuprobe.wasm.fork import PASSED_ON, fork
from cpuprobe.wasm.guarded_run import Attempt, Ending, Fault, side_effects
from cpuprobe.wasm.guest import io_counters, run
from cpuprobe.wasm.request import Request, Stop, one_line
from cpuprobe.wasm.setup import Setup
from cpuprobe.wasm.spool import keep_input
from cpuprobe.wasm.watch import read_text, trace_me, watch


def attempts(request: Request, *, spool: bool, between: str | None = None) -> Attempt:
    """What runs the program once under a setup.

    Args:
        request: the program; its target and flags are replaced by the setup's.
        spool: keep a piped standard input in a temporary file, so that a second run finds it
            again. The first run then begins only when the pipe has ended.
        between: a folder of this run's own for compiled code, used from the second attempt on.

    Raises:
        UsageError, CannotMeasureError: as `keep_input`.
    """
    kept = keep_input(spool)
    cache = request.cache

    def attempt(setup: Setup, muted: bool) -> Ending:
        nonlocal cache
        asked = msgspec.structs.replace(
            request, target=setup.target, flags=dict(setup.flags), cache=cache
        )
        # Nearly every program runs once. One that dies runs again, under what was tried before.
        cache = cache or between
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
        os.write(writer, msgspec.json.encode(document) + b"\n")

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
            document = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:  # It died while it wrote.
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


def inferred_flags(patience: int = 60) -> dict[str, bool]:
    """The flags the installed wasmtime infers here, asked in a child of this very process.

    Args:
        patience: seconds until SIGALRM ends the child.

    Raises:
        CannotMeasureError: it cannot be asked, or does not answer in time.
    """

    def ask(report: Callable[[dict[str, Any]], None]) -> None:
        signal.alarm(patience)
        try:
            wasmtime = load_wasmtime()
        except Stop as stop:
            report({"stage": "ended", "kind": stop.kind, "message": str(stop)})
            return
        try:
            flags = msgspec.json.encode(questions.inferred_flags()).decode()
        except (wasmtime.WasmtimeError, ArtifactError) as error:
            report({"stage": "ended", "kind": "missing", "message": one_line(str(error))})
            return
        report({"stage": "ended", "kind": "done", "message": flags})

    ending = run_once(ask, False, True, False)
    if ending.kind != "done":
        raise CannotMeasureError(f"wasmtime was killed by {word_of(ending.signal)} in its child")
    return msgspec.json.decode(ending.message, type=dict[str, bool])

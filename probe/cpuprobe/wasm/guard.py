"""The guarded child process: forks, watches with ptrace, and tells how it ended.

The child is a plain fork, not a new interpreter: it starts at once, and under an emulator in user
mode it stays there. It asks to be traced (ptrace(2), PTRACE_TRACEME), so that it stops at every
signal before that is delivered; the instruction at a crash is read there. Where tracing is refused
(a seccomp filter, QEMU's user mode) the child just runs, and nothing is known of the instruction.
wasmtime's own handlers see every signal as ever.

A process that has wasmtime loaded must not call this: its threads do not survive the fork, and the
child would wait for them for ever.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.errors import CannotMeasureError, UsageError
from cpuprobe.wasm.guarded_run import CRASHES, Attempt, Ending, Fault, Setup, side_effects
from cpuprobe.wasm.guest import Request, Stop, load_wasmtime, one_line, run

# Linux, include/uapi/linux/ptrace.h and prctl.h; rip is word 16 of user_regs_struct
# (arch/x86/include/asm/user_64.h).
_TRACEME, _CONT, _GETREGS, _GETSIGINFO = 0, 7, 12, 0x4202
_SET_PDEATHSIG = 1
_REGISTERS, _RIP = 27, 16
_FAR = 15
"""Bytes of the longest instruction (SDM vol. 2, section 2.3.11)."""

MAXIMUM_INPUT = 256 << 20
"""Bytes of a piped standard input that are kept for a second run."""
_PIECE = 1 << 20
_PATIENCE = 60
"""Seconds until SIGALRM ends a child that is only asked something."""

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def attempts(request: Request, *, spool: bool) -> Attempt:
    """What runs the program once under a setup.

    Args:
        request: the program; its target and flags are replaced by the setup's.
        spool: keep a piped standard input in a temporary file, so that a second run finds it
            again. The first run then begins only when the pipe has ended.

    Raises:
        UsageError, CannotMeasureError: as `_keep_input`.
    """
    kept = _keep_input(spool)

    def attempt(setup: Setup, muted: bool) -> Ending:
        asked = msgspec.structs.replace(request, target=setup.target, flags=dict(setup.flags))
        if kept:
            os.lseek(0, start, os.SEEK_SET)
        return run_once(lambda report: run(asked, report), bool(request.dirs), kept, muted)

    start = os.lseek(0, 0, os.SEEK_CUR) if kept else 0
    return attempt


def _keep_input(spool: bool) -> bool:
    """Whether standard input can be read again; with `spool` it is made so unless a terminal.

    Raises:
        UsageError: there is too much of it to keep.
        CannotMeasureError: it cannot be kept. What was read of it until then is lost.
    """
    try:
        os.lseek(0, 0, os.SEEK_CUR)
    except OSError as error:
        # Somebody types there, or there is none at all.
        if not spool or error.errno != errno.ESPIPE or os.isatty(0):
            return False
    else:
        return True
    import tempfile

    try:
        with tempfile.TemporaryFile() as store:
            size = 0
            while piece := os.read(0, _PIECE):
                size += len(piece)
                if size > MAXIMUM_INPUT:
                    raise UsageError(
                        f"--retry: standard input is a pipe of over {MAXIMUM_INPUT >> 20} MiB, too "
                        "much to keep for a second run: give it as a file (<FILE)"
                    )
                store.write(piece)
            store.flush()
            os.lseek(store.fileno(), 0, os.SEEK_SET)
            os.dup2(store.fileno(), 0)
    except OSError as error:
        raise CannotMeasureError(
            f"--retry: standard input cannot be kept for a second run: {error.strerror}"
        ) from None
    return True


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
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise CannotMeasureError(f"cannot start a child process: {error.strerror}") from None
    if pid == 0:
        _child(program, reader, writer, muted)
    os.close(writer)
    with open(reader, "rb") as pipe, _passing_on(pid):
        status, fault = _watch(pid)
        counters = _read(f"/proc/{pid}/io")
        os.waitpid(pid, 0)
        lines = pipe.read().splitlines()
    return _ending(status, fault, lines, counters, dirs, input_is_kept)


def _child(program: Program, reader: int, writer: int, muted: bool) -> NoReturn:
    code = 70  # EX_SOFTWARE, sysexits.h: seen only if what follows is wrong itself.
    try:
        os.close(reader)
        for number in _PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        end_with_parent()
        faulthandler.disable()  # It would print the parent's stack.
        ctypes.CDLL(None).ptrace(_TRACEME, 0, None, None)
        gc.enable()
        if muted:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)

        def report(document: dict[str, Any]) -> None:
            os.write(writer, msgspec.json.encode(document) + b"\n")

        program(report)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def end_with_parent() -> None:
    """Has the kernel kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _passing_on(pid: int) -> Iterator[None]:
    """Signals that mean to end cpuprobe go to the child; how that ends is passed on."""

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(pid: int) -> tuple[os.waitid_result, Fault | None]:
    """Waits for the end and leaves the zombie; the fault is that of the last crash signal."""
    library = ctypes.CDLL(None)
    library.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    faults: dict[int, Fault] = {}
    while True:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        assert ended is not None  # WNOHANG is not set
        if ended.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return ended, faults.get(ended.si_status)
        os.waitpid(pid, os.WUNTRACED)
        number = ended.si_status
        if number in CRASHES:
            fault = _fault(library, pid)
            if fault is not None:
                faults[number] = fault
        library.ptrace(_CONT, pid, None, number)


def _fault(library: Any, pid: int) -> Fault | None:
    # siginfo_t: si_signo, si_errno, si_code; a positive code is the kernel's (sigaction(2)). A
    # handler that raises the signal anew, as Python's faulthandler does, is no second fault.
    information = (ctypes.c_int * 32)()
    library.ptrace(_GETSIGINFO, pid, None, ctypes.addressof(information))
    if information[2] <= 0:
        return None
    registers = (ctypes.c_ulong * _REGISTERS)()
    if library.ptrace(_GETREGS, pid, None, ctypes.addressof(registers)) != 0:
        return None
    address = registers[_RIP]
    code = b""
    with suppress(OSError, OverflowError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        code = memory.read(_FAR)
    return Fault(address, code, holder(_read(f"/proc/{pid}/maps") or "", address))


def holder(maps: str, address: int) -> str:
    """The name of the file that an address lies in, without folders; empty if it is none.

    Args:
        maps: /proc/PID/maps (Linux, Documentation/filesystems/proc.rst).
        address: in that process.
    """
    for line in maps.splitlines():
        fields = line.split(None, 5)
        first, _, last = fields[0].partition("-")
        if int(first, 16) <= address < int(last, 16):
            name = fields[5] if len(fields) > 5 else ""
            # The kernel's own names, [anon:...] and [heap] among them, are no files.
            return "" if name.startswith("[") and name != "[vdso]" else os.path.basename(name)
    return ""


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def written_bytes(before: str | None, after: str | None) -> int | None:
    """The growth of `wchar` between two texts of /proc/PID/io; None if it cannot be told."""
    values = []
    for text in (before, after):
        for line in (text or "").splitlines():
            name, _, number = line.partition(": ")
            if name == "wchar" and number.isdecimal():
                values.append(int(number))
    return max(values[1] - values[0], 0) if len(values) == 2 else None


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


def died(status: int) -> str:
    """A signal's name for a message."""
    try:
        return signal.Signals(status).name
    except ValueError:
        return f"signal {status}"


def inferred_flags() -> dict[str, bool]:
    """The flags the installed wasmtime infers here, asked in a child of this very process.

    Raises:
        CannotMeasureError: it cannot be asked, or does not answer in time.
    """

    def ask(report: Callable[[dict[str, Any]], None]) -> None:
        signal.alarm(_PATIENCE)
        try:
            wasmtime = load_wasmtime()
        except Stop as stop:
            report({"stage": "ended", "kind": stop.kind, "message": str(stop)})
            return
        try:
            engine = wasmtime.Engine(wasmtime.Config())
            artifact = bytes(wasmtime.Module(engine, b"\0asm\1\0\0\0").serialize())
            section = read_engine_section(artifact)
        except (wasmtime.WasmtimeError, ArtifactError) as error:
            report({"stage": "ended", "kind": "missing", "message": one_line(str(error))})
            return
        flags = {name: value for name, value in section.isa_flags.items() if "has_" in name}
        report({"stage": "ended", "kind": "done", "message": msgspec.json.encode(flags).decode()})

    ending = run_once(ask, False, True, False)
    if ending.kind != "done":
        raise CannotMeasureError(f"wasmtime was killed by {died(ending.signal)} in its child")
    return msgspec.json.decode(ending.message, type=dict[str, bool])

"""Measures this machine: the only module that runs the native core.

The core does the measuring and reads the kernel's files; see native/core.h. What comes back is the
same JSON document that `cpuprobe-native` prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from cpuprobe.errors import CannotMeasureError, UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.observation import Document, Observation, Wasmtime
from cpuprobe.extension import extension


def observe(
    *,
    cpus: str | None = None,
    execute: bool = True,
    root: str | os.PathLike[str] = "/",
    repeat: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Observation:
    """Measures this machine.

    Args:
        cpus: a list such as `0-3,8`; by default every CPU this process may run on.
        execute: whether to execute the candidates, or only to read CPUID and XCR0.
        root: where /proc and /sys are looked for; instructions always run on this machine.
        repeat: how often every candidate is run on each CPU, with other inputs from round to round.
        progress: told now and then how many rounds on all CPUs are done, and of how many.

    Returns:
        What was measured.

    Raises:
        UsageError: `cpus` is no list, or names a CPU that this process may not run on; `repeat` is
            not from 1 to 1,000,000,000.
        CannotMeasureError: not Linux, no native core, or the child cannot start.

    Example:
        >>> observation = observe(execute=False)
        >>> observation.executed
        False
        >>> len(observation.groups) >= 1
        True
    """
    if not 1 <= repeat <= _MOST_ROUNDS:
        raise UsageError(f"--repeat {repeat}: not a number from 1 to {_MOST_ROUNDS}")
    written = _measure(cpus, execute, os.fspath(root), repeat, progress)
    document = msgspec.json.decode(written, type=Document)
    version = installed_version()
    if version is None:
        return document.observation
    return msgspec.structs.replace(document.observation, wasmtime=Wasmtime(version=version))


_MOST_ROUNDS = 1_000_000_000
_raised: list[BaseException] = []
"""What a signal's handler raised while the core was measuring."""


def _interrupted() -> int:
    """Asked by the core when a signal has arrived: its Python handler runs here."""
    return 0


def _keep(kind: object, raised: BaseException, traceback: object) -> None:
    _raised.append(raised)


def _measure(
    cpus: str | None,
    execute: bool,
    root: str,
    repeat: int,
    progress: Callable[[int, int], None] | None,
) -> bytes:
    ffi, lib = extension()
    if lib is None:
        raise CannotMeasureError(
            "this installation has no native parts (they need Linux on x86-64 or aarch64, and to "
            "build them a C compiler and Python.h; a wheel has them); `cpuprobe inspect` still "
            "reads reports from other machines"
        )
    prefix = "" if root == "/" else root.rstrip("/")
    text, length, capacity = ffi.new("char **"), ffi.new("size_t *"), ffi.new("size_t *")
    why = ffi.new("char[160]")
    if "\0" in prefix or (cpus is not None and "\0" in cpus):
        raise UsageError("a NUL byte in --root or --cpus")
    ffi.def_extern("cpuprobe_native_interrupted", error=1, onerror=_keep)(_interrupted)
    if progress is not None:
        ffi.def_extern("cpuprobe_native_progress", onerror=_keep)(progress)
    error = lib.cpuprobe_native_observe(
        os.fsencode(prefix),
        ffi.NULL if cpus is None else ffi.from_buffer(os.fsencode(cpus) + b"\0"),
        execute,
        repeat,
        progress is not None,
        text,
        length,
        capacity,
        why,
    )
    try:
        if error == lib.ERROR_NONE:
            return bytes(ffi.buffer(text[0], length[0]))
    finally:
        lib.cpuprobe_native_free(text[0], capacity[0])
    if error == lib.ERROR_INTERRUPTED and _raised:
        raise _raised.pop()
    reason = ffi.string(why).decode()
    if error in (lib.ERROR_CPU_LIST, lib.ERROR_CPU_ABSENT):
        allowed = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
        raise UsageError(f"--cpus {cpus}: {reason}; allowed here: {allowed}")
    raise CannotMeasureError(f"{root}: {reason}" if error == lib.ERROR_ROOT else reason)


def native_executable() -> str:
    """The path of the bundled cpuprobe-native.

    Raises:
        CannotMeasureError: this installation has none.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(package, "bin", "cpuprobe-native")
    if not os.access(path, os.X_OK):
        raise CannotMeasureError(
            "cpuprobe-native is missing from this installation (it is built on Linux); "
            "`make native` in a checkout builds it"
        )
    return path


def library_prefix() -> str:
    """The folder with lib/libcpuprobe.a and include/cpuprobe.h of the bundled library.

    Raises:
        CannotMeasureError: this installation has none.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists(os.path.join(package, "lib", "libcpuprobe.a")):
        raise CannotMeasureError(
            "libcpuprobe is missing from this installation (wheels for Linux on x86-64 have it); "
            "`make lib` in a checkout leaves it in build/"
        )
    return package

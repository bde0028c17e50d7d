"""The process in which `cpuprobe check` lets wasmtime compile a module: `compiled` starts it.

A module from outside may be made to cost time or memory, and a wrong flag aborts: so this runs as
`main(JSON)` in an interpreter of its own, under limits that it sets before it loads wasmtime.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from cpuprobe.errors import CaptureError
from cpuprobe.facts.target import TARGET
from cpuprobe.files import read_bounded
from cpuprobe.wasm.configure import MissingOptionError, message_of, set_flags

if TYPE_CHECKING:
    from wasmtime import Config

CANNOT, REFUSED, INVALID = 3, 4, 5
"""Exit codes: this wasmtime cannot do it, it refuses the flags, or the module; standard error has
its words."""
LARGEST = 64 << 20
"""Bytes of a module."""
LARGEST_ARTIFACT = 256 << 20
_THREADS = "2"
_ARENA_MAX = -8  # malloc.h, M_ARENA_MAX: an arena reserves 64 MiB of what is limited here

# Asked for where a module is not valid without: what this wasmtime has of them, but not by default.
_PROPOSALS = (
    "threads",
    "relaxed_simd",
    "tail_call",
    "multi_memory",
    "memory64",
    "wide_arithmetic",
    "reference_types",
    "function_references",
    "gc",
    "exceptions",
    "stack_switching",
)


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_ARTIFACT, LARGEST_ARTIFACT))
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    os.environ["RAYON_NUM_THREADS"] = _THREADS
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _fail(code: int, message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(code)


def _config(flags: Mapping[str, bool] | None, proposals: bool) -> Config:
    from wasmtime import Config, WasmtimeError

    config = Config()
    for name in _PROPOSALS if proposals else ():
        if isinstance(getattr(Config, f"wasm_{name}", None), property):
            setattr(config, f"wasm_{name}", True)
    try:
        if flags is not None:
            set_flags(config, TARGET, flags)
    except MissingOptionError as error:
        _fail(CANNOT, str(error))
    except WasmtimeError as error:
        _fail(REFUSED, message_of(error))
    return config


def _binary(content: bytes) -> bytes:
    from wasmtime import WasmtimeError, wat2wasm

    if content[:4] == b"\0asm":
        return content
    try:
        return bytes(wat2wasm(content.decode()))
    except (UnicodeDecodeError, ValueError):
        _fail(INVALID, "neither a module nor the text of one")
    except WasmtimeError as error:
        _fail(INVALID, message_of(error))


def _compiled(binary: bytes, flags: Mapping[str, bool] | None, proposals: bool) -> bytes:
    from wasmtime import Engine, Module, WasmtimeError

    engine = Engine(_config(flags, proposals))
    try:
        Module(engine, b"\0asm\1\0\0\0")
    except WasmtimeError as error:
        _fail(REFUSED, message_of(error))
    # Behind the magic number stand the version and the layer: 0 a module, 1 a component.
    if binary[6:8] != b"\1\0":
        return bytes(Module(engine, binary).serialize())
    try:
        from wasmtime.component import Component
    except ImportError:
        _fail(CANNOT, "a component; this release of wasmtime for Python compiles modules alone")
    return bytes(Component(engine, binary).serialize())


def compile_file(
    path: str, artifact: str, flags: Mapping[str, bool] | None, seconds: int, memory: int
) -> None:
    """Compiles a file and leaves the artifact.

    Args:
        path: a module or component, or the text of one.
        artifact: where to.
        flags: every `has_*` flag; None: as wasmtime infers them on this machine.
        seconds: of CPU time that it may take.
        memory: bytes of address space that it may have.
    """
    _limit(seconds, memory)
    try:
        _, content = read_bounded(path, LARGEST, ", no module of WebAssembly is read that")
    except CaptureError as error:
        _fail(INVALID, str(error).removeprefix(f"{path}: "))
    from wasmtime import WasmtimeError

    binary = _binary(content)
    try:
        made = _compiled(binary, flags, False)
    except WasmtimeError as error:
        try:
            made = _compiled(binary, flags, True)
        except WasmtimeError:
            _fail(INVALID, message_of(error))
    with open(artifact, "wb") as file:
        file.write(made)
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stdout.write(json.dumps({"seconds": used.ru_utime + used.ru_stime}))
    sys.stdout.flush()
    os._exit(0)  # what a hostile module left behind is not taken down


def main(request: str) -> None:
    """Does what a JSON request of `compiled` asks."""
    asked: dict[str, Any] = json.loads(request)
    compile_file(**asked)

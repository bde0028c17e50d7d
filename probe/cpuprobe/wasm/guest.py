"""Runs one module with the installed wasmtime. Only ever called in a child process.

What happens is told over a pipe, one JSON document a line, because a death can come at any moment;
the module's own input and output stay untouched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cpuprobe.wasm.ending import EFFECTFUL
from cpuprobe.wasm.engine import compiled, make_engine
from cpuprobe.wasm.imports import is_component
from cpuprobe.wasm.request import Request, Stop, clean, one_line
from cpuprobe.wasm.values import parse_arguments, spell

_SHOWN = 20

Report = Callable[[dict[str, Any]], None]


def ready(engine: Any, program: Any, request: Request, wasi: Any) -> tuple[Any, Any, list[Any]]:
    """A store, the function that was asked for by name, and its arguments.

    Raises:
        Stop: it cannot be linked, has no such function, or the arguments do not fit.
        wasmtime.WasmtimeError, Trap, ExitTrap: it ended while it was instantiated.
    """
    import wasmtime

    if not isinstance(program, wasmtime.Module):
        from cpuprobe.wasm import component

        return component.ready(engine, program, request, wasi)
    store, instance = instantiate(engine, program, wasi, request.stub_imports)
    exports = instance.exports(store)
    # A reactor's initializer comes before any call (WASI application ABI).
    initialize = exports.get("_initialize")
    if request.invoke is not None and isinstance(initialize, wasmtime.Func):
        initialize(store)
    function = find_function(exports, request.invoke)
    if function is None:
        raise Stop("no program", f"no program: no _start; {functions_of(exports)}")
    arguments: list[Any] = []
    if request.invoke is not None:
        arguments = parse_arguments(function.type(store).params, request)
    return store, function, arguments


def instantiate(engine: Any, module: Any, wasi: Any, stubs: bool = False) -> tuple[Any, Any]:
    """A store and an instance with WASI, and with the memories that it imports.

    Args:
        engine: what it was compiled by.
        module: a compiled core module.
        wasi: the configuration that it is given.
        stubs: let functions that trap stand for what else it imports.

    Raises:
        Stop: it imports something else.
        Trap, ExitTrap: its start function ended it.
    """
    import wasmtime

    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        for each in module.imports:
            if isinstance(each.type, wasmtime.MemoryType):
                made = _memory(engine, store, each.type)
                linker.define(store, each.module, each.name, made)
        if stubs:
            linker.define_unknown_imports_as_traps(module)
        return store, linker.instantiate(store, module)
    except (wasmtime.Trap, wasmtime.ExitTrap):
        raise
    except wasmtime.WasmtimeError as error:
        raise Stop("module", f"cannot be linked: {one_line(str(error))}") from None


def _memory(engine: Any, store: Any, kind: Any) -> Any:
    """A memory of the type that a module imports."""
    import wasmtime

    if not kind.is_shared:
        return wasmtime.Memory(store, kind)
    from wasmtime import _ffi

    class Shared(wasmtime.SharedMemory):
        # wasmtime-py 50 passes a pointer to a pointer here, which ctypes refuses.
        def _as_extern(self) -> Any:
            of = _ffi.wasmtime_extern_union(sharedmemory=self.ptr())
            return _ffi.wasmtime_extern_t(_ffi.WASMTIME_EXTERN_SHAREDMEMORY, of)

    return Shared(engine, kind)


def run(request: Request, report: Report) -> None:
    """Runs the program; the last report is how it ended.

    Args:
        request: what to run.
        report: takes documents with a `stage`: `compiled`, `started`, `ended`.
    """
    try:
        engine = make_engine(request)
        program = compiled(engine, request)
        if is_component(request.module):
            from cpuprobe.wasm import component

            imports = component.effects(engine, program)
        else:
            imports = {each.name for each in program.imports}
        report({"stage": "compiled", "imports": sorted(EFFECTFUL & imports)})
        ended = _ended(engine, program, request, report)
    except Stop as stop:
        ended = {"kind": stop.kind, "message": str(stop)}
    report({"stage": "ended", **ended})


def _ended(engine: Any, program: Any, request: Request, report: Report) -> dict[str, Any]:
    """Runs what was compiled, and tells of traps and exits."""
    import wasmtime

    wasi = _wasi(request)
    # The counters stand still from here to the first instruction of the program, but for what
    # this line itself writes.
    report({"stage": "started", "io": io_counters()})
    try:
        if not isinstance(program, wasmtime.Module):
            from cpuprobe.wasm import component

            return component.call(engine, program, request, wasi, _say)
        return _call(engine, program, request, wasi)
    except Stop as stop:
        if stop.kind != "no program":
            raise
        return {"kind": "done", "message": str(stop)}
    except wasmtime.ExitTrap as stop:
        return {"kind": "exit", "code": stop.code}
    except wasmtime.Trap as trap:
        return {"kind": "trap", "message": clean(trap.message)}
    except wasmtime.WasmtimeError as error:
        return {"kind": "trap", "message": clean(str(error))}


def _call(engine: Any, module: Any, request: Request, wasi: Any) -> dict[str, Any]:
    store, function, arguments = ready(engine, module, request, wasi)
    results = function(store, *arguments)
    if results is not None and request.invoke is not None:
        kinds = [str(kind) for kind in function.type(store).results]
        values = results if len(kinds) > 1 else [results]
        for value, kind in zip(values, kinds, strict=True):
            _say(spell(value, kind))
    return {"kind": "done"}


def _say(line: str) -> None:
    _write_all(1, f"{line}\n".encode())


def _wasi(request: Request) -> Any:
    import wasmtime

    wasi = wasmtime.WasiConfig()
    wasi.argv = [request.name, *request.args]
    wasi.env = [list(pair) for pair in request.env]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for host, guest in request.dirs:
        try:
            wasi.preopen_dir(host, guest)
        except wasmtime.WasmtimeError:
            raise Stop("usage", f"--dir {host}: cannot be opened as a folder") from None
    return wasi


def find_function(exports: Any, name: str | None) -> Any:
    """The exported function to call, None if the module has no `_start` and none is asked for.

    Raises:
        Stop: there is none of that name.
    """
    import wasmtime

    function = exports.get("_start" if name is None else name)
    if isinstance(function, wasmtime.Func):
        return function
    if name is None:
        return None
    raise Stop("usage", f"--invoke {clean(name)}: no such function; {functions_of(exports)}")


def functions_of(exports: Any) -> str:
    """The functions that could be asked for, in words."""
    import wasmtime

    known = [each or '""' for each, value in exports.items() if isinstance(value, wasmtime.Func)]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return clean(f"there are {', '.join(known[:_SHOWN])}{more}" if known else "it exports none")


def io_counters() -> str | None:
    """/proc/self/io, read in one go (Linux, Documentation/filesystems/proc.rst)."""
    try:
        descriptor = os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 4096).decode("ascii")
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]

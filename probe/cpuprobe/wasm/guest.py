"""Runs one module with the installed wasmtime. Only ever called in a child process.

What happens is told over a pipe, one JSON document a line, because a death can come at any moment;
the module's own input and output stay untouched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cpuprobe.wasm.configure import MissingOptionError, set_flags
from cpuprobe.wasm.guarded_run import EFFECTFUL
from cpuprobe.wasm.request import Request, Stop, clean, one_line
from cpuprobe.wasm.values import parse_arguments, spell

Report = Callable[[dict[str, Any]], None]


def load_wasmtime() -> Any:
    """The module `wasmtime`.

    Raises:
        Stop: it is not installed, or its library cannot be loaded.
    """
    try:
        import wasmtime
    except ModuleNotFoundError:
        raise Stop("missing", "wasmtime is not installed: pip install wasmtime") from None
    except (ImportError, OSError) as error:
        raise Stop("missing", f"wasmtime cannot be loaded: {one_line(str(error))}") from None
    return wasmtime


def make_engine(request: Request) -> Any:
    """An engine for the setup, tried on the empty module.

    Raises:
        Stop: wasmtime is missing or refuses the setup.
    """
    wasmtime = load_wasmtime()
    config = wasmtime.Config()
    # Its memory files are written to while the program runs, which would look like output.
    config.memory_init_cow = False
    for name, value in request.wasm_features.items():
        if not isinstance(getattr(wasmtime.Config, f"wasm_{name}", None), property):
            raise Stop("usage", f"--wasm-features {name}: this wasmtime has no such setting")
        setattr(config, f"wasm_{name}", value)
    try:
        set_flags(config, request.target, request.flags)
        engine = wasmtime.Engine(config)
        wasmtime.Module(engine, b"\0asm\1\0\0\0")
    except wasmtime.WasmtimeError as error:
        raise Stop("refused", one_line(str(error))) from None
    except MissingOptionError as error:
        raise Stop("missing", str(error)) from None
    return engine


def compile_module(engine: Any, request: Request) -> Any:
    """The compiled module.

    Raises:
        Stop: it is not a valid module.
    """
    import wasmtime

    content: bytes | str = request.module
    if request.module[:8] == b"\0asm\x0d\0\1\0":
        raise Stop("module", "a component; only core modules are run")
    if not content:
        raise Stop("module", "not a valid module: it is empty")
    if request.module[:4] != b"\0asm":
        try:
            content = request.module.decode()
        except UnicodeDecodeError:
            raise Stop("module", "neither a wasm module nor WAT text") from None
        if "\0" in content:
            raise Stop("module", "neither a wasm module nor WAT text")
    try:
        return wasmtime.Module(engine, content)
    except wasmtime.WasmtimeError as error:
        raise Stop("module", f"not a valid module: {one_line(str(error))}") from None


def instantiate(engine: Any, module: Any, wasi: Any) -> tuple[Any, Any]:
    """A store and an instance with WASI.

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
        return store, linker.instantiate(store, module)
    except (wasmtime.Trap, wasmtime.ExitTrap):
        raise
    except wasmtime.WasmtimeError as error:
        raise Stop("module", f"cannot be linked: {one_line(str(error))}") from None


def run(request: Request, report: Report) -> None:
    """Runs the program; the last report is how it ended.

    Args:
        request: what to run.
        report: takes documents with a `stage`: `compiled`, `started`, `ended`.
    """
    try:
        engine = make_engine(request)
        module = compile_module(engine, request)
        imports = EFFECTFUL & {each.name for each in module.imports}
        report({"stage": "compiled", "imports": sorted(imports)})
        ended = _call(engine, module, request, report)
    except Stop as stop:
        ended = {"kind": stop.kind, "message": str(stop)}
    report({"stage": "ended", **ended})


def _call(engine: Any, module: Any, request: Request, report: Report) -> dict[str, Any]:
    import wasmtime

    wasi = _wasi(request)
    # The counters stand still from here to the first instruction of the program, but for what
    # this line itself writes.
    report({"stage": "started", "io": io_counters()})
    try:
        store, instance = instantiate(engine, module, wasi)
        exports = instance.exports(store)
        # A reactor's initializer comes before any call (WASI application ABI).
        initialize = exports.get("_initialize")
        if request.invoke is not None and isinstance(initialize, wasmtime.Func):
            initialize(store)
        function = find_function(exports, request.invoke)
        if function is None:
            return {"kind": "done"}
        arguments: list[Any] = []
        if request.invoke is not None:
            arguments = parse_arguments(function.type(store).params, request)
        results = function(store, *arguments)
        if results is not None and request.invoke is not None:
            kinds = [str(kind) for kind in function.type(store).results]
            values = results if len(kinds) > 1 else [results]
            lines = [spell(value, kind) for value, kind in zip(values, kinds, strict=True)]
            _write_all(1, "".join(f"{line}\n" for line in lines).encode())
    except wasmtime.ExitTrap as stop:
        return {"kind": "exit", "code": stop.code}
    except wasmtime.Trap as trap:
        return {"kind": "trap", "message": clean(trap.message)}
    except wasmtime.WasmtimeError as error:
        return {"kind": "trap", "message": clean(str(error))}
    return {"kind": "done"}


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
    known = [each for each, value in exports.items() if isinstance(value, wasmtime.Func)]
    there = f"there are {', '.join(known[:20])}" if known else "it exports none"
    raise Stop("usage", f"--invoke {clean(name)}: no such function; {clean(there)}")


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

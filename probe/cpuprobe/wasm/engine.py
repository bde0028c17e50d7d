"""Compiles one module or component for a setup. Only ever called in a child process."""

from __future__ import annotations

from typing import Any

from cpuprobe.wasm.configure import MissingOptionError, set_flags
from cpuprobe.wasm.imports import is_component, sentence, unmet
from cpuprobe.wasm.request import Request, Stop, one_line


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
    if isinstance(getattr(wasmtime.Config, "shared_memory", None), property):
        config.shared_memory = True  # wasmtime 50 compiles no module with one unless it is asked to
    try:
        set_flags(config, request.target, request.flags)
        engine = wasmtime.Engine(config)
        wasmtime.Module(engine, b"\0asm\1\0\0\0")
    except wasmtime.WasmtimeError as error:
        raise Stop("refused", one_line(str(error))) from None
    except MissingOptionError as error:
        raise Stop("missing", str(error)) from None
    return engine


def source_of(request: Request) -> bytes | str:
    """The module or component as wasmtime takes it: binary, or text as a string.

    Raises:
        Stop: it is neither.
    """
    if not request.module:
        raise Stop("module", "not a valid module: it is empty")
    if request.module[:4] == b"\0asm":
        return request.module
    try:
        text = request.module.decode()
    except UnicodeDecodeError:
        raise Stop("module", "neither a wasm module nor WAT text") from None
    if "\0" in text:
        raise Stop("module", "neither a wasm module nor WAT text")
    return text


def compiled(engine: Any, request: Request) -> Any:
    """The compiled core module or component.

    Raises:
        Stop: it is not valid.
    """
    if request.cache is None:
        return _compiled(engine, request)
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.wasm import cache

    name = cache.name_of(request, installed_version() or "")
    kept = cache.load(request.cache, name)
    program = None if kept is None else _deserialized(engine, request, kept)
    if program is None:
        program = _compiled(engine, request)
        cache.keep(request.cache, name, bytes(program.serialize()))
    return program


def _compiled(engine: Any, request: Request) -> Any:
    import wasmtime

    content = source_of(request)
    missing = unmet(_binary(content))
    if missing is not None and not (request.stub_imports and missing.stubs):
        raise Stop("module", sentence(missing))
    if is_component(request.module):
        from cpuprobe.wasm import component

        return component.compile_component(engine, content)
    try:
        return wasmtime.Module(engine, content)
    except wasmtime.WasmtimeError as error:
        raise Stop("module", f"not a valid module: {one_line(str(error))}") from None


def _binary(content: bytes | str) -> bytes:
    """What a text says, in the form that tells its imports; nothing if it is no valid text."""
    import wasmtime

    if isinstance(content, bytes):
        return content
    try:
        return bytes(wasmtime.wat2wasm(content))
    except wasmtime.WasmtimeError:
        return b""


def _deserialized(engine: Any, request: Request, artifact: bytes) -> Any | None:
    """What was kept; None if this wasmtime does not take it."""
    import wasmtime

    kind: Any = wasmtime.Module
    if is_component(request.module):
        from cpuprobe.wasm import component

        kind = component.bindings().Component
    try:
        return kind.deserialize(engine, artifact)
    except wasmtime.WasmtimeError:
        return None

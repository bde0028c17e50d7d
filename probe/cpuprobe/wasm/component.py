"""Runs a component with the installed wasmtime: a WASI 0.2 command, or one exported function.

Only ever called in a child process, by `guest`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cpuprobe.wasm.request import Request, Stop, clean, one_line
from cpuprobe.wasm.values import in_range, spell
from cpuprobe.words import counted

# What an interface lets a program do, by the functions of preview 1 that do the like (ending).
_EFFECTS = (
    (re.compile(r"wasi:(cli/std(out|err)|sockets/|http/)"), "fd_write"),
    (re.compile(r"wasi:filesystem/types"), "path_open"),
    (re.compile(r"wasi:cli/stdin"), "fd_read"),
)
_RUN = re.compile(r"wasi:cli/run@0\.2\.[0-9]+")


def bindings() -> Any:
    """The module wasmtime.component.

    Raises:
        Stop: this release of the Python package has none.
    """
    try:
        from wasmtime import component
    except ImportError:
        raise Stop("module", "a component; this wasmtime's Python package runs none") from None
    return component


def compile_component(engine: Any, content: bytes | str) -> Any:
    """The compiled component.

    Raises:
        Stop: it is not valid.
    """
    import wasmtime

    try:
        return bindings().Component(engine, content)
    except wasmtime.WasmtimeError as error:
        raise Stop("module", f"not a valid component: {one_line(str(error))}") from None


def effects(engine: Any, component: Any) -> set[str]:
    """Functions of WASI preview 1 whose side effects the component's imports can have."""
    names = component.type.imports(engine)
    return {does for name in names for pattern, does in _EFFECTS if pattern.match(name)}


def call(
    engine: Any, component: Any, request: Request, wasi: Any, say: Callable[[str], None]
) -> dict[str, Any]:
    """Runs it and tells how it ended; traps and exits are the caller's.

    Args:
        engine: what it was compiled by.
        component: see `compile_component`.
        request: what to call.
        wasi: the configuration that it is given.
        say: takes the lines of a result.

    Raises:
        Stop, wasmtime.WasmtimeError, Trap, ExitTrap: as `ready`; or it ended so.
    """
    store, found, arguments = ready(engine, component, request, wasi)
    result = found(store, *arguments)
    if request.invoke is None:
        # The command's function says ok or err: 0 or 1, as the wasmtime command exits.
        return {"kind": "exit", "code": 1} if _tag(result) == "err" else {"kind": "done"}
    kind = found.type(store).result
    if kind is not None:
        single = type(kind).__name__ == "F32"
        say(spell(result, "f32") if single else written(result))
    return {"kind": "done"}


def ready(engine: Any, component: Any, request: Request, wasi: Any) -> tuple[Any, Any, list[Any]]:
    """A store, the function to call and its arguments.

    Raises:
        Stop: it cannot be linked, is no command, has no such function, or the arguments do not fit.
        wasmtime.WasmtimeError, Trap, ExitTrap: it ended while it was instantiated.
    """
    import wasmtime

    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    linker = bindings().Linker(engine)
    linker.add_wasip2()
    if request.stub_imports:
        linker.allow_shadowing = True
        linker.define_unknown_imports_as_traps(component)
    try:
        instance = linker.instantiate(store, component)
    except (wasmtime.Trap, wasmtime.ExitTrap):
        raise
    except wasmtime.WasmtimeError as error:
        if "wasm trap" in str(error):
            raise
        raise Stop("module", f"cannot be linked: {one_line(str(error))}") from None
    found = _function(engine, component, store, instance, request.invoke)
    if request.invoke is None:
        return store, found, []
    return store, found, _arguments(found.type(store).params, request)


def _function(engine: Any, component: Any, store: Any, instance: Any, wanted: str | None) -> Any:
    """The function to call: the one that is asked for, else that of a command."""
    exports = list(component.type.exports(engine))
    outer, _, name = (wanted or "").rpartition("#")
    if wanted is None:
        outer = next((each for each in exports if _RUN.fullmatch(each)), "")
        if not outer:
            words = "no program: it does not export wasi:cli/run"
            raise Stop("no program", f"{words}; {_exported(engine, component)}")
        name = "run"
    for interface in (outer,) if outer else ("", *exports):
        index = instance.get_export_index(store, interface) if interface else None
        if interface and index is None:
            continue
        inner = instance.get_export_index(store, name, index)
        found = None if inner is None else instance.get_func(store, inner)
        if found is not None:
            return found
    there = _exported(engine, component)
    raise Stop("usage", f"--invoke {clean(wanted or name)}: no such function; {there}")


def _exported(engine: Any, component: Any) -> str:
    exports = list(component.type.exports(engine))
    return clean(f"it exports {', '.join(exports[:20])}" if exports else "it exports nothing")


def _arguments(params: Sequence[tuple[str, Any]], request: Request) -> list[Any]:
    name = clean(request.invoke or "")
    if len(params) != len(request.args):
        given = len(request.args)
        raise Stop(
            "usage", f"--invoke {name}: takes {counted(len(params), 'argument')}, not {given}"
        )
    values = []
    for (parameter, kind), text in zip(params, request.args, strict=True):
        word = type(kind).__name__.lower()
        try:
            values.append(_value(word, text))
        except ValueError:
            what = f"{clean(text)!r} is no {word}, which {clean(parameter)} is"
            raise Stop("usage", f"--invoke {name}: {what}") from None
        except KeyError:
            what = f"{clean(parameter)} is a {word.removesuffix('type')}, which cannot be given"
            raise Stop("usage", f"--invoke {name}: {what} on a command line") from None
    return values


def _value(kind: str, text: str) -> Any:
    """An argument; KeyError for a type that is not a simple one, ValueError if it does not fit."""
    if kind == "string":
        return text
    if kind == "char":
        if len(text) != 1:
            raise ValueError
        return text
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind in ("f32", "f64"):
        return float(text)
    if re.fullmatch(r"[su](8|16|32|64)", kind):
        return in_range(text, int(kind[1:]), signed=kind[0] == "s")
    raise ValueError if kind == "bool" else KeyError(kind)


def _tag(value: Any) -> str | None:
    return getattr(value, "tag", None)


def written(value: Any) -> str:
    """A result in WAVE, the text form of the component model's values."""
    return "".join(_wave(value))


def _wave(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        yield json.dumps(clean(value), ensure_ascii=False)
    elif isinstance(value, float):
        yield spell(value, "f64")
    elif isinstance(value, (list, tuple)):
        yield "[" if isinstance(value, list) else "("
        yield ", ".join(map(written, value))
        yield "]" if isinstance(value, list) else ")"
    elif isinstance(value, (set, frozenset)):
        yield f"{{{', '.join(sorted(map(clean, value)))}}}"
    elif isinstance(value, bytes):
        yield from _wave(list(value))
    elif _tag(value) is not None:
        payload = getattr(value, "payload", None)
        yield clean(str(value.tag)) + ("" if payload is None else f"({written(payload)})")
    elif value is None:
        yield "none"
    elif hasattr(value, "__dict__") and not isinstance(value, int):
        yield f"{{{', '.join(_fields(vars(value).items()))}}}"
    else:
        yield clean(str(value))


def _fields(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for name, value in items:
        yield f"{clean(name)}: {written(value)}"

"""What the installed wasmtime is asked, in a process that it may kill.

Run by `introspect` in a fresh interpreter (`answer`), or in a fork of its own.
"""

from __future__ import annotations

import sys

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.wasm.configure import MissingOptionError, message_of, set_option, set_winch

INFERRED, PULLEY, WINCH = "inferred", "pulley", "winch"
WORKS = "works"


def inferred_flags() -> dict[str, bool]:
    """The x86 flags that the installed wasmtime infers for this host, in its own order.

    Raises:
        ArtifactError: its artifact cannot be read, or is not for x86-64.
        WasmtimeError: it does not compile the empty module.
    """
    from wasmtime import Config, Engine, Module

    section = read_engine_section(bytes(Module(Engine(Config()), b"\0asm\1\0\0\0").serialize()))
    if not section.target.startswith("x86_64"):
        raise ArtifactError(f"the installed wasmtime compiles for {section.target}, not x86-64")
    return {
        name: value
        for name, value in section.isa_flags.items()
        if name.startswith("has_") and isinstance(value, bool)
    }


def tried(compiler: str) -> str:
    """Whether Pulley or Winch compiles and runs a function here: `works`, or why not."""
    from wasmtime import Config, Engine, Instance, Module, Store, WasmtimeError

    try:
        config = Config()
        if compiler == WINCH:
            set_winch(config)
        else:
            set_option(config, "target", "pulley64")
        store = Store(Engine(config))
        text = '(module (func (export "f") (result i32) i32.const 1))'
        function = Instance(store, Module(store.engine, text), []).exports(store)["f"]
        result = function(store)  # type: ignore[operator]
    except (MissingOptionError, WasmtimeError) as error:
        return message_of(error)
    return WORKS if result == 1 else f"its result is {result}, not 1"


def answer(question: str) -> None:
    """Writes the answer to standard output: flags as JSON, or what `tried` says."""
    if question != INFERRED:
        sys.stdout.buffer.write(tried(question).encode())
        return
    try:
        sys.stdout.buffer.write(msgspec.json.encode(inferred_flags()))
    except ArtifactError as error:
        sys.exit(str(error))

"""What a module needs, read before it is compiled."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.wasm.imports import (
    FUNCTIONS,
    WASI,
    Import,
    imports_of,
    is_component,
    sentence,
    unmet,
)

wasmtime = pytest.importorskip("wasmtime")


def module(*imports: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {' '.join(imports)})"))


def function(module_name: str, name: str) -> str:
    return f'(import "{module_name}" "{name}" (func))'


def test_every_kind_of_import_is_read():
    """Names and kinds, whatever their types: what follows each is skipped rightly."""
    content = module(
        '(import "a" "f" (func (param i32 v128) (result f64)))',
        '(import "a" "t" (table 1 200 externref))',
        '(import "b" "m" (memory 1 65536))',
        '(import "b" "s" (memory 1 2 shared))',
        '(import "b" "l" (memory i64 1 4294967296))',
        '(import "c" "g" (global (mut i64)))',
        '(import "c" "e" (tag (param i32)))',
        '(import "é" "" (func))',
    )

    assert imports_of(content) == (
        Import("a", "f", "function"),
        Import("a", "t", "table"),
        Import("b", "m", "memory"),
        Import("b", "s", "memory"),
        Import("b", "l", "memory"),
        Import("c", "g", "global"),
        Import("c", "e", "tag"),
        Import("é", "", "function"),
    )


def test_a_components_imports_are_read():
    """Interfaces, functions, types and modules at the top; what lies inside is its own."""
    content = bytes(
        wasmtime.wat2wasm(
            """(component
              (import "wasi:cli/environment@0.2.6" (instance))
              (import "f" (func (param "a" string)))
              (import "r" (type (sub resource)))
              (import "m" (core module (import "x" "y" (func))))
              (core module (import "inner" "f" (func))))"""
        )
    )

    assert is_component(content)
    assert imports_of(content) == (
        Import("", "wasi:cli/environment@0.2.6", "instance"),
        Import("", "f", "function"),
        Import("", "r", "type"),
        Import("", "m", "core module"),
    )


def test_the_installed_wasmtime_gives_what_is_taken_for_given():
    """The linker defines just the functions of the table."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    for name in FUNCTIONS:
        assert linker.get(store, WASI, name), name


@pytest.mark.parametrize("interface", ["cli/run", "cli/stdout", "io/streams", "filesystem/types"])
@pytest.mark.parametrize("patch", [0, 3, 99])
def test_any_release_of_wasi_0_2_is_given(interface, patch):
    """Semver: wasmtime links 0.2.N whatever N."""
    text = f'(component (import "wasi:{interface}@0.2.{patch}" (instance)))'

    assert unmet(bytes(wasmtime.wat2wasm(text))) is None


@pytest.mark.parametrize(
    ("imports", "words"),
    [
        ([function("wbg", "__wbg_log_1")], "wasm-bindgen"),
        ([function("__wbindgen_placeholder__", "x")], "wasm-bindgen"),
        ([function("./m_bg.js", "x")], "wasm-bindgen"),
        ([function("gojs", "runtime.wasmExit")], "Go for JavaScript"),
        ([function("env", "emscripten_memcpy_js")], "Emscripten"),
        ([function("env", "invoke_vii")], "Emscripten"),
        ([function("a", "b")], "Emscripten, names shortened"),
        ([function("GOT.mem", "x")], "dynamic linking"),
        ([function("wasi", "thread-spawn"), '(import "env" "memory" (memory 1 1 shared))'],
         "wasi-threads"),
        ([function("env", "abort")], "AssemblyScript"),
        ([function("wasix_32v1", "x")], "WASIX"),
        ([function("wasi_unstable", "fd_write")], "before preview 1"),
        ([function("env", "napi_create_object")], "Node-API"),
        ([function("wasi:io/streams@0.2.0", "x")], "components"),
    ],
)  # fmt: skip
def test_the_toolchain_is_told_from_the_imports(imports, words):
    """Each as its toolchain writes it; the sentence has names and what to do on one line."""
    needs = unmet(module(*imports))

    assert needs is not None and words in needs.toolchain and needs.stubs
    assert "--stub-imports" in sentence(needs)


def test_what_is_given_is_not_asked_for():
    """WASI preview 1 and memories are met, another function of its name space is not."""
    given_all = [function(WASI, name) for name in sorted(FUNCTIONS)]

    assert unmet(module(*given_all, '(import "env" "memory" (memory 1))')) is None
    needs = unmet(module(*given_all, function(WASI, "sock_open")))
    assert needs is not None and needs.imports == {WASI: ("sock_open",)}


def test_a_global_cannot_be_stubbed():
    """Only functions can trap when called: the sentence does not promise otherwise."""
    needs = unmet(module('(import "env" "g" (global i32))', function("env", "f")))

    assert needs is not None and not needs.stubs
    assert "--stub-imports" not in sentence(needs)


def test_the_sentence_is_short_and_printable():
    """Thousands of names, control characters in them: one line of what matters."""
    imports = [function(f"m{n % 9}", f"f\\1b[31m{n}") for n in range(500)]
    needs = unmet(module(*imports))

    assert needs is not None
    said = sentence(needs)
    assert said.isprintable() and len(said) < 600 and "5 more modules" in said


@pytest.mark.parametrize(
    ("text", "component"),
    [
        (b"(module)", False),
        (b"(component)", True),
        (b" ;; a comment (module\n (; (module ;) ( component $x)", True),
        (b"(componentry)", False),
        (b"\0asm\1\0\0\0", False),
        (b"\0asm\x0d\0\1\0", True),
        (b"", False),
    ],
)
def test_components_are_told_from_modules(text, component):
    """In text by their first word, comments aside."""
    assert is_component(text) is component


@given(st.binary(max_size=300))
def test_no_bytes_break_it(content):
    """Whatever follows the header is read as imports or as none."""
    for head in (b"\0asm\1\0\0\0", b"\0asm\x0d\0\1\0", b"\0asm\1\0\0\0\2"):
        unmet(head + content)


def test_a_section_that_claims_much_costs_nothing():
    """A count of four billion, and a million empty sections, are read in no time."""
    started = time.process_time()
    claim = b"\0asm\1\0\0\0" + b"\2\x05" + b"\xff\xff\xff\xff\x0f"
    assert imports_of(claim) == ()
    imports_of(b"\0asm\1\0\0\0" + b"\0\0" * 1_000_000)

    assert time.process_time() - started < 5

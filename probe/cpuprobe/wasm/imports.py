"""What a module or component needs from its host, read before anything is compiled. Pure.

Compiling a large module takes seconds; that it was made for a web page is known from its imports in
a millisecond. What cannot be met is named by module, with the toolchain that writes such imports.

Sources: WebAssembly core specification 3.0, section 5.5.5; component model, design/mvp/Binary.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cpuprobe.words import visible

_CORE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"
_MAX_IMPORTS = 100_000
_MAX_SECTIONS = 10_000
_SAID_MODULES = 4
_SAID_NAMES = 4
_KINDS = ("function", "table", "memory", "global", "tag")
_COMPONENT_KINDS = ("core module", "function", "value", "type", "component", "instance")

WASI = "wasi_snapshot_preview1"
_FUNCTIONS = """
    args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise
    fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights
    fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name
    fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write
    path_create_directory path_filestat_get path_filestat_set_times path_link path_open
    path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff
    proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""What wasmtime defines for `wasi_snapshot_preview1`; a test asks it."""

_INTERFACES = r"wasi:(?:cli|clocks|filesystem|io|random|sockets)/[a-z0-9-]+@0\.2\.[0-9]+"
"""What wasmtime's add_wasip2 defines, whatever the patch release (component model, semver)."""


class Import(NamedTuple):
    """One import.

    Attributes:
        module: its first name; of a component's import empty.
        name: its second, or a component's only one.
        kind: function, table, memory, global, tag; of components also instance and others.
    """

    module: str
    name: str
    kind: str


class Unmet(NamedTuple):
    """What a module or component needs and does not get here.

    Attributes:
        imports: by module, in its order.
        toolchain: what most likely wrote them, in a few words; empty if that is not known.
        stubs: whether functions that trap when called could stand for all of them.
    """

    imports: dict[str, tuple[str, ...]]
    toolchain: str
    stubs: bool


class _Malformed(Exception):
    """The bytes are no module; wasmtime's own words are better than any from here."""


class _Reader:
    """Bytes and a place in them; everything that lies outside is `_Malformed`."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def number(self, bits: int = 32) -> int:
        """A LEB128 of at most so many bits, as unsigned."""
        value = shift = 0
        while shift < bits + 3 and self.at < len(self.data):
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise _Malformed

    def take(self, size: int) -> memoryview:
        """So many bytes."""
        if size > len(self.data) - self.at:
            raise _Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        """A name: a length, then UTF-8."""
        try:
            return bytes(self.take(self.number())).decode()
        except UnicodeDecodeError:
            raise _Malformed from None


def is_component(content: bytes) -> bool:
    """Whether the bytes, wasm or text, are a component's and not a core module's."""
    if content[:4] == b"\0asm":
        return content[:8] == _COMPONENT
    text = re.sub(rb"\(;.*?;\)|;;[^\n]*", b" ", content[: 1 << 16], flags=re.DOTALL)
    return re.match(rb"\s*\(\s*component\b", text) is not None


def imports_of(content: bytes) -> tuple[Import, ...]:
    """The imports of a module or component in binary form.

    Empty for text, and for what is malformed: compiling will say it in wasmtime's words.
    """
    component = content[:8] == _COMPONENT
    if not component and content[:8] != _CORE:
        return ()
    reader = _Reader(memoryview(content))
    reader.at = 8
    found: list[Import] = []
    try:
        for _ in range(_MAX_SECTIONS):
            if reader.at >= len(content):
                break
            section = reader.take(1)[0]
            body = _Reader(reader.take(reader.number()))
            if section == (10 if component else 2):
                read = _component_import if component else _core_import
                count = body.number()
                if count + len(found) > _MAX_IMPORTS:
                    raise _Malformed
                found += [read(body) for _ in range(count)]
                if not component:
                    break
    except _Malformed:
        return ()
    return tuple(found)


def _core_import(reader: _Reader) -> Import:
    module, name = reader.text(), reader.text()
    kind = reader.take(1)[0]
    if kind == 0:
        reader.number()
    elif kind == 1:
        _value_type(reader)
        _limits(reader)
    elif kind == 2:
        _limits(reader)
    elif kind == 3:
        _value_type(reader)
        reader.take(1)
    elif kind == 4:
        reader.take(1)
        reader.number()
    else:
        raise _Malformed
    return Import(module, name, _KINDS[kind])


def _value_type(reader: _Reader) -> None:
    if reader.take(1)[0] in (0x63, 0x64):  # a reference with a heap type
        reader.number()


def _limits(reader: _Reader) -> None:
    flags = reader.take(1)[0]
    reader.number(64)
    if flags & 1:
        reader.number(64)
    if flags & 8:  # custom page size
        reader.number()


def _component_import(reader: _Reader) -> Import:
    form = reader.take(1)[0]
    name = reader.text()
    if form == 2:  # with a version suffix
        reader.text()
    kind = reader.take(1)[0]
    if kind == 0:
        reader.take(1)
        reader.number()
    elif kind in (2, 3):
        bound = reader.take(1)[0]
        if kind == 2 or bound == 0:
            reader.number()
    elif kind < len(_COMPONENT_KINDS):
        reader.number()
    else:
        raise _Malformed
    return Import("", name, _COMPONENT_KINDS[kind])


def unmet(content: bytes) -> Unmet | None:
    """What keeps a module or component from being linked here; None: nothing that can be seen.

    A memory that it imports is made for it. Text, and what is malformed, is left to wasmtime.
    """
    missing = [each for each in imports_of(content) if not _met(each)]
    if not missing:
        return None
    by_module: dict[str, list[str]] = {}
    for each in missing:
        by_module.setdefault(each.module, []).append(each.name)
    stubs = is_component(content) or all(each.kind == "function" for each in missing)
    return Unmet(
        {module: tuple(names) for module, names in by_module.items()}, _toolchain(missing), stubs
    )


def sentence(needs: Unmet) -> str:
    """What is missing and what to do, in one line."""
    said = []
    for module, names in list(needs.imports.items())[:_SAID_MODULES]:
        more = f" and {len(names) - _SAID_NAMES} more" if len(names) > _SAID_NAMES else ""
        listed = ", ".join(visible(name) for name in names[:_SAID_NAMES])
        said.append(f"{visible(module)} ({listed}{more})" if module else f"{listed}{more}")
    if len(needs.imports) > _SAID_MODULES:
        said.append(f"{len(needs.imports) - _SAID_MODULES} more modules")
    made = f"; made by {needs.toolchain}" if needs.toolchain else ""
    runs = "`cpuprobe run --stub-imports` runs it until one is called"
    what = runs if needs.stubs else "not only functions"
    return f"needs what is not given here: {'; '.join(said)}{made}; {what}"


def _met(wanted: Import) -> bool:
    if not wanted.module and wanted.kind == "instance":
        return re.fullmatch(_INTERFACES, wanted.name) is not None
    if wanted.kind == "memory":
        return True
    return wanted.kind == "function" and wanted.module == WASI and wanted.name in FUNCTIONS


# What wrote the imports: module, name, words. The first row that any of them matches is it.
_TOOLCHAINS = (
    (r"__wbindgen.*|wbg|\./.*_bg(\.js|\.wasm)?", r".*", "wasm-bindgen, Rust for JavaScript"),
    (r".*", r"__wbg_.*|__wbindgen_.*", "wasm-bindgen, Rust for JavaScript"),
    (r"go|gojs", r"(runtime|syscall/js)\..*", "Go for JavaScript (GOOS=wasip1: for WASI)"),
    (r"env", r"(runtime|syscall/js)\..*", "TinyGo for JavaScript (-target=wasip1: for WASI)"),
    (r"wasi", r"thread-spawn", "a compiler with wasi-threads, which Python's wasmtime lacks"),
    (r"wasix_.*", r".*", "WASIX, for Wasmer"),
    (r"wasi_unstable", r".*", "a compiler for WASI before preview 1"),
    (r"wasi_(ephemeral_)?nn|wasi_ephemeral_.*", r".*", "a compiler with more than WASI preview 1"),
    (r"GOT\.(mem|func)", r".*", "Emscripten, dynamic linking"),
    (r"env", r"__(memory|table)_base", "Emscripten, dynamic linking"),
    (r"env", r"napi_.*", "Node-API, for Node and its kin"),
    (r"env", r"_?emscripten_.*|invoke_[a-z]+|__cxa_.*|__syscall_.*|_?abort_js|_mmap_js",
     "Emscripten, for JavaScript"),
    (r"a", r"[a-zA-Z_$]{1,3}", "Emscripten, names shortened, for JavaScript"),
    (r"js_code|dart2wasm|wasm:js-string", r".*", "a compiler that targets JavaScript engines"),
    (r"env", r"abort|seed|trace", "AssemblyScript, for JavaScript"),
    (r"spectest|fuzzing-support|asm2wasm", r".*", "a test suite's host"),
    (r"", r"wasi:http/.*", "a toolchain for HTTP servers: `wasmtime serve` runs them"),
    (r"", r"wasi:.*@0\.[013]\..*", "a toolchain for another WASI than 0.2"),
    (r"[a-z0-9-]+:.*|\[export\].*|cm32p2.*", r".*", "a toolchain for components, as a part of one"),
)  # fmt: skip


def _toolchain(missing: Iterable[Import]) -> str:
    wanted = tuple(missing)
    for module, name, words in _TOOLCHAINS:
        if any(re.fullmatch(module, e.module) and re.fullmatch(name, e.name) for e in wanted):
            return words
    return ""

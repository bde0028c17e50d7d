"""What the installed wasmtime is, has, and which x86 flags it infers on this host.

Nothing here imports wasmtime into the running process: on a machine whose CPUID misleads, loading
its library may kill, and on any machine it costs tens of milliseconds. The answers come from child
processes, one for each question: a wrong word makes some releases abort.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.evidence.installed import installed_version, package_folder
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup
from cpuprobe.words import plain

if TYPE_CHECKING:
    from cpuprobe.wasm.installed import Introspection

__all__ = [
    "IntrospectionError",
    "UnknownWasmtimeError",
    "compile_in_child",
    "installed_flags",
    "installed_version",
    "introspect",
    "known_flags",
    "own_folder",
]

_Answer = TypeVar("_Answer")

CHILD_TIMEOUT = 60.0
"""Seconds the compiling child may take; it takes about 0.3 on an idle machine."""

# wasmtime's own folder comes first, and the current one, which -c puts there as "", is left out.
_CHILD = """\
import sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path)]
from wasmtime import Config, Engine, Module
sys.stdout.buffer.write(Module(Engine(Config()), "(module)").serialize())
"""

# sys.argv[2] is the folder that holds cpuprobe, sys.argv[3] what is tried.
_TRY = """\
import sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path), sys.argv[2]]
from wasmtime import Config, Engine, Instance, Module, Store, WasmtimeError
from cpuprobe.wasm.configure import MissingOptionError, message_of, set_option, set_winch
try:
    config = Config()
    if sys.argv[3] == "winch":
        set_winch(config)
    else:
        set_option(config, "target", "pulley64")
    store = Store(Engine(config))
    module = Module(store.engine, '(module (func (export "f") (result i32) i32.const 1))')
    result = Instance(store, module, []).exports(store)["f"](store)
    print("works" if result == 1 else f"its result is {result}, not 1")
except (MissingOptionError, WasmtimeError) as error:
    sys.stdout.buffer.write(message_of(error).encode())
"""
_MAX_REASON = 200
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)*(?=[^\s/])")


class IntrospectionError(RuntimeError):
    """The installed wasmtime could not be asked; the message is one line.

    Attributes:
        answered: whether wasmtime was reached, and failed or died.
    """

    def __init__(self, message: str, answered: bool = True) -> None:
        """The message is one line, and fit for a terminal."""
        super().__init__(plain(message))
        self.answered = answered


def compile_in_child(
    script: str = _CHILD,
    arguments: Sequence[str] = (),
    timeout: float = CHILD_TIMEOUT,
) -> bytes:
    """Runs a script in a fresh interpreter that imports the installed wasmtime.

    Args:
        script: Python source; ``sys.argv[1]`` is the folder wasmtime lies in.
        arguments: further arguments, from ``sys.argv[2]`` on.
        timeout: seconds.

    Returns:
        What the child wrote to its standard output.

    Raises:
        IntrospectionError: no wasmtime, or the child died, failed or took too long.
    """
    folder = package_folder()
    if folder is None:
        raise IntrospectionError(
            "wasmtime is not installed for this Python: pip install wasmtime", answered=False
        )
    command = [sys.executable, "-c", script, folder, *arguments]
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise IntrospectionError(
            f"wasmtime did not answer within {timeout:g} s", answered=False
        ) from None
    except OSError as error:
        raise IntrospectionError(
            f"cannot start {sys.executable}: {error.strerror}", answered=False
        ) from None
    if child.returncode == 0:
        return child.stdout
    if child.returncode < 0:
        try:
            name = signal.Signals(-child.returncode).name
        except ValueError:
            name = f"signal {-child.returncode}"
        raise IntrospectionError(f"wasmtime was killed by {name} in its child process")
    lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else f"exit code {child.returncode}"
    raise IntrospectionError(f"wasmtime failed in its child process: {reason}")


def installed_flags() -> dict[str, bool]:
    """The x86 flags the installed wasmtime infers for this host, measured.

    Returns:
        Every ``has_*`` flag it knows, in its own order, to whether it turned it on.

    Raises:
        IntrospectionError: wasmtime could not be asked, or its artifact cannot be read.
    """
    return _flags_of(compile_in_child())


def _flags_of(artifact: bytes) -> dict[str, bool]:
    try:
        section = read_engine_section(artifact)
    except ArtifactError as error:
        raise IntrospectionError(
            f"cannot read the installed wasmtime's artifact: {error}"
        ) from None
    if not section.target.startswith("x86_64"):
        raise IntrospectionError(
            f"the installed wasmtime compiles for {section.target}, not x86-64"
        )
    return {
        name: value
        for name, value in section.isa_flags.items()
        if name.startswith("has_") and isinstance(value, bool)
    }


def own_folder() -> str:
    """The folder that holds the package `cpuprobe`, for a child's sys.path."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def introspect(timeout: float = CHILD_TIMEOUT) -> Introspection:
    """All that can be asked of the installed wasmtime; what fails is a reason, never an error.

    Args:
        timeout: seconds for all the children, which run side by side.

    Returns:
        Its version, known and inferred flags, and whether Pulley and Winch compile and run a
        module here.
    """
    # It brings the assessment along, which `installed_flags` has no need of.
    from cpuprobe.wasm.installed import Introspection

    version = installed_version()
    home = own_folder()
    reasons: dict[str, str] = {}

    def attempt(what: str) -> bool:
        said = compile_in_child(_TRY, [home, what], timeout).decode("utf-8", "replace").strip()
        if said != "works":
            raise IntrospectionError(said or "it said nothing")
        return True

    def answer(what: str, ask: Callable[[], _Answer]) -> tuple[_Answer | None, bool]:
        try:
            return ask(), True
        except IntrospectionError as error:
            text = without_folders(str(error))
            reasons[what] = text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."
            return None, error.answered

    with ThreadPoolExecutor(3) as pool:
        flags = pool.submit(
            answer, "inferred", lambda: _flags_of(compile_in_child(timeout=timeout))
        )
        pulley = pool.submit(answer, "pulley", lambda: attempt("pulley"))
        winch = pool.submit(answer, "winch", lambda: attempt("winch"))
    inferred, _ = flags.result()
    known = None if inferred is None else tuple(inferred)
    if known is None and version is not None:
        with suppress(UnknownWasmtimeError):
            known = known_flags(version)
    return Introspection(
        version=version,
        known=known,
        inferred=inferred,
        pulley=_verdict(*pulley.result()),
        winch=_verdict(*winch.result()),
        reasons=dict(sorted(reasons.items())),
    )


def without_folders(text: str) -> str:
    """The same with file names alone: a folder may tell who works here.

    Args:
        text: words of a loader or of Python, which name files by their whole path.
    """
    folders = {package_folder(), sys.prefix, sys.base_prefix, os.path.expanduser("~")}
    # The longest first: one may lie in another. They may hold blanks, which the pattern stops at.
    for folder in sorted(filter(None, folders), key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, "")
    return _FOLDERS.sub("", text)


def _verdict(works: bool | None, answered: bool) -> bool | None:
    """True or false if wasmtime was reached, a death counting as false; else None."""
    return bool(works) if answered else None


def known_flags(version: str | None = None) -> tuple[str, ...]:
    """The x86 flags a wasmtime version knows, from profiles/wasmtime.toml.

    Args:
        version: ``50`` or ``50.0.1``; None means the installed one, or the newest in the table
            where none is installed.

    Returns:
        The ``has_*`` names in that engine's own order.

    Raises:
        UnknownWasmtimeError: the table has no such version.
    """
    if version is None:
        version = installed_version()
    return lookup(str(max(known_versions())) if version is None else version).flags

"""What the installed wasmtime is and which x86 flags it infers on this host.

Nothing here imports wasmtime into the running process: on a machine whose CPUID misleads, loading
its library may kill, and on any machine it costs tens of milliseconds. The flags come from a child
process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

from cpuprobe.wasm.elf import ArtifactError
from cpuprobe.wasm.engine_section import read_engine_section
from cpuprobe.wasm.versions import (
    UnknownWasmtimeError,
    installed_version,
    known_versions,
    lookup,
    package_folder,
)

__all__ = [
    "IntrospectionError",
    "UnknownWasmtimeError",
    "compile_in_child",
    "installed_flags",
    "installed_version",
    "known_flags",
]

CHILD_TIMEOUT = 60.0
"""Seconds the compiling child may take; it takes about 0.3 on an idle machine."""

# wasmtime's own folder comes first, and the current one, which -c puts there as "", is left out.
_CHILD = """\
import sys
sys.path[:] = [sys.argv[1], *filter(None, sys.path)]
from wasmtime import Config, Engine, Module
sys.stdout.buffer.write(Module(Engine(Config()), "(module)").serialize())
"""


class IntrospectionError(RuntimeError):
    """The installed wasmtime could not be asked; the message is one line."""


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
        raise IntrospectionError("wasmtime is not installed for this Python: pip install wasmtime")
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
        raise IntrospectionError(f"wasmtime did not answer within {timeout:g} s") from None
    except OSError as error:
        raise IntrospectionError(f"cannot start {sys.executable}: {error.strerror}") from None
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
    artifact = compile_in_child()
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

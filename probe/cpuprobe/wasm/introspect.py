"""What the installed wasmtime is, has, and which x86 flags it infers on this host.

Nothing here imports wasmtime into the running process: on a machine whose CPUID misleads, loading
its library may kill, and on any machine it costs tens of milliseconds. The answers come from child
processes, one for each question: a wrong word makes some releases abort.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence.installed import installed_version, package_folder
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup
from cpuprobe.wasm.attempt import run_once
from cpuprobe.wasm.children import PATIENCE, ChildError, run_script, word_of
from cpuprobe.wasm.engine import load_wasmtime
from cpuprobe.wasm.installed import Introspection
from cpuprobe.wasm.questions import INFERRED, PULLEY, WINCH, WORKS, inferred_flags
from cpuprobe.wasm.request import Stop, one_line

_Answer = TypeVar("_Answer")

_SCRIPT = "from cpuprobe.wasm.questions import answer; answer(sys.argv[1])"
_MAX_REASON = 200
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)*(?=[^\s/])")


def installed_flags(timeout: float = PATIENCE) -> dict[str, bool]:
    """The x86 flags the installed wasmtime infers for this host, measured.

    Args:
        timeout: seconds the child may take.

    Returns:
        Every `has_*` flag it knows, in its own order, to whether it turned it on.

    Raises:
        ChildError: wasmtime could not be asked, or its artifact cannot be read.
    """
    said = b"".join(run_script(_SCRIPT, [INFERRED], patience=timeout))
    try:
        return msgspec.json.decode(said, type=dict[str, bool])
    except msgspec.DecodeError as error:
        raise ChildError(f"wasmtime's child process gave no answer: {error}") from None


def flags_by_fork(patience: int = 60) -> dict[str, bool]:
    """The same, asked in a fork of this very process.

    Under an emulator in user mode that child is emulated too, unlike a fresh interpreter.

    Args:
        patience: seconds until SIGALRM ends the child.

    Raises:
        CannotMeasureError: it cannot be asked, or does not answer in time.
    """

    def ask(report: Callable[[dict[str, Any]], None]) -> None:
        signal.alarm(patience)
        try:
            wasmtime = load_wasmtime()
        except Stop as stop:
            report({"stage": "ended", "kind": stop.kind, "message": str(stop)})
            return
        try:
            flags = msgspec.json.encode(inferred_flags()).decode()
        except (wasmtime.WasmtimeError, ArtifactError) as error:
            report({"stage": "ended", "kind": "missing", "message": one_line(str(error))})
            return
        report({"stage": "ended", "kind": "done", "message": flags})

    ending = run_once(ask, False, True, False)
    if ending.kind != "done":
        raise CannotMeasureError(f"wasmtime was killed by {word_of(ending.signal)} in its child")
    return msgspec.json.decode(ending.message, type=dict[str, bool])


def introspect(timeout: float = PATIENCE) -> Introspection:
    """All that can be asked of the installed wasmtime; what fails is a reason, never an error.

    Args:
        timeout: seconds for all the children, which run side by side.

    Returns:
        Its version, known and inferred flags, and whether Pulley and Winch compile and run a
        module here.
    """
    version = installed_version()
    reasons: dict[str, str] = {}

    def attempt(what: str) -> bool:
        said = b"".join(run_script(_SCRIPT, [what], patience=timeout))
        words = said.decode("utf-8", "replace").strip()
        if words != WORKS:
            raise ChildError(words or "it said nothing")
        return True

    def answer(what: str, ask: Callable[[], _Answer]) -> tuple[_Answer | None, bool]:
        try:
            return ask(), True
        except ChildError as error:
            text = without_folders(str(error))
            reasons[what] = text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."
            return None, error.answered

    with ThreadPoolExecutor(3) as pool:
        flags = pool.submit(answer, INFERRED, lambda: installed_flags(timeout))
        pulley = pool.submit(answer, PULLEY, lambda: attempt(PULLEY))
        winch = pool.submit(answer, WINCH, lambda: attempt(WINCH))
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

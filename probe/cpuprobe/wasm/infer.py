"""Which flags the installed wasmtime infers, asked in a child of this very process.

Under an emulator in user mode that child is emulated too, unlike `introspect`'s, which are fresh
interpreters.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import msgspec

from cpuprobe.code.elf import ArtifactError
from cpuprobe.errors import CannotMeasureError
from cpuprobe.wasm import questions
from cpuprobe.wasm.children import word_of
from cpuprobe.wasm.engine import load_wasmtime
from cpuprobe.wasm.guard import run_once
from cpuprobe.wasm.request import Stop, one_line


def inferred_flags(patience: int = 60) -> dict[str, bool]:
    """The flags the installed wasmtime infers here.

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
            flags = msgspec.json.encode(questions.inferred_flags()).decode()
        except (wasmtime.WasmtimeError, ArtifactError) as error:
            report({"stage": "ended", "kind": "missing", "message": one_line(str(error))})
            return
        report({"stage": "ended", "kind": "done", "message": flags})

    ending = run_once(ask, False, True, False)
    if ending.kind != "done":
        raise CannotMeasureError(f"wasmtime was killed by {word_of(ending.signal)} in its child")
    return msgspec.json.decode(ending.message, type=dict[str, bool])

"""Sentry's events as JSON: the exception's mechanism, and the top frame of its thread."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import ISA_NAMES
from cpuprobe.evidence.crashes.status import signal_name, signal_of
from cpuprobe.words import base_name

SOURCE = "Sentry event"


def read(text: str) -> Iterator[Clue]:
    """The first exception that is a signal or a Windows status."""
    if '"mechanism"' not in text or '"exception"' not in text:
        return
    try:
        document, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    except (ValueError, RecursionError):
        return
    exception = document.get("exception") if isinstance(document, dict) else None
    values = exception.get("values") if isinstance(exception, dict) else exception
    for value in values[:16] if isinstance(values, list) else ():
        told = _told(value) if isinstance(value, dict) else None
        if told is not None:
            isa = _at(document, "contexts", "device", "arch") or _at(
                document, "contexts", "os", "arch"
            )
            if isinstance(isa, str):
                told["isa"] = ISA_NAMES.get(isa.lower())
            yield Clue(0, Crash(SOURCE, **told), begins=True)
            return


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _told(value: Mapping[str, Any]) -> dict[str, Any] | None:
    told: dict[str, Any] = {}
    number = _at(value, "mechanism", "meta", "signal", "number")
    words = [
        _at(value, "mechanism", "meta", "signal", "name"),
        value.get("type"),
        value.get("value"),
    ]
    if isinstance(number, int):
        told["signal"] = signal_name(number)
    for word in words:
        if told.get("signal") is None and isinstance(word, str):
            told["signal"] = signal_of(word.partition(" / ")[0][:60])
    if told.get("signal") is None:
        return None
    frames = _at(value, "stacktrace", "frames")
    frame = frames[-1] if isinstance(frames, list) and frames else None
    if isinstance(frame, dict):
        address = frame.get("instruction_addr")
        if isinstance(address, str) and address[:2] == "0x" and address[2:].isalnum():
            with contextlib.suppress(ValueError):
                told["address"] = int(address, 16) & (1 << 64) - 1
        if isinstance(frame.get("package"), str):
            told["module"] = base_name(frame["package"])
        if isinstance(frame.get("function"), str):
            told["function"] = frame["function"][:200]
    return told

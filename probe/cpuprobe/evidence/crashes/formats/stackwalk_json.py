"""What `minidump-stackwalk --json` prints, which crash collectors store and show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import ISA_NAMES
from cpuprobe.evidence.crashes.status import signal_of
from cpuprobe.words import base_name

SOURCE = "minidump_stackwalk"


def read(text: str) -> Iterator[Clue]:
    """Why it died, the instruction, and the first frame of the thread that died."""
    if '"crash_info"' not in text:
        return
    try:
        document, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    except (ValueError, RecursionError):
        return
    document = document if isinstance(document, dict) else {}
    info, system = _table(document, "crash_info"), _table(document, "system_info")
    reason = info.get("type")
    if not isinstance(reason, str):
        return
    told: dict[str, Any] = {"signal": signal_of(reason.split(" / ")[0][:60])}
    if isinstance(info.get("instruction"), str):
        told["text"] = info["instruction"][:200]
    if isinstance(system.get("cpu_arch"), str):
        told["isa"] = ISA_NAMES.get(system["cpu_arch"].lower())
    frames = _table(document, "crashing_thread").get("frames")
    frame = frames[0] if isinstance(frames, list) and frames else None
    told |= _placed(frame) if isinstance(frame, dict) else {}
    yield Clue(0, Crash(SOURCE, **told), begins=True)


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _placed(frame: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if isinstance(frame.get("function"), str):
        told["function"] = frame["function"][:200]
    module, offset = frame.get("module"), frame.get("module_offset")
    if isinstance(module, str) and isinstance(offset, str):
        with contextlib.suppress(ValueError):
            told |= {"module": base_name(module), "offset": int(offset, 16), "origin": "image"}
    return told

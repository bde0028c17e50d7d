"""macOS crash reports: the text of .crash files and the JSON of .ips files.

Apple, "Interpreting the JSON format of a crash report".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpuprobe.code.image import WINDOW
from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import ISA_NAMES, clue, rule
from cpuprobe.evidence.crashes.status import signal_of
from cpuprobe.words import base_name

SOURCE = "macOS crash report"
RULES = (
    rule(
        "exception type:",
        r"\bException Type:\s{1,8}(?:EXC_CRASH \((?P<signal>SIG[A-Z]{2,7})\)|EXC_"
        r"[A-Z_]{3,20} \(SIG[A-Z]{2,7}\))",
        system="macos",
    ),
    rule(
        "code type:",
        r"\bCode Type:\s{1,16}(?P<isa>[\w-]{3,8})(?: \((?P<how>\w{4,12})\))?",
        aside=True,
        system="macos",
    ),
    rule(
        "process:",
        r"^\W{0,4}Process:\s{1,20}(?P<program>[^\[\n]{1,100}?) \[(?P<pid>\d{1,8})\]",
        begins=True,
        aside=True,
        system="macos",
    ),
    rule(
        "termination signal:",
        r"\bTermination Signal:\s{1,8}(?P<signal>[A-Z][A-Za-z /]{3,40}): \d",
        system="macos",
    ),
)
# Frame 0 of a thread.
_FRAME = (
    rule(
        " + ",
        r"^\W{0,4}0\s{1,8}(?P<module>\S[^\t\n]{0,99}?)\s{1,40}(?P<ip>0x[0-9a-f]{8,16}) "
        r"(?P<start>0x[0-9a-f]{8,16}) \+ \d{1,12}\b",
        aside=True,
        origin="image",
        system="macos",
    ),
    rule(
        " + ",
        r"^\W{0,4}0\s{1,8}(?P<module>\S[^\t\n]{0,99}?)\s{1,40}(?P<ip>0x[0-9a-f]{8,16}) "
        r"(?P<function>[^\n]{1,300}) \+ \d{1,12}\b",
        aside=True,
        system="macos",
    ),
)
_THREAD = re.compile(r"^\W{0,4}Thread \d{1,4}( Crashed)?:")
_EXCEPTION = re.compile(r"\bException Type:\s{1,8}(EXC_[A-Z_]{3,20})(?: \((SIG[A-Z]{2,7})\))?")
_TRANSLATED = re.compile(
    r"\bCode Type:\s{1,16}X86-64 \(Translated\)|\bTranslated: +Yes", re.IGNORECASE
)
_STREAM = re.compile(r"\binstruction stream:", re.IGNORECASE)
_ROW = re.compile(r"^[ ]{0,4}((?:[ \-\[]?[0-9a-f]{2}\]?){16})(?=\s|$)", re.IGNORECASE)


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """The exception, frame 0, and the instruction stream, whose byte in brackets is at RIP.

    Below the heading of a thread that did not crash, frame 0 is where that one waited.
    """
    elsewhere = False
    for at, line in enumerate(lines):
        thread = _THREAD.match(line)
        if thread is not None:
            elsewhere = thread[1] is None
        for frame in () if elsewhere or " + " not in line else _FRAME:
            match = frame.pattern.search(line)
            if match is not None:
                yield clue(frame, match, SOURCE, at)
                break
        exception = _EXCEPTION.search(line)
        if exception is not None:
            name = exception[2] or exception[1]
            yield Clue(at, Crash(SOURCE, signal=name, system="macos"))
        if _TRANSLATED.search(line) is not None:
            yield Clue(at, Crash(SOURCE, emulator="rosetta"), aside=True)
        if _STREAM.search(line) is not None:
            code = _stream(lines[at + 1 : at + 17])
            if code:
                yield Clue(at, Crash(SOURCE, code=code, system="macos"), aside=True)


def _stream(rows: Sequence[str]) -> bytes:
    found, at = bytearray(), -1
    for row in rows:
        match = _ROW.match(row) or _ROW.match(f" {row}")
        if match is None:
            break
        mark = match[1].find("[")
        if mark >= 0:
            at = len(found) + len(re.findall("[0-9a-f]{2}", match[1][:mark], re.IGNORECASE))
        found += bytes.fromhex("".join(re.findall("[0-9a-f]{2}", match[1], re.IGNORECASE)))
    return bytes(found[at : at + WINDOW]) if at >= 0 else b""


def read_ips(text: str) -> Iterator[Clue]:
    """The crashing thread of an .ips document: a line of JSON, then an object."""
    start = text.find('"exception"')
    if start < 0 or '"usedImages"' not in text:
        return
    begin = text.find("{\n", text.find("}")) if text.lstrip().startswith("{") else text.find("{")
    for at in {begin, text.find("{")}:
        try:
            document, _ = json.JSONDecoder().raw_decode(text[at:]) if at >= 0 else (None, 0)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict) and isinstance(document.get("exception"), dict):
            yield Clue(0, _ips(document), begins=True)
            return


def _ips(document: Mapping[str, Any]) -> Crash:
    exception = document["exception"]
    told: dict[str, Any] = {"system": "macos"}
    for key in ("signal", "type"):
        if isinstance(exception.get(key), str) and "signal" not in told:
            told["signal"] = signal_of(exception[key])
    if isinstance(document.get("cpuType"), str):
        told["isa"] = ISA_NAMES.get(document["cpuType"].lower())
    if document.get("translated") is True:
        told["emulator"] = "rosetta"
    if isinstance(document.get("procName"), str):
        told["program"] = base_name(document["procName"])
    threads = document.get("threads")
    for thread in threads[:4096] if isinstance(threads, list) else ():
        if isinstance(thread, dict) and thread.get("triggered") is True:
            told |= _thread(thread, document.get("usedImages"))
    return Crash("macOS crash report", **told)


def _thread(thread: Mapping[str, Any], images: object) -> dict[str, Any]:
    told: dict[str, Any] = {}
    state = thread.get("threadState")
    registers: dict[str, int] = {}
    for name, place in state.items() if isinstance(state, dict) else ():
        value = place.get("value") if isinstance(place, dict) else None
        if isinstance(value, int) and 0 <= value < 1 << 64 and len(name) <= 8:
            registers[name.lower()] = value
    told["registers"] = registers
    if "rip" in registers or "pc" in registers:
        told["address"] = registers.get("rip", registers.get("pc"))
    frames = thread.get("frames")
    frame = frames[0] if isinstance(frames, list) and frames else None
    if isinstance(frame, dict):
        index, offset = frame.get("imageIndex"), frame.get("imageOffset")
        if isinstance(images, list) and isinstance(index, int) and 0 <= index < len(images):
            image = images[index]
            if isinstance(image, dict) and isinstance(image.get("name"), str):
                told["module"] = base_name(image["name"])
        if isinstance(offset, int) and offset >= 0 and "module" in told:
            told |= {"offset": offset, "origin": "image"}
        if isinstance(frame.get("symbol"), str):
            told["function"] = frame["symbol"][:200]
    stream = thread.get("instructionState")
    stream = stream.get("instructionStream") if isinstance(stream, dict) else None
    if isinstance(stream, dict):
        told["code"] = _stream_bytes(stream.get("bytes"), stream.get("offset"))
    return told


def _stream_bytes(values: object, offset: object) -> bytes:
    if not isinstance(values, list) or not isinstance(offset, int) or not 0 <= offset < len(values):
        return b""
    part = values[offset : offset + WINDOW]
    if not all(isinstance(value, int) and 0 <= value < 256 for value in part):
        return b""
    return bytes(part)

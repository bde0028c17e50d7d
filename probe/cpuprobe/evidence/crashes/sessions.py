"""Text of debuggers and tools: gdb and lldb sessions, objdump listings, `coredumpctl info`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cpuprobe.code.image import WINDOW
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.status import signal_name
from cpuprobe.evidence.text.hex import words_to_bytes
from cpuprobe.words import base_name

_SIGNAL = re.compile(
    r"\b(?:received|terminated with|stop reason = signal) (?:signal )?(SIG[A-Z]{2,7})\b"
)
_COREDUMP_SIGNAL = re.compile(r"^Signal: (\d{1,2}) \(([A-Z]{2,7})\)")
_EXECUTABLE = re.compile(r"^Executable: (/.{0,4000})$")
# gdb's `#0  0x00007f... in name () from /lib/libx.so`, its line without the frame number, and
# coredumpctl's `#0  0x00007f... name (libx.so + 0x1234)`.
_FRAME = re.compile(r"^(?:#0\s{1,4})?0x([0-9a-f]{1,16}) (?:in )?[^\n]{0,2000}$", re.IGNORECASE)
_FROM = re.compile(r" from (/[^\n]{1,4000})$")
_MODULE_OFFSET = re.compile(r"\(([^()\n]{1,255}) \+ 0x([0-9a-f]{1,16})\)$", re.IGNORECASE)
_ADDRESS = r"(?:0x)?[0-9a-f]{1,16}"
# gdb's x/8xb: an address, perhaps a symbol, a colon, words with 0x.
_EXAMINE = re.compile(
    rf"^(?:=>\s{{0,4}})?({_ADDRESS})(?:\s{{0,4}}<[^<>\n]{{0,2000}}>)?:((?:\s{{1,8}}0x[0-9a-f]{{1,16}}){{1,16}})$",
    re.IGNORECASE,
)
# A line of disassembly: marker, address, symbol or offset, colon, bytes perhaps, text.
_LISTED = re.compile(
    rf"^(=>|->|-->|>)?\s{{0,8}}({_ADDRESS})(?:\s{{0,4}}<[^\n]{{0,2000}}?>)?:\s{{0,8}}(\S[^\n]{{0,400}})$",
    re.IGNORECASE,
)
_BYTES = re.compile(r"^((?:[0-9a-f]{2}\s){0,14}[0-9a-f]{2})(?:\s+|$)(?![0-9a-f]{2}\b)(.*)$", re.I)


@dataclass
class _Session:
    signal: str | None = None
    address: int | None = None
    path: str | None = None
    module: str | None = None
    offset: int | None = None
    source: str = ""
    memory: dict[int, bytes] = field(default_factory=dict)
    marked: tuple[bytes, str] | None = None
    listed: list[tuple[bytes, str]] = field(default_factory=list)


def read_session(lines: Iterable[str]) -> tuple[Crash, str] | None:
    """The crash that a session tells of, and the instruction's text where only that is known.

    Returns:
        A crash and an assembler line (empty where bytes are known), or None if the lines are
        nothing of the kind. Of listings, the marked line counts, or else all lines.
    """
    session = _Session()
    for line in lines:
        _take(session, line.strip())
    if not (session.signal or session.listed or session.memory or session.module or session.marked):
        return None
    crash = Crash(
        source=session.source or "listing",
        signal=session.signal,
        address=session.address,
        module=session.module,
        path=session.path,
        offset=session.offset,
        origin="image",
    )
    code = _at(session.memory, session.address)
    if session.marked is not None:
        code, text = session.marked[0] or code, session.marked[1]
        return replace(crash, code=code), "" if code else text
    if code:
        return replace(crash, code=code), ""
    if session.address is None or not session.signal:
        bytes_listed = b"".join(code for code, _ in session.listed)
        if bytes_listed:
            return replace(crash, code=bytes_listed[:1024], sequence=True), ""
        if session.listed:
            return crash, session.listed[0][1]
    return crash, ""


def _take(session: _Session, line: str) -> None:
    signal = _SIGNAL.search(line)
    if signal is not None:
        session.signal, session.source = signal[1], session.source or "debugger session"
        return
    dumped = _COREDUMP_SIGNAL.match(line)
    if dumped is not None:
        session.signal = signal_name(int(dumped[1])) or f"SIG{dumped[2]}"
        session.source = "coredumpctl"
        return
    executable = _EXECUTABLE.match(line)
    if executable is not None:
        session.path = executable[1]
        return
    examined = _EXAMINE.match(line)
    if examined is not None:
        words = examined[2].split()
        found = words_to_bytes(words, big=False)
        if found is not None and len(session.memory) < 256:
            session.memory[int(examined[1], 16)] = found
            session.source = session.source or "debugger session"
        return
    listed = _LISTED.match(line)
    if listed is not None:
        _listing(session, listed)
        return
    if session.address is None and session.signal is not None and _FRAME.match(line):
        _frame(session, line)


def _listing(session: _Session, listed: re.Match[str]) -> None:
    marker, address, rest = listed[1], int(listed[2], 16), listed[3]
    match = _BYTES.match(rest)
    code, text = (bytes.fromhex(match[1]), match[2]) if match is not None else (b"", rest)
    if marker:
        session.marked = code, text
        if session.address is None:
            session.address = address
        session.source = session.source or "debugger session"
    elif len(session.listed) < 256 and (code or "%" in text or "," in text):
        session.listed.append((code, text))


def _frame(session: _Session, line: str) -> None:
    match = _FRAME.match(line)
    if match is None:
        return
    session.address = int(match[1], 16)
    placed = _MODULE_OFFSET.search(line)
    if placed is not None:
        session.module, session.offset = base_name(placed[1]), int(placed[2], 16)
        if session.path is not None and base_name(session.path) != session.module:
            session.path = None
        return
    origin = _FROM.search(line)
    if origin is not None:
        session.module, session.path = base_name(origin[1]), origin[1]


def _at(memory: dict[int, bytes], address: int | None) -> bytes:
    """The bytes printed for an address, or the first ones printed if none is known."""
    if not memory:
        return b""
    at = address if address in memory else next(iter(memory))
    code = b""
    while at in memory and len(code) < WINDOW:
        code += memory[at]
        at += len(memory[at])
    return code

"""Minidumps, as Windows, Crashpad, Breakpad and Sentry write them.

The few structures that matter are read here rather than with the `minidump` package, which trusts
every count in the file and takes a field behind its end for zero.

Layout: Windows SDK, minidumpapiset.h and winnt.h (CONTEXT for AMD64); Breakpad's
src/google_breakpad/common/minidump_format.h for platforms other than Windows.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cpuprobe.code.image import WINDOW, code_at
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.model import Crash, Note
from cpuprobe.evidence.crashes.status import MACH_EXCEPTION, WINDOWS_STATUS, signal_name
from cpuprobe.files import OpenedFile, opened, refuse_compressed
from cpuprobe.words import base_name

_MODULES, _MEMORY, _EXCEPTION, _SYSTEM, _MEMORY64, _MEMORY_INFO = 4, 5, 6, 7, 9, 16
_VERSION = 0xA793
_AMD64 = 9
_WINDOWS = 2
_MACH = (0x8101, 0x8102)
_UNIX = (0x8201, 0x8203, 0x8205)  # Linux, Android, NaCl: the exception code is the signal
_MAXIMUM_STREAMS = 4096
_MAXIMUM_ROWS = 1 << 18
_CONTEXT_AMD64 = 1232
_REGISTERS = [
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rip",
]
_EXECUTE = 0xF0  # PAGE_EXECUTE and its variants
_MEM_PRIVATE = 0x20000
_MAXIMUM_NAME = 4096


class _Module(NamedTuple):
    """A row of the list of modules; the name is read where it is asked for: there may be many."""

    file: OpenedFile
    base: int
    size: int
    name_at: int

    @property
    def name(self) -> str:
        return base_name(_string(self.file, self.name_at))


def read_minidump(path: str, executables: tuple[str, ...] = ()) -> Crash:
    """The crashing thread of a minidump.

    Args:
        path: the dump.
        executables: files of the crashed program at hand, for the bytes that the dump leaves out.

    Raises:
        CaptureError: not a minidump of an x86-64 process that crashed, or damaged.
    """
    with opened(path) as file:
        return _read(file, executables)


def _read(file: OpenedFile, executables: tuple[str, ...]) -> Crash:
    header = file.some(0, 32)
    refuse_compressed(header)
    if header[:4] != b"MDMP":
        raise CaptureError("not a minidump")
    if len(header) < 32:
        raise CaptureError("a minidump cut short")
    version, count, directory = struct.unpack_from("<III", header, 4)
    if version & 0xFFFF != _VERSION:
        raise CaptureError(f"a minidump of version {version & 0xFFFF:#x}, not {_VERSION:#x}")
    if count > _MAXIMUM_STREAMS:
        raise CaptureError(f"{count} streams: no minidump has so many")
    rows = file.exactly(directory, count * 12, "the stream directory")
    streams: dict[int, tuple[int, int]] = {}
    for kind, size, place in struct.iter_unpack("<III", rows):
        streams.setdefault(kind, (place, size))
    platform = _platform(file, streams)
    if _EXCEPTION not in streams:
        raise CaptureError("a minidump without an exception: that process did not crash")
    place, _ = streams[_EXCEPTION]
    raw = file.exactly(place, 168, "the exception stream")
    code, flags, _, address = struct.unpack_from("<IIQQ", raw, 8)
    context_size, context_at = struct.unpack_from("<II", raw, 160)
    registers: dict[str, int] = {}
    if context_size >= _CONTEXT_AMD64:
        context = file.exactly(context_at, _CONTEXT_AMD64, "the thread context")
        registers = dict(zip(_REGISTERS, struct.unpack_from("<17Q", context, 0x78), strict=True))
        registers["eflags"] = struct.unpack_from("<I", context, 0x44)[0]
    signal = _signal(platform, code)
    # Of a signal, the exception's address is that of the data for memory faults: RIP is the place.
    rip = registers.get("rip", address)
    if signal == "STATUS_ILLEGAL_INSTRUCTION" and address:
        rip = address
    modules = _modules(file, streams)
    holder = next((each for each in modules if 0 <= rip - each.base < each.size), None)
    name = None if holder is None else holder.name
    bytes_there = _memory(file, streams, rip)
    notes: list[Note] = []
    if not bytes_there and holder is not None:
        bytes_there = _from_file(executables, name or "", rip - holder.base, notes)
    private, executable = _protection(file, streams, rip)
    return Crash(
        source="minidump",
        code=bytes_there,
        signal=signal,
        address=rip,
        module=name,
        offset=None if holder is None else rip - holder.base,
        origin="image",
        anonymous=(holder is None) if private is None else (private and holder is None),
        executable=executable,
        # There the flags are si_code, and negative ones come from tgkill. Old Breakpad left them 0.
        sent=platform in _UNIX and flags >= 1 << 31,
        registers=registers,
        modules=tuple(each.name for each in modules[:500]),
        notes=tuple(notes),
    )


def _signal(platform: int, code: int) -> str:
    if platform in _UNIX:
        return signal_name(code) or f"signal {code:#x}"
    if platform in _MACH:
        return MACH_EXCEPTION.get(code, f"Mach exception {code:#x}")
    return WINDOWS_STATUS.get(code, f"status {code:#010x}")


def _platform(file: OpenedFile, streams: dict[int, tuple[int, int]]) -> int:
    if _SYSTEM not in streams:
        raise CaptureError("a minidump without the system's description")
    raw = file.exactly(streams[_SYSTEM][0], 24, "the system information")
    (architecture,) = struct.unpack_from("<H", raw)
    if architecture != _AMD64:
        raise CaptureError(f"a minidump of another processor (architecture {architecture})")
    platform: int = struct.unpack_from("<I", raw, 20)[0]
    if platform not in (_WINDOWS, *_MACH, *_UNIX):
        raise CaptureError(f"a minidump of an unknown platform ({platform:#x})")
    return platform


def _list(
    file: OpenedFile, streams: dict[int, tuple[int, int]], kind: int, row: int, what: str
) -> bytes:
    """The rows of a list that starts with a 32-bit count; Breakpad may pad the count to 64."""
    if kind not in streams:
        return b""
    place, size = streams[kind]
    (count,) = struct.unpack("<I", file.exactly(place, 4, what))
    if count > _MAXIMUM_ROWS:
        raise CaptureError(f"{count} rows in {what}: no minidump has so many")
    lead = 8 if size == 8 + count * row else 4
    return file.exactly(place + lead, count * row, what)


def _modules(file: OpenedFile, streams: dict[int, tuple[int, int]]) -> list[_Module]:
    raw = _list(file, streams, _MODULES, 108, "the list of modules")
    rows = (struct.unpack_from("<QIIII", raw, at) for at in range(0, len(raw), 108))
    return [_Module(file, base, size, name_at) for base, size, _, _, name_at in rows]


def _string(file: OpenedFile, place: int) -> str:
    (size,) = struct.unpack("<I", file.exactly(place, 4, "a module's name"))
    if size > _MAXIMUM_NAME:
        raise CaptureError("a module's name of absurd length")
    return file.exactly(place + 4, size, "a module's name").decode("utf-16-le", "replace")


def _memory(file: OpenedFile, streams: dict[int, tuple[int, int]], rip: int) -> bytes:
    raw = _list(file, streams, _MEMORY, 16, "the list of memory")
    for start, size, place in struct.iter_unpack("<QII", raw):
        if 0 <= rip - start < size:
            return file.some(place + rip - start, min(WINDOW, size - (rip - start)))
    if _MEMORY64 not in streams:
        return b""
    place, _ = streams[_MEMORY64]
    count, at = struct.unpack("<QQ", file.exactly(place, 16, "the list of memory"))
    if count > _MAXIMUM_ROWS:
        raise CaptureError(f"{count} ranges of memory: no minidump has so many")
    ranges = file.exactly(place + 16, count * 16, "the list of memory")
    for start, size in struct.iter_unpack("<QQ", ranges):
        if 0 <= rip - start < size:
            return file.some(at + rip - start, min(WINDOW, size - (rip - start)))
        at += size
    return b""


def _protection(
    file: OpenedFile, streams: dict[int, tuple[int, int]], rip: int
) -> tuple[bool | None, bool | None]:
    """Whether the memory at RIP is private and whether it is executable, None if not told."""
    if _MEMORY_INFO not in streams:
        return None, None
    place, _ = streams[_MEMORY_INFO]
    header, row, count = struct.unpack("<IIQ", file.exactly(place, 16, "the memory information"))
    if not 16 <= header <= 64 or not 48 <= row <= 256 or count > _MAXIMUM_ROWS:
        raise CaptureError("damaged memory information")
    raw = file.exactly(place + header, row * count, "the memory information")
    for at in range(0, len(raw), row):
        base, _, _, _, size, _, protection, kind = struct.unpack_from("<QQIIQIII", raw, at)
        if 0 <= rip - base < size:
            return kind == _MEM_PRIVATE, bool(protection & _EXECUTE)
    return None, None


def _from_file(executables: tuple[str, ...], name: str, offset: int, notes: list[Note]) -> bytes:
    for path in executables:
        if base_name(path).lower() == name.lower():
            return code_at(path, offset, "image")
    notes.append(Note("no code in the dump", name))
    return b""

"""Core files of Linux on x86-64 and AArch64, as the kernel and gdb's gcore write them.

Layout: System V ABI (program headers, notes), Linux include/uapi/linux/elfcore.h (elf_prstatus),
arch/x86/include/asm/user_64.h (user_regs_struct), arch/arm64/include/uapi/asm/ptrace.h
(user_pt_regs), fs/binfmt_elf.c (NT_FILE, NT_SIGINFO; the thread
that got the signal comes first).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cpuprobe.code.elf import EM_X86_64, ET_CORE, PF_X, PT_LOAD, PT_NOTE, Elf, Segment
from cpuprobe.code.image import WINDOW, code_at, elf_image
from cpuprobe.code.notes import notes
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.model import Crash, Note
from cpuprobe.evidence.crashes.status import signal_name
from cpuprobe.files import OpenedFile, opened, refuse_compressed
from cpuprobe.words import base_name

_NT_PRSTATUS, _NT_AUXV, _NT_FILE, _NT_SIGINFO = 1, 6, 0x46494C45, 0x53494749
_MAXIMUM_NOTES = 8 << 20  # the first thread's and the process's come first
_MAXIMUM_FILES = 1 << 17
_BEFORE = 112
"""Bytes of elf_prstatus before the registers; behind them is pr_fpvalid, with padding."""
_OF_X86 = (
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "orig_rax",
    "rip",
    "cs",
    "eflags",
    "rsp",
    "ss",
    "fs_base",
    "gs_base",
    "ds",
    "es",
    "fs",
    "gs",
)
_OF_AARCH64 = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
# Positive si_code: the kernel raised the signal, say ILL_ILLOPN; zero and less: kill, raise, tgkill
# (include/uapi/asm-generic/siginfo.h).
_SI_USER = 0


class MappedFile(NamedTuple):
    """A row of NT_FILE: addresses, the offset of the first in the file in bytes, the path."""

    start: int
    end: int
    offset: int
    path: str


class _Core(NamedTuple):
    signal: int
    si_code: int | None
    registers: dict[str, int]
    files: tuple[MappedFile, ...]


def read_core(path: str, executables: tuple[str, ...] = ()) -> Crash:
    """The crashing thread of a core file.

    Args:
        path: the core.
        executables: files of the crashed program at hand. What the core leaves out (the kernel
            dumps no code that is in a file) is read from the one of the right name. Paths that
            the core names are never opened: it may be a stranger's.

    Raises:
        CaptureError: not a core of Linux on x86-64 or AArch64, or damaged.
    """
    with opened(path) as file:
        return _read(file, executables)


def _read(file: OpenedFile, executables: tuple[str, ...]) -> Crash:
    refuse_compressed(file.some(0, 8))
    elf = elf_image(file)
    if elf.kind != ET_CORE:
        raise CaptureError("an ELF file, but no core: give a program with --exe")
    segments = elf.segments
    x86 = elf.machine == EM_X86_64
    core = _notes(elf, file, _OF_X86 if x86 else _OF_AARCH64)
    rip = core.registers["rip" if x86 else "pc"]
    holder = next(
        (
            each
            for each in segments
            if each.type == PT_LOAD and 0 <= rip - each.address < each.memory_size
        ),
        None,
    )
    mapped = next((each for each in core.files if each.start <= rip < each.end), None)
    named = mapped if mapped is not None and _is_file(mapped.path) else None
    notes: list[Note] = []
    if any(each.offset + each.size > file.size for each in segments):
        notes.append(Note("core cut short"))
    code = _dumped(file, segments, rip)
    if not code and named is not None:
        code = _from_file(file, segments, core, named, rip, executables, notes)
    if holder is None and not code:
        notes.append(Note("pointer mapped nowhere"))
    vdso = holder is not None and _dumped(file, segments, holder.address)[:4] == b"\x7fELF"
    return Crash(
        source="core file",
        code=code,
        isa=None if x86 else "aarch64",
        signal=signal_name(core.signal),
        address=rip,
        module=None if named is None else base_name(named.path),
        offset=None if named is None else rip - named.start + named.offset,
        # QEMU's user-mode emulator writes cores without NT_FILE: nothing is known of files there.
        anonymous=None if holder is None or not core.files else named is None and not vdso,
        executable=None if holder is None else bool(holder.flags & PF_X),
        sent=core.si_code is not None and core.si_code <= _SI_USER,
        registers=core.registers,
        modules=tuple(dict.fromkeys(base_name(each.path) for each in core.files))[:500],
        notes=tuple(notes),
    )


def _is_file(path: str) -> bool:
    """Whether a path of NT_FILE is a file on disk rather than shared or anonymous memory."""
    return not path.startswith(("/memfd:", "/dev/zero", "/SYSV", "/dev/shm/"))


def _dumped(file: OpenedFile, segments: Sequence[Segment], address: int) -> bytes:
    """The core's own bytes at an address, across segments that touch; empty if it has none."""
    code = b""
    for each in segments:
        inside = address + len(code) - each.address
        if each.type == PT_LOAD and 0 <= inside < each.size:
            code += file.some(each.offset + inside, min(WINDOW - len(code), each.size - inside))
            if len(code) == WINDOW:
                break
    return code


def _from_file(
    file: OpenedFile,
    segments: Sequence[Segment],
    core: _Core,
    mapped: MappedFile,
    rip: int,
    executables: tuple[str, ...],
    notes: list[Note],
) -> bytes:
    name = base_name(mapped.path)
    before = len(notes)
    chosen = [each for each in executables if base_name(each) == name]
    if not chosen and len(executables) == 1 and core.files and core.files[0].path == mapped.path:
        chosen = list(executables)  # the program itself, kept under another name
    for path in chosen:
        try:
            if not _same_file(file, segments, core, mapped.path, path):
                notes.append(Note("another file at hand", name))
                continue
            return code_at(path, rip - mapped.start + mapped.offset, "file")
        except CaptureError:
            continue
    if len(notes) == before:
        notes.append(Note("no code in the core", name))
    return b""


def _same_file(
    file: OpenedFile, segments: Sequence[Segment], core: _Core, original: str, path: str
) -> bool:
    """Compares what the core holds of a file's first page, where its build ID stands."""
    first = next((e for e in core.files if e.path == original and e.offset == 0), None)
    if first is None:
        return True
    for each in segments:
        if each.type == PT_LOAD and each.address == first.start:
            dumped = file.some(each.offset, min(4096, each.size))
            with OpenedFile(path) as other:
                return other.some(0, len(dumped)) == dumped
    return True


def _notes(elf: Elf, file: OpenedFile, names: Sequence[str]) -> _Core:
    registers: dict[str, int] | None = None
    signal, si_code = 0, None
    files: tuple[MappedFile, ...] = ()
    holder = elf.segment(PT_NOTE)
    # Cut short, what came before may be enough.
    body = b"" if holder is None else file.some(holder.offset, min(holder.size, _MAXIMUM_NOTES))
    for _, kind, content in notes(body, 4):
        if kind == _NT_PRSTATUS and registers is None:
            if len(content) < _BEFORE + 8 * len(names) + 8:
                raise CaptureError("a damaged core: the thread's registers are cut short")
            (signal,) = struct.unpack_from("<H", content, 12)  # pr_cursig
            values = struct.unpack_from(f"<{len(names)}Q", content, _BEFORE)
            registers = dict(zip(names, values, strict=True))
        elif kind == _NT_SIGINFO and si_code is None and len(content) >= 12:
            number, _, si_code = struct.unpack_from("<iii", content)
            signal = signal or number
        elif kind == _NT_FILE and not files:
            files = tuple(_files(content))
    if registers is None:
        raise CaptureError("a core without the registers of a thread (NT_PRSTATUS)")
    return _Core(signal, si_code, registers, files)


def _files(content: bytes) -> Iterator[MappedFile]:
    if len(content) < 16:
        return
    count, page = struct.unpack_from("<QQ", content)
    if count > min(_MAXIMUM_FILES, (len(content) - 16) // 24):
        raise CaptureError(f"a damaged core: {count} mapped files in {len(content)} bytes")
    names = content[16 + 24 * count :].split(b"\0")
    for row, name in zip(
        struct.iter_unpack("<QQQ", content[16 : 16 + 24 * count]), names, strict=False
    ):
        yield MappedFile(row[0], row[1], row[2] * page, name.decode("utf-8", "replace"))

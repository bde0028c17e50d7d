"""The kernel's lines on a crash, copied from dmesg, journald, syslog or /dev/kmsg.

Formats: Linux arch/x86/kernel/traps.c (show_signal), arch/x86/mm/fault.c (show_signal_msg),
arch/x86/kernel/dumpstack.c (show_opcodes: the marked byte is the one at RIP), mm/memory.c
(print_vma_addr: `in NAME[start+size]`, since Linux 6.11 `in NAME[offset,start+size]`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from cpuprobe.code.image import WINDOW
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.words import base_name

_HEX = r"(?:0x)?[0-9a-f]{1,16}"
_PLACE = (
    rf"(?: in (?P<module>[^\[\]\n]{{1,255}})"
    rf"\[(?:(?P<offset>{_HEX}),)?(?P<start>{_HEX})\+(?P<size>{_HEX})\])?"
)
_TRAP = re.compile(
    rf"(?P<what>trap (?P<trap>[a-z0-9 -]{{2,40}}?)|general protection(?: fault)?) "
    rf"ip:(?P<ip>{_HEX}) sp:{_HEX} error:(?P<error>[0-9a-f]{{1,16}}){_PLACE}",
    re.IGNORECASE,
)
_FAULT = re.compile(
    rf"\bsegfault at (?P<at>{_HEX}) ip (?P<ip>{_HEX}) sp {_HEX} error (?P<error>[0-9a-f]{{1,16}})"
    rf"{_PLACE}",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\bCode: ((?:[0-9a-f]{2} ){0,64})[<(]([0-9a-f]{2})[>)]((?: [0-9a-f]{2}){0,64})", re.IGNORECASE
)
_OOPS = re.compile(r"\binvalid opcode: 0000 \[#\d+\]")
_OOPS_RIP = re.compile(r"\bRIP: 0010:(?:\[<[0-9a-f]{1,16}>\] )?([\w.]{1,120})\+0x[0-9a-f]{1,8}")
# The kernel's words for a trap (arch/x86/kernel/traps.c) and the signal it sends.
_SIGNALS = {
    "invalid opcode": "SIGILL",
    "divide error": "SIGFPE",
    "int3": "SIGTRAP",
    "stack segment": "SIGBUS",
    "alignment check": "SIGBUS",
    "bounds": "SIGSEGV",
    "overflow": "SIGSEGV",
    "invalid TSS": "SIGSEGV",
    "coprocessor segment overrun": "SIGFPE",
}
_MAXIMUM = 4096
_MAPPED_FOR_NOTHING = ("anon_inode:", "memfd:", "zero", "SYSV")


def read_kernel_log(lines: Iterable[str]) -> list[Crash]:
    """The crashes in lines of a kernel log, the first first; equal ones once.

    A `Code:` line belongs to the crash in one of the three lines before it, or is one by itself.
    """
    crashes: dict[tuple[object, ...], Crash] = {}
    for crash in _each(lines):
        key = (crash.signal, crash.module, crash.offset, crash.code)
        crashes.pop(key, None)  # the last of equal ones counts
        crashes[key] = crash
        if len(crashes) > _MAXIMUM:
            del crashes[next(iter(crashes))]
    return list(crashes.values())


def _each(lines: Iterable[str]) -> Iterator[Crash]:
    pending: Crash | None = None
    age = 0
    for line in lines:
        code = _CODE.search(line)
        if code is not None:
            found = bytes.fromhex(code[2] + code[3])[:WINDOW]
            yield replace(pending or Crash("kernel log"), code=found)
            pending = None
            continue
        crash = _trap(line) or _segfault(line) or _oops(line)
        where = _OOPS_RIP.search(line)
        if crash is None and where is not None and pending is not None and pending.module is None:
            pending = replace(pending, notes=(*pending.notes, f"in the kernel's {where[1]}"))
        age += 1
        if crash is not None:
            if pending is not None:
                yield pending
            pending, age = crash, 0
        elif pending is not None and age > 12:
            yield pending
            pending = None
    if pending is not None:
        yield pending


def _trap(line: str) -> Crash | None:
    match = _TRAP.search(line)
    if match is None:
        return None
    name = (match["trap"] or "general protection").strip()
    signal = _SIGNALS.get(name, "SIGSEGV" if name.startswith("general") else None)
    return _crash(match, signal)


def _segfault(line: str) -> Crash | None:
    match = _FAULT.search(line)
    if match is None:
        return None
    crash = _crash(match, "SIGSEGV")
    # The page-fault error code's bit 4: an instruction was being fetched (SDM vol. 3A, 4.7).
    if int(match["error"], 16) & 0x10:
        crash = replace(
            crash,
            executable=False,
            notes=(*crash.notes, "the fault was the fetch of the instruction: no code is there"),
        )
    return crash


def _oops(line: str) -> Crash | None:
    if _OOPS.search(line) is None:
        return None
    return Crash("kernel log", signal="SIGILL", notes=("the kernel itself died, not a program",))


def _crash(match: re.Match[str], signal: str | None) -> Crash:
    address = int(match["ip"], 16)
    module = match["module"]
    if module is None:
        # The kernel names every file mapping that holds RIP; anonymous memory has no name.
        return Crash("kernel log", signal=signal, address=address, anonymous=True)
    name = base_name(module.removesuffix(" (deleted)"))
    anonymous = name.startswith(_MAPPED_FOR_NOTHING)
    start, size = int(match["start"], 16), int(match["size"], 16)
    if match["offset"] is not None:
        return Crash(
            "kernel log",
            signal=signal,
            address=address,
            module=name,
            offset=int(match["offset"], 16),
            origin="file",
            anonymous=anonymous,
        )
    return Crash(
        "kernel log",
        signal=signal,
        address=address,
        module=name,
        offset=address - start if address >= start else None,
        origin="mapping",
        mapping_size=size,
        anonymous=anonymous,
    )

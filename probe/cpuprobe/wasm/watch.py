"""Watches a traced child: where it was when it got a signal that means a crash.

The child asks to be traced (ptrace(2), PTRACE_TRACEME), so that it stops at every signal before it
is delivered; the instruction at a crash is read there. Where tracing is refused (a seccomp filter,
QEMU's user mode) the child just runs, and nothing is known of the instruction.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any

from cpuprobe.wasm.ending import CRASHES, Fault

# Linux, include/uapi/linux/ptrace.h and prctl.h; rip is word 16 of user_regs_struct
# (arch/x86/include/asm/user_64.h).
_TRACEME, _CONT, _GETREGS, _GETSIGINFO = 0, 7, 12, 0x4202
_REGISTERS, _RIP = 27, 16
_FAR = 15
"""Bytes of the longest instruction (SDM vol. 2, section 2.3.11)."""


def trace_me() -> None:
    """Has the parent told of every signal of this process."""
    ctypes.CDLL(None).ptrace(_TRACEME, 0, None, None)


def watch(pid: int) -> tuple[os.waitid_result, dict[int, Fault]]:
    """Waits for the end of a child that has called `trace_me`, and leaves the zombie.

    Returns:
        How it ended, and the last fault of each crash signal that it got on the way.
    """
    library = ctypes.CDLL(None)
    library.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    faults: dict[int, Fault] = {}
    while True:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        assert ended is not None  # WNOHANG is not set
        if ended.si_code not in (os.CLD_TRAPPED, os.CLD_STOPPED):
            return ended, faults
        os.waitpid(pid, os.WUNTRACED)
        number = ended.si_status
        if number in CRASHES:
            fault = _fault(library, pid)
            if fault is not None:
                faults[number] = fault
        library.ptrace(_CONT, pid, None, number)


def _fault(library: Any, pid: int) -> Fault | None:
    # siginfo_t: si_signo, si_errno, si_code; a positive code is the kernel's (sigaction(2)). A
    # handler that raises the signal anew, as Python's faulthandler does, is no second fault.
    information = (ctypes.c_int * 32)()
    library.ptrace(_GETSIGINFO, pid, None, ctypes.addressof(information))
    if information[2] <= 0:
        return None
    registers = (ctypes.c_ulong * _REGISTERS)()
    if library.ptrace(_GETREGS, pid, None, ctypes.addressof(registers)) != 0:
        return None
    address = registers[_RIP]
    code = b""
    with suppress(OSError, OverflowError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        code = memory.read(_FAR)
    return Fault(address, code, holder(read_text(f"/proc/{pid}/maps") or "", address))


def holder(maps: str, address: int) -> str:
    """The name of the file that an address lies in, without folders; empty if in no file.

    Args:
        maps: /proc/PID/maps (Linux, Documentation/filesystems/proc.rst).
        address: in that process.
    """
    for line in maps.splitlines():
        fields = line.split(None, 5)
        first, _, last = fields[0].partition("-")
        if int(first, 16) <= address < int(last, 16):
            name = fields[5] if len(fields) > 5 else ""
            # The kernel's own names, [anon:...] and [heap] among them, are no files.
            return "" if name.startswith("[") and name != "[vdso]" else os.path.basename(name)
    return ""


def read_text(path: str) -> str | None:
    """A file of /proc; None if it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None

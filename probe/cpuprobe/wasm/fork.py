"""A fork of this process for a program that may die: it starts at once, and stays where it is.

Under an emulator in user mode a fork is emulated too, while a new interpreter would leave it. A
process that has wasmtime loaded must not fork to use it: wasmtime's threads do not survive, and the
child would wait for them for ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from cpuprobe.errors import CannotMeasureError

# Linux, include/uapi/linux/prctl.h.
_SET_PDEATHSIG = 1

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that mean to end cpuprobe: a child has their usual effect again."""


def fork(program: Callable[[], None]) -> int:
    """Runs a function in a child, which ends with it and dies with this process.

    Args:
        program: called in the child. What it raises goes to standard error, and the exit code is
            70 (EX_SOFTWARE, sysexits.h).

    Returns:
        The child's process id.

    Raises:
        CannotMeasureError: the child cannot be made.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError as error:
        raise CannotMeasureError(f"cannot start a child process: {error.strerror}") from None
    if pid:
        return pid
    code = 70
    try:
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        # The kernel kills this process when its parent ends (prctl(2)).
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
        program()
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)

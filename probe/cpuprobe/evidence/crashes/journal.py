"""The SIGILLs in systemd's journal: the kernel's lines, and what systemd-coredump noted.

Fields: systemd.journal-fields(7), systemd-coredump(8); `journalctl -o json` (systemd.io,
JOURNAL_EXPORT_FORMATS) writes an entry a line, and a field that is no UTF-8 as an array of bytes.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.read import read_text
from cpuprobe.evidence.crashes.status import ILLEGAL

MAXIMUM_ENTRIES = 5000
MAXIMUM_OUTPUT = 32 << 20
_SECONDS = 15
_FIELDS = "MESSAGE,COREDUMP_SIGNAL,COREDUMP_SIGNAL_NAME,COREDUMP_PID,COREDUMP_COMM,COREDUMP_EXE"
_COMMAND = (
    *("journalctl", "--output=json", "--no-pager", "--quiet", f"--lines={MAXIMUM_ENTRIES}"),
    f"--output-fields={_FIELDS}",
    *("COREDUMP_SIGNAL=4", "+", "_TRANSPORT=kernel"),
)


def read_journal() -> list[Crash]:
    """The illegal instructions among the newest entries of this machine's journal.

    The program that a core was made of is looked at where it lies: the journal is this machine's.

    Returns:
        No more than `read_text` gives, the most telling first; none if there are none.

    Raises:
        CannotMeasureError: there is no journalctl, or it may not be read.
        CaptureError: it answers with something else.
    """
    code, output = _answer()
    if code and not output:
        raise CannotMeasureError(f"journalctl failed (exit code {code}): may it be read?")
    if len(output) > MAXIMUM_OUTPUT:
        raise CaptureError(f"the journal's entries are larger than {MAXIMUM_OUTPUT >> 20} MiB")
    return crashes_of(output.splitlines())


def _answer() -> tuple[int, bytes]:
    """What journalctl says, cut beyond the bound, and its exit code; it is killed if it hangs."""
    quiet = subprocess.DEVNULL
    try:
        child = subprocess.Popen(_COMMAND, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet)
    except FileNotFoundError:
        raise CannotMeasureError("journalctl is not installed: no systemd journal here") from None
    except OSError as error:
        raise CannotMeasureError(f"journalctl cannot be run: {error.strerror}") from None
    timer = threading.Timer(_SECONDS, child.kill)
    timer.start()
    try:
        with child:
            output = b"" if child.stdout is None else child.stdout.read(MAXIMUM_OUTPUT + 1)
            if len(output) > MAXIMUM_OUTPUT:
                child.kill()
    finally:
        timer.cancel()
    return child.returncode, output


def crashes_of(entries: Iterable[bytes]) -> list[Crash]:
    """The illegal instructions in entries of `journalctl -o json`.

    Raises:
        CaptureError: a line is no entry.
    """
    lines: list[str] = []
    executables: list[str] = []
    for entry in entries:
        try:
            fields = msgspec.json.decode(entry, type=dict[str, Any])
        except msgspec.DecodeError:
            raise CaptureError("journalctl wrote a line that is no JSON object") from None
        if _word(fields, "COREDUMP_SIGNAL"):
            lines += _of_coredump(fields)
            path = _word(fields, "COREDUMP_EXE")
            if os.path.isabs(path) and path not in executables:
                executables.append(path)
        else:
            lines += _word(fields, "MESSAGE").splitlines()
    if not lines:
        return []
    try:
        found = read_text("\n".join(lines), executables[-64:])
    except CaptureError:
        return []
    return [crash for crash in found if crash.signal in ILLEGAL and crash.kernel is None]


def _of_coredump(fields: dict[str, Any]) -> list[str]:
    """An entry of systemd-coredump as `coredumpctl info` shows it."""
    name = _word(fields, "COREDUMP_SIGNAL_NAME").removeprefix("SIG") or "ILL"
    program, pid = _word(fields, "COREDUMP_COMM"), _word(fields, "COREDUMP_PID")
    lines = _word(fields, "MESSAGE").splitlines()
    head = f"Process {pid} ({program}) of user 0 dumped core."
    return [head, f"Signal: {_word(fields, 'COREDUMP_SIGNAL')} ({name})", *lines[1:]]


def _word(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, list):  # bytes that are no UTF-8
        whole = [each for each in value if isinstance(each, int) and 0 <= each < 256]
        return bytes(whole).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""

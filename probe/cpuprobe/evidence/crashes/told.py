"""Whatever a person hands over -> crashes, and the machine that the same text describes.

A file that exists is a file: a core, a minidump, or a text. Anything else is the text itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.evidence.crashes.core_file import read_core
from cpuprobe.evidence.crashes.join import WEAK
from cpuprobe.evidence.crashes.minidump import read_minidump
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.read import MAXIMUM_BYTES, read_text
from cpuprobe.evidence.machines.read import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.text.decode import decoded
from cpuprobe.files import OpenedFile, read_bounded

_MACHINE = "that is a machine, not a crash: cpuprobe inspect"
_ENDINGS = (".log", ".txt", ".core", ".dmp", ".mdmp", ".ips", ".crash", ".json", ".gz", ".zst")
_MOST_OF_MACHINE = 16 << 20
"""Bytes at the end of a text that may describe a machine: a long log begins with other boots."""
_FOLDERS = ("/", "./", "../", "~/")


class Told(NamedTuple):
    """Crashes, and the machine of the same text if it describes one."""

    crashes: list[Crash]
    machine: Observation | None = None


def tell(words: Sequence[str], executables: Sequence[str] = ()) -> Told:
    """What the words of a command line tell: files, `-`, or a text that the shell took apart.

    Args:
        words: at least one.
        executables: files of the crashed program at hand.

    Raises:
        CaptureError: they tell of no crash.
        UsageError: they describe a machine alone.
    """
    if any(word == "-" or os.path.exists(word) for word in words):
        files = [_file(word, executables) for word in words]
        machines = [each.machine for each in files if each.machine is not None]
        crashes = [crash for each in files for crash in each.crashes]
        return Told(crashes, machines[0] if len(machines) == 1 else None)
    is_path = words[0].startswith(_FOLDERS) or words[0].lower().endswith(_ENDINGS)
    if len(words) == 1 and is_path and " " not in words[0]:
        raise CaptureError(f"{words[0]}: no such file")
    return of_text(" ".join(words).encode("utf-8", "surrogateescape"), executables)


def _file(path: str, executables: Sequence[str]) -> Told:
    if path != "-" and os.path.isfile(path):
        with OpenedFile(path) as file:
            start = file.some(0, 20)
        if start[:4] == b"\x7fELF":
            return Told([read_core(path, tuple(executables))])
        if start[:4] == b"MDMP":
            return Told([read_minidump(path, tuple(executables))])
    return of_file(path, executables)


def of_file(path: str, executables: Sequence[str] = ()) -> Told:
    """What a text file, or standard input (`-`), tells; see `tell`."""
    name, content = read_bounded(path, MAXIMUM_BYTES, ": give the part with the crash")
    try:
        return of_text(content, executables, path)
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def of_text(content: bytes, executables: Sequence[str] = (), name: str = "") -> Told:
    """What the bytes of a text tell; see `tell`.

    Args:
        content: the text as it came.
        executables: files of the crashed program at hand.
        name: of the file, for the advice where it is a machine's.
    """
    machine = _machine(content)
    try:
        crashes = read_text(decoded(content), executables)
    except CaptureError:
        if machine is None:
            raise
        crashes = []
    only_words = all(each.source in WEAK and not each.address for each in crashes)
    if machine is not None and only_words and (machine.executed or not crashes):
        raise UsageError(f"{_MACHINE} {name}".rstrip())
    return Told(crashes, machine)


def _machine(content: bytes) -> Observation | None:
    """The machine that a text describes, None if it describes none, or several."""
    try:
        return parse_capture(content[-_MOST_OF_MACHINE:])
    except CaptureError:
        return None

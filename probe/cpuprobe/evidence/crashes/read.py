"""Any text on a crash -> crashes: hexadecimal, log lines, sessions, an assembler line, a status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cpuprobe.code.assembly import is_mnemonic, read_line
from cpuprobe.code.image import code_at
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.kernel_log import read_kernel_log
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.sessions import read_session
from cpuprobe.evidence.crashes.status import ILLEGAL, read_status
from cpuprobe.evidence.text.hex import read_hex
from cpuprobe.evidence.text.paste import lines, to_text, without_tags
from cpuprobe.files import read_bounded
from cpuprobe.words import base_name

MAXIMUM_BYTES = 64 << 20
MAXIMUM_CRASHES = 8


def read_log(path: str, executables: Sequence[str] = ()) -> list[Crash]:
    """The crashes in a text file; see `read_text`.

    Args:
        path: the file; `-` is standard input.
        executables: files of the crashed program at hand.

    Raises:
        CaptureError: it cannot be read, or tells of no crash.
    """
    name, content = read_bounded(path, MAXIMUM_BYTES, ": give the part with the crash")
    try:
        return read_text(to_text(content), executables)
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def read_text(text: str, executables: Sequence[str] = ()) -> list[Crash]:
    """The crashes that a text tells of.

    Args:
        text: bytes in hexadecimal, lines of a kernel log, text of gdb, lldb, objdump or
            `coredumpctl info`, one line of assembler, or a status.
        executables: files of the crashed program at hand: what the text has no bytes of is read
            from the one with the name of the module.

    Returns:
        At least one; of many the last, those of illegal instructions first.

    Raises:
        CaptureError: it tells of no crash.
    """
    if not text.strip():
        raise CaptureError("empty")
    word = text.strip()
    if word.isalpha() and is_mnemonic(word):  # FADD is hexadecimal too
        return [_assembled(word)]
    plain = without_tags(text)
    kept = list(lines(text if plain is None else plain))
    found = read_kernel_log(kept)
    if found:
        # A stable sort: among equals the order of the log stays.
        found.sort(key=lambda crash: crash.signal in ILLEGAL)
        return [with_code(crash, executables) for crash in found[: -MAXIMUM_CRASHES - 1 : -1]]
    session = read_session(kept)
    if session is not None:
        crash, assembler = session
        if assembler:
            crash = replace(crash, text=_assembled(assembler).text)
        return [with_code(crash, executables)]
    code = read_hex(word)
    if code is not None:
        return [Crash("bytes", code=code, sequence=True)]
    if len(kept) == 1:
        if len(kept[0].split()) == 1:
            try:
                return [read_status(kept[0])]
            except CaptureError:
                pass  # an instruction without operands
        return [_assembled(kept[0])]
    raise CaptureError(
        "nothing about a crash that is known (bytes in hexadecimal, kernel log, gdb, objdump, "
        "coredumpctl info)"
    )


def _assembled(line: str) -> Crash:
    read_line(line)  # or it is no instruction
    return Crash("assembler line", text=line)


def with_code(crash: Crash, executables: Sequence[str]) -> Crash:
    """The crash with bytes from a file at hand, where it has none and says where they are.

    A file is taken if it has the module's name, or if it is where the record says it was.
    """
    if crash.code or crash.text or crash.offset is None or crash.module is None:
        return crash
    paths = [path for path in executables if base_name(path) == crash.module]
    if crash.path is not None and base_name(crash.path) == crash.module:
        paths.append(crash.path)
    failure = ""
    for path in paths:
        try:
            code = code_at(path, crash.offset, crash.origin, crash.mapping_size)
        except CaptureError as error:
            failure = f" ({error})"
            continue
        where = f"the bytes are those of {crash.module} at hand, which may be another version"
        return replace(crash, code=code, notes=(*crash.notes, where))
    missing = f"the instruction is in {crash.module}: give that file with --exe{failure}"
    return replace(crash, notes=(*crash.notes, missing))

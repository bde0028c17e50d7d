"""Any text on a crash -> crashes: logs, sessions, reports, bytes, an assembler line, a status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cpuprobe.code import a64
from cpuprobe.code.assembly import is_mnemonic, no_instruction, read_line
from cpuprobe.code.image import code_at
from cpuprobe.code.newer import features_of
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.folds import unfolded
from cpuprobe.evidence.crashes.formats.listing import instruction
from cpuprobe.evidence.crashes.formats.registry import OF_LINES, OF_TEXT, RULES
from cpuprobe.evidence.crashes.formats.sanitizers import without_shadow
from cpuprobe.evidence.crashes.isa import isa_of_text
from cpuprobe.evidence.crashes.join import join
from cpuprobe.evidence.crashes.large import telling_part
from cpuprobe.evidence.crashes.model import Clue, Crash, Note
from cpuprobe.evidence.crashes.rules import Reader
from cpuprobe.evidence.crashes.status import read_status, signal_of
from cpuprobe.evidence.text.decode import plain_line_ends
from cpuprobe.evidence.text.hex import read_hex
from cpuprobe.evidence.text.lines import clean, lines_of
from cpuprobe.evidence.text.wraps import readings
from cpuprobe.words import base_name

MAXIMUM_BYTES = 64 << 20
MAXIMUM_CRASHES = 8
_LONGEST_LINE = 400  # of one that is an instruction
_NUMBER = re.compile(r"\s*(?:-?\d{1,11}|(?:0x)?[8c]0[0-9a-f]{6})\s*", re.IGNORECASE)


def read_text(text: str, executables: Sequence[str] = ()) -> list[Crash]:
    """The crashes that a text tells of.

    Args:
        text: anything that a system, a debugger or a program prints of a crash, bytes in
            hexadecimal, one line of assembler, or a status.
        executables: files of the crashed program at hand: what the text has no bytes of is read
            from the one with the name of the module.

    Returns:
        At least one, the most telling first, no more than MAXIMUM_CRASHES.

    Raises:
        CaptureError: it tells of no crash.
    """
    if not text.strip():
        raise CaptureError("empty")
    bare = _bare(text.strip())
    if bare is not None:
        return [bare]
    found, kept = _best(text)
    if found:
        return [with_code(crash, executables) for crash in found[:MAXIMUM_CRASHES]]
    code = read_hex("\n".join(kept))
    if code is not None:
        return [Crash("bytes", code=code, sequence=True)]
    if len(kept) == 1 and len(kept[0]) <= _LONGEST_LINE:
        return [_lone(kept[0])]
    raise CaptureError(
        "nothing about a crash that is known (bytes in hexadecimal, logs, debuggers, crash reports)"
    )


def _best(text: str) -> tuple[list[Crash], list[str]]:
    """The crashes, and the clean lines, of the reading of a wrapped text that tells most."""
    text = telling_part(plain_line_ends(text))
    best: tuple[list[Crash], list[str]] | None = None
    for reading in readings(text):
        kept = [line.strip() for line in lines_of(clean(reading)) if line.strip()]
        kept = without_shadow(unfolded(kept))
        found = join([*_clues(kept), *(clue for read in OF_TEXT for clue in read(text))])
        if best is None or _told(found) > _told(best[0]):
            best = found, kept
    return best or ([], [])


def _told(crashes: Sequence[Crash]) -> int:
    """How much crashes tell: their facts, and the bytes of an instruction each.

    More crashes alone are no gain: a line that is torn or joined wrongly makes some, too.
    """
    told = -40 * max(len(crashes) - 1, 0)
    for crash in crashes:
        facts = (crash.signal, crash.address, crash.module, crash.offset, crash.text, crash.refusal)
        named = 0 if crash.refusal is None else len(crash.refusal.names)
        told += 20 * sum(fact not in (None, "") for fact in facts)
        told += min(len(crash.code), 15) + named
    return told


def _clues(kept: Sequence[str]) -> list[Clue]:
    whole = "\n".join(kept).lower()
    clues = list(Reader(RULES, whole).clues(kept))
    for read in OF_LINES:
        clues += read(kept)
    return clues


def _bare(word: str) -> Crash | None:
    """A single word or line that is bytes, an instruction or a status, and nothing else."""
    if "\n" in word or len(word) > _LONGEST_LINE:
        return None
    if word.isalpha() and is_mnemonic(word):  # FADD is hexadecimal too
        return Crash("assembler line", text=word)
    if _NUMBER.fullmatch(word) is not None:
        name = signal_of(word) if not word.lstrip("-").isdigit() else read_status(word).signal
        if name is not None:
            return Crash("status", signal=name)
    return None


def _lone(line: str) -> Crash:
    if len(line.split()) == 1:
        try:
            return read_status(line)
        except CaptureError:
            pass  # an instruction without operands
    text = instruction(line)
    of_arm = isa_of_text(line) == "aarch64"
    if of_arm or text is None:
        kind = a64.decode(b"", line).kind
        if of_arm and kind == "undecodable":
            raise no_instruction(line)
        if of_arm or kind not in ("unknown", "undecodable"):
            return Crash("assembler line", text=line, isa="aarch64")
    if text is None or not features_of(text.split()[0]):
        read_line(line)  # which says what is wrong with it
    return Crash("assembler line", text=text or line)


def with_code(crash: Crash, executables: Sequence[str]) -> Crash:
    """The crash with bytes from a file at hand, where it has none and says where they are.

    A file is taken if it has the module's name. A path that a text names is never opened: it may
    be a stranger's.
    """
    if crash.code or crash.text or crash.offset is None or crash.module is None:
        return crash
    paths = [path for path in executables if base_name(path) == crash.module]
    for path in paths:
        try:
            code = code_at(path, crash.offset, crash.origin, crash.mapping_size)
        except CaptureError:
            continue
        note = Note("bytes of a file at hand", crash.module)
        return replace(crash, code=code, notes=(*crash.notes, note))
    return replace(crash, notes=(*crash.notes, Note("file wanted", crash.module)))

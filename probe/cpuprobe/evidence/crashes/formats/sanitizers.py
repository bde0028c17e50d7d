"""What LLVM's and GCC's sanitizers print when a program dies of a signal under them.

Formats: compiler-rt, sanitizer_common/sanitizer_symbolizer_report.cpp (the head, the bytes at the
pc), sanitizer_posix.cpp and sanitizer_win.cpp (what they call a signal or an exception).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import clue, number, rule
from cpuprobe.words import base_name

SOURCE = "sanitizer"
_HEAD = r"\bERROR: (?:\w+Sanitizer): (?P<signal>[A-Za-z-]{2,30}) on (?:unknown )?address"
_TORN = rule("sanitizer: ", _HEAD + r" 0x[0-9a-f]{1,16} \(pc$", begins=True)
_DEATH = rule(
    "(pc 0x",
    _HEAD + r"(?: (?P<at>0x[0-9a-f]{1,16}))? \(pc (?P<ip>0x[0-9a-f]{1,16})\b",
    begins=True,
)
_BYTES = re.compile(
    r"\bFirst \d{1,2} instruction bytes at pc: ((?:[0-9a-f]{2} ?){1,32})", re.IGNORECASE
)
_FRAME = re.compile(
    r"^\W{0,4}#0 (0x[0-9a-f]{1,16}) (?:in ([^\n]{1,300}?) )?\s?"
    r"\((?:<unknown module>|([^()\n]{1,400})\+(0x[0-9a-f]{1,16}))\)",
    re.IGNORECASE,
)
_NEAR = 12  # lines from the head to the bytes and the first frame
# Rows of what a sanitizer keeps about memory: no memory of the program, so never its code.
_SHADOW = re.compile(
    r"\b(?:Shadow bytes|Memory tags|Memory state|Tags for short granules) around the buggy address",
    re.IGNORECASE,
)
_ROW = re.compile(r"(?:[0-9a-f]{2}[ \[\]]{1,2}){7}|[.\s\[\]]{16}|\^", re.IGNORECASE)
_MOST_ROWS = 40


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """A clue for each death, with the bytes at its pc and the place of its first frame."""
    for at, line in enumerate(lines):
        for head in (_DEATH, _TORN) if "(pc" in line and len(line) < 1024 else ():
            match = head.pattern.search(line)
            if match is not None:
                found = clue(head, match, SOURCE, at)
                yield replace(found, tells=_placed(found.tells, lines[at + 1 : at + 1 + _NEAR]))
                break


def _placed(told: Crash, below: Sequence[str]) -> Crash:
    """The crash with what the lines below its head tell."""
    code = next((match[1] for match in map(_BYTES.search, below) if match is not None), "")
    told = replace(told, code=bytes.fromhex(code))
    frame = next((match for match in map(_FRAME.match, below) if match is not None), None)
    # Old ones look a frame up by the byte before it.
    before = None if frame is None else (told.address or 0) - number(frame[1])
    if frame is None or before not in (0, 1):
        return told
    if frame[3] is None:
        return replace(told, anonymous=True)
    module, offset = base_name(frame[3]), number(frame[4]) + before
    return replace(told, function=frame[2], module=module, offset=offset, origin="image")


def without_shadow(lines: Sequence[str]) -> list[str]:
    """The lines without the rows of shadow memory and tags that a sanitizer shows."""
    kept: list[str] = []
    left = 0
    for line in lines:
        if _SHADOW.search(line) is not None:
            left = _MOST_ROWS
        elif left and _ROW.search(line) is not None:
            left -= 1
        else:
            left = 0
            kept.append(line)
    return kept

"""The share code at the end of cpuprobe's screen, wrapped and quoted as the screen was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.share import BEGIN, END, unpack
from cpuprobe.evidence.text.armour import last_words, whole_word

_CODE = re.compile(re.escape(BEGIN) + r"(?=[A-Za-z0-9+/\s>|]{8})")
_WHOLE = re.compile(r"[A-Za-z0-9+/\s>|]+" + re.escape(END))
_LAST_LINE = re.compile(r"(?m)[A-Za-z0-9+/ \t]" + re.escape(END) + r"[^A-Za-z0-9+/\n]*$")
_LONGEST = 400_000
_MOST_DISTINCT = 64
_NEWER = re.compile(r"\bcpuprobe([2-9])(?=:[A-Za-z0-9+/]{8})")


def _read(paste: Paste) -> Iterator[Sighting]:
    text, line, counted = paste.text, 0, 0
    seen: set[str] = set()
    for match in _CODE.finditer(text):
        readings = _readings(text, match.end())
        first = next(readings, "")
        if first in seen:
            continue  # a log may hold a code a thousand times
        if len(seen) >= _MOST_DISTINCT:
            break
        seen.add(first)
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        report = _unpacked(chain((first,), readings))
        yield Sighting(source="share_code", line=line, report=report)
    if (newer := _NEWER.search(text)) is not None:
        raise CaptureError(f"a newer cpuprobe's share code (cpuprobe{newer[1]}): update cpuprobe")


def _readings(text: str, start: int) -> Iterator[str]:
    """What the code that begins there may be; two, where a prefix may stand before its lines."""
    end = start + _LONGEST
    if (whole := _WHOLE.match(text, start, end)) is not None:
        yield whole_word(whole[0])
    if (last := _LAST_LINE.search(text, start, end)) is not None:
        lines = text[start : last.end()].split("\n")
        yield last_words(lines[:-1] if last[0][0].isspace() else lines)  # its full stop alone


def _unpacked(readings: Iterable[str]) -> Observation:
    failures = []
    for code in readings:
        try:
            return unpack(code)
        except CaptureError as error:
            failures.append(error)
    raise failures[0]


FORMAT = Format(
    title="the screen of `cpuprobe`, with its code",
    carries="the essentials of a report: CPUID, XCR0, the kernel's flags, one outcome a feature",
    evidence="all",
    make="cpuprobe --share",
    read=_read,
)

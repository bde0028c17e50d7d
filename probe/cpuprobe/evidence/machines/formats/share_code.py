"""The share code at the end of cpuprobe's screen, wrapped and quoted as the screen was."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.share import BEGIN, END, unpack
from cpuprobe.evidence.text.armour import last_words, whole_word

_CODE = re.compile(re.escape(BEGIN) + r"(?=[A-Za-z0-9+/\s>|]{8})")
_WHOLE = re.compile(r"[A-Za-z0-9+/\s>|]+" + re.escape(END))
_LAST_LINE = re.compile(r"(?m)[A-Za-z0-9+/ \t]" + re.escape(END) + r"[^A-Za-z0-9+/\n]*$")
_LONGEST = 400_000
_NEWER = re.compile(r"\bcpuprobe([2-9])(?=:[A-Za-z0-9+/]{8})")


def _read(paste: Paste) -> Iterator[Sighting]:
    for match in _CODE.finditer(paste.text):
        report = _unpacked(paste.text[match.end() : match.end() + _LONGEST])
        line = paste.text.count("\n", 0, match.start())
        yield Sighting(source="share_code", line=line, report=report)
    if (newer := _NEWER.search(paste.text)) is not None:
        raise CaptureError(f"a newer cpuprobe's share code (cpuprobe{newer[1]}): update cpuprobe")


def _unpacked(text: str) -> Observation:
    """The observation of the code that a text begins with."""
    failures = [CaptureError("the share code is damaged or cut: copy it whole")]
    for code in _readings(text):
        try:
            return unpack(code)
        except CaptureError as error:
            failures.append(error)
    raise failures[:2][-1]


def _readings(text: str) -> Iterator[str]:
    if (whole := _WHOLE.match(text)) is not None:
        yield whole_word(whole[0])
    if (last := _LAST_LINE.search(text)) is not None:
        lines = text[: last.end()].split("\n")
        yield last_words(lines[:-1] if last[0][0].isspace() else lines)  # its full stop alone


FORMAT = Format(
    title="the screen of `cpuprobe`, with its code",
    carries="the essentials of a report: CPUID, XCR0, the kernel's flags, one outcome a feature",
    evidence="all",
    make="cpuprobe --share",
    read=_read,
)

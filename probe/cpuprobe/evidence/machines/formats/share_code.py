"""The share code at the end of cpuprobe's screen, wrapped and quoted as the screen was."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.share import BEGIN, END, unpack

_CODE = re.compile(re.escape(BEGIN) + r"([A-Za-z0-9+/\s>|]{8,400000})(.?)")
_NEWER = re.compile(r"\bcpuprobe([2-9])(?=:[A-Za-z0-9+/]{8})")


def _read(paste: Paste) -> Iterator[Sighting]:
    for match in _CODE.finditer(paste.text):
        if match[2] != END:
            raise CaptureError("the share code is damaged or cut: copy it whole")
        code = re.sub(r"[\s>|]+", "", match[1])
        line = paste.text.count("\n", 0, match.start())
        yield Sighting(source="share_code", line=line, report=unpack(code))
    if (newer := _NEWER.search(paste.text)) is not None:
        raise CaptureError(f"a newer cpuprobe's share code (cpuprobe{newer[1]}): update cpuprobe")


FORMAT = Format(
    title="the screen of `cpuprobe`, with its code",
    carries="the essentials of a report: CPUID, XCR0, the kernel's flags, one outcome a feature",
    evidence="all",
    make="cpuprobe --share",
    read=_read,
)

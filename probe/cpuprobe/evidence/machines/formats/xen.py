"""Xen: `xl info` (hw_caps) on dom0: CPUID words of the host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_words
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_CAPS = re.compile(r"hw_caps[ \t]*:[ \t]*((?:[0-9a-f]{8}:){6,}[0-9a-f]{8})")
_ARM = re.compile(r"xen_caps[ \t]*:.*\b(?:xen-3\.0-aarch64|hvm-3\.0-armv7)")
_LONG_MODE = 1 << 29
# xen/include/public/arch-x86/cpufeatureset.h (4.7 on), and what stood there before
_NEW = (
    (0x1, 0, "edx"),
    (0x1, 0, "ecx"),
    (0x80000001, 0, "edx"),
    (0x80000001, 0, "ecx"),
    (0xD, 1, "eax"),
    (0x7, 0, "ebx"),
    (0x7, 0, "ecx"),
    (0x80000007, 0, "edx"),
    (0x80000008, 0, "ebx"),
    (0x7, 0, "edx"),
    (0x7, 1, "eax"),
)
_OLD = (
    (0x1, 0, "edx"),
    (0x80000001, 0, "edx"),
    None,
    None,
    (0x1, 0, "ecx"),
    None,
    (0x80000001, 0, "ecx"),
    (0x7, 0, "ebx"),
)


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, line in enumerate(paste.lines):
        if _ARM.search(line):
            yield Sighting(source="xen", line=number, isa="aarch64")
            return
        match = _CAPS.search(line)
        if match is None:
            continue
        values = [int(word, 16) for word in match[1].split(":")]
        layout = _NEW if values[2] & _LONG_MODE else _OLD if values[1] & _LONG_MODE else ()
        words = {
            place: value for place, value in zip(layout, values, strict=False) if place is not None
        }
        if words:
            yield Sighting(source="xen", line=number, claims=(claims_of_words("xen", words),))
        return


FORMAT = Format(
    title="Xen: xl info (hw_caps)",
    carries="CPUID words of the host; guests may see less",
    evidence="cpuid",
    make="xl info",
    read=_read,
)

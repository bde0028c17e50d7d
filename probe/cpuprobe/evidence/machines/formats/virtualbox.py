"""VirtualBox: the CPUID dump of VBox.log. `Gst:` is what the guest sees, `Hst:` the host.

A log is a guest's: what runs in it sees the guest's leaves. The host's count where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_ROW = re.compile(
    r"\b(Gst|Hst): +(?:([0-9a-f]{8})(?:/([0-9a-f]{4,8}))? +)?"
    r"([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8})\b"
)


def _read(paste: Paste) -> Iterator[Sighting]:
    guest, host = CpuDump(), CpuDump()
    leaf = subleaf = 0
    for number, match in paste.matches(_ROW):
        if match[2] is not None:
            leaf, subleaf = int(match[2], 16), int(match[3] or "0", 16)
        eax, ebx, ecx, edx = (int(word, 16) for word in match.groups()[3:])
        dump = guest if match[1] == "Gst" else host
        if (leaf, subleaf) != (0, 0) or not dump.has(0, 0):
            dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
    for line, groups in guest.machines() or host.machines():
        yield Sighting(source="virtualbox", line=line, groups=groups)


FORMAT = Format(
    title="VirtualBox: the CPUID dump in VBox.log",
    carries="CPUID of the guest, all of it",
    evidence="cpuid",
    read=_read,
)

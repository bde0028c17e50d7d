"""VMware's log: `hostCPUID level 00000001, 0:` and four registers, and the guest's likewise.

A log is a guest's: what runs in it sees the guest's leaves. The host's count where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump
from cpuprobe.evidence.machines.guest import guest_sighting
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_ROW = re.compile(
    r"\b(?:CPUID \*?)?(guest|host)(?:CPUID)? level ([0-9a-f]{8}), {1,3}([0-9a-f]{1,4}):"
    r" 0x([0-9a-f]{8}) 0x([0-9a-f]{8}) 0x([0-9a-f]{8}) 0x([0-9a-f]{8})\b"
)


def _read(paste: Paste) -> Iterator[Sighting]:
    guest, host = CpuDump(), CpuDump()
    for number, match in paste.matches(_ROW):
        leaf, subleaf, eax, ebx, ecx, edx = (int(word, 16) for word in match.groups()[1:])
        dump = guest if match[1] == "guest" else host
        if not dump.has(leaf, subleaf):  # the log says it again at each start
            dump.add(leaf, subleaf, (eax, ebx, ecx, edx), number)
    for line, groups in guest.machines() or host.machines():
        yield guest_sighting("vmware", line, groups)


FORMAT = Format(
    title="VMware: the CPUID rows of vmware.log",
    carries="CPUID of the guest, else of the host, all that stands in it; no XCR0",
    evidence="cpuid",
    make="",
    read=_read,
)

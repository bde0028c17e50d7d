"""`hwinfo --cpu` of openSUSE."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.kernel_list import gather
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_LINE = re.compile(r"[ \t]*(Arch|Vendor|Model|Features):[ \t]*(.*)$")
_MODEL = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3}) \"([^\"]*)\"")


def _read(paste: Paste) -> Iterator[Sighting]:
    isa: str | None = None
    vendor: str | None = None
    who: re.Match[str] | None = None
    for number, match in list(paste.matches(_LINE)):
        key, value = match[1], match[2]
        if key == "Arch":
            isa = isa_named(value)
        elif key == "Vendor":
            vendor = value.strip('" ')[:256] or None
        elif key == "Model":
            who = _MODEL.match(value)
        elif (who or isa) and value:
            identity = ToldIdentity(
                vendor=vendor,
                brand=(" ".join(who[4].split())[:256] or None) if who else None,
                family=int(who[1]) if who else None,
                model=int(who[2]) if who else None,
                stepping=int(who[3]) if who else None,
            )
            if isa is not None and isa not in X86:
                yield Sighting(source="hwinfo", line=number, isa=isa, identity=identity)
                return
            found = gather(paste.lines, number, value, bits32=isa == "i686")
            for taken in range(number, found.end):
                paste.take(taken)
            if found.words:
                block = Cpuinfo((0,), {"flags": " ".join(found.words)}, found.incomplete)
                yield Sighting(
                    source="hwinfo", line=number, isa=isa, identity=identity, cpuinfo=(block,)
                )
                return  # a section a CPU follows, each alike


FORMAT = Format(
    title="hwinfo --cpu",
    carries="the kernel's list, whole; who the CPU is",
    evidence="kernel",
    make="hwinfo --cpu",
    read=_read,
)

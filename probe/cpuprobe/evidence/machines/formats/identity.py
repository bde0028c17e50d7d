"""Who a CPU is, wherever its name stands: systeminfo, wmic, msinfo32, DxDiag, neofetch, prose.

No feature follows from a name. It is told so that whoever pasted it sees that it was understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_BRAND = re.compile(
    r"((?:\d{1,2}th Gen )?Intel(?:\(R\))? (?:Core|Xeon|Celeron|Pentium|Atom|N\d{2,3}|Processor)"
    r"(?:\((?:R|TM)\))?[^\n,;|\"\]<>]{0,50}"
    r"|AMD (?:Ryzen|EPYC|Athlon|Opteron|Phenom|FX|A\d|E\d|Turion|Sempron|Eng)[^\n,;|\"\]<>]{0,50}"
    r"|VIA (?:Nano|Eden|C7)[^\n,;|\"]{0,30}"
    r"|(?:Common|QEMU Virtual) (?:KVM processor|CPU version)[ \w.]{0,20})"
)
_FAMILY = re.compile(
    r"(Intel64|AMD64|x86|EM64T|ARMv8[ \w()-]{0,20}?) Family ([0-9A-F]{1,3}) Model ([0-9A-F]{1,3})"
    r"(?: Stepping (\d{1,2}))?"
)
_APPLE = re.compile(r"\b(?:Chip|Chipset Model|Processor Name)?:? ?(Apple M\d[ \w]{0,12})")
# CPUID's own blanks in the name, as in `CPU  C2550  @ 2.40GHz`.
_BLANKS = re.compile(r" {2,24}(?=(?:[\w-]{1,12} {1,8}){0,2}@ \d)")
_END = re.compile(r"[ \t]{2,}|\s+\[|\s+\(\d+\)|\s+\(Family:|\s+\d+ MHz|\.(?:\s|$)|$")


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, line in enumerate(paste.lines):
        family = _FAMILY.search(line)
        brand = _BRAND.search(line)
        if family is None and brand is None:
            apple = _APPLE.search(line)
            if apple is not None:
                yield Sighting(
                    source="identity",
                    line=number,
                    isa="aarch64",
                    identity=ToldIdentity(brand=apple[1].strip()),
                    weak=True,
                )
                return
            continue
        if family is not None and family[1].startswith("ARM"):
            yield Sighting(source="identity", line=number, isa="aarch64", weak=True)
            return
        if brand is None:
            brand = next(filter(None, map(_BRAND.search, paste.lines[number : number + 40])), None)
        words = _BLANKS.sub(" ", brand[1]) if brand else ""
        name = " ".join(_END.split(words, maxsplit=1)[0].split()) or None
        yield Sighting(
            source="identity",
            line=number,
            identity=ToldIdentity(
                brand=name,
                family=int(family[2]) if family and family[2].isdecimal() else None,
                model=int(family[3]) if family and family[3].isdecimal() else None,
            ),
            weak=True,
        )
        return


FORMAT = Format(
    title="the CPU's name alone: systeminfo, wmic, Win32_Processor, msinfo32, DxDiag, neofetch",
    carries="who the CPU is; no feature, so it is refused with that name",
    evidence="identity",
    read=_read,
)

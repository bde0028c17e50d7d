"""Firefox: the extensions that about:telemetry and crash reports list, `hasSSE4_2`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_SOURCE = "firefox"
_WORD = re.compile(r"\bhas((?:MMX|S{2,3}E|AVX|AES|SHA|BMI|FMA|F16C|NEON|ARM|EDSP)\w{0,8})\b")
_BRAND = re.compile(r"\"name\": ?\"([^\"\n]{3,100}(?:CPU|Processor|Core|@)[^\"\n]{0,40})\"")
_ARM = ("NEON", "ARM", "EDSP")


def _read(paste: Paste) -> Iterator[Sighting]:
    found = list(paste.matches(_WORD))
    names = [name for _, match in found for name in _WORD.findall(match.string)]
    if not names:
        return
    if any(name.startswith(_ARM) for name in names):
        yield Sighting(source=_SOURCE, line=found[0][0], isa="aarch64", weak=True)
        return
    brand = _BRAND.search(paste.text)
    claims = claims_of_names(_SOURCE, "cpuid", names)
    if claims.yes:
        identity = ToldIdentity(brand=" ".join(brand[1].split())) if brand else None
        yield Sighting(source=_SOURCE, line=found[0][0], identity=identity, claims=(claims,))


FORMAT = Format(
    title="Firefox: the CPU's extensions in about:telemetry",
    carries="names of the few that Firefox asks for, positive only",
    evidence="names",
    make="",
    read=_read,
)

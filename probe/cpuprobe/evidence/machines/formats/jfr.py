"""Java's flight recorder (jdk.CPUInformation): two leaves of CPUID in hexadecimal, and words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import Words, claims_of_words
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

# src/hotspot/cpu/x86/vm_version_x86.cpp, cpu_detailed_description; its commas may be escaped.
_REGISTERS = r"(?:e[a-d]x: 0x[0-9a-f]{8}\\{0,2}[, ]{0,2}){2,4}"
_LINE = re.compile(rf"\b(Ext\. features|Features): ({_REGISTERS})")
_REGISTER = re.compile(r"(e[cd]x): 0x([0-9a-f]{8})")
_BRAND = re.compile(r"\bBrand: ([^,\\\n]{3,100}?)\s*\\{0,2}, Vendor: (\w{5,20})")
_LEAVES = {"Features": 0x1, "Ext. features": 0x80000001}


def _read(paste: Paste) -> Iterator[Sighting]:
    words: dict[tuple[int, int, str], int] = {}
    first = 0
    for number, line in enumerate(paste.lines):
        for match in _LINE.finditer(line) if "eatures: e" in line else ():
            first = first if words else number
            for register, value in _REGISTER.findall(match[2]):
                words.setdefault((_LEAVES[match[1]], 0, register), int(value, 16))
    if not words:
        return
    told: Words = words
    who = next((match for _, match in paste.matches(_BRAND)), None)
    identity = ToldIdentity(
        vendor=who[2] if who else None, brand=" ".join(who[1].split()) if who else None
    )
    claims = claims_of_words("jfr", told)
    yield Sighting(source="jfr", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="Java's flight recorder: jdk.CPUInformation",
    carries="CPUID words of leaves 1 and 80000001H; who the CPU is",
    evidence="cpuid",
    make="jfr print --events jdk.CPUInformation FILE",
    read=_read,
)

"""Sysinternals Coreinfo: `*` a feature that is there, `-` one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import both_ways, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity

# Behind one blank a dash may be a dash: `SSE4_2 - SSE4_2 support`.
_ROW = re.compile(
    r"^[ \t]*([A-Z0-9][A-Za-z0-9._-]{1,14})[ \t]+([*-])[ \t]+"
    r"(?:(?<! - )[A-Z]\w|Supports|Implements)"
)
_WHO = re.compile(
    r"(?:Intel64|AMD64|x86|EM64T) Family (\d{1,3}) Model (\d{1,3}) Stepping (\d{1,2})(?:, (\w+))?"
)
_ARM = re.compile(r"ARMv\d \(64-bit\) Family ")
_NAMES = {
    "AVX-512-IFAMA": "avx512ifma",
    "PCLMULDQ": "pclmul",
    "LAHF-SAHF": "sahf",
    "X64": "",
    "MSR": "",
    "RDWRFSGSBASE": "fsgsbase",
    "3DNOWP": "prfchw",
    "CMPXCHG16B": "cx16",
}


def _read(paste: Paste) -> Iterator[Sighting]:
    answers: dict[str, bool] = {}
    first: int | None = None
    who: re.Match[str] | None = None
    brand: str | None = None
    for number, line in enumerate(paste.lines):
        if "ARM" in line and _ARM.search(line):
            before = paste.lines[number - 1].strip() if number else ""
            identity = ToldIdentity(brand=before[:256]) if before else None
            yield Sighting(source="coreinfo", line=number, isa="aarch64", identity=identity)
            return
        if (match := _ROW.match(line)) is not None:
            feature = feature_named(match[1], _NAMES)
            if feature is not None:
                answers[feature] = match[2] == "*"
                first = number if first is None else first
        elif who is None and (match := _WHO.search(line)) is not None:
            who = match
            before = paste.lines[number - 1].strip() if number else ""
            brand = " ".join(before.split())[:256] or None
    if first is None:
        return
    yes, no = both_ways(answers)
    identity = ToldIdentity(
        vendor=who[4] if who else None,
        brand=brand,
        family=int(who[1]) if who else None,
        model=int(who[2]) if who else None,
        stepping=int(who[3]) if who else None,
    )
    claims = Claims(source="coreinfo", witness="cpuid", yes=yes, no=no)
    yield Sighting(source="coreinfo", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="Coreinfo of Sysinternals (Windows)",
    carries="CPUID by name, both ways, of the rows that are there",
    evidence="names",
    make="coreinfo -f",
    read=_read,
)

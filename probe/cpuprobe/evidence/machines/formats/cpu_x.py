"""CPU-X: `cpu-x --dump`, whose instructions stand in groups: `SSE(1, 2, 3, 3S, 4.1), AVX(1, 2)`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_SOURCE = "cpu-x"
_LINE = re.compile(r"^\W{0,24}Instructions(?: set)?: ((?:MMX|SSE|AVX|x86)[^\n]{3,400})$")
_GROUP = re.compile(r"([A-Za-z][\w-]{1,15})(?:\(([^()]{1,120})\))?")
_BRAND = re.compile(r"^\W{0,24}Specification: (\S.{3,100}?)\s*$")
_NAMES = {"SSE1": "sse", "SSE3S": "ssse3", "SSE4A": "sse4a", "AVX1": "avx", "AVX512": ""}


def _names(listed: str) -> Iterator[str]:
    for group, members in _GROUP.findall(listed):
        yield group
        yield from (f"{group}{member.strip()}" for member in members.split(","))


def _read(paste: Paste) -> Iterator[Sighting]:
    brand = next((match[1] for _, match in paste.matches(_BRAND)), None)
    for number, match in paste.matches(_LINE):
        claims = claims_of_names(_SOURCE, "cpuid", _names(match[1]), more=_NAMES)
        if claims.yes:
            identity = ToldIdentity(brand=" ".join(brand.split())) if brand else None
            yield Sighting(source=_SOURCE, line=number, identity=identity, claims=(claims,))
            return


FORMAT = Format(
    title="CPU-X: cpu-x --dump",
    carries="CPUID by name, positive only; who the CPU is",
    evidence="names",
    make="cpu-x --dump",
    read=_read,
)

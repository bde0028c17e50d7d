"""Haiku: `sysinfo -cpu` prints the words of CPUID leaf 1, with their bits' names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_words, words_in
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_WORD = re.compile(r"^\s*((?:Extended )?Features(?: \(0x00000001\))?): 0x([0-9a-f]{8})\s*$")
_WORDS = {"Features": (0x1, 0, "edx"), "Extended Features (0x00000001)": (0x1, 0, "ecx")}
_BRAND = re.compile(r"^\s*CPU #\d{1,4}: \"([^\"]{3,100})\"")


def _read(paste: Paste) -> Iterator[Sighting]:
    words, first = words_in(paste.lines, "Features", _WORD, _WORDS)
    brand = next((match[1] for _, match in paste.matches(_BRAND)), None)
    if first is None or brand is None:
        return
    yield Sighting(
        source="haiku",
        line=first,
        identity=ToldIdentity(brand=" ".join(brand.split())),
        claims=(claims_of_words("haiku", words),),
    )


FORMAT = Format(
    title="Haiku: sysinfo -cpu",
    carries="CPUID words of leaf 1; who the CPU is",
    evidence="cpuid",
    make="sysinfo -cpu",
    read=_read,
)

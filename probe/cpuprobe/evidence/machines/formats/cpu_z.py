"""CPU-Z's TXT report: CPUID words of each thread, written by a 32-bit program."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuHeader
from cpuprobe.evidence.machines.formats.aida64 import Aida64Reader
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_THREAD = re.compile(r"^[ \t]*CPU Thread (\d{1,5})[ \t]*$")
_ROW = re.compile(
    r"^[ \t]*0x([0-9A-F]{8})[ \t]+0x([0-9A-F]{8})[ \t]+0x([0-9A-F]{8})[ \t]+0x([0-9A-F]{8})"
    r"[ \t]+0x([0-9A-F]{8})(?:[ \t]+\[SL ([0-9A-F]{2,8})\])?[ \t]*$",
    re.IGNORECASE,
)
_BRAND = re.compile(r"^[ \t]*Specification[ \t]+(\S.{2,80}?)[ \t]*$")
_NAMES = re.compile(r"^[ \t]*Instructions? sets?[ \t]+(\S.{2,400})$")
_MORE = {"EM64T": "", "x86-64": "", "AMD 64": "", "MMX(+)": "mmx", "3DNow!(+)": "3dnow"}


def _read(paste: Paste) -> Iterator[Sighting]:
    reader = Aida64Reader()
    brand: str | None = None
    names: tuple[str, int] | None = None
    for number, line in enumerate(paste.lines):
        if (match := _ROW.match(line)) is not None:
            leaf, *words = match.groups()[:5]
            ending = f" [SL {match[6]}]" if match[6] else ""
            reader.take(f"CPUID {leaf}: {'-'.join(words)}{ending}", number)
        elif (match := _THREAD.match(line)) is not None:
            reader.dump.begin(CpuHeader(int(match[1])))
        elif brand is None and (match := _BRAND.match(line)):
            brand = " ".join(match[1].split())
        elif names is None and (match := _NAMES.match(line)):
            names = match[1], number
    identity = ToldIdentity(brand=brand) if brand else None
    machines = reader.dump.machines()
    for line_number, groups in machines:
        yield Sighting(source="cpu-z", line=line_number, groups=groups)
    if not machines and names is not None:
        words = [word.strip() for word in names[0].split(",")]
        claims = claims_of_names("cpu-z", "cpuid", words, more=_MORE)
        yield Sighting(source="cpu-z", line=names[1], identity=identity, claims=(claims,))
    elif identity is not None:
        yield Sighting(source="cpu-z", identity=identity)


FORMAT = Format(
    title="CPU-Z: TXT report (Windows)",
    carries="CPUID of each thread; without the dump the names of its first page, positive only",
    evidence="cpuid",
    make="cpuz -txt=report, or Save report as .TXT",
    read=_read,
)

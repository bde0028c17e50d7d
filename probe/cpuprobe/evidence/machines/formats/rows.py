"""Programs that print a name and a yes or no on each line, known by a word that only they print.

Such a table without its program's word is as often a README's: what a library has code for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_SOURCE = "rows"
_ROW = re.compile(
    r"^\s{0,16}([A-Za-z0-9][\w.-]{1,15})\s{0,40}[: ]\s{0,40}"
    r"(?:(true|present)|(false|unavailable))\s*$",
    re.IGNORECASE,
)
_VENDOR = re.compile(r"\b(GenuineIntel|AuthenticAMD|HygonGenuine|CentaurHauls)\b")
_FAMILY = re.compile(r"^\s*kX86CpuFamily\s+0x([0-9a-f]{1,3})\s*$", re.IGNORECASE)
_MODEL = re.compile(r"^\s*kX86CpuModel\s+0x([0-9a-f]{1,3})\s*$", re.IGNORECASE)
# .NET's tests: what its JIT of that version makes use of, so False is no denial.
_POSITIVE = "Supported ISAs"
_NAMES = {"x64": "", "64bit": "", "abm": "lzcnt", "ABM": "lzcnt"}
_FEWEST = 4


def _read(paste: Paste) -> Iterator[Sighting]:
    yes: list[str] = []
    no: list[str] = []
    first: int | None = None
    for number, match in paste.matches(_ROW):
        (yes if match[2] else no).append(match[1])
        first = number if first is None else first
    if first is None or len(yes) + len(no) < _FEWEST:
        return
    claims = claims_of_names(
        _SOURCE, "cpuid", yes, () if _POSITIVE in paste.text else no, more=_NAMES
    )
    if not claims.yes and not claims.no:
        return
    vendor = _VENDOR.search(paste.text)
    numbers = [next(iter(paste.matches(each)), None) for each in (_FAMILY, _MODEL)]
    family, model = (None if each is None else int(each[1][1], 16) for each in numbers)
    identity = ToldIdentity(vendor=vendor[1] if vendor else None, family=family, model=model)
    yield Sighting(source=_SOURCE, line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="a row a feature: cosmopolitan's cpuid, FeatureDetector, .NET's `Supported ISAs`",
    carries="CPUID by name, both ways; of .NET positive only",
    evidence="names",
    make="",
    read=_read,
)

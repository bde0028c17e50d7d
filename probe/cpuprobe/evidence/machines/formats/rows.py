"""Programs that print a name and a yes or no on each line, known by a word that only they print.

Such a table without its program's word is as often a README's: what a library has code for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import Witness, claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity

_SOURCE = "rows"
_ROW = re.compile(
    r"^\s{0,16}(?:has_|PF_)?([A-Za-z0-9][\w.-]{1,15}?)(?:_INSTRUCTIONS?_AVAILABLE)?"
    r"\s{0,40}[:= ]\s{0,40}"
    r"(?:(true|present|yes)|(false|unavailable|no))\s*$",
    re.IGNORECASE,
)
# OpenZFS: the name, the type of the value and the value.
_KSTAT = re.compile(r"^\s{0,16}([a-z][a-z0-9_]{1,15})\s{1,40}4\s{1,8}(?:(1)|(0))\s*$")
_OF_KSTAT = "kernel_fpu_allowed"
_VENDOR = re.compile(r"\b(GenuineIntel|AuthenticAMD|HygonGenuine|CentaurHauls)\b")
_FAMILY = re.compile(r"^\s*kX86CpuFamily\s+0x([0-9a-f]{1,3})\s*$", re.IGNORECASE)
_MODEL = re.compile(r"^\s*kX86CpuModel\s+0x([0-9a-f]{1,3})\s*$", re.IGNORECASE)
# .NET's tests: what its JIT of that version makes use of, so False is no denial; nor is it from an
# older Windows' IsProcessorFeaturePresent, which does not know the number.
_POSITIVE = ("Supported ISAs", "_INSTRUCTIONS_AVAILABLE")
# Sober's handler for SIGILL: whether No is CPUID's answer or the operating system's is not told.
_EITHER = "CPU Feature Support:"
_BRAND = re.compile(r"^\W{0,4}CPU Brand:[ \t]{1,8}(\S.{2,100}?)[ \t]*$")
_NAMES = {"x64": "", "64bit": "", "abm": "lzcnt", "ABM": "lzcnt"}
_FEWEST = 4


def _read(paste: Paste) -> Iterator[Sighting]:
    yes: list[str] = []
    no: list[str] = []
    first: int | None = None
    of_kstat = _OF_KSTAT in paste.text
    for number, match in paste.matches(_KSTAT if of_kstat else _ROW):
        (yes if match[2] else no).append(match[1])
        first = number if first is None else first
    if first is None or len(yes) + len(no) < _FEWEST:
        return
    denials = () if any(word in paste.text for word in _POSITIVE) else no
    if _EITHER in paste.text:
        claims: tuple[Claims, ...] = (
            claims_of_names(_SOURCE, "cpuid", yes, more=_NAMES),
            claims_of_names(_SOURCE, "cpuid+os", (), denials, more=_NAMES),
        )
    else:
        witness: Witness = "cpuid+os" if of_kstat else "cpuid"
        claims = (claims_of_names(_SOURCE, witness, yes, denials, more=_NAMES),)
    told = tuple(each for each in claims if each.yes or each.no)
    if not told:
        return
    brand = next((match[1] for _, match in paste.matches(_BRAND)), None)
    vendor = _VENDOR.search(paste.text)
    numbers = [next(iter(paste.matches(each)), None) for each in (_FAMILY, _MODEL)]
    family, model = (None if each is None else int(each[1][1], 16) for each in numbers)
    identity = ToldIdentity(
        vendor=vendor[1] if vendor else None,
        brand=" ".join(brand.split()) if brand else None,
        family=family,
        model=model,
    )
    yield Sighting(source=_SOURCE, line=first, identity=identity, claims=told)


FORMAT = Format(
    title="a row a feature: cosmopolitan's cpuid, FeatureDetector, .NET's `Supported ISAs`, Sober,"
    " PyTorch's isa-info, HTCondor, OpenZFS's simd, IsProcessorFeaturePresent",
    carries="CPUID by name, both ways; of .NET and Windows positive only",
    evidence="names",
    make="",
    read=_read,
)

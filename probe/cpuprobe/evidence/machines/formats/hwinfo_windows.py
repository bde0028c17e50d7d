"""HWiNFO's report on Windows and DOS: a name in words and `Present` or `Not Present` a row."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_ROW = re.compile(r"^[ \t]{0,8}(\S.{2,70}?):?[ \t]{1,40}(Not Present|Present)[ \t]*$")
_BRAND = re.compile(r"^[ \t]*CPU Brand Name:[ \t]{1,60}(\S.{2,100}?)[ \t]*$")
_VENDOR = re.compile(r"^[ \t]*CPU Vendor:[ \t]{1,60}(\w{5,20})[ \t]*$")
# `AVX-512 Foundation (AVX512F)`; words that end a name.
_SHORT = re.compile(r"\(([A-Za-z0-9_.-]{2,20})\)")
_TAIL = re.compile(r" (?:Instructions?|Support|Extensions?)$")
_NAMES = {
    "FPU on Chip": "x87",
    "MMX Technology": "mmx",
    "Streaming SIMD Extensions": "sse",
    "Streaming SIMD Extensions 2": "sse2",
    "Streaming SIMD Extensions 3": "sse3",
    "Supplemental Streaming SIMD Extensions 3": "ssse3",
    "Streaming SIMD Extensions 4.1": "sse4.1",
    "Streaming SIMD Extensions 4.2": "sse4.2",
    "AES Cryptography Support": "aes",
    "XSAVE/XRSTOR/XSETBV/XGETBV Instructions": "xsave",
    "Fast FP Save/Restore (IA MMX-2)": "fxsr",
    # A 32-bit program is told that an Intel CPU has none (SDM, CPUID.80000001H:EDX[11]).
    "SYSCALL/SYSRET Support": "",
    "64-bit Extensions": "syscall",
}
_FEWEST = 8


def _named(row: str) -> str | None:
    """The feature that a row is about."""
    if row in _NAMES:
        return _NAMES[row] or None
    short = _SHORT.search(row)
    return feature_named(short[1] if short else _TAIL.sub("", row))


def _read(paste: Paste) -> Iterator[Sighting]:
    answers: dict[str, bool] = {}
    rows = 0
    first: int | None = None
    for number, match in paste.matches(_ROW):
        rows += 1
        name = _named(match[1])
        if name is not None:
            answers.setdefault(name, match[2] == "Present")
            first = number if first is None else first
    if first is None or rows < _FEWEST:
        return
    claims = claims_of_names(
        "hwinfo-windows",
        "cpuid",
        [name for name, has in answers.items() if has],
        [name for name, has in answers.items() if not has],
    )
    brand = next((match[1] for _, match in paste.matches(_BRAND)), None)
    vendor = next((match[1] for _, match in paste.matches(_VENDOR)), None)
    identity = ToldIdentity(vendor=vendor, brand=" ".join(brand.split()) if brand else None)
    yield Sighting(source="hwinfo-windows", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="HWiNFO's report (Windows, DOS)",
    carries="CPUID in words, both ways; who the CPU is",
    evidence="names",
    make="",
    read=_read,
)

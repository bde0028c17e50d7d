"""klauspost/cpuid (`cpuid`, and Go programs that print it), as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

# As Go prints the structure, the keys are its fields' and the values are in quotes.
_LINE = re.compile(
    r"^[ \t]*(Name|BrandName|Vendor String|VendorString|Features|Microarchitecture level"
    r"|CPU Family \d+ Model)[: ]+(.*)$"
)
_FIELDS = {"BrandName": "Name", "VendorString": "Vendor String"}
_WHO = re.compile(r"CPU Family (\d+) Model:? (\d+)(?: Stepping:? (\d+))?")
_NAMES = {"SCE": "syscall", "LAHF": "sahf", "CMPXCHG8": "cx8", "FXSROPT": "", "X87": "x87"}
_ARM = frozenset({"ASIMD", "AESARM", "ARMCPUID", "FPHP", "ATOMICS"})


def _sighting(
    names: list[str], level: int | None, identity: ToldIdentity, line: int
) -> Sighting | None:
    if _ARM.intersection(names):
        return Sighting(source="klauspost-cpuid", line=line, isa="aarch64", identity=identity)
    claims = claims_of_names("klauspost-cpuid", "cpuid+os", names, more=_NAMES)
    if not claims.yes:
        return None
    if level is not None and 1 <= level <= 4:
        claims = msgspec.structs.replace(
            claims,
            level=f"x86-64-v{level}",
            not_level=f"x86-64-v{level + 1}" if level < 4 else None,
        )
    return Sighting(source="klauspost-cpuid", line=line, identity=identity, claims=(claims,))


def _read(paste: Paste) -> Iterator[Sighting]:
    told: dict[str, str] = {}
    who: re.Match[str] | None = None
    first = 0
    for number, match in paste.matches(_LINE):
        first = first if told else number
        value = match[2].strip().rstrip(",").strip('"')
        told.setdefault(_FIELDS.get(match[1], match[1]), value)
        who = who or _WHO.search(match[0])
    names = [name.strip() for name in told.get("Features", "").split(",")]
    if len(told) < 2 or len(names) < 3 or not all(name.isupper() or not name for name in names):
        return
    identity = ToldIdentity(
        vendor=told.get("Vendor String") or None,
        brand=told.get("Name", "")[:256] or None,
        family=int(who[1][:5]) if who else None,
        model=int(who[2][:5]) if who else None,
        stepping=int(who[3][:5]) if who and who[3] else None,
    )
    level = told.get("Microarchitecture level", "")
    seen = _sighting(names, int(level) if level.isdecimal() else None, identity, first)
    if seen is not None:
        yield seen


def _read_document(document: Any) -> Iterator[Sighting]:
    if not (isinstance(document, dict) and isinstance(document.get("Features"), list)):
        return
    names = [each for each in document["Features"] if isinstance(each, str)]
    numbers = {
        key.lower(): document[key]
        for key in ("Family", "Model", "Stepping")
        if isinstance(document.get(key), int) and 0 <= document[key] < 1 << 16
    }
    identity = ToldIdentity(
        vendor=str(document.get("VendorString") or "")[:256] or None,
        brand=str(document.get("BrandName") or "").strip()[:256] or None,
        **numbers,
    )
    level = document.get("X64Level")
    seen = _sighting(names, level if isinstance(level, int) else None, identity, 0)
    if seen is not None:
        yield seen


FORMAT = Format(
    title="klauspost/cpuid of Go, as text and as JSON",
    carries="names after a look at XCR0, positive only; the psABI level, both ways",
    evidence="names",
    make="go run github.com/klauspost/cpuid/v2/cmd/cpuid@latest -json",
    read=_read,
    read_document=_read_document,
)

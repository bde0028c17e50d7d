"""Google's cpu_features: `list_cpu_features`, as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_LINE = re.compile(
    r"^[ \t]*(arch|brand|family|model|stepping|uarch|flags|implementer)[ \t]*:[ \t]*(.*)$"
)
_NUMBER = re.compile(r"[ \t]*(\d{1,5})\b")


def _sighting(told: dict[str, str], names: list[str], line: int) -> Sighting | None:
    isa = isa_named(told.get("arch", ""))
    numbers = {
        key: int(match[1])
        for key in ("family", "model", "stepping")
        if (match := _NUMBER.match(told.get(key, "")))
    }
    identity = ToldIdentity(brand=told.get("brand", "").strip()[:256] or None, **numbers)  # type: ignore[arg-type]
    if isa is not None and isa not in X86:
        return Sighting(source="cpu-features", line=line, isa=isa, identity=identity)
    claims = claims_of_names("cpu-features", "cpuid+os", names)
    if not claims.yes:
        return None
    return Sighting(source="cpu-features", line=line, identity=identity, claims=(claims,))


def _read(paste: Paste) -> Iterator[Sighting]:
    told: dict[str, str] = {}
    lines = []
    for number, match in paste.matches(_LINE):
        if match[1] in told:
            break  # /proc/cpuinfo calls some of them alike
        if told or match[1] == "arch":
            told[match[1]] = match[2].strip()
            lines.append(number)
    if not ("arch" in told and "flags" in told):
        return
    for number in lines:
        paste.take(number)
    names = told["flags"].replace(",", " ").split()
    if (seen := _sighting(told, names, lines[0])) is not None:
        yield seen


def _read_document(document: Any) -> Iterator[Sighting]:
    if not (
        isinstance(document, dict)
        and isinstance(document.get("arch"), str)
        and isinstance(document.get("flags"), list)
    ):
        return
    told = {key: str(value) for key, value in document.items() if isinstance(value, (str, int))}
    names = [each for each in document["flags"] if isinstance(each, str)]
    if (seen := _sighting(told, names, 0)) is not None:
        yield seen


FORMAT = Format(
    title="Google cpu_features: list_cpu_features, as text and as JSON",
    carries="names after a look at XCR0, positive only; who the CPU is",
    evidence="names",
    make="list_cpu_features --json",
    read=_read,
    read_document=_read_document,
)

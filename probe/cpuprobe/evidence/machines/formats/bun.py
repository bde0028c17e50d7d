"""The header of Bun's crash reports: `CPU: sse42 popcnt avx avx2 avx512`, `Features: no_avx`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_HEAD = re.compile(r"\bBun (?:Canary )?v\d[\w.+-]* .*?(Linux|Windows|macOS|MacOS)\b ?(\w+)?")
_CPU = re.compile(r"^[ \t]*CPU: ([a-z][a-z0-9_ ]*)$")
_DENIED = re.compile(r"\bno_(avx2?)\b")
_NAMES = {"avx512": "avx512f", "sse42": "sse4.2"}
_ARM = frozenset({"neon", "fp", "crc32", "atomics", "sve", "asimd"})


def _read(paste: Paste) -> Iterator[Sighting]:
    head: re.Match[str] | None = None
    for number, line in enumerate(paste.lines):
        head = _HEAD.search(line) or head
        denied = _DENIED.findall(line) if head is not None and "Features:" in line else []
        if denied:
            claims = claims_of_names("bun", "cpuid+os", (), denied)
            yield Sighting(source="bun", line=number, claims=(claims,))
            return
        match = _CPU.match(line) if head is not None else None
        if match is None or head is None:
            continue
        words = match[1].split()
        if _ARM.intersection(words) or (head[2] or "") in ("arm64", "aarch64", "Silicon"):
            yield Sighting(source="bun", line=number, isa="aarch64")
            return
        claims = claims_of_names("bun", "cpuid+os", words, more=_NAMES)
        if claims.yes:
            paste.take(number)
            yield Sighting(source="bun", line=number, claims=(claims,))
        return
    if head is not None and (head[2] or "") in ("arm64", "aarch64", "Silicon"):
        yield Sighting(source="bun", isa="aarch64", weak=True)


FORMAT = Format(
    title="Bun: the header of a crash report",
    carries="five names at most, positive only; no_avx and no_avx2 are denied",
    evidence="names",
    read=_read,
)

"""The first lines of `node --v8-options`: what V8 found, and uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

# src/codegen/x64/assembler-x64.cc, CpuFeatures::PrintFeatures.
_LINE = re.compile(r"(?<![\w=])SSE3=[01] (?:[A-Z][A-Z0-9_]{1,15}=[01] ?){4,24}")
_PAIR = re.compile(r"([A-Z][A-Z0-9_]{1,15})=([01])")


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, match in paste.matches(_LINE):
        pairs = _PAIR.findall(match[0])
        claims = claims_of_names(
            "v8",
            "cpuid+os",
            [name for name, value in pairs if value == "1"],
            [name for name, value in pairs if value == "0"],
        )
        yield Sighting(source="v8", line=number, claims=(claims,))


FORMAT = Format(
    title="node --v8-options: `SSE3=1 SSE4_1=0 ...`",
    carries="CPUID by name, both ways, after a look at XCR0",
    evidence="names",
    make="",
    read=_read,
)

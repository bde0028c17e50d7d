"""`wasmtime settings`: Cranelift's flags, and last those that it inferred for the host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_SOURCE = "wasmtime-settings"
_HEAD = re.compile(r"^\s{0,8}Settings inferred for the current host:\s*$")
_FLAG = re.compile(r"^\s{0,8}has_([a-z0-9_]{2,30})\s*$")


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, _ in paste.matches(_HEAD):
        names: list[str] = []
        for line in paste.lines[number + 1 :]:
            flag = _FLAG.match(line)
            if flag is None and line.strip():
                break
            names += [flag[1]] if flag is not None else []
        claims = claims_of_names(_SOURCE, "cpuid+os", names)
        if claims.yes:
            yield Sighting(source=_SOURCE, line=number, claims=(claims,))


FORMAT = Format(
    title="wasmtime settings: what is inferred for the current host",
    carries="names after a look at XCR0, positive only: each version infers its own flags",
    evidence="names",
    make="wasmtime settings",
    read=_read,
)

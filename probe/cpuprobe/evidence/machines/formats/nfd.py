"""Node Feature Discovery: labels of a Kubernetes node, as YAML, JSON or `kubectl describe`.

By default many names are never published, so that a label that is missing says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_SOURCE = "node-feature-discovery"
_LABEL = re.compile(
    r"feature\.node\.kubernetes\.io/cpu-(cpuid|model)\.([A-Za-z0-9_]+)[\"']?\s*[:=]\s*[\"']?(\w+)"
)
_ARCH = re.compile(r"\b(?:kubernetes\.io/arch|architecture)[\"']?\s*[:=]\s*[\"']?(\w+)")
_NAMES = {"CMPXCHG8": "cx8", "FXSR": "fxsr", "FXSROPT": "", "SYSCALL": "syscall"}


def _read(paste: Paste) -> Iterator[Sighting]:
    isa: str | None = None
    nodes: list[tuple[int, dict[str, str]]] = []
    for number, line in enumerate(paste.lines):
        if "kubernetes.io/" not in line and "rchitecture" not in line:
            continue
        for match in _LABEL.finditer(line):
            name = f"{match[1]}.{match[2]}"
            if not nodes or name in nodes[-1][1]:
                nodes.append((number, {}))
            nodes[-1][1][name] = match[3]
        if (arch := _ARCH.search(line)) is not None:
            isa = isa_named(arch[1]) or isa
    for number, labels in nodes:
        on = {name: value for name, value in labels.items() if name.startswith("cpuid.")}
        yes = [name[6:] for name, value in on.items() if value == "true"]
        no = [name[6:] for name, value in on.items() if value == "false"]
        family = labels.get("model.family", "")
        identity = ToldIdentity(
            vendor=labels.get("model.vendor_id"),
            family=int(family) if family[:5].isdecimal() else None,
        )
        if isa is not None and isa not in X86:
            yield Sighting(source=_SOURCE, line=number, isa=isa)
            return
        claims = claims_of_names(_SOURCE, "cpuid+os", yes, no, _NAMES)
        yield Sighting(
            source=_SOURCE,
            line=number,
            isa=isa,
            identity=identity,
            claims=(claims,) if claims.yes or claims.no else (),
        )


FORMAT = Format(
    title="Node Feature Discovery: labels, as YAML, JSON or kubectl describe",
    carries="names after a look at XCR0, positive only",
    evidence="names",
    make="kubectl get node NAME -o yaml",
    read=_read,
)

"""Prometheus' node_exporter: `node_cpu_flag_info` and `node_cpu_info`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.kernel_list import isa_of_arm_list
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_FLAG = re.compile(r'node_cpu_flag_info\{[^}]*\bflag="([a-z0-9_]{1,40})"[^}]*\} 1\b')
_INFO = re.compile(r"node_cpu_info\{([^}]{1,600})\}")
_LABEL = re.compile(r'(\w+)="([^"]{0,120})"')


def _read(paste: Paste) -> Iterator[Sighting]:
    words: dict[str, None] = {}
    labels: dict[str, str] = {}
    first: int | None = None
    for number, line in enumerate(paste.lines):
        if "node_cpu_" not in line:
            continue
        if (match := _FLAG.search(line)) is not None:
            words[match[1]] = None
        elif (match := _INFO.search(line)) is not None:
            labels = labels or dict(_LABEL.findall(match[1]))
        else:
            continue
        first = number if first is None else first
    if first is None:
        return
    numbers = {
        key: int(labels[key])
        for key in ("family", "model", "stepping")
        if labels.get(key, "")[:5].isdecimal()
    }
    identity = ToldIdentity(
        vendor=labels.get("vendor") or None,
        brand=labels.get("model_name") or None,
        **numbers,  # type: ignore[arg-type]
    )
    isa = isa_of_arm_list(tuple(words))
    block = Cpuinfo((0,), {"flags": " ".join(words)[:16384]}, "short")
    yield Sighting(
        source="node-exporter",
        line=first,
        isa=isa,
        identity=identity,
        cpuinfo=(block,) if words and isa is None else (),
    )


FORMAT = Format(
    title="Prometheus: node_cpu_flag_info, node_cpu_info",
    carries="those of the kernel's flags that a filter let through, positive only",
    evidence="names",
    make="node_exporter --collector.cpu.info",
    read=_read,
)

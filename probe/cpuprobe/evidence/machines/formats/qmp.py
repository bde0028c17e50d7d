"""QEMU's monitor: what `query-cpu-model-expansion` makes of a model, in QEMU's names.

Of `host` and `max` on KVM it is what a guest can have of this CPU: a yes is the CPU's, a no may be
KVM's. Every other model is QEMU's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Sighting

_SOURCE = "qmp"
_OF_THE_HOST = ("host", "max")
_NOTHING = "expands a CPU model of QEMU's (query-cpu-model-expansion), which describes no machine"
_FEWEST = 8
_WORD = re.compile(r"[a-z][a-z0-9._-]{1,30}")


def _read_document(document: Any) -> Iterator[Sighting]:
    props = document.get("props") if isinstance(document, dict) else None
    if not isinstance(props, dict):
        return
    bits = [name for name, value in props.items() if value is True and _WORD.fullmatch(name)]
    if len(bits) < _FEWEST:
        return
    if document.get("name") not in _OF_THE_HOST:
        yield Sighting(source=_SOURCE, nothing=_NOTHING)
        return
    yield Sighting(source=_SOURCE, claims=(claims_of_names(_SOURCE, "cpuid", bits),))


FORMAT = Format(
    title="QEMU's monitor: query-cpu-model-expansion of `host`",
    carries="what of CPUID a guest can have, positive only; another model is refused",
    evidence="names",
    make="",
    read_document=_read_document,
)

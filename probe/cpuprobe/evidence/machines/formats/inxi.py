"""inxi: its short row of flags names a dozen that it thinks worth it, so its silence is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.kernel_list import judge
from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_HEAD = re.compile(r"(?:Info|Topology): .*?\b(?:model|arch|bits|type)\b", re.IGNORECASE)
_MODEL = re.compile(r"\bmodel: (.{3,80}?)(?: (?:socket|bits|variant|type|arch|family|gen)\b:?|$)")
_ARCH = re.compile(r"\barch: ([\w.-]+)")
_FLAGS = re.compile(r"\bflags: ([a-z][a-z0-9_ ]+?)(?= \w+: |$)", re.IGNORECASE)


def _read(paste: Paste) -> Iterator[Sighting]:
    if not any(_HEAD.search(line) for line in paste.lines):
        return
    brand: str | None = None
    isa: str | None = None
    head = False
    for number, line in enumerate(paste.lines):
        head = head or _HEAD.search(line) is not None  # before it stands the machine's model
        if head and brand is None and (match := _MODEL.search(line)):
            brand = match[1].strip()[:256]
        if isa is None and (match := _ARCH.search(line)):
            isa = isa_named(match[1])
            isa = isa if isa not in X86 else None
        match = _FLAGS.search(line)
        if match is None:
            continue
        paste.take(number)
        words = match[1].lower().split()
        identity = ToldIdentity(brand=brand)
        if isa is not None:
            yield Sighting(source="inxi", line=number, isa=isa, identity=identity)
        elif "fpu" in words:
            block = Cpuinfo((0,), {"flags": " ".join(words)}, judge(words, followed=True))
            yield Sighting(source="inxi", line=number, identity=identity, cpuinfo=(block,))
        else:
            claims = claims_of_names("inxi", "kernel", words)
            yield Sighting(source="inxi", line=number, identity=identity, claims=(claims,))
        return
    if brand is not None or isa is not None:
        yield Sighting(source="inxi", isa=isa, identity=ToldIdentity(brand=brand))


FORMAT = Format(
    title="inxi -C, inxi -Cf",
    carries="-C: a dozen of the kernel's flags, positive only; -Cf: its whole list",
    evidence="names",
    make="inxi -Cf",
    read=_read,
)

"""Gentoo's cpuid2cpuflags, and the same row in package.use.

In make.conf and `emerge --info` (`CPU_FLAGS_X86="..."`) it is what somebody wrote there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_LINE = re.compile(r"CPU_FLAGS_(X86|ARM|PPC)(: |=)[\"']?([a-z0-9_ ]+)")
_ISAS = {"ARM": "aarch64", "PPC": "ppc64le"}
_CHOSEN = "lists CPU_FLAGS_X86 as somebody set them for builds, which describes no machine"
_NAMES = {"mmxext": "", "3dnowext": "", "padlock": ""}


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, match in paste.matches(_LINE):
        if match[1] != "X86":
            old = match[1] == "ARM" and "v8" not in match[3].split()
            isa = "arm" if old else _ISAS[match[1]]
            yield Sighting(source="cpuid2cpuflags", line=number, isa=isa)
        elif match[2] == "=":
            yield Sighting(source="cpuid2cpuflags", line=number, nothing=_CHOSEN)
            continue
        else:
            claims = claims_of_names("cpuid2cpuflags", "cpuid", match[3].split(), more=_NAMES)
            yield Sighting(source="cpuid2cpuflags", line=number, claims=(claims,))
        return


FORMAT = Format(
    title="cpuid2cpuflags of Gentoo",
    carries="names of CPUID's, positive only: not every version looks at XCR0",
    evidence="names",
    make="cpuid2cpuflags",
    read=_read,
)

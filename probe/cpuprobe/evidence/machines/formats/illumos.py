"""illumos and Solaris: `isainfo -v` lists what the kernel lets programs use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_HEAD = re.compile(r"64-bit (amd64|sparcv9) applications")
_WORDS = re.compile(r"[ \t]*[a-z][a-z0-9_. ]*$")
_NAMES = {"amd_lzcnt": "lzcnt", "tscp": "rdtscp", "ahf": "sahf", "amd_sysc": "syscall"}


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, match in paste.matches(_HEAD):
        if match[1] == "sparcv9":
            yield Sighting(source="isainfo", line=number, isa="sparc64")
            return
        words: list[str] = []
        for line in paste.lines[number + 1 : number + 20]:
            if not _WORDS.match(line) or "applications" in line:
                break
            words += line.split()
        claims = claims_of_names("isainfo", "cpuid+os", words, more=_NAMES)
        if claims.yes:
            yield Sighting(source="isainfo", line=number, claims=(claims,))
        return


FORMAT = Format(
    title="illumos and Solaris: isainfo -v",
    carries="what the kernel lets programs use, positive only",
    evidence="names",
    make="isainfo -v",
    read=_read,
)

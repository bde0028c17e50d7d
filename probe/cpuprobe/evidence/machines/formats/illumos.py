"""illumos and Solaris: `isainfo -v` lists what the kernel lets programs use.

`kstat -m cpu_info` and `psrinfo -pv` tell who the CPU is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_HEAD = re.compile(r"64-bit (amd64|sparcv9) applications")
_LINE = re.compile(r"^\s{0,16}amd64: ([a-z][a-z0-9_. ]{20,600})$")  # isainfo -x
_WORDS = re.compile(r"[ \t]*[a-z][a-z0-9_. ]*$")
_WHO = re.compile(
    r"x86 \((?:chipid 0x[0-9a-f]{1,4} )?(\w{5,16})(?: [0-9A-F]{3,8})? family (\d{1,3})"
    r" model (\d{1,3}) step (\d{1,3}) clock"
)
_BRAND = re.compile(r"^[ \t]*(?:brand[ \t:]+)?((?:Intel\([rR]\)|AMD|QEMU|VIA) \S.{2,100}?)[ \t]*$")
_NAMES = {"amd_lzcnt": "lzcnt", "tscp": "rdtscp", "ahf": "sahf", "amd_sysc": "syscall"}


def _read(paste: Paste) -> Iterator[Sighting]:
    who = next(iter(paste.matches(_WHO)), None)
    identity: ToldIdentity | None = None
    if who is not None:
        brand = next((match[1] for _, match in paste.matches(_BRAND)), None)
        identity = ToldIdentity(
            vendor=who[1][1],
            brand=" ".join(brand.split()) if brand else None,
            family=int(who[1][2]),
            model=int(who[1][3]),
            stepping=int(who[1][4]),
        )
        yield Sighting(source="kstat", line=who[0], identity=identity, weak=True)
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
            yield Sighting(source="isainfo", line=number, identity=identity, claims=(claims,))
        return
    for number, match in paste.matches(_LINE):
        claims = claims_of_names("isainfo", "cpuid+os", match[1].split(), more=_NAMES)
        if claims.yes:
            yield Sighting(source="isainfo", line=number, identity=identity, claims=(claims,))
            return


FORMAT = Format(
    title="illumos and Solaris: isainfo -v and -x, kstat -m cpu_info, psrinfo -pv",
    carries="what the kernel lets programs use, positive only; who the CPU is",
    evidence="names",
    make="isainfo -v",
    read=_read,
)

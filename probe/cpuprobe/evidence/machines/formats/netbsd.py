"""NetBSD: `cpuctl identify 0` and boot text: `cpu0: features1 0x...<...>`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_words, words_in
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

# usr.sbin/cpuctl/arch/i386.c, identifycpu()
_WORDS = {
    "features": (0x1, 0, "edx"),
    "features0": (0x1, 0, "edx"),
    "features1": (0x1, 0, "ecx"),
    "features2": (0x80000001, 0, "edx"),
    "features3": (0x80000001, 0, "ecx"),
    "features5": (0x7, 0, "ebx"),
    "features6": (0x7, 0, "ecx"),
    "features7": (0x7, 0, "edx"),
    "features8": (0x7, 1, "eax"),
    "xsave instructions": (0xD, 1, "eax"),
}
_WORD = re.compile(r"cpu0: (features\d?|xsave instructions) (?:0x)?([0-9a-f]{1,8})(?=<|\s|$)")
_WHO = re.compile(r"cpu0: \"([^\"]{3,80})\"")
_ID = re.compile(r"cpu0: .*family 0x([0-9a-f]+) model 0x([0-9a-f]+) stepping 0x([0-9a-f]+)")


def _read(paste: Paste) -> Iterator[Sighting]:
    words, first = words_in(paste.lines, "cpu0: ", _WORD, _WORDS)
    if first is None:
        return
    brand: str | None = None
    who: re.Match[str] | None = None
    for line in paste.lines:
        if "cpu0: " not in line:
            continue
        brand = brand or (" ".join(found[1].split()) if (found := _WHO.search(line)) else None)
        who = who or _ID.search(line)
    family, model, stepping = (int(part[:4], 16) for part in who.groups()) if who else (None,) * 3
    identity = ToldIdentity(brand=brand, family=family, model=model, stepping=stepping)
    claims = claims_of_words("netbsd", words)
    yield Sighting(source="netbsd", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="NetBSD: cpuctl identify 0",
    carries="CPUID words of leaves 1, 7, 0DH and 80000001H; who the CPU is",
    evidence="cpuid",
    make="cpuctl identify 0",
    read=_read,
)

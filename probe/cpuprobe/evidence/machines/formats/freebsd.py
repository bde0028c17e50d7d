"""FreeBSD's and DragonFly's boot text: CPUID words in hexadecimal, with their bits' names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.machines.names import claims_of_words, words_in
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

# sys/x86/x86/identcpu.c
_WORDS = {
    "Features": (0x1, 0, "edx"),
    "Features2": (0x1, 0, "ecx"),
    "AMD Features": (0x80000001, 0, "edx"),
    "AMD Features2": (0x80000001, 0, "ecx"),
    "Structured Extended Features": (0x7, 0, "ebx"),
    "Structured Extended Features2": (0x7, 0, "ecx"),
    "Structured Extended Features3": (0x7, 0, "edx"),
    "Structured Extended Features4": (0x7, 1, "eax"),
    "XSAVE Features": (0xD, 1, "eax"),
}
_WORD = re.compile(
    r"((?:AMD |Structured Extended |XSAVE )?Features\d?)=0x([0-9a-f]{1,8})(?=<|\s|$)"
)
# A line that a mail program broke: before its value, inside it, or among the names behind it.
_BROKEN = re.compile(
    r"(?:^|\s)(?:AMD|Structured(?: Extended)?|XSAVE)$|Features\d?=0x[0-9a-f]{0,8}$"
    r"|Features\d?=0x[0-9a-f]{1,8}<[^>]{0,400}$"
)
_LONGEST = 12  # lines that one may be broken into
_CPU = re.compile(r"CPU: (.{3,120}?) \(\d+(?:\.\d+)?-MHz")
_ID = re.compile(
    r"Origin ?= ?\"(\w+)\".*?Family ?= ?0x([0-9a-f]{1,3}) .*?Model ?= ?0x([0-9a-f]{1,3})"
    r"(?:.*?Stepping ?= ?(\d{1,3}))?"
)
_ARM = re.compile(r"CPU +\d+: (ARM .{3,60}?) r\dp\d|Instruction Set Attributes 0 =")


def _whole(lines: Sequence[str]) -> list[str]:
    """The lines, those that were broken joined to the first; none moves to another number."""
    whole = list(lines)
    first = 0
    for number in range(1, len(whole)):
        line = whole[number].strip()
        if number - first > _LONGEST or not line or _BROKEN.search(whole[first]) is None:
            first = number
            continue
        between = "" if "=" in whole[first][-40:] else " "
        whole[first], whole[number] = f"{whole[first].rstrip()}{between}{line}", ""
    return whole


def _read(paste: Paste) -> Iterator[Sighting]:
    brand: str | None = None
    who: re.Match[str] | None = None
    for number, line in enumerate(paste.lines):
        if (arm := _ARM.search(line)) is not None:
            yield Sighting(
                source="freebsd",
                line=number,
                isa="aarch64",
                identity=ToldIdentity(brand=arm[1]) if arm[1] else None,
            )
            return
        brand = brand or (found[1] if (found := _CPU.search(line)) else None)
        who = who or (_ID.search(line) if "Origin" in line else None)
    words, first = words_in(_whole(paste.lines), "Features", _WORD, _WORDS)
    if first is None:
        return
    identity = ToldIdentity(
        vendor=who[1] if who else None,
        brand=" ".join(brand.split())[:256] if brand else None,
        family=int(who[2], 16) if who else None,
        model=int(who[3], 16) if who else None,
        stepping=int(who[4]) if who and who[4] else None,
    )
    claims = claims_of_words("freebsd", words)
    yield Sighting(source="freebsd", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="FreeBSD and DragonFly: boot text (Features=0x...)",
    carries="CPUID words of leaves 1, 7, 0DH and 80000001H; who the CPU is",
    evidence="cpuid",
    make="grep -A12 '^CPU: ' /var/run/dmesg.boot",
    read=_read,
)

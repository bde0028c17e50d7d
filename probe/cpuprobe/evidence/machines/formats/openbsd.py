"""OpenBSD's boot text: names of CPUID bits after `cpu0:`; from 7.6 on also the words themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_words, features_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity
from cpuprobe.facts.features import load_features

_LIST = re.compile(r"cpu0: ((?:[A-Z0-9][A-Za-z0-9_.-]*,){7,}[A-Za-z0-9_.,-]+)$")
_WHO = re.compile(
    r"cpu0: ((?:Intel|AMD|VIA|Genuine|Common|QEMU|Zhaoxin|Hygon)[^,]{2,80}), [\d.]+ MHz"
    r"(?:, ([0-9a-f]{2})-([0-9a-f]{2})-([0-9a-f]{2}))?"
)
_LEAF = re.compile(r"cpu0: cpuid ([0-9a-f]{1,8})(?:\.([0-9a-f]))? (.+)$")
_REGISTER = re.compile(r"\b(e[abcd]x)=([0-9a-f]{1,8})")
# What sys/arch/amd64/include/specialreg.h names of: leaf 1, leaf 7 EBX, and 80000001H.
_NAMED = ((0x1, "ecx"), (0x1, "edx"), (0x7, "ebx"), (0x80000001, "ecx"))
_NAMES = {"LONG": "", "ABM": "lzcnt", "3DNOWP": "prfchw", "SSE3": "sse3", "FMA3": "fma"}


def _read(paste: Paste) -> Iterator[Sighting]:
    claims: list[Claims] = []
    words: dict[tuple[int, int, str], int] = {}
    who: re.Match[str] | None = None
    first: int | None = None
    for number, line in enumerate(paste.lines):
        if "cpu0: " not in line:
            continue
        who = who or _WHO.search(line)
        if (match := _LIST.search(line)) is not None:
            claims.append(_of_list(match[1].split(",")))
        elif (match := _LEAF.search(line)) is not None:
            leaf, subleaf = int(match[1], 16), int(match[2] or "0", 16)
            for register, value in _REGISTER.findall(match[3]):
                words.setdefault((leaf, subleaf, register), int(value, 16))
        else:
            continue
        first = number if first is None else first
    if words:
        claims.append(claims_of_words("openbsd", words))
    if first is None:
        return
    parts = [int(part, 16) for part in who.groups()[1:]] if who and who[2] else [None] * 3
    identity = ToldIdentity(
        brand=who[1].strip() if who else None, family=parts[0], model=parts[1], stepping=parts[2]
    )
    yield Sighting(source="openbsd", line=first, identity=identity, claims=tuple(claims))


def _of_list(names: list[str]) -> Claims:
    yes = features_named(names, _NAMES)
    whole = "FPU" in names and "LONG" in names
    no = tuple(
        name
        for name, feature in load_features().items()
        if whole
        and (feature.cpuid.leaf, feature.cpuid.register) in _NAMED
        and feature.cpuid.subleaf == 0
        and name not in yes
        and not name.startswith("avx512")
    )
    return Claims(source="openbsd", witness="cpuid", yes=yes, no=no)


FORMAT = Format(
    title="OpenBSD: boot text (cpu0: FPU,VME,...)",
    carries="names of CPUID bits, both ways where the list is whole; words from 7.6 on",
    evidence="names",
    make="grep cpu0: /var/run/dmesg.boot",
    read=_read,
)

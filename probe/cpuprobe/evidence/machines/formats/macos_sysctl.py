"""macOS: `sysctl machdep.cpu hw.optional`.

`machdep.cpu.features` and its siblings name the bits of CPUID leaves 1, 7 and 80000001H by xnu's
table (osfmk/i386/cpuid.c); `hw.optional` says what the system lets programs use. AVX-512 state is
enabled on demand there, so that nothing is to be seen from XCR0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names, features_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity
from cpuprobe.facts.features import load_features

_SOURCE = "macos-sysctl"
_LINE = re.compile(r"[ \t]*((?:machdep\.cpu|hw\.optional)\.[\w.]+)\s*[:=]\s*(.*)$")
_GOES_ON = re.compile(r"[ \t]*[A-Z0-9][A-Z0-9_. ]*$")
_NAMES = {"AVX1.0": "avx", "AVX2.0": "avx2", "x2APIC": "", "TM2": "", "EM64T": "", "TSCTMR": ""}
_OPTIONAL = {
    "supplementalsse3": "ssse3",
    "avx1_0": "avx",
    "avx2_0": "avx2",
    "x86_64": "",
    "floatingpoint": "",
}
# The registers whose bits each list names; of the others of leaf 7 older systems name none.
_LISTS = {
    "machdep.cpu.features": ((0x1, "ecx"), (0x1, "edx")),
    "machdep.cpu.leaf7_features": ((0x7, "ebx"),),
    "machdep.cpu.extfeatures": ((0x80000001, "ecx"), (0x80000001, "edx")),
}
_NUMBERS = ("family", "model", "stepping")


def _values(paste: Paste) -> tuple[dict[str, str], int]:
    values: dict[str, str] = {}
    key, first, last = "", 0, -2
    for number, line in enumerate(paste.lines):
        match = _LINE.match(line) if "." in line[:24] else None
        if match is not None:
            first = first if values else number
            key, last = match[1], number
            values.setdefault(key, match[2].strip())
        elif number == last + 1 and key in _LISTS and _GOES_ON.match(line):
            values[key] += f" {line.strip()}"
            last = number
    return values, first


def _read(paste: Paste) -> Iterator[Sighting]:
    values, line = _values(paste)
    if not values:
        return
    told = {key.rpartition(".")[2]: value for key, value in values.items()}
    brand = told.get("brand_string")
    numbers = {key: int(told[key][:5]) for key in _NUMBERS if told.get(key, "")[:5].isdecimal()}
    identity = ToldIdentity(
        vendor=told.get("vendor") or None,
        brand=brand[:256] if brand else None,
        **numbers,  # type: ignore[arg-type]
    )
    if told.get("arm64") == "1" or (brand or "").startswith("Apple "):
        yield Sighting(source=_SOURCE, line=line, isa="aarch64", identity=identity)
        return
    claims = [
        _of_list(values[key], registers) for key, registers in _LISTS.items() if key in values
    ]
    optional = {
        key.removeprefix("hw.optional."): value == "1"
        for key, value in values.items()
        if key.startswith("hw.optional.") and value in ("0", "1")
    }
    yes = [name for name, on in optional.items() if on]
    no = [name for name, on in optional.items() if not on]
    switched = claims_of_names(_SOURCE, "cpuid+os", yes, no, _OPTIONAL)
    if switched.yes or switched.no:
        claims.append(switched)
    yield Sighting(source=_SOURCE, line=line, isa="x86_64", identity=identity, claims=tuple(claims))


def _of_list(names: str, registers: tuple[tuple[int, str], ...]) -> Claims:
    yes = features_named(names.split(), _NAMES)
    no = tuple(
        name
        for name, feature in load_features().items()
        if (feature.cpuid.leaf, feature.cpuid.register) in registers
        and feature.cpuid.subleaf == 0
        and name not in yes
    )
    return Claims(source=_SOURCE, witness="cpuid", yes=yes, no=no)


FORMAT = Format(
    title="macOS: sysctl machdep.cpu, sysctl hw.optional",
    carries="CPUID by name, both ways for each list that is there; what the system enables",
    evidence="names",
    make="sysctl machdep.cpu hw.optional",
    read=_read,
)

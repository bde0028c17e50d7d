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
# The value alone: `sysctl -n`, or copied without its key.
_BARE = re.compile(r"[ \t]*(FPU VME DE PSE TSC\b.*)$")
_GOES_ON = re.compile(r"[ \t]*[A-Zx0-9.][\w. ]*$")
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
# Every name in the order in which xnu prints them: what a list that breaks off has not come to
# stands behind its last name.
_ORDER_OF_XNU = """
FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 PSN CLFSH DS ACPI MMX FXSR
SSE SSE2 SS HTT TM PBE SSE3 PCLMULQDQ DTES64 MON DSCPL VMX SMX EST TM2 SSSE3 CID FMA CX16 TPR PDCM
SSE4.1 SSE4.2 x2APIC MOVBE POPCNT AES VMM PCID XSAVE OSXSAVE SEGLIM64 TSCTMR AVX1.0 RDRAND F16C
RDWRFSGS TSC_THREAD_OFFSET SGX BMI1 HLE AVX2 FDPEO SMEP BMI2 ERMS INVPCID RTM PQM FPU_CSDS MPX PQE
AVX512F AVX512DQ RDSEED ADX SMAP AVX512IFMA CLFSOPT CLWB IPT AVX512PF AVX512ER AVX512CD SHA AVX512BW
AVX512VL PREFETCHWT1 AVX512VBMI UMIP PKU OSPKE WAITPKG GFNI VAES VPCLMULQDQ AVX512VNNI AVX512BITALG
AVX512VPCDQ RDPID SGXLC AVX512_4VNNIW AVX512_4FMAPS FSREPMOV MDCLEAR TSXFA IBRS STIBP L1DF ACAPMSR
CCAPMSR SSBD
SYSCALL XD 1GBPAGE EM64T LAHF LZCNT PREFETCHW RDTSCP TSCI
"""
_ORDER = _ORDER_OF_XNU.split()
_LONGEST = 2 * len(_ORDER_OF_XNU)
_NUMBERS = ("family", "model", "stepping")


def _values(paste: Paste) -> tuple[dict[str, str], int, set[str]]:
    """The values by key, the first one's line, and the keys behind which another one stands."""
    values: dict[str, str] = {}
    followed: set[str] = set()
    key, first, last = "", 0, -2
    for number, line in enumerate(paste.lines):
        match = _LINE.match(line) if "." in line[:24] else None
        if match is not None:
            first = first if values else number
            if number == last + 1:
                followed.add(key)
            key, last = match[1], number
            values.setdefault(key, match[2].strip())
        elif not values and (bare := _BARE.match(line)) is not None:
            key, first, last = "machdep.cpu.features", number, number
            values[key] = bare[1].strip()
        elif number == last + 1 and key in _LISTS and _goes_on(values[key], line):
            values[key] = _continued(values[key], line.strip())
            last = number
    return values, first, followed


def _inside(names: str, more: str) -> bool:
    """Whether a line break stands inside a name."""
    return names.rpartition(" ")[2] + more.strip().partition(" ")[0] in _ORDER


def _goes_on(names: str, line: str) -> bool:
    """Whether a line below a list is more of it: names, or the rest of one."""
    words = line.split()
    if not words or len(names) > _LONGEST or _GOES_ON.match(line) is None:
        return False
    return _inside(names, line) or 2 * sum(word in _ORDER for word in words) >= len(words)


def _continued(names: str, more: str) -> str:
    """A list and the line below it, which was wrapped at a blank or inside a name."""
    return f"{names}{more}" if _inside(names, more) else f"{names} {more}"


def _read(paste: Paste) -> Iterator[Sighting]:
    values, line, followed = _values(paste)
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
        _of_list(values[key], registers, whole=key in followed)
        for key, registers in _LISTS.items()
        if key in values
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


def _of_list(names: str, registers: tuple[tuple[int, str], ...], *, whole: bool) -> Claims:
    """What a list says; no more than up to its last name where nothing shows that it is whole."""
    words = names.split()
    whole = whole and bool(words) and words[-1] in _ORDER  # not in the middle of a name
    yes = features_named(words, _NAMES)
    reached = () if whole else features_named(_up_to_the_last(words), _NAMES)
    no = tuple(
        name
        for name, feature in load_features().items()
        if (feature.cpuid.leaf, feature.cpuid.register) in registers
        and feature.cpuid.subleaf == 0
        and name not in yes
        and (whole or name in reached)
    )
    return Claims(source=_SOURCE, witness="cpuid", yes=yes, no=no)


def _up_to_the_last(words: list[str]) -> list[str]:
    """The names that a list has come past; none if one is unknown or they are in another order."""
    places = [_ORDER.index(word) for word in words if word in _ORDER]
    sure = len(places) == len(words) and places == sorted(places)
    return _ORDER[: max(places)] if sure and places else []


FORMAT = Format(
    title="macOS: sysctl machdep.cpu, sysctl hw.optional",
    carries="CPUID by name, both ways for each list that is there; what the system enables",
    evidence="names",
    make="sysctl machdep.cpu hw.optional",
    read=_read,
)

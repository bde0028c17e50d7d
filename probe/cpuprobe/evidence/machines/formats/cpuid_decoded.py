"""`cpuid` of Todd Allen without -r: a line a bit, `= true` or `= false`.

A row's words change little from version to version; what a row is about shows by its first words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import both_ways, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Claims, ToldIdentity

_LINE = re.compile(r"^[ \t]*(\S.{1,60}?)[ \t]*= (true|false)[ \t]*$")
_WHO = re.compile(r"\((family|model) synth\)[ \t]*= 0x[0-9a-f]+ \((\d{1,4})\)")
_STEPPING = re.compile(r"stepping id[ \t]*= 0x[0-9a-f]+ \((\d{1,2})\)")
_TEXT = re.compile(r'^[ \t]*(brand|vendor_id)[ \t]*= "([^"]{1,80})"')
# Rows whose first word is not the feature's name, lower case, by how they begin.
_ROWS = (
    ("x87 fpu on chip", "x87"),
    ("cmpxchg8b inst", "cx8"),
    ("cmov: conditional", "cmov"),
    ("conditional move", "cmov"),
    ("mmx technology", "mmx"),
    ("fxsave/fxrstor", "fxsr"),
    ("pni/sse3", "sse3"),
    ("pclmuldq instruction", "pclmul"),
    ("cmpxchg16b instruction", "cx16"),
    ("xsave/xstor states", "xsave"),
    ("f16c half-precision", "f16c"),
    ("rdrand instruction", "rdrnd"),
    ("syscall and sysret", "syscall"),
    ("lahf/sahf supported", "sahf"),
    ("lzcnt advanced bit", "lzcnt"),
    ("3dnow! prefetch/prefetchw", "prfchw"),
    ("3dnow! instructions", "3dnow"),
    ("3dnow! instruction extensions", ""),
    ("sse4a support", "sse4a"),
    ("xop support", "xop"),
    ("four-operand fma", "fma4"),
    ("fma4", "fma4"),
    ("trailing bit manipulation", "tbm"),
    ("tbm", "tbm"),
    ("rdtscp", "rdtscp"),
    ("avx512: vpopcntdq", "avx512vpopcntdq"),
    ("avx512_4vnniw", "avx5124vnniw"),
    ("avx512_4fmaps", "avx5124fmaps"),
    ("avx-vnni: avx vnni", "avxvnni"),
    ("avx-ifma", "avxifma"),
    ("avx-vnni-int8", "avxvnniint8"),
    ("avx-vnni-int16", "avxvnniint16"),
    ("avx-ne-convert", "avxneconvert"),
    ("avx10", "avx10.1"),
    ("pku protection keys", "pku"),
    ("rtm: restricted", "rtm"),
    ("xsaveopt instruction", "xsaveopt"),
    ("xsavec instruction", "xsavec"),
    ("xsaves/xrstors instructions", "xsaves"),
    ("apx", "apxf"),
    ("os-enabled", ""),
    ("sse support", ""),
    ("sha: ", "sha"),
)
# Other rows begin with such a name too: "RTM transaction always aborts", "AES Key Locker".
_FIRST = re.compile(
    r"([A-Za-z][A-Za-z0-9_.-]*)(?::|$| (?:instructions?|extensions|support(?:ed)?)\b)"
)


def _feature(row: str) -> str | None:
    lower = row.lower()
    for begin, feature in _ROWS:
        if lower.startswith(begin):
            return feature or None
    first = _FIRST.match(row)
    return feature_named(first[1]) if first is not None else None


def _read(paste: Paste) -> Iterator[Sighting]:
    answers: dict[str, bool] = {}
    told: dict[str, int] = {}
    texts: dict[str, str] = {}
    first: int | None = None
    for number, line in enumerate(paste.lines):
        if "=" not in line:
            continue
        if (match := _LINE.match(line)) is not None:
            feature = _feature(match[1])
            if feature is not None:
                # A CPU that differs takes a feature from the machine.
                answers[feature] = answers.get(feature, True) and match[2] == "true"
                first = number if first is None else first
        elif (match := _WHO.search(line)) is not None:
            told.setdefault(match[1], int(match[2]))
        elif (match := _STEPPING.search(line)) is not None:
            told.setdefault("stepping", int(match[1]))
        elif (match := _TEXT.match(line)) is not None:
            texts.setdefault(match[1], " ".join(match[2].split()))
    if first is None or len(answers) < 2:
        return
    yes, no = both_ways(answers)
    identity = ToldIdentity(vendor=texts.get("vendor_id"), brand=texts.get("brand"), **told)  # type: ignore[arg-type]
    claims = Claims(source="cpuid-decoded", witness="cpuid", yes=yes, no=no)
    yield Sighting(source="cpuid-decoded", line=first, identity=identity, claims=(claims,))


FORMAT = Format(
    title="cpuid of Todd Allen, decoded",
    carries="CPUID by name, both ways, of the leaves that were printed",
    evidence="names",
    make="cpuid -r",
    read=_read,
)

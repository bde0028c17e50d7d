"""The JVM's `CPU: total ...` line, of hs_err files and `-Xlog:os+cpu`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import ToldIdentity

_LINE = re.compile(r"\bCPU: ?total (\d+)(.*)$")
_WHO = re.compile(r"family (\d{1,3}) model (\d{1,3}) stepping (\d{1,3})")
_ARM = re.compile(r"0x[0-9a-f]{2}:0x[0-9a-f]+:0x[0-9a-f]{3}|, (?:asimd|simd|neon|fp), |\baarch64\b")
_ARM_32 = re.compile(r"\(ARMv\d\)")  # hotspot/cpu/arm/vm_version_arm_32.cpp
_OTHERS = re.compile(r"\b(riscv64|rv64\w*|ppc64le|s390x|z/Architecture)\b")
_ISAS = {"rv": "riscv64", "ri": "riscv64", "pp": "ppc64le", "s3": "s390x", "z/": "s390x"}
_LINES = 8  # of one row, wrapped
_NAMES = {"3dnowpref": "prfchw", "clmul": "pclmul", "tsc": "", "ht": "", "vzeroupper": ""}


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, match in paste.matches(_LINE):
        words = _whole(match[2], paste.lines[number + 1 : number + _LINES])
        if _ARM.search(words) or _ARM_32.search(words):
            isa = "arm" if _ARM_32.search(words) else "aarch64"
            yield Sighting(source="jvm", line=number, isa=isa)
            return
        if (other := _OTHERS.search(words)) is not None:
            yield Sighting(source="jvm", line=number, isa=_ISAS[other[1][:2]])
            return
        who = _WHO.search(words)
        names = [name.strip() for name in words.split(",")[1:]]
        claims = claims_of_names("jvm", "cpuid+os", names, more=_NAMES)
        identity = None
        if who is not None:
            family, model, stepping = (int(part) for part in who.groups())
            identity = ToldIdentity(family=family, model=model, stepping=stepping)
        if claims.yes or identity:
            yield Sighting(
                source="jvm",
                line=number,
                identity=identity,
                claims=(claims,) if claims.yes else (),
            )
        return


def _whole(words: str, below: Sequence[str]) -> str:
    """The row with its wrapped rest: behind a comma at a blank, elsewhere maybe inside a word."""
    for line in below:
        if not line.strip() or ":" in line or not ("," in line or words.rstrip().endswith(",")):
            break
        inside = ", " in words and not words.rstrip().endswith(",")
        words += line.lstrip() if inside else f" {line.lstrip()}"
    return words


FORMAT = Format(
    title="JVM: the CPU line of an hs_err file or of -Xlog:os+cpu",
    carries="what the JVM may use, positive only: switches (-XX:UseAVX) shorten it",
    evidence="names",
    make="java -Xlog:os+cpu -version",
    read=_read,
)

"""The line in which a program lists the instruction sets that it found: a row of labels each.

Such a line names what the program has a use for, so its silence is none. What stands beside it
about the build (`SW features`, `Targets`, a list of libraries) is of another machine or of none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_SOURCE = "listed"
_LABELS = (
    r"using cpu capabilities: (.+)",  # x264, x265
    r"\bCPU has capabilities (.+)",  # VLC
    r"(?:^|\] )Capabilities: (MMX.+)",  # RetroArch
    r"\bCPU: .{2,80}, \d{1,4} logical processors?, (.+)",  # Dolphin
    r"\bHost CPU: [^|]{3,80} \|(.+)",  # yuzu and others after Citra
    r"\| \d{1,4} Threads \| [\d.]{1,8} GiB RAM \|(.+)",  # RPCS3
    r"^\s{0,16}ISA {2,8}: (.+)",  # Embree
    r"^\s{0,16}HardwareIntrinsics=([\w.,+-]+)",  # BenchmarkDotNet
    r"^\s{0,16}Features: ((?:[a-z][a-z0-9_.]{1,15} ){7,40}[a-z][a-z0-9_.]{1,15})$",  # GROMACS
    # Prime95, cpuminer, LIKWID
    r"^\W{0,8}CPU features:\s{1,4}((?:[A-Z][\w.]{1,11}(?:,? |,?$)){2,40})$",
    r"-> features: ([a-z0-9_,]+)$",  # EasyBuild
    r"^\s{0,16}Instructions?(?: Sets?)?(?:\t|\s{3,60})((?:x86|MMX|SSE).+)",  # Speccy, AIDA64
    r"^\s{0,16}Instruction Sets\t(.+)",  # Geekbench
    r"^\s{0,16}Extensions:\s{1,20}(SSE.+)",  # the Phoronix Test Suite
    # TensorFlow
    r"\binstructions that this TensorFlow binary was not compiled to use: (.+)",
    r"\bTo enable the following instructions: (.+), in other operations",
    r"\bthe following CPU instructions in performance-critical operations: +([A-Z].+)",
    r"\bCPU Feature Level: (\w{3,12})$",  # rav1e
    r"^CPUflags: (.+)",  # MPlayer
    r"\bUsed CPU extensions: (.+)",  # Cemu
    r"\bCPU capabilities: \[([^\]]{3,2000})\]",  # LocalAI
    r"\[asm level on system : up to (\w{3,20})\]",  # SVT-AV1
    r"n\w{2,5}_verbose,info,cpu,isa:(.+)",  # oneDNN, DNNL
    r"\bMKL_VERBOSE .{0,160}? architecture (.{3,120}?) enabled processors",
    r"^\s{0,16}Supported instruction sets: (.+)",  # Krita
    r"\bhwflist:([a-z0-9.:-]+)",  # libgcrypt
)
# Those that put it below a line of their own: PCSX2, x86info.
_MOST_HEADS = 8
_HEAD = re.compile(r"^\s{0,16}(?:x86 Features Detected|Feature flags):\s*$")
_LINE = re.compile("|".join(f"(?:{label})" for label in _LABELS))
_ARM = re.compile(r"\b(?:arm-)?(?:neon|asimd|sve)", re.IGNORECASE)
_BLANK_INSIDE = re.compile(r"\b(SSE|AVX)[ -](?=\d)")  # SSE 4.2
_OFF = re.compile(r"\b\w{2,12}: 0\b")
_NAMES = {"SSE2Fast": "sse2", "SSE2Slow": "sse2", "AVX512": "avx512f", "avx512": "avx512f"}
_BETWEEN = re.compile(r"[,;:|+()\s]+|\bintel-")


def _lists(paste: Paste) -> Iterator[tuple[int, str]]:
    for number, match in paste.matches(_LINE):
        yield number, next(group for group in match.groups() if group is not None)
    for number, _ in islice(paste.matches(_HEAD), _MOST_HEADS):
        yield number, " ".join(paste.lines[number + 1 : number + 2])


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, listed in _lists(paste):
        if _ARM.search(listed) is not None:  # whose AES is another
            yield Sighting(source=_SOURCE, line=number, isa="aarch64")
            continue
        words = _BETWEEN.split(_BLANK_INSIDE.sub(r"\1", _OFF.sub("", listed[:2000])))
        claims = claims_of_names(_SOURCE, "cpuid", words, more=_NAMES)
        if claims.yes:
            yield Sighting(source=_SOURCE, line=number, claims=(claims,))


FORMAT = Format(
    title="what a program says that it found: x264, x265, VLC, Embree, GROMACS, Prime95,"
    " TensorFlow, oneDNN, MKL, libgcrypt, BenchmarkDotNet, emulators of consoles, Speccy, AIDA64's"
    " summary and others",
    carries="the names in that line, positive only",
    evidence="names",
    make="",
    read=_read,
)

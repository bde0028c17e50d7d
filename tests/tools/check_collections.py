"""Reads whole collections of dumps and compares every feature with an independent decode.

    python -m tests.tools.check_collections FOLDER...

FOLDER is a checkout of github.com/InstLatx64/InstLatx64 or of github.com/anrieff/libcpuid (its
`tests` folder); neither is part of this repository. Two independent answers are held against ours:
  - the results that libcpuid's authors recorded below the dash line of each `.test` file: the
    flags of each kind of core;
  - for AIDA64 dumps a decode of its own, below, which shares neither code nor table with the
    reader: the bits are written out by hand.
Exit code 1 if anything differs.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cpuprobe.assessment import Assessment, assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture

DASHES = "-" * 80

# libcpuid's name -> ours. What depends on more than one bit in libcpuid is left out.
LIBCPUID = {
    "fpu": "x87",
    "cx8": "cx8",
    "cmov": "cmov",
    "mmx": "mmx",
    "fxsr": "fxsr",
    "sse": "sse",
    "sse2": "sse2",
    "pni": "sse3",
    "ssse3": "ssse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "popcnt": "popcnt",
    "cx16": "cx16",
    "lahf_lm": "sahf",
    "xsave": "xsave",
    "avx": "avx",
    "f16c": "f16c",
    "fma3": "fma",
    "avx2": "avx2",
    "aes": "aes",
    "pclmul": "pclmul",
    "sha_ni": "sha",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "bmi2": "bmi2",
    "adx": "adx",
    "movbe": "movbe",
    "rdrand": "rdrnd",
    "rdseed": "rdseed",
    "rdtscp": "rdtscp",
    "rtm": "rtm",
    "3dnow": "3dnow",
    "3dnowprefetch": "prfchw",
    "sse4a": "sse4a",
    "xop": "xop",
    "fma4": "fma4",
    "tbm": "tbm",
    "avx512f": "avx512f",
    "avx512dq": "avx512dq",
    "avx512cd": "avx512cd",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512vnni",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512vbmi2",
}
# Read by libcpuid only on Intel (load_intel_features) or only on AMD (load_amd_features).
INTEL_ONLY = {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl", "avx512vnni"}
INTEL_ONLY |= {"avx512vbmi", "avx512vbmi2", "rtm"}
AMD_ONLY = {"3dnow", "prfchw", "sse4a", "xop", "fma4", "tbm"}

# The psABI's levels in libcpuid's names, SYSCALL standing for itself in `lm`. libcpuid's own level
# cannot be used: get_feature_level() looks only at the last feature of each list.
LEVELS = {
    "x86-64-v1": "lm cmov cx8 fpu fxsr mmx sse sse2",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma3 abm movbe osxsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}

# Written from the SDM and the APM by hand: name, leaf, subleaf, column (0 EAX to 3 EDX), bit.
BITS = """
x87 1 0 3 0, cx8 1 0 3 8, cmov 1 0 3 15, mmx 1 0 3 23, fxsr 1 0 3 24, sse 1 0 3 25, sse2 1 0 3 26,
sse3 1 0 2 0, pclmul 1 0 2 1, ssse3 1 0 2 9, fma 1 0 2 12, cx16 1 0 2 13, sse4.1 1 0 2 19,
sse4.2 1 0 2 20, movbe 1 0 2 22, popcnt 1 0 2 23, aes 1 0 2 25, xsave 1 0 2 26, avx 1 0 2 28,
f16c 1 0 2 29, rdrnd 1 0 2 30, fsgsbase 7 0 1 0, bmi 7 0 1 3, avx2 7 0 1 5, bmi2 7 0 1 8,
rtm 7 0 1 11, avx512f 7 0 1 16, avx512dq 7 0 1 17, rdseed 7 0 1 18, adx 7 0 1 19,
avx512ifma 7 0 1 21, clflushopt 7 0 1 23, clwb 7 0 1 24, avx512cd 7 0 1 28, sha 7 0 1 29,
avx512bw 7 0 1 30, avx512vl 7 0 1 31, avx512vbmi 7 0 2 1, pku 7 0 2 3, waitpkg 7 0 2 5,
avx512vbmi2 7 0 2 6, gfni 7 0 2 8, vaes 7 0 2 9, vpclmulqdq 7 0 2 10, avx512vnni 7 0 2 11,
avx512bitalg 7 0 2 12,
avx512vpopcntdq 7 0 2 14, rdpid 7 0 2 22, movdiri 7 0 2 27, movdir64b 7 0 2 28,
avx512vp2intersect 7 0 3 8, serialize 7 0 3 14, avx512fp16 7 0 3 23, amx-tile 7 0 3 24,
avxvnni 7 1 0 4, avx512bf16 7 1 0 5, avxifma 7 1 0 23, avxvnniint8 7 1 3 4, avxneconvert 7 1 3 5,
sahf 80000001 0 2 0, lzcnt 80000001 0 2 5, sse4a 80000001 0 2 6, prfchw 80000001 0 2 8,
xop 80000001 0 2 11, fma4 80000001 0 2 16, tbm 80000001 0 2 21, rdtscp 80000001 0 3 27,
3dnow 80000001 0 3 31
"""


def hand_decode(text: str) -> dict[str, bool]:
    """What every CPU of an AIDA64 dump enumerates; a feature of an unrecorded leaf is left out."""
    cpus: list[dict[tuple[int, int], list[int]]] = []
    for line in text.replace("\r", "\n").split("\n"):
        words = line.replace("CPUID", " ", 1).replace(":", " ", 1).replace("-", " ").split()[:5]
        if "CPUID " not in line or len(words) < 5 or any(len(word) != 8 for word in words):
            continue
        try:
            leaf, *registers = (int(word, 16) for word in words)
        except ValueError:
            continue
        if leaf == 0 or not cpus:
            cpus.append({})
        subleaf = int(line.split("[SL ")[1].split("]")[0], 16) if "[SL " in line else 0
        cpus[-1].setdefault((leaf, subleaf), registers)
    answer: dict[str, bool] = {}
    for row in BITS.replace("\n", " ").split(","):
        name, *numbers = row.split()
        leaf, subleaf, column, bit = int(numbers[0], 16), *map(int, numbers[1:])
        said = [_hand_bit(cpu, leaf, subleaf, column, bit) for cpu in cpus]
        if said and None not in said:
            answer[name] = all(said)
    return answer


def _hand_bit(
    cpu: dict[tuple[int, int], list[int]], leaf: int, subleaf: int, column: int, bit: int
) -> bool | None:
    maximum = cpu.get((leaf & 0x80000000, 0))
    if maximum is None:
        return None
    if leaf > maximum[0] or (leaf & 0x80000000 and maximum[0] >> 16 != 0x8000):
        return False
    if subleaf and (7, 0) in cpu and cpu[7, 0][0] < subleaf:
        return False
    registers = cpu.get((leaf, subleaf))
    return None if registers is None else registers[column] >> bit & 1 == 1


def recorded_results(text: str) -> Iterator[set[str]]:
    """The flags of each kind of core in a `.test` file of libcpuid."""
    _, *kinds = re.split(rf"(?m)^{DASHES}\r?$", text)
    for kind in kinds:
        rows = kind.strip().splitlines()
        if len(rows) > 3:
            yield set(rows[-1].split())


def differences(path: Path, assessment: Assessment, text: str) -> Iterator[str]:
    """Where the independent answers differ from ours, in words without the file's name."""
    ours = {name: each.cpuid for name, each in assessment.features.items()}
    if "basic_cpuid[" not in text:
        for name, value in hand_decode(text.split(DASHES, maxsplit=1)[0]).items():
            if ours[name] is not value:
                yield f"hand decode: {name} {value}, ours {ours[name]}"
    results = list(recorded_results(text)) if path.suffix == ".test" else []
    if not results:
        return
    vendor = assessment.identity.vendor
    common = set.intersection(*results)
    level = None
    for name, flags in LEVELS.items():
        if not common.issuperset(flags.split()):
            break
        level = name
    # libcpuid reads AVX-512 on Intel only.
    if level != assessment.advertised_level and (vendor == "GenuineIntel" or level != "x86-64-v3"):
        yield f"level by libcpuid's flags {level}, ours {assessment.advertised_level}"
    for flag, name in LIBCPUID.items():
        if (name in INTEL_ONLY and vendor != "GenuineIntel") or (
            name in AMD_ONLY and vendor not in ("AuthenticAMD", "HygonGenuine")
        ):
            continue
        if (flag in common) is not (ours[name] is True):
            yield f"libcpuid: {name} {flag in common}, ours {ours[name]}"


def check(folders: list[Path]) -> int:
    """Prints counts and differences; the number of files with a difference."""
    counts: Counter[str] = Counter()
    found: dict[str, list[str]] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix not in (".txt", ".test") or "arm" in path.parts:
            continue
        content = path.read_bytes()
        text = content.decode("latin-1")
        if "basic_cpuid[" not in text and not re.search(r"CPUID +0{7}[01]\b", text):
            continue
        counts["dumps"] += 1
        try:
            observation = parse_capture(content)
        except CaptureError as error:
            found.setdefault(f"refused: {error}", []).append(path.name)
            continue
        counts[f"read as {observation.source}"] += 1
        assessment = assess(observation)
        counts[f"level {assessment.advertised_level}"] += 1
        counts[f"vendor {assessment.identity.vendor}"] += 1
        counts["with libcpuid's results"] += bool(list(recorded_results(text)))
        bad = list(differences(path, assessment, text))
        counts["with a difference"] += bool(bad)
        for each in bad:
            found.setdefault(each, []).append(path.name)
    for key, number in sorted(counts.items()):
        print(f"{number:6} {key}")
    for what, names in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(names):6} {what}: {', '.join(names[:4])}")
    return counts["with a difference"]


if __name__ == "__main__":
    sys.exit(bool(check([Path(argument) for argument in sys.argv[1:]])))

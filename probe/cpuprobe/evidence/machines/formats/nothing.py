"""What looks like a machine's and is none, with the reason; and build flags and guesses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_KINDS = (
    (
        re.compile(
            r"^Recognized CPUID flags:|^x86 +(?:qemu64|EPYC|Haswell)[\w-]* {2,}|^x86 +base +", re.M
        ),
        "lists what QEMU can emulate (-cpu help), which describes no machine",
    ),
    (
        re.compile(r"\bsystem_info: n_threads|\bAVX = [01] \| AVX2? = [01]"),
        "lists what a llama.cpp was built for (system_info), not what the machine has",
    ),
    (
        re.compile(r"^[ \t]*FCMOV: +(?:Supported|Unsupported)", re.M),
        "is Steam's list, which is known to be wrong about features",
    ),
    (
        re.compile(
            r"\bcpuprobe inspect\b.{0,400}?Whole report \(JSON|Whole report \(JSON,? for\b", re.S
        ),
        "a cpuprobe report whose data was cut out: the JSON block at its end is what is read, paste"
        " all of it",
    ),
)


def _read(paste: Paste) -> Iterator[Sighting]:
    for expression, reason in _KINDS:
        match = expression.search(paste.text)
        if match is not None:
            line = paste.text.count("\n", 0, match.start())
            yield Sighting(source="nothing", line=line, nothing=reason)


FORMAT = Format(
    title="qemu -cpu help, llama.cpp's system_info, Steam's list of CPU features",
    carries="nothing of a machine: they are refused by name",
    evidence="none",
    read=_read,
)

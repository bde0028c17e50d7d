"""What looks like a machine's and is none, with the reason; and build flags and guesses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_KINDS = (
    (
        r"^[ \t]*Recognized CPUID flags:|^[ \t]*x86 +(?:qemu64|EPYC|base)[\w-]* +",
        "lists what QEMU can emulate (-cpu help), which describes no machine",
    ),
    (
        r"\bsystem_info: n_threads|\bAVX = [01] \|\s{1,8}AVX2? = [01]",
        "lists what a llama.cpp was built for (system_info), not what the machine has",
    ),
    (
        r"^[ \t]*Dispatched code generation: ",
        "lists what an OpenCV was built for (getBuildInformation), not what the machine has",
    ),
    (
        r"^[ \t]*FCMOV: +[^\W\d]",
        "is Steam's list, which is known to be wrong about features",
    ),
    (
        r"Whole report \(JSON, for cpuprobe inspect\)|The JSON is not here"
        r"|^feature +CPUID +OS +kernel +executed +state|^psABI level: .* safe, .* advertised by",
        "is a cpuprobe report whose data was cut out: it is the block at its end that is read,"
        " so paste all of it",
    ),
)


def _read(paste: Paste) -> Iterator[Sighting]:
    for expression, reason in _KINDS:
        match = re.search(expression, paste.text, re.MULTILINE)
        if match is not None:
            line = paste.text.count("\n", 0, match.start())
            yield Sighting(source="nothing", line=line, nothing=reason)


FORMAT = Format(
    title="qemu -cpu help, llama.cpp's system_info, OpenCV's build information, Steam's list of"
    " CPU features",
    carries="nothing of a machine: they are refused by name",
    evidence="none",
    read=_read,
)

"""OpenSSL's `openssl info -cpusettings` and `openssl version -c`: OPENSSL_ia32cap words.

Leaf 1 EDX and ECX, then leaf 7 EBX and ECX (OPENSSL_ia32cap(3)); AVX, FMA and AVX-512 are cleared
where XCR0 has not got their state. `env:` says that the user has changed them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from cpuprobe.evidence.machines.names import claims_of_words
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_CAPS = re.compile(r"OPENSSL_ia32cap=0x([0-9a-f]{1,16}):0x([0-9a-f]{1,16})((?::0x[0-9a-f]+)*)(.*)")
_ARM = re.compile(r"OPENSSL_armcap=0x")
_OTHERS = re.compile(r"OPENSSL_(s390x|ppc|riscv)cap=")
_ISAS = {"s390x": "s390x", "ppc": "ppc64le", "riscv": "riscv64"}


def _read(paste: Paste) -> Iterator[Sighting]:
    for number, line in enumerate(paste.lines):
        if _ARM.search(line):
            yield Sighting(source="openssl", line=number, isa="aarch64")
            return
        if (other := _OTHERS.search(line)) is not None:
            yield Sighting(source="openssl", line=number, isa=_ISAS[other[1]])
            return
        match = _CAPS.search(line)
        if match is None:
            continue
        first, second = int(match[1], 16), int(match[2], 16)
        words = {
            (0x1, 0, "edx"): first & 0xFFFFFFFF,
            (0x1, 0, "ecx"): first >> 32,
            (0x7, 0, "ebx"): second & 0xFFFFFFFF,
            (0x7, 0, "ecx"): second >> 32,
        }
        claims = claims_of_words("openssl", words, with_os=True)
        if "env:" in match[4]:
            claims = msgspec.structs.replace(claims, no=())
        yield Sighting(source="openssl", line=number, claims=(claims,))
        return


FORMAT = Format(
    title="OpenSSL: openssl info -cpusettings (OPENSSL_ia32cap)",
    carries="CPUID words of leaves 1 and 7, masked by what XCR0 has on",
    evidence="cpuid",
    make="openssl info -cpusettings",
    read=_read,
)

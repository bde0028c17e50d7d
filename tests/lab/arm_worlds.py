"""The worlds of aarch64: real kernels that take features away, and CPUs that differ.

Facts were seen with QEMU 7.2.22 and Debian's 6.1.192-2 and 6.12.117-1~deb12u1. One boot has two
witnesses: the oracle (guest/oracle.c) proves the world itself, whether cpuprobe is right or wrong;
names that begin with `native-` are what cpuprobe has to say of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.lab.architecture import AARCH64
from tests.lab.expect import Codes, Judged, Text, Words
from tests.lab.world import World

# The architected signature (QARMA) is slow to emulate: a boot takes five times as long with it.
MAX = "max,pauth-impdef=on"
_MTE = ("-machine", "mte=on")

# arm64.nomte and its like (Documentation/admin-guide/kernel-parameters.txt).
WITHHELD = "arm64.nosve arm64.nosme arm64.nopauth arm64.nobti arm64.nomte"

_EVERYWHERE = ("fp-armv8", "neon", "aes", "pmull", "sha1", "sha2", "crc")
_LATER = ("lse", "rdm", "fullfp16", "asimdhp", "dotprod", "rcpc", "ccpp")
_LATEST = (
    *("fp16fml", "sha512", "sha3", "sm3", "sm4", "bf16", "i8mm", "jsconv", "complxnum"),
    *("rcpc-immo", "dit", "flagm", "altnzcv", "fptoint", "ccdp", "sb", "ssbs", "rand"),
)
_SVE = (
    *("sve", "f32mm", "f64mm", "svebf16", "svei8mm", "sve2", "sve2-aes", "svepmull"),
    *("sve2-bitperm", "sve2-sha3", "sve2-sm4"),
)
_EFFECTS = ("pauth", "bti", "mte")
_FLAGS = ("lse", "pauth", "fp16", "dotprod", "i8mm")


_USABLE = (*_EVERYWHERE, *_LATER, *_LATEST)

# Neoverse V2 r0p2, whose manual tells of SVE2, signatures, BTI and LSE2 (which QEMU 7.2 has not).
_V2 = f"{MAX},midr=0x410fd4f2"
_V2_SVE = ("sve", "svebf16", "svei8mm", "sve2", "sve2-bitperm")


def _proved(
    runs: Sequence[str], faults: Sequence[str], effects: Sequence[str], features: Words
) -> Mapping[str, object]:
    """What the oracle has to say."""
    return {
        "status": "exit 0",
        "stderr": "",
        **{f"runs/{name}": "ok" for name in runs},
        **{f"runs/{name}": "sigill" for name in faults},
        **{f"effects/{name}": int(name in effects) for name in _EFFECTS},
        "features": features,
    }


def _judged(
    codes: Sequence[str], flags: Sequence[str], **states: Sequence[str]
) -> Mapping[str, object]:
    """What cpuprobe has to say: features by state, findings, wasmtime 50's flags that are on."""
    return {
        "status": "exit 0",
        "stderr": "",
        "assessment/features": Judged(states),
        "assessment/findings": Codes(codes),
        "assessment/cranelift": {f"has_{name}": name in flags for name in _FLAGS},
    }


def _both(
    name: str,
    *,
    shows: str,
    proved: Mapping[str, object],
    judged: Mapping[str, object],
    **machine: Any,
) -> tuple[World, World]:
    """One machine as the oracle and as cpuprobe-native see it."""
    machine |= {"kind": "kernel", "architecture": AARCH64, "shows": shows}
    return (
        World(name, program="oracle", expect=proved, **machine),
        World(f"native-{name}", program="arm-native", expect=judged, **machine),
    )


ARM_WORLDS: tuple[World, ...] = (
    *_both(
        "arm64-a72",
        cpu="cortex-a72",
        shows="no LSE, nothing later than Armv8.0",
        proved=_proved(
            _EVERYWHERE,
            (*_LATER, *_LATEST, *_SVE, "pauth", "pacga", "mte"),
            (),
            Words(["aes", "crc32"], ["atomics"]),
        ),
        judged={
            **_judged([], [], usable=_EVERYWHERE),
            "assessment/level": "armv8.0-a",
        },
    ),
    *_both(
        "arm64-max",
        cpu=MAX,
        options=_MTE,
        shows="SVE2, signatures, tags: all that 6.1 lets through",
        proved=_proved(
            (*_USABLE, *_SVE, "pauth", "pacga", "mte"),
            (),
            _EFFECTS,
            Words(["atomics", "sve2", "paca", "pacg", "bti", "mte"], ["sme"]),
        ),
        judged={
            **_judged([], _FLAGS, usable=(*_USABLE, *_SVE, "pauth", "pacga", "mte")),
        },
    ),
    *_both(
        "arm64-withheld",
        cpu=_V2,
        options=_MTE,
        append=WITHHELD,
        shows="CP102 and its word; PACGA and GMI run unlisted: CP203",
        # The kernel hides SSBS for an erratum of this core.
        proved=_proved(
            (*_USABLE, "pauth", "pacga", "mte"),
            _SVE,
            (),
            Words(["atomics"], ["sve", "sve2", "paca", "pacg", "bti", "mte", "ssbs"]),
        ),
        judged={
            **_judged(
                ["CP102", "CP203", "CP403"],
                ("lse", "fp16", "dotprod", "i8mm"),
                usable=[name for name in _USABLE if name != "ssbs"],
                withheld=(*_V2_SVE, "pauth", "bti", "lse2"),
                hidden=("pacga", "mte", "ssbs"),
            ),
            **{
                f"assessment/findings[cause=the kernel command line says {word}]/features": names
                for word, names in (
                    ("arm64.nosve", list(_V2_SVE)),
                    ("arm64.nomte", ["mte"]),
                )
            },
            "assessment/findings[code=CP403]/features": ["lse2"],
        },
    ),
    *_both(
        "arm64-fields",
        cpu=MAX,
        append="id_aa64isar0.atomic=0 id_aa64isar1.gpi=0 id_aa64pfr1.bt=0",
        shows="6.1 takes GPI and BT, and ignores ISAR0.Atomic",
        # Tags are the board's to give: without mte=on there are none, and GMI is undefined.
        proved=_proved(
            (*_USABLE, *_SVE, "pauth", "pacga"),
            ("mte",),
            ("pauth",),
            Words(["atomics", "paca", "sve"], ["pacg", "bti"]),
        ),
        judged={
            **_judged(["CP203"], _FLAGS, usable=(*_USABLE, *_SVE, "pauth"), hidden=("pacga",)),
            "assessment/findings[code=CP203]/cause": Text(r"says id_aa64isar1\.gpi=0$"),
        },
    ),
    *_both(
        "arm64-n1-6.12",
        cpu="neoverse-n1",
        series="6.12",
        shows="an erratum hides SSBS, which runs",
        proved=_proved(
            (*_EVERYWHERE, *_LATER, "ssbs"),
            (*_SVE, "pauth", "pacga", "bf16", "i8mm", "flagm", "dit"),
            (),
            Words(["atomics", "asimddp", "dcpop"], ["ssbs"]),
        ),
        judged={
            **_judged(
                ["CP203"],
                ("lse", "fp16", "dotprod"),
                usable=(*_EVERYWHERE, *_LATER),
                hidden=("ssbs",),
            ),
            "assessment/level": "armv8.2-a",
        },
    ),
    World(
        name="arm64-uneven-glibc",
        kind="kernel",
        cpu=MAX,
        smp="2",
        cpuset="1",
        lost=((1, "sve"),),
        architecture=AARCH64,
        program="oracle",
        shows="CPU 1 lost SVE: glibc's own memcpy dies there",
        expect={"status": "signal 4", "stdout": ""},
    ),
    World(
        name="arm64-uneven",
        kind="kernel",
        cpu=MAX,
        smp="2",
        lost=((1, "sve"),),
        architecture=AARCH64,
        program="arm-native",
        shows="the kernel claims SVE on both, CPU 1 dies: CP301",
        expect={
            "status": "exit 0",
            "stderr": "",
            **_judged(
                ["CP104", "CP201", "CP301"],
                _FLAGS,
                usable=(*_USABLE, "pauth", "pacga"),
                uneven=_SVE,
            ),
            "assessment/findings[code=CP301]/cpus": [0, 1],
            "assessment/findings[code=CP301]/evidence": Text(
                "(?m)^sve: broken on CPU 1, usable on CPU 0$"
            ),
            "assessment/findings[code=CP201]/cpus": [1],
        },
    ),
)

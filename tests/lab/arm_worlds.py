"""The worlds of aarch64: real kernels that take features away, and CPUs that differ.

Facts were seen with QEMU 7.2.22 and Debian's 6.1.192-2 and 6.12.117-1~deb12u1. The program `oracle`
(guest/oracle.c) proves the world itself: it holds whether cpuprobe is right or wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.lab.architecture import AARCH64
from tests.lab.expect import Words
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


def _proved(
    runs: Sequence[str], faults: Sequence[str], effects: Sequence[str], features: Words
) -> Mapping[str, object]:
    """What the oracle has to say."""
    return {
        "status": "exit 0",
        **{f"runs/{name}": "ok" for name in runs},
        **{f"runs/{name}": "sigill" for name in faults},
        **{f"effects/{name}": int(name in effects) for name in _EFFECTS},
        "features": features,
    }


ARM_WORLDS: tuple[World, ...] = (
    World(
        name="arm64-a72",
        kind="kernel",
        cpu="cortex-a72",
        architecture=AARCH64,
        program="oracle",
        shows="no LSE, nothing later than Armv8.0",
        expect=_proved(
            _EVERYWHERE,
            (*_LATER, *_LATEST, *_SVE, "pauth", "pacga", "mte"),
            (),
            Words(["aes", "crc32"], ["atomics"]),
        ),
    ),
    World(
        name="arm64-max",
        kind="kernel",
        cpu=MAX,
        options=_MTE,
        architecture=AARCH64,
        program="oracle",
        shows="SVE2, signatures, tags: all that 6.1 lets through",
        expect=_proved(
            (*_EVERYWHERE, *_LATER, *_LATEST, *_SVE, "pauth", "pacga", "mte"),
            (),
            _EFFECTS,
            Words(["atomics", "sve2", "paca", "pacg", "bti", "mte"], ["sme"]),
        ),
    ),
    World(
        name="arm64-withheld",
        kind="kernel",
        cpu=MAX,
        options=_MTE,
        append=WITHHELD,
        architecture=AARCH64,
        program="oracle",
        shows="no SVE; PACIA does nothing, PACGA and GMI run unlisted",
        expect=_proved(
            (*_EVERYWHERE, *_LATER, *_LATEST, "pauth", "pacga", "mte"),
            _SVE,
            (),
            Words(["atomics"], ["sve", "sve2", "paca", "pacg", "bti", "mte"]),
        ),
    ),
    World(
        name="arm64-fields",
        kind="kernel",
        cpu=MAX,
        append="id_aa64isar0.atomic=0 id_aa64isar1.gpi=0 id_aa64pfr1.bt=0",
        architecture=AARCH64,
        program="oracle",
        shows="6.1 takes GPI and BT, and ignores ISAR0.Atomic",
        # Tags are the board's to give: without mte=on there are none, and GMI is undefined.
        expect=_proved(
            (*_EVERYWHERE, *_LATER, *_LATEST, *_SVE, "pauth", "pacga"),
            ("mte",),
            ("pauth",),
            Words(["atomics", "paca", "sve"], ["pacg", "bti"]),
        ),
    ),
    World(
        name="arm64-n1-6.12",
        kind="kernel",
        cpu="neoverse-n1",
        series="6.12",
        architecture=AARCH64,
        program="oracle",
        shows="an erratum hides SSBS, which runs",
        expect=_proved(
            (*_EVERYWHERE, *_LATER, "ssbs"),
            (*_SVE, "pauth", "pacga", "bf16", "i8mm", "flagm", "dit"),
            (),
            Words(["atomics", "asimddp", "dcpop"], ["ssbs"]),
        ),
    ),
    World(
        name="arm64-uneven",
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
)

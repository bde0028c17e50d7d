"""The worlds: machines nobody here owns, each with what it has to show.

Facts in comments were seen with QEMU 7.2.22 and Debian's 6.1.192-2, 6.12.117-1~deb12u1 and
5.10.262-1. Worlds of the program `probe` (guest/probe.c) prove the lab itself: they hold whether
cpuprobe is right or wrong.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.arm_worlds import ARM_WORLDS
from tests.lab.expect import Text, Words
from tests.lab.verdicts import VERDICTS
from tests.lab.world import (
    FORCE,
    GRACEMONT,
    ICELAKE,
    LIAR,
    SKYLAKE,
    USER_LIAR,
    VNNI_CLAIM,
    World,
)

_RUNS = {"avx": "ok", "avx2": "ok", "fma": "ok", "f16c": "ok"}
_NO_YMM = {"avx": "sigill", "avx2": "sigill", "fma": "sigill", "f16c": "sigill"}
_GENERAL = {"bmi1": "ok", "bmi2": "ok", "lzcnt": "ok", "popcnt": "ok", "sse41": "ok"}
_ENDS_WELL = {"status": "exit 0", "stderr": ""}

# YMM off, whatever the reason: XCR0 without bit 2, and the general-register VEX forms go on
# working. All three kernels go on listing f16c, which faults.
_YMM_OFF = {
    **_ENDS_WELL,
    **_NO_YMM,
    **_GENERAL,
    "xcr0": "0x3",
    "flags": Words(["f16c", "xsave"], ["avx", "avx2", "fma"]),
}
_YMM_ON = {
    **_ENDS_WELL,
    **_RUNS,
    **_GENERAL,
    "xcr0": "0x7",
    "flags": Words(["avx", "avx2", "fma", "f16c"]),
}

# CPUID as Skylake-Client shows it in every one of its worlds: AVX, FMA, F16C and OSXSAVE; AVX2,
# BMI1, BMI2.
_SKYLAKE_CLAIMS = {"leaf1_eax": "0x506e3", "leaf1_ecx": "0x7ed83203", "leaf7_ebx": "0x1803a9"}
_GDS_OFF = "Mitigation: AVX disabled, no microcode"

_GDS_WORLDS = (
    *(
        World(
            name=f"gds-force-{series}",
            kind="kernel",
            cpu=SKYLAKE,
            append=FORCE,
            series=series,
            shows="CPUID claims AVX, GDS took YMM from XCR0",
            expect={
                **_YMM_OFF,
                **_SKYLAKE_CLAIMS,
                "gds": _GDS_OFF,
                "version": Text(rf"^Linux version {series}\."),
            },
        )
        for series in ("6.1", "6.12", "5.10")
    ),
    World(
        name="gds-vulnerable",
        kind="kernel",
        cpu=SKYLAKE,
        shows="old microcode, no force: AVX runs",
        expect={**_YMM_ON, **_SKYLAKE_CLAIMS, "gds": "Vulnerable: No microcode"},
    ),
    World(
        name="gds-guest",
        kind="kernel",
        cpu="Skylake-Client",
        append=FORCE,
        shows="hypervisor bit: force does nothing",
        # Bit 31 of CPUID.1:ECX is the only difference to _SKYLAKE_CLAIMS.
        expect={
            **_YMM_ON,
            "leaf1_ecx": "0xfed83203",
            "gds": "Unknown: Dependent on hypervisor status",
        },
    ),
    World(
        name="gds-force-cascadelake",
        kind="kernel",
        cpu="Cascadelake-Server,-hypervisor",
        append=FORCE,
        shows="as Skylake; TCG leaves AVX-512 out of the model",
        # XCR0 bit 9 is PKRU.
        expect={
            **_YMM_OFF,
            "xcr0": "0x203",
            "leaf7_ebx": "0x19803a9",
            "avx512f": "sigill",
            "gds": _GDS_OFF,
        },
    ),
    World(
        name="gds-force-icelake",
        kind="kernel",
        cpu=ICELAKE,
        append=FORCE,
        shows="as Skylake; TCG leaves AVX-512 out of the model",
        expect={**_YMM_OFF, "xcr0": "0x203", "avx512f": "sigill", "gds": _GDS_OFF},
    ),
    World(
        name="gracemont-force",
        kind="kernel",
        cpu=GRACEMONT,
        append=FORCE,
        shows="Alder Lake-N is not affected: AVX stays",
        expect={**_YMM_ON, "leaf1_eax": "0xb06e0", "gds": "Not affected"},
    ),
    World(
        name="gracemont-clearcpuid",
        kind="kernel",
        cpu=GRACEMONT,
        append=f"{FORCE} clearcpuid=avx",
        shows="AVX goes, but not because of GDS",
        expect={**_YMM_OFF, "leaf1_eax": "0xb06e0", "gds": "Not affected"},
    ),
    World(
        name="gds-guest-clearcpuid",
        kind="kernel",
        cpu="Skylake-Client",
        append=f"{FORCE} clearcpuid=avx",
        shows="AVX goes in a guest, but not because of GDS",
        expect={**_YMM_OFF, "leaf1_ecx": "0xfed83203", "gds": "Not affected"},
    ),
    World(
        name="epyc-force",
        kind="kernel",
        cpu="EPYC,-hypervisor",
        append=FORCE,
        shows="AMD is not affected: AVX stays",
        expect={**_YMM_ON, "vendor": "AuthenticAMD", "sse4a": "ok", "gds": "Not affected"},
    ),
)

_CHOICES_OF_THE_KERNEL = (
    World(
        name="clearcpuid-avx2",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx2",
        shows="unlisted only: AVX2 still runs",
        expect={
            **_YMM_ON,
            **_SKYLAKE_CLAIMS,
            "flags": Words(["avx", "fma", "f16c"], ["avx2"]),
        },
    ),
    World(
        name="clearcpuid-avx",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx",
        shows="YMM leaves XCR0; GDS says Not affected",
        # cpu_set_bug_bits() in arch/x86/kernel/cpu/common.c wants AVX beside the model for
        # X86_BUG_GDS.
        expect={**_YMM_OFF, **_SKYLAKE_CLAIMS, "gds": "Not affected"},
    ),
    World(
        name="clearcpuid-avx-force",
        kind="kernel",
        cpu=SKYLAKE,
        append=f"clearcpuid=avx {FORCE}",
        shows="both options: clearcpuid is what did it",
        expect={**_YMM_OFF, **_SKYLAKE_CLAIMS, "gds": "Not affected"},
    ),
    World(
        name="clearcpuid-word-5.10",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx",
        series="5.10",
        shows="5.10 takes numbers only: the word does nothing",
        expect={**_YMM_ON, **_SKYLAKE_CLAIMS, "gds": "Vulnerable: No microcode"},
    ),
    World(
        name="clearcpuid-number-5.10",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=156",
        series="5.10",
        shows="156 is X86_FEATURE_AVX (4*32+28): YMM off",
        expect={**_YMM_OFF, **_SKYLAKE_CLAIMS, "gds": "Not affected"},
    ),
    World(
        name="noxsave",
        kind="kernel",
        cpu=SKYLAKE,
        append="noxsave",
        shows="no OSXSAVE: XGETBV itself faults",
        expect={
            **_ENDS_WELL,
            **_NO_YMM,
            **_GENERAL,
            "xcr0": None,
            "leaf1_ecx": "0x76d83203",  # Bit 27, OSXSAVE, is off; bit 26, XSAVE, on.
            "flags": Words(["f16c"], ["xsave", "avx", "avx2", "fma"]),
            "gds": "Not affected",
        },
    ),
    World(
        name="nofsgsbase",
        kind="kernel",
        cpu=SKYLAKE,
        append="nofsgsbase",
        shows="CPUID claims FSGSBASE, CR4 does not allow it",
        # CPUID.07H:EBX bit 0 is FSGSBASE.
        expect={
            **_YMM_ON,
            **_SKYLAKE_CLAIMS,
            "fsgsbase": "sigill",
            "flags": Words(["avx", "avx2"], ["fsgsbase"]),
        },
    ),
    World(
        name="gds-force-nofsgsbase",
        kind="kernel",
        cpu=SKYLAKE,
        append=f"{FORCE} nofsgsbase",
        shows="both are gone",
        expect={**_YMM_OFF, **_SKYLAKE_CLAIMS, "fsgsbase": "sigill", "gds": _GDS_OFF},
    ),
    World(
        name="nopku",
        kind="kernel",
        cpu="Cascadelake-Server,-hypervisor",
        append="nopku",
        shows="6.1 lists pku and not ospke; RDPKRU faults",
        expect={
            **_YMM_ON,
            "xcr0": "0x207",
            "pku": "sigill",
            "fsgsbase": "ok",
            "flags": Words(["pku"], ["ospke"]),
        },
    ),
    World(
        name="pku",
        kind="kernel",
        cpu="Cascadelake-Server,-hypervisor",
        shows="without the option RDPKRU runs",
        expect={
            **_YMM_ON,
            "xcr0": "0x207",
            "pku": "ok",
            "fsgsbase": "ok",
            "flags": Words(["pku", "ospke"]),
        },
    ),
    World(
        name="mitigations-off",
        kind="kernel",
        cpu=SKYLAKE,
        append="mitigations=off",
        shows="AVX runs",
        expect={**_YMM_ON, "gds": "Vulnerable: No microcode"},
    ),
    World(
        name="avx-vnni-listed-6.1",
        kind="kernel",
        cpu=VNNI_CLAIM,
        shows="6.1 knows the name avx_vnni",
        expect={**_YMM_ON, "flags": Words(["avx_vnni"])},
    ),
    World(
        name="avx-vnni-unlisted-5.10",
        kind="kernel",
        cpu=VNNI_CLAIM,
        series="5.10",
        shows="5.10 does not: its silence means nothing",
        expect={
            **_YMM_ON,
            "flags": Words(["avx2"], ["avx_vnni"]),
            "version": Text(r"^Linux version 5\.10\."),
        },
    ),
)

_NUMBERS_OF_CPUS = (
    World(
        name="gds-force-smp4",
        kind="kernel",
        cpu=SKYLAKE,
        append=FORCE,
        smp="4",
        shows="four CPUs, all without YMM",
        expect={**_YMM_OFF, "online": "0-3", "listed_cpus": 4, "allowed_cpus": 4, "gds": _GDS_OFF},
    ),
    World(
        name="nosmp",
        kind="kernel",
        cpu=SKYLAKE,
        append="nosmp",
        smp="4",
        shows="one of four CPUs",
        expect={**_YMM_ON, "online": "0", "listed_cpus": 1, "allowed_cpus": 1},
    ),
    World(
        name="maxcpus-2",
        kind="kernel",
        cpu=SKYLAKE,
        append="maxcpus=2",
        smp="4",
        shows="two of four CPUs",
        expect={**_YMM_ON, "online": "0-1", "listed_cpus": 2, "allowed_cpus": 2},
    ),
    World(
        name="cpuset-1",
        kind="kernel",
        cpu=SKYLAKE,
        smp="4",
        cpuset="2",
        shows="four online, one allowed",
        expect={**_YMM_ON, "online": "0-3", "listed_cpus": 4, "allowed_cpus": 1},
    ),
)

# Opteron_G4 and G5 (family 15h) are user worlds only: under QEMU 7.2 a 6.1 kernel stops after
# "Speculative Store Bypass" on them, with retbleed=off or mitigations=off too.
_OTHER_CPUS = (
    World(
        name="nehalem",
        kind="kernel",
        cpu="Nehalem,-hypervisor",
        shows="no AVX, no XSAVE; LZCNT runs as BSR",
        expect={
            **_ENDS_WELL,
            **_NO_YMM,
            "xcr0": None,
            "bmi1": "sigill",
            "bmi2": "sigill",
            "lzcnt": "wrong",
            "popcnt": "ok",
            "sse41": "ok",
            "flags": Words(["sse4_1", "sse4_2", "popcnt"], ["avx", "xsave", "abm"]),
        },
    ),
    World(
        name="conroe",
        kind="kernel",
        cpu="Conroe,-hypervisor",
        shows="no SSE4.1, no POPCNT",
        expect={
            **_ENDS_WELL,
            **_NO_YMM,
            "popcnt": "sigill",
            "sse41": "sigill",
            "lzcnt": "wrong",
            "flags": Words(["ssse3"], ["sse4_1", "popcnt", "abm"]),
        },
    ),
    World(
        name="opteron-g3",
        kind="kernel",
        cpu="Opteron_G3,-hypervisor",
        shows="AMD: SSE4A and LZCNT, no SSE4.1, no SSSE3",
        expect={
            **_ENDS_WELL,
            **_NO_YMM,
            "vendor": "AuthenticAMD",
            "sse4a": "ok",
            "lzcnt": "ok",
            "sse41": "sigill",
            # TCG cannot do misalignsse and 3dnowprefetch and leaves them out.
            "flags": Words(["abm", "sse4a", "popcnt"], ["sse4_1", "ssse3", "misalignsse"]),
        },
    ),
    *(
        World(
            name=f"liar-{series}",
            kind="kernel",
            cpu=LIAR,
            series=series,
            shows="XCR0 0xe7, kernel lists avx512f; it faults",
            expect={
                **_ENDS_WELL,
                **_RUNS,
                **_GENERAL,
                "leaf7_ebx": "0x303a9",  # Bits 16 and 17: AVX512F, AVX512DQ.
                "xcr0": "0xe7",
                "avx512f": "sigill",
                "flags": Words(["avx512f", "avx512dq"], ["avx512vl", "avx512bw"]),
            },
        )
        for series in ("6.1", "6.12")
    ),
    World(
        name="liar-vl-clearcpuid",
        kind="kernel",
        cpu=f"{LIAR},+avx512vl",
        append="clearcpuid=avx512vl",
        shows="CPUID claims avx512vl too; the kernel lives without",
        expect={
            **_ENDS_WELL,
            **_RUNS,
            **_GENERAL,
            "leaf7_ebx": "0x800303a9",  # Bit 31 besides: AVX512VL.
            "xcr0": "0xe7",
            "avx512f": "sigill",
            "flags": Words(["avx512f", "avx512dq"], ["avx512vl", "avx512bw"]),
        },
    ),
)

_FAKE_CPUINFO = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse sse2 avx avx2 avx512f\n"
)

_USER = (
    World(
        name="user-nehalem",
        kind="user",
        cpu="Nehalem",
        shows="SIGILL without a kernel's help; LZCNT as BSR",
        expect={
            "status": "exit 0",
            **_NO_YMM,
            "lzcnt": "wrong",
            "popcnt": "ok",
            "sse41": "ok",
            "xcr0": None,
        },
    ),
    World(
        name="user-opteron-g5",
        kind="user",
        cpu="Opteron_G5",
        shows="AVX, FMA, F16C, no AVX2, no BMI2",
        expect={
            "status": "exit 0",
            "avx": "ok",
            "fma": "ok",
            "f16c": "ok",
            "avx2": "sigill",
            "bmi2": "sigill",
            "sse4a": "ok",
            "vendor": "AuthenticAMD",
        },
    ),
    World(
        name="user-liar",
        kind="user",
        cpu=USER_LIAR,
        shows="CPUID and XCR0 claim AVX-512; it faults",
        expect={"status": "exit 0", **_RUNS, **_GENERAL, "xcr0": "0xe7", "avx512f": "sigill"},
    ),
    World(
        name="user-liar-cpuinfo",
        kind="user",
        cpu=USER_LIAR,
        files={"/proc/cpuinfo": _FAKE_CPUINFO},
        shows="the same, and a /proc/cpuinfo that agrees",
        expect={
            "status": "exit 0",
            "avx512f": "sigill",
            "listed_cpus": 1,
            "flags": Words(["avx512f"], ["sse4_1"]),
        },
    ),
)

_ASK_WASMTIME = (Path(__file__).parent / "guest" / "wasmtime_flags.py").read_text()
_SSE_FLAGS = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_cmpxchg16b",
    "has_lzcnt",
]
_YMM_FLAGS = ["has_avx", "has_avx2", "has_fma"]
_BMI_FLAGS = ["has_bmi1", "has_bmi2"]
_AVX512_FLAGS = [f"has_avx512{name}" for name in ("f", "vl", "dq", "vbmi", "bitalg", "vnni")]


def _accepts(yes: list[str], no: list[str]) -> dict[str, object]:
    answers = [(flag, True) for flag in yes] + [(flag, False) for flag in no]
    return {f"accepts/{flag}": answer for flag, answer in answers}


# Depth 2: Python and wasmtime in the guest. BMI runs there (see gds-force-*), yet Rust's detector
# hides BMI1 and BMI2 on Intel without AVX (SKL052), so wasmtime refuses them.
_FULL_ROOT = (
    World(
        name="wasmtime-gds-force",
        kind="kernel",
        cpu=SKYLAKE,
        append=FORCE,
        program="python",
        args=("-c", _ASK_WASMTIME),
        timeout=120,
        shows="wasmtime runs, refuses avx, avx2, fma, bmi1, bmi2",
        expect={
            "status": "exit 0",
            "answer": 42,
            **_accepts(_SSE_FLAGS, [*_YMM_FLAGS, *_BMI_FLAGS, *_AVX512_FLAGS, "has_avx_vnni"]),
        },
    ),
    World(
        name="wasmtime-gds-vulnerable",
        kind="kernel",
        cpu=SKYLAKE,
        program="python",
        args=("-c", _ASK_WASMTIME),
        timeout=120,
        shows="wasmtime accepts all but AVX-512 and AVX-VNNI",
        expect={
            "status": "exit 0",
            "answer": 42,
            **_accepts([*_SSE_FLAGS, *_YMM_FLAGS, *_BMI_FLAGS], [*_AVX512_FLAGS, "has_avx_vnni"]),
        },
    ),
)

WORLDS: tuple[World, ...] = (
    *_GDS_WORLDS,
    *_CHOICES_OF_THE_KERNEL,
    *_NUMBERS_OF_CPUS,
    *_OTHER_CPUS,
    *_USER,
    *_FULL_ROOT,
    *VERDICTS,
    *ARM_WORLDS,
)

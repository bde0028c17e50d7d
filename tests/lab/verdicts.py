"""The worlds that ask cpuprobe itself, with the verdict each must get.

Twins of the worlds that `worlds.py` proves without cpuprobe. Names that begin with `native-` run
cpuprobe-native, whose output is assessed here; those that begin with `cpuprobe-` run the installed
command and the installed wasmtime in the guest (guest/verdict.py).

What is expected is written down from what the kernels do (docs/lab.md) and from the contract of the
report; nothing is copied from what cpuprobe said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.lab.expect import MISSING, Below, Codes, Not, States, Text, Words
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

Expected = Mapping[str, object]

# All that wasmtime 50 knows.
_FLAGS = (
    "has_sse3",
    "has_ssse3",
    "has_cmpxchg16b",
    "has_sse41",
    "has_sse42",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_avx_vnni",
    "has_avx512bitalg",
    "has_avx512dq",
    "has_avx512vl",
    "has_avx512vbmi",
    "has_avx512f",
    "has_avx512vnni",
    "has_apx",
    "has_popcnt",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
)
_SSE_FLAGS = ("has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b")
_V2_FLAGS = (*_SSE_FLAGS, "has_lzcnt")
_V3_FLAGS = (*_V2_FLAGS, "has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2")


def _flags(on: Iterable[str]) -> dict[str, bool]:
    """Every flag of wasmtime 50, true for those in `on`."""
    return {flag: flag in set(on) for flag in _FLAGS}


# QEMU 7.2 decodes RDSEED wherever it has RDRAND and leaves RDSEED's bit out of CPUID: hidden, and
# CP203. Later versions have both.
_RDSEED = ("rdseed",)
_MAY = ("CP203",)

_SSE = ("sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16")
_GENERAL = ("lzcnt", "bmi", "bmi2", "movbe")
_YMM = ("avx", "f16c", "fma", "avx2")
_ENDS_WELL = {"status": "exit 0", "stderr": ""}

# The kernel's file as evidence, word for word.
_GDS_FILE = "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling"
_GDS_OFF_LINE = Text(rf"(?m)^{_GDS_FILE}: Mitigation: AVX disabled, no microcode$")
_GDS_CAUSE = Text(r"Gather Data Sampling \(GDS")

_NO_YMM = {
    **_ENDS_WELL,
    "assessment/basis": "executed",
    "assessment/verdict": "mismatch",
    "assessment/level": "x86-64-v2",
    "assessment/advertised_level": "x86-64-v3",
    "assessment/features": States(
        {"withheld": _YMM}, usable=(*_SSE, *_GENERAL, "aes", "adx", "xsave"), leaving=_RDSEED
    ),
    "assessment/features/avx/cpuid": True,
    "assessment/features/avx/os": False,
    "assessment/features/avx/kernel": False,
    "assessment/features/avx/ran": "sigill",
    "assessment/features/f16c/kernel": True,
    "assessment/features/f16c/ran": "sigill",
    "assessment/features/bmi/ran": "ok",
    "assessment/findings[code=CP101]/severity": "error",
    "assessment/findings[code=CP101]/features": ["avx", "f16c", "fma", "avx2"],
    "assessment/findings[code=CP104]/severity": "warning",
    "assessment/findings[code=CP104]/features": ["f16c"],
    "assessment/findings[code=CP504]/features": ["bmi", "bmi2"],
    "assessment/cranelift": _flags(_V2_FLAGS),
}
_CODES_WITHOUT_YMM = ("CP101", "CP104", "CP502", "CP504")

_GDS_FORCE = {
    **_NO_YMM,
    "assessment/findings": Codes([*_CODES_WITHOUT_YMM, "CP601"], _MAY),
    "assessment/findings[code=CP101]/cpus": [0],
    "assessment/findings[code=CP101]/cause": _GDS_CAUSE,
    "assessment/findings[code=CP101]/evidence": _GDS_OFF_LINE,
    "assessment/findings[code=CP101]/remedy": Text(r"(?s)microcode.*gather_data_sampling=force"),
    "assessment/findings[code=CP601]/evidence": _GDS_OFF_LINE,
    "assessment/findings[code=CP601]/severity": "info",
}


# YMM state off for a reason on the command line; the kernel's GDS file then says "Not affected".
def _command_line(word: str) -> Expected:
    return {
        **_NO_YMM,
        "assessment/findings": Codes(_CODES_WITHOUT_YMM, _MAY),
        "assessment/findings[code=CP101]/cause": Text(rf"^(?!.*GDS).*{word}"),
        "assessment/findings[code=CP101]/evidence": Text(rf"kernel command line: {word}"),
        "assessment/findings[code=CP101]/remedy": Text(word),
    }


_AVX_RUNS = {
    **_ENDS_WELL,
    "assessment/basis": "executed",
    "assessment/verdict": "consistent",
    "assessment/level": "x86-64-v3",
    "assessment/advertised_level": "x86-64-v3",
    "assessment/features": States(usable=(*_SSE, *_GENERAL, *_YMM), leaving=_RDSEED),
    "assessment/features/avx/ran": "ok",
    "assessment/cranelift": _flags(_V3_FLAGS),
}
_UNAFFECTED = {**_AVX_RUNS, "assessment/findings": Codes([], _MAY)}
_VULNERABLE = {
    **_AVX_RUNS,
    "assessment/findings": Codes(["CP601"], _MAY),
    "assessment/findings[code=CP601]/evidence": Text(
        rf"(?m)^{_GDS_FILE}: Vulnerable: No microcode$"
    ),
}

_GDS = (
    *(
        World(
            name=f"native-gds-force-{series}",
            kind="kernel",
            cpu=SKYLAKE,
            append=FORCE,
            series=series,
            program="native",
            shows="CP101, GDS is the cause; CP104 f16c; CP504 bmi",
            expect=_GDS_FORCE,
        )
        for series in ("6.1", "6.12", "5.10")
    ),
    World(
        name="native-gds-force-cascadelake",
        kind="kernel",
        cpu="Cascadelake-Server,-hypervisor",
        append=FORCE,
        program="native",
        shows="the same",
        expect=_GDS_FORCE,
    ),
    World(
        name="native-gds-force-icelake",
        kind="kernel",
        cpu=ICELAKE,
        append=FORCE,
        program="native",
        shows="the same, and VAES goes with AVX while AES stays",
        expect={
            **_GDS_FORCE,
            "assessment/features": States(
                {"withheld": (*_YMM, "vaes")}, usable=(*_SSE, *_GENERAL, "aes"), leaving=_RDSEED
            ),
            "assessment/findings[code=CP101]/features": ["avx", "f16c", "fma", "avx2", "vaes"],
        },
    ),
    World(
        name="native-gds-vulnerable",
        kind="kernel",
        cpu=SKYLAKE,
        program="native",
        shows="AVX usable, CP601 says vulnerable",
        expect=_VULNERABLE,
    ),
    World(
        name="native-gds-guest",
        kind="kernel",
        cpu="Skylake-Client",
        append=FORCE,
        program="native",
        shows="a guest: AVX usable in spite of force",
        expect={
            **_AVX_RUNS,
            "assessment/findings": Codes(["CP601"], _MAY),
            "assessment/findings[code=CP601]/cause": Text("host"),
            "assessment/identity/hypervisor": "TCGTCGTCGTCG",
        },
    ),
    World(
        name="native-gds-guest-clearcpuid",
        kind="kernel",
        cpu="Skylake-Client",
        append=f"{FORCE} clearcpuid=avx",
        program="native",
        shows="AVX off in a guest: never because of GDS",
        expect=_command_line("clearcpuid=avx"),
    ),
    World(
        name="native-gracemont-force",
        kind="kernel",
        cpu=GRACEMONT,
        append=FORCE,
        program="native",
        shows="Alder Lake-N: AVX usable, not a word of GDS",
        expect=_UNAFFECTED,
    ),
    World(
        name="native-gracemont-clearcpuid",
        kind="kernel",
        cpu=GRACEMONT,
        append=f"{FORCE} clearcpuid=avx",
        program="native",
        shows="AVX off, force on: still never because of GDS",
        expect={
            **_command_line("clearcpuid=avx"),
            "assessment/features": States(
                {"withheld": _YMM}, usable=(*_SSE, *_GENERAL), absent=["adx"], leaving=_RDSEED
            ),
        },
    ),
    World(
        name="native-epyc-force",
        kind="kernel",
        cpu="EPYC,-hypervisor",
        append=FORCE,
        program="native",
        shows="AMD: AVX usable, not a word of GDS",
        expect={**_UNAFFECTED, "assessment/features/sse4a/state": "usable"},
    ),
)

_CHOICES_OF_THE_KERNEL = (
    World(
        name="native-clearcpuid-avx2",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx2",
        program="native",
        shows="CP102 and the word; it runs, and is not safe",
        expect={
            **_AVX_RUNS,
            "assessment/verdict": "mismatch",
            "assessment/level": "x86-64-v2",
            "assessment/features": States(
                {"withheld": ["avx2"]},
                usable=(*_SSE, *_GENERAL, "avx", "f16c", "fma"),
                leaving=_RDSEED,
            ),
            "assessment/features/avx2/kernel": False,
            "assessment/features/avx2/ran": "ok",
            "assessment/findings": Codes(["CP102", "CP502", "CP601"], _MAY),
            "assessment/findings[code=CP102]/severity": "error",
            "assessment/findings[code=CP102]/features": ["avx2"],
            "assessment/findings[code=CP102]/cause": Text("clearcpuid=avx2"),
            "assessment/findings[code=CP102]/remedy": Text("clearcpuid=avx2"),
            "assessment/cranelift": _flags(set(_V3_FLAGS) - {"has_avx2"}),
        },
    ),
    World(
        name="native-clearcpuid-avx",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx",
        program="native",
        shows="CP101 and the word",
        expect=_command_line("clearcpuid=avx"),
    ),
    World(
        name="native-clearcpuid-avx-force",
        kind="kernel",
        cpu=SKYLAKE,
        append=f"clearcpuid=avx {FORCE}",
        program="native",
        shows="both options: clearcpuid is the cause",
        expect=_command_line("clearcpuid=avx"),
    ),
    World(
        name="native-clearcpuid-word-5.10",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx",
        series="5.10",
        program="native",
        shows="5.10 cannot read the word: AVX usable",
        expect=_VULNERABLE,
    ),
    World(
        name="native-clearcpuid-number-5.10",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=156",
        series="5.10",
        program="native",
        shows="CP101 and the number, which is AVX's",
        expect=_command_line("clearcpuid=156"),
    ),
    World(
        name="native-noxsave",
        kind="kernel",
        cpu=SKYLAKE,
        append="noxsave",
        program="native",
        shows="CP101 and the word; XSAVE is withheld too",
        expect={
            **_command_line("noxsave"),
            # OSXSAVE is a CPUID bit, and x86-64-v3 wants it.
            "assessment/advertised_level": "x86-64-v2",
            "assessment/features": States(
                {"withheld": (*_YMM, "xsave", "xsaveopt")},
                usable=(*_SSE, *_GENERAL, "aes"),
                leaving=_RDSEED,
            ),
            "assessment/findings[code=CP101]/features": [
                "xsave",
                "xsaveopt",
                "avx",
                "f16c",
                "fma",
                "avx2",
            ],
        },
    ),
    World(
        name="native-mitigations-off",
        kind="kernel",
        cpu=SKYLAKE,
        append="mitigations=off",
        program="native",
        shows="AVX usable, CP601 says vulnerable",
        expect=_VULNERABLE,
    ),
    World(
        name="native-nofsgsbase",
        kind="kernel",
        cpu=SKYLAKE,
        append="nofsgsbase",
        program="native",
        shows="CR4.FSGSBASE off: CP101 and the word",
        expect={
            **_AVX_RUNS,
            "assessment/verdict": "mismatch",
            "assessment/features": States(
                {"withheld": ["fsgsbase"]}, usable=(*_SSE, *_GENERAL, *_YMM), leaving=_RDSEED
            ),
            "assessment/features/fsgsbase/ran": "sigill",
            "assessment/findings": Codes(["CP101", "CP601"], _MAY),
            "assessment/findings[code=CP101]/features": ["fsgsbase"],
            "assessment/findings[code=CP101]/cause": Text("nofsgsbase"),
        },
    ),
    World(
        name="native-gds-force-nofsgsbase",
        kind="kernel",
        cpu=SKYLAKE,
        append=f"{FORCE} nofsgsbase",
        program="native",
        shows="two CP101: GDS is the cause of one only",
        expect={
            "assessment/features": States(
                {"withheld": (*_YMM, "fsgsbase")}, usable=(*_SSE, *_GENERAL), leaving=_RDSEED
            ),
            "assessment/findings": Codes([*_CODES_WITHOUT_YMM, "CP601"], _MAY),
            "assessment/findings[features=['avx', 'f16c', 'fma', 'avx2']]/cause": _GDS_CAUSE,
            "assessment/findings[features=['fsgsbase']]/cause": Text(r"^(?!.*GDS).*nofsgsbase"),
        },
    ),
    World(
        name="native-nopku",
        kind="kernel",
        cpu="Cascadelake-Server,-hypervisor",
        append="nopku",
        program="native",
        shows="CR4.PKE off: CP101 and the word; listed: CP104",
        expect={
            **_AVX_RUNS,
            "assessment/verdict": "mismatch",
            "assessment/features": States(
                {"withheld": ["pku"]}, usable=(*_SSE, *_GENERAL, *_YMM), leaving=_RDSEED
            ),
            "assessment/features/pku/ran": "sigill",
            "assessment/findings": Codes(["CP101", "CP104", "CP601"], _MAY),
            "assessment/findings[code=CP101]/features": ["pku"],
            "assessment/findings[code=CP101]/cause": Text("nopku"),
            "assessment/findings[code=CP104]/features": ["pku"],
        },
    ),
    *(
        World(
            name=f"native-avx-vnni-{series}",
            kind="kernel",
            cpu=VNNI_CLAIM,
            series=series,
            program="native",
            shows=shows,
            expect={
                **_AVX_RUNS,
                "assessment/verdict": "mismatch",
                "assessment/features": States(
                    {"broken": ["avxvnni"]}, usable=(*_SSE, *_GENERAL, *_YMM), leaving=_RDSEED
                ),
                "assessment/features/avxvnni/kernel": listed,
                "assessment/findings": Codes(codes, _MAY),
                "assessment/findings[code=CP201]/features": ["avxvnni"],
            },
        )
        for series, listed, codes, shows in (
            ("6.1", True, ["CP104", "CP201", "CP403"], "a kernel that lists what faults: CP104"),
            ("5.10", None, ["CP201", "CP403"], "5.10 knows no avx_vnni: the kernel is silent"),
        )
    ),
)

_NUMBERS_OF_CPUS = (
    World(
        name="native-gds-force-smp4",
        kind="kernel",
        cpu=SKYLAKE,
        append=FORCE,
        smp="4",
        program="native",
        shows="the same on four CPUs, one group",
        expect={
            **_GDS_FORCE,
            "observation/groups[cpus=[0, 1, 2, 3]]": Not(MISSING),
            "assessment/identity/cpus": 4,
            "assessment/findings[code=CP101]/cpus": [0, 1, 2, 3],
        },
    ),
    World(
        name="native-nosmp",
        kind="kernel",
        cpu=SKYLAKE,
        append="nosmp",
        smp="4",
        program="native",
        shows="one of four CPUs is measured",
        expect={
            **_VULNERABLE,
            "observation/groups[cpus=[0]]": Not(MISSING),
            "observation/unmeasured_cpus": [],
            "assessment/identity/cpus": 1,
        },
    ),
    World(
        name="native-maxcpus-2",
        kind="kernel",
        cpu=SKYLAKE,
        append="maxcpus=2",
        smp="4",
        program="native",
        shows="two of four CPUs are measured",
        expect={
            **_VULNERABLE,
            "observation/groups[cpus=[0, 1]]": Not(MISSING),
            "observation/unmeasured_cpus": [],
            "assessment/identity/cpus": 2,
        },
    ),
    World(
        name="native-cpuset-1",
        kind="kernel",
        cpu=SKYLAKE,
        smp="4",
        cpuset="2",
        program="native",
        shows="CPU 2 alone is measured",
        expect={
            **_VULNERABLE,
            "observation/groups[cpus=[2]]": Not(MISSING),
            "observation/unmeasured_cpus": [],
            "assessment/identity/cpus": 1,
            "assessment/findings[code=CP601]/cpus": [2],
        },
    ),
)

# Winch, not Cranelift, is below its floor where AVX is missing: a warning, no mismatch.
_OLD = {
    **_ENDS_WELL,
    "assessment/verdict": "consistent",
    "assessment/findings": Codes(["CP502"]),
    "assessment/findings[code=CP502]/features": ["avx", "avx2"],
}

_OTHER_CPUS = (
    World(
        name="native-nehalem",
        kind="kernel",
        cpu="Nehalem,-hypervisor",
        program="native",
        shows="LZCNT, AVX, BMI absent; LZCNT by its value",
        expect={
            **_OLD,
            "assessment/level": "x86-64-v2",
            "assessment/advertised_level": "x86-64-v2",
            "assessment/features": States(
                usable=_SSE, absent=["lzcnt", "bmi", "bmi2", "avx", "f16c", "rdrnd", "xsave"]
            ),
            "assessment/features/lzcnt/ran": "wrong",
            "assessment/cranelift": _flags(_SSE_FLAGS),
        },
    ),
    World(
        name="native-conroe",
        kind="kernel",
        cpu="Conroe,-hypervisor",
        program="native",
        shows="no SSE4.1, no POPCNT, no CMPXCHG16B: v1",
        expect={
            **_OLD,
            "assessment/level": "x86-64-v1",
            "assessment/features": States(
                usable=["sse3", "ssse3"], absent=["sse4.1", "sse4.2", "popcnt", "lzcnt", "cx16"]
            ),
            "assessment/cranelift": _flags(["has_sse3", "has_ssse3"]),
        },
    ),
    World(
        name="native-opteron-g3",
        kind="kernel",
        cpu="Opteron_G3,-hypervisor",
        program="native",
        shows="AMD: SSE4A and LZCNT, no SSSE3: v1",
        expect={
            **_OLD,
            "assessment/level": "x86-64-v1",
            "assessment/features": States(
                usable=["sse3", "popcnt", "lzcnt", "sse4a", "cx16"],
                absent=["ssse3", "sse4.1", "bmi", "avx", "3dnow"],
            ),
            "assessment/cranelift": _flags(
                ["has_sse3", "has_popcnt", "has_lzcnt", "has_cmpxchg16b"]
            ),
        },
    ),
    *(
        World(
            name=f"native-liar-{series}",
            kind="kernel",
            cpu=LIAR,
            series=series,
            program="native",
            shows="the kernel believes it, cpuprobe does not",
            expect={
                **_AVX_RUNS,
                "assessment/verdict": "mismatch",
                "assessment/features": States(
                    {"broken": ["avx512f", "avx512dq"]},
                    usable=(*_SSE, *_GENERAL, *_YMM),
                    leaving=_RDSEED,
                ),
                "assessment/features/avx512f/cpuid": True,
                "assessment/features/avx512f/os": True,
                "assessment/features/avx512f/kernel": True,
                "assessment/features/avx512f/ran": "sigill",
                "assessment/findings": Codes(["CP104", "CP201", "CP403"], _MAY),
                "assessment/findings[code=CP104]/features": ["avx512f", "avx512dq"],
                "assessment/findings[code=CP201]/severity": "error",
                "assessment/findings[code=CP201]/features": ["avx512f", "avx512dq"],
            },
        )
        for series in ("6.1", "6.12")
    ),
)

# One CPU is enough under the user-mode emulator, whose every CPU is the same. The lowest, since it
# gives 0 for IA32_TSC_AUX on all of them: RDTSCP is right on CPU 0 only.
_FIRST_CPU = min(os.sched_getaffinity(0))
_ONE_CPU = ("--cpus", str(_FIRST_CPU))
_USER_MAY = _MAY if _FIRST_CPU == 0 else (*_MAY, "CP202")
_USER_LEAVING = _RDSEED if _FIRST_CPU == 0 else (*_RDSEED, "rdtscp")

# Haswell's flags as Linux prints them, and the three that USER_LIAR adds.
_HASWELL_FLAGS = (
    "fpu cx8 syscall cmov mmx fxsr sse sse2 pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm xsave"
    " xsaveopt avx f16c fma avx2 aes pclmulqdq abm bmi1 bmi2 movbe rdrand rdtscp fsgsbase"
)


def _machine(
    cpuinfo: str,
    *,
    version: str = "#1 SMP lab",
    mounts: str = "",
    cmdline: str = "quiet",
    gds: str = "Not affected",
) -> dict[str, str]:
    """A whole fake machine: every file that cpuprobe-native reads."""
    return {
        "/proc/cpuinfo": cpuinfo,
        "/proc/cmdline": f"{cmdline}\n",
        "/proc/self/mountinfo": mounts,
        "/proc/sys/kernel/osrelease": "6.1.0-lab\n",
        "/proc/sys/kernel/version": f"{version}\n",
        _GDS_FILE: f"{gds}\n",
    }


def _cpuinfo(flags: str, model: int = 60, stepping: int = 4) -> str:
    """Blocks for all CPUs of this machine, that call themselves QEMU's Haswell or another."""
    return "".join(
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: {model}\n"
        f"stepping\t: {stepping}\nflags\t\t: {flags}\n\n"
        for cpu in sorted(os.sched_getaffinity(0))
    )


def _claims_gds(model: int, stepping: int) -> dict[str, str]:
    """A machine whose kernel says that GDS has AVX disabled, whatever CPU it is."""
    gone = {"avx", "avx2", "fma", "f16c", "xsave", "xsaveopt"}
    flags = " ".join(flag for flag in _HASWELL_FLAGS.split() if flag not in gone)
    return _machine(
        _cpuinfo(flags, model, stepping),
        cmdline=FORCE,
        gds="Mitigation: AVX disabled, no microcode",
    )


_LIAR_STATES = States(
    # TCG has no transactions either; what elides locks is a hint, which nothing can execute.
    {"broken": ["rtm", "avx512f", "avx512dq", "avx512vl"], "unverified": ["hle"]},
    usable=(*_SSE, *_GENERAL, *_YMM),
    leaving=_USER_LEAVING,
)
_USER_ENDS = {"status": "exit 0"}
_SET_ASIDE = {
    **_USER_ENDS,
    "assessment/verdict": "consistent",
    "assessment/level": "x86-64-v3",
    "assessment/features/avx/kernel": None,
    "assessment/features/avx2/state": "usable",
    "assessment/findings": Codes([], _USER_MAY),
    "assessment/cranelift": _flags(_V3_FLAGS),
}

_USER = (
    World(
        name="native-user-nehalem",
        kind="user",
        cpu="Nehalem",
        args=_ONE_CPU,
        program="native",
        shows="LZCNT by its value; this machine's cpuinfo is foreign",
        expect={
            **_USER_ENDS,
            "assessment/verdict": "consistent",
            "assessment/features": States(
                usable=_SSE, absent=["lzcnt", "bmi", "bmi2", "avx", "f16c"], leaving=_USER_LEAVING
            ),
            "assessment/features/lzcnt/ran": "wrong",
            "assessment/features/sse4.1/kernel": None,
            "assessment/notes": Text("another CPU"),
            "assessment/findings": Codes(["CP502"], _USER_MAY),
        },
    ),
    World(
        name="native-user-liar",
        kind="user",
        cpu=USER_LIAR,
        args=_ONE_CPU,
        program="native",
        shows="CP201 for AVX-512; cpuinfo is foreign",
        expect={
            **_USER_ENDS,
            "observation/groups[xcr0=231]": Not(MISSING),  # 0xe7: ZMM state is on.
            "assessment/verdict": "mismatch",
            "assessment/level": "x86-64-v3",
            "assessment/features": _LIAR_STATES,
            "assessment/notes": Text("another CPU"),
            "assessment/findings": Codes(["CP201", "CP403"], _USER_MAY),
            "assessment/findings[code=CP201]/features": ["rtm", "avx512f", "avx512dq", "avx512vl"],
            "assessment/findings[code=CP201]/cause": Text("emulator"),
            "assessment/cranelift": _flags(_V3_FLAGS),
        },
    ),
    World(
        name="native-user-liar-cpuinfo",
        kind="user",
        cpu=USER_LIAR,
        args=_ONE_CPU,
        files=_machine(_cpuinfo(f"{_HASWELL_FLAGS} hle rtm avx512f avx512dq avx512vl")),
        program="native",
        shows="three witnesses agree on a lie: CP201 and CP104",
        expect={
            **_USER_ENDS,
            "assessment/notes": [],
            "assessment/features": _LIAR_STATES,
            "assessment/features/avx512f/kernel": True,
            "assessment/findings": Codes(["CP104", "CP201", "CP403"], _USER_MAY),
            "assessment/findings[code=CP104]/features": ["rtm", "avx512f", "avx512dq", "avx512vl"],
            "assessment/findings[code=CP201]/features": ["rtm", "avx512f", "avx512dq", "avx512vl"],
            "assessment/cranelift": _flags(_V3_FLAGS),
        },
    ),
    World(
        name="native-user-skylake-server",
        kind="user",
        cpu="Skylake-Server,x-force-features=on",
        args=_ONE_CPU,
        program="native",
        shows="where glibc dies: CP201 for all of AVX-512",
        expect={
            **_USER_ENDS,
            "assessment/verdict": "mismatch",
            "assessment/level": "x86-64-v3",
            "assessment/advertised_level": "x86-64-v4",
            "assessment/features/avx512f/state": "broken",
            "assessment/features/avx512bw/state": "broken",
            "assessment/features/avx512cd/state": "broken",
            "assessment/features/avx512dq/state": "broken",
            "assessment/features/avx512vl/state": "broken",
            "assessment/features/avx512f/ran": "sigill",
            "assessment/findings[code=CP201]": Not(MISSING),
            "assessment/findings[code=CP204]": MISSING,
            "assessment/cranelift": _flags(_V3_FLAGS),
        },
    ),
    # -xsave: the only way to YMM state off in the user-mode emulator is no OSXSAVE.
    World(
        name="native-user-gds-guest",
        kind="user",
        cpu="Skylake-Client,-xsave,-rtm,-adx",
        args=_ONE_CPU,
        files=_claims_gds(model=94, stepping=3),
        program="native",
        shows="sysfs says GDS, CPUID says guest: not the cause",
        expect={
            **_USER_ENDS,
            "assessment/features": States(
                {"withheld": _YMM}, usable=(*_SSE, *_GENERAL), leaving=_USER_LEAVING
            ),
            "assessment/findings[code=CP101]/cause": Text(r"^(?!.*GDS).*TCGTCGTCGTCG"),
        },
    ),
    World(
        name="native-user-gds-gracemont",
        kind="user",
        cpu=f"{GRACEMONT},-xsave",
        args=_ONE_CPU,
        files=_claims_gds(model=190, stepping=0),
        program="native",
        shows="sysfs says GDS on Alder Lake-N: not the cause",
        expect={
            **_USER_ENDS,
            "assessment/features": States(
                {"withheld": _YMM}, usable=(*_SSE, *_GENERAL), leaving=_USER_LEAVING
            ),
            "assessment/findings": Codes(["CP101", "CP502", "CP504"], _USER_MAY),
            "assessment/findings[code=CP101]/cause": Text(r"^(?!.*GDS).*unknown"),
        },
    ),
    World(
        name="native-user-incoherent",
        kind="user",
        cpu="Haswell-noTSX,-ssse3",
        args=_ONE_CPU,
        program="native",
        shows="SSE4.1 runs without SSSE3: CP401, usable, not safe",
        expect={
            **_USER_ENDS,
            "assessment/level": "x86-64-v1",
            # TCG asks for SSSE3 before VPABSB and VPSHUFB.
            "assessment/features": States(
                {"broken": ["avx", "avx2"]},
                usable=["sse3", "popcnt", "cx16", *_GENERAL],
                absent=["ssse3"],
                leaving=_USER_LEAVING,
            ),
            "assessment/features/sse4.1/state": "usable",
            "assessment/features/sse4.1/safe": False,
            "assessment/features/sse4.2/state": "usable",
            "assessment/features/sse4.2/safe": False,
            "assessment/features/fma/safe": False,
            "assessment/findings": Codes(["CP201", "CP401", "CP502"], _USER_MAY),
            "assessment/findings[code=CP401]/evidence": Text("sse4.1 without ssse3"),
            "assessment/cranelift": _flags(
                [
                    "has_sse3",
                    "has_popcnt",
                    "has_cmpxchg16b",
                    "has_lzcnt",
                    "has_bmi1",
                    "has_bmi2",
                ]
            ),
        },
    ),
    World(
        name="native-user-masked",
        kind="user",
        cpu="Haswell-noTSX,-mmx",
        args=_ONE_CPU,
        program="native",
        shows="TCG runs MMX whatever CPUID says: hidden, CP203",
        expect={
            **_USER_ENDS,
            "assessment/features": States(
                {"hidden": ["mmx"]}, usable=["sse2"], leaving=_USER_LEAVING
            ),
            "assessment/features/mmx/safe": False,
            "assessment/features/mmx/cpuid": False,
            "assessment/features/mmx/ran": "ok",
            "assessment/level": None,  # x86-64-v1 includes MMX.
            "assessment/findings[code=CP203]/severity": "info",
            "assessment/findings[code=CP203]/features": Text("mmx"),
            "assessment/findings[code=CP203]/cause": Text("an emulator .* executes"),
        },
    ),
    World(
        name="native-user-hints",
        kind="user",
        cpu="Haswell-noTSX,x-force-features=on,+3dnowprefetch,+cldemote",
        args=_ONE_CPU,
        program="native",
        shows="hints are skipped: unverified, not safe, no finding",
        expect={
            **_USER_ENDS,
            "assessment/verdict": "consistent",
            "assessment/features": States(
                {"unverified": ["prfchw", "cldemote"]},
                usable=(*_SSE, *_GENERAL),
                leaving=_USER_LEAVING,
            ),
            "assessment/features/prfchw/ran": "skipped",
            "assessment/findings": Codes([], _USER_MAY),
        },
    ),
    World(
        name="native-user-amx",
        kind="user",
        cpu=f"{USER_LIAR},-rtm,+amx-tile,+amx-int8,+amx-bf16",
        args=_ONE_CPU,
        program="native",
        shows="no permission for AMX to be had: gated, CP103",
        expect={
            **_USER_ENDS,
            "observation/amx_permission": "refused",
            "observation/groups[xcr0=393447]": Not(MISSING),  # 0x600e7: tile state is on.
            "assessment/features": States(
                {
                    "gated": ["amx-tile", "amx-int8", "amx-bf16"],
                    "broken": ["avx512f", "avx512dq", "avx512vl"],
                    "unverified": ["hle"],
                },
                usable=(*_SSE, *_GENERAL, *_YMM),
                leaving=_USER_LEAVING,
            ),
            "assessment/findings": Codes(["CP103", "CP201", "CP403"], _USER_MAY),
            "assessment/findings[code=CP103]/severity": "info",
            "assessment/findings[code=CP103]/features": ["amx-tile", "amx-int8", "amx-bf16"],
        },
    ),
    World(
        name="native-user-cpuinfo",
        kind="user",
        cpu="Haswell",
        args=_ONE_CPU,
        files=_machine(_cpuinfo(_HASWELL_FLAGS.replace(" avx2", ""))),
        program="native",
        shows="the twin of the next four: here it counts, CP102",
        expect={
            **_USER_ENDS,
            "assessment/verdict": "mismatch",
            "assessment/features": States(
                {"withheld": ["avx2"]}, usable=(*_SSE, "avx"), leaving=_USER_LEAVING
            ),
            "assessment/notes": [],
            "assessment/findings": Codes(["CP102", "CP502"], _USER_MAY),
        },
    ),
    *(
        World(
            name=f"native-user-{name}",
            kind="user",
            cpu="Haswell",
            args=_ONE_CPU,
            files=files,
            program="native",
            shows=f"cpuinfo is set aside: {why}",
            expect={**_SET_ASIDE, "assessment/notes": Text(why)},
        )
        for name, why, files in (
            (
                "lxcfs",
                "fuse.lxcfs",
                _machine(
                    _cpuinfo("fpu sse sse2"),
                    mounts="36 35 0:29 /proc/cpuinfo /proc/cpuinfo rw - fuse.lxcfs lxcfs rw\n",
                ),
            ),
            (
                "gvisor",
                "gVisor",
                _machine(_cpuinfo("fpu sse sse2"), version="#1 SMP Sun Jan 10 15:06:54 PST 2016"),
            ),
            (
                "translator",
                "no flags line",
                _machine("processor\t: 0\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x61\n"),
            ),
            ("foreign-cpuinfo", "another CPU", _machine(_cpuinfo("fpu sse sse2", stepping=9))),
        )
    ),
)

# --- the installed command, with the installed wasmtime -------------------------------------------

_SCRIPT = ("-c", (Path(__file__).parent / "guest" / "verdict.py").read_text())

# Computed by hand from the operands in guest/verdict.py: -7 and 2**40; 6 and -5; a shift by 3.
COMPUTES = {
    "i64x2.mul": [-42, -5497558138880],
    "i64x2.abs": [7, 1099511627776],
    "i64x2.shr_s": [-1, 137438953472],
    "i8x16.popcnt": [0x0808080808080806, 0x0000010000000000],
}


def _in_guest(expected: Expected) -> dict[str, object]:
    """The same facts, of the report that a guest made."""
    return {
        f"report/{path}": value
        for path, value in expected.items()
        if path.startswith("assessment/")
    }


def _with_wasmtime(
    expected: Expected, on: Iterable[str], exit_code: int, also_inferred: Iterable[str] = ()
) -> Expected:
    """A report, the flags emitted, and what wasmtime makes of them.

    Args:
        expected: of the report.
        on: the flags that are true.
        exit_code: of `cpuprobe` and of `cpuprobe --json`.
        also_inferred: what wasmtime would enable by itself, and accept, besides.
    """
    on, also_inferred = set(on), set(also_inferred)
    return {
        **_in_guest(expected),
        "status": "exit 0",
        "complaints": "",
        "exit": exit_code,
        "text_exit": exit_code,
        "text_width": Below(101),
        "text": Text("MISMATCH" if exit_code else "OK"),
        "flags_exit": 0,
        "report/schema": "cpuprobe.report/1",
        "report/assessment/wasmtime": {"version": "50.0.1", "installed": True},
        "flags": _flags(on),
        "accepts": _flags(on | also_inferred),
        "accepts_all_together": True,
        "inferred": _flags(on | also_inferred),
        "cpuid_says_avx": True,
        "computes": COMPUTES,
    }


_COMMAND = (
    World(
        name="cpuprobe-gds-force",
        kind="kernel",
        cpu=SKYLAKE,
        append=FORCE,
        program="python",
        args=_SCRIPT,
        timeout=180,
        shows="wasmtime infers and accepts just cpuprobe's flags",
        expect=_with_wasmtime(_GDS_FORCE, _V2_FLAGS, 1),
    ),
    World(
        name="cpuprobe-gds-vulnerable",
        kind="kernel",
        cpu=SKYLAKE,
        program="python",
        args=_SCRIPT,
        timeout=180,
        shows="AVX usable; wasmtime agrees",
        expect=_with_wasmtime(_VULNERABLE, _V3_FLAGS, 0),
    ),
    World(
        name="cpuprobe-gds-guest",
        kind="kernel",
        cpu="Skylake-Client",
        append=FORCE,
        program="python",
        args=_SCRIPT,
        timeout=180,
        shows="a guest: AVX usable; wasmtime agrees",
        expect=_with_wasmtime(
            {**_AVX_RUNS, "assessment/findings": Codes(["CP601"], _MAY)}, _V3_FLAGS, 0
        ),
    ),
    World(
        name="cpuprobe-clearcpuid-avx2",
        kind="kernel",
        cpu=SKYLAKE,
        append="clearcpuid=avx2",
        program="python",
        args=_SCRIPT,
        timeout=180,
        shows="CP501: wasmtime would use what is withheld",
        expect=_with_wasmtime(
            {
                "assessment/level": "x86-64-v2",
                "assessment/features/avx2/state": "withheld",
                "assessment/findings": Codes(["CP102", "CP501", "CP502", "CP601"], _MAY),
                "assessment/findings[code=CP102]/cause": Text("clearcpuid=avx2"),
                "assessment/findings[code=CP501]/features": ["avx2"],
            },
            set(_V3_FLAGS) - {"has_avx2"},
            1,
            also_inferred=["has_avx2"],
        ),
    ),
    World(
        name="cpuprobe-liar",
        kind="kernel",
        cpu=LIAR,
        program="python",
        args=_SCRIPT,
        timeout=180,
        shows="CP501: wasmtime believes it; our flags run",
        expect=_with_wasmtime(
            {
                "assessment/level": "x86-64-v3",
                "assessment/features/avx512f/state": "broken",
                "assessment/features/avx512f/kernel": True,
                "assessment/findings": Codes(["CP104", "CP201", "CP403", "CP501"], _MAY),
                "assessment/findings[code=CP201]/features": ["avx512f", "avx512dq"],
                "assessment/findings[code=CP501]/features": Words(["avx512f", "avx512dq"]),
            },
            _V3_FLAGS,
            1,
            also_inferred=["has_avx512f", "has_avx512dq"],
        ),
    ),
)

# glibc picks its string functions by CPUID and XCR0 too, and would die before main().
GLIBC_WITHOUT_AVX512 = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}
CRASHING = ("i64x2.mul", "i64x2.abs", "i64x2.shr_s")

# Left to infer its flags, wasmtime dies of the first AVX-512 instruction. With its own signal
# handlers the SIGILL ends as a SIGSEGV: under QEMU 7.2's user-mode emulator they fault themselves,
# on every CPU model (an ordinary wasm trap dies the same way there).
_CRASH = (
    *(
        World(
            name=f"wasmtime-liar-{operation}",
            kind="user",
            cpu=USER_LIAR,
            program="this-python",
            args=(*_SCRIPT, "run", operation, "infer", "bare"),
            env=GLIBC_WITHOUT_AVX512,
            shows="left to itself wasmtime dies of SIGILL",
            expect={"status": "signal 4", "stdout": "", "stderr": Text(r"(?m)^compiled$")},
        )
        for operation in CRASHING
    ),
    World(
        name="wasmtime-liar-handlers",
        kind="user",
        cpu=USER_LIAR,
        program="this-python",
        args=(*_SCRIPT, "run", "i64x2.mul", "infer"),
        env={**GLIBC_WITHOUT_AVX512, "QEMU_STRACE": "1"},
        shows="the same with its handlers: SIGILL comes first",
        expect={
            "status": Text(r"^signal (4|11)$"),
            "stderr": Text(r"(?s)^((?!--- SIG).)*--- SIGILL "),
        },
    ),
    World(
        name="cpuprobe-liar-cure",
        kind="user",
        cpu=USER_LIAR,
        program="this-python",
        args=(*_SCRIPT, "cure"),
        env=GLIBC_WITHOUT_AVX512,
        shows="with cpuprobe's flags the same module is right",
        expect={"status": "exit 0", **COMPUTES},
    ),
)

VERDICTS: tuple[World, ...] = (
    *_GDS,
    *_CHOICES_OF_THE_KERNEL,
    *_NUMBERS_OF_CPUS,
    *_OTHER_CPUS,
    *_USER,
    *_COMMAND,
    *_CRASH,
)

"""The feature table against sources that know nothing of it: compilers, decoders, this machine."""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.every import every
from tests.required import required, unable

from cpuprobe.facts.features import Feature, load_features

TABLE = load_features()

# First major release that knows a name, for names that Clang 14 or GCC 12 does not know yet.
GCC_SINCE = {
    "avxifma": 13,
    "avxvnniint8": 13,
    "avxneconvert": 13,
    "cmpccxadd": 13,
    "amx-fp16": 13,
    "amx-complex": 13,
    "sha512": 14,
    "sm3": 14,
    "sm4": 14,
    "avxvnniint16": 14,
    "apxf": 14,
    "avx10.1": 14,
    "raoint": 13,
    "usermsr": 14,
    "movrs": 15,
    "amx-fp8": 15,
    "amx-tf32": 15,
    "amx-avx512": 15,
    "amx-movrs": 15,
    "avx10.2": 15,
}
CLANG_SINCE = {
    "avxifma": 16,
    "avxvnniint8": 16,
    "avxneconvert": 16,
    "cmpccxadd": 16,
    "amx-fp16": 16,
    "sha512": 17,
    "sm3": 17,
    "sm4": 17,
    "avxvnniint16": 17,
    "amx-complex": 17,
    "avx10.1": 20,
    "raoint": 16,
    "rdpru": 16,
    "usermsr": 18,
    "movrs": 20,
    "amx-fp8": 20,
    "amx-tf32": 20,
    "amx-avx512": 20,
    "amx-movrs": 20,
    "avx10.2": 20,
}
# Last major release that knows a name: the Xeon Phi options went with GCC 15 and LLVM 19, 3DNow!
# with LLVM 19 (their release notes).
GCC_UNTIL = {"avx512pf": 14, "avx512er": 14, "avx5124vnniw": 14, "avx5124fmaps": 14}
CLANG_UNTIL = {"3dnow": 18, "avx512pf": 18, "avx512er": 18}


RUST_SINCE = 89
"""Of Rust 1: older ones lack names of the table, or list none but those of the target."""


def library(name: str) -> Any:
    """An imported module, or the test is skipped."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        unable(f"the Python package of {name} is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program prints; C locale, one minute."""
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@functools.cache
def major(compiler: str) -> int:
    """The major version in the first line a compiler prints about itself."""
    printed = run(compiler, "--version").stdout
    found = re.search(r"(\d+)\.\d+\.\d+", printed)
    assert found is not None, printed
    return int(found[1])


def outside(version: int, since: dict[str, int], until: dict[str, int]) -> set[str]:
    """The names that a compiler of this version is expected to refuse."""
    return {name for name, first in since.items() if version < first} | {
        name for name, last in until.items() if version > last
    }


def test_gcc_accepts_every_name() -> None:
    """GCC refuses exactly the names that are younger or older than itself."""
    gcc = required("gcc")
    names = [feature.gcc for feature in TABLE.values() if feature.gcc is not None]
    done = run(gcc, *(f"-m{name}" for name in names), "-x", "c", "-fsyntax-only", os.devnull)
    refused = set(re.findall(r"unrecognized command-line option '-m([^']+)'", done.stderr))

    assert refused == outside(major(gcc), GCC_SINCE, GCC_UNTIL)


def test_clang_accepts_every_name() -> None:
    """Clang refuses exactly the names that are younger or older than its LLVM."""
    clang = required("clang")
    names = [feature.llvm for feature in TABLE.values() if feature.llvm is not None]
    wanted = [each for name in names for each in ("-target-feature", f"+{name}")]
    base = (clang, "-cc1", "-triple", "x86_64-linux-gnu", "-S", "-o", os.devnull)
    done = run(*base, *wanted, "-x", "c", os.devnull)
    refused = set(re.findall(r"'\+([^']+)' is not a recognized feature", done.stderr))
    probe = run(*base, "-target-feature", "+nonsense", "-x", "c", os.devnull)

    assert "'+nonsense' is not a recognized feature" in probe.stderr
    assert refused == outside(major(clang), CLANG_SINCE, CLANG_UNTIL)


def macro(feature: Feature) -> str:
    """The macro that Clang defines for a feature, by its general rule."""
    return "__" + feature.name.upper().replace(".", "_").replace("-", "_") + "__"


# Where Clang's macro does not follow the rule, or there is none.
NO_MACRO = {
    "x87", "cmov", "syscall", "rdtscp", "sahf", "cx8", "cx16", "mmx", "3dnow", "avx10.1", "apxf",
    "avx5124fmaps", "avx5124vnniw", "amx-tile", "amx-int8", "amx-bf16",
}  # fmt: skip
# Clang's front end adds these to SSE4.2 and to AVX; LLVM's own table does not imply them.
FRONT_END_ADDS = {"popcnt", "xsave"}
# LLVM 14 implied more than later ones, which the table follows.
IMPLIED_ONCE = {"avx512fp16": {"avx512vl", "avx512dq"}}


@pytest.mark.parametrize(
    "name",
    [f.name for f in TABLE.values() if f.llvm and f.name not in NO_MACRO | set(CLANG_SINCE)],
)
def test_clang_14_implies_the_same(name: str) -> None:
    """The macros that one `-target-feature` turns on are those of the feature and its closure."""
    clang = required("clang")
    if major(clang) != 14:
        unable("the implications were compared with Clang 14")
    command = (clang, "-cc1", "-triple", "i386-linux-gnu", "-target-cpu", "i386")
    done = run(
        *command, "-target-feature", f"+{TABLE[name].llvm}", "-E", "-dM", "-x", "c", os.devnull
    )
    defined = set(re.findall(r"#define (__\w+__) 1$", done.stdout, re.M))
    seen = {f.name for f in TABLE.values() if f.name not in NO_MACRO and macro(f) in defined}
    expected = (TABLE.closure(name) | {name}) - NO_MACRO

    assert expected <= seen
    assert seen - expected - IMPLIED_ONCE.get(name, set()) <= FRONT_END_ADDS


def test_rustc_knows_every_name() -> None:
    """Every Rust name is among the compiler's own, not merely LLVM's, target features."""
    printed = run(
        required("rustc"), "--print", "target-features", "--target", "x86_64-unknown-linux-gnu"
    )
    version = re.search(r"1\.(\d+)", run(required("rustc"), "--version").stdout)
    if printed.returncode != 0 or version is None or int(version[1]) < RUST_SINCE:
        unable(f"Rust 1.{RUST_SINCE} or later is not installed")
    own = printed.stdout.split("Code-generation features supported by LLVM")[0]
    known = set(re.findall(r"^\s+(\S+)\s+- ", own, re.M))

    assert "avx2" in known
    assert {f.rust for f in TABLE.values() if f.rust is not None} - known == set()


def test_iced_knows_every_name() -> None:
    """Every iced-x86 name is one of its CpuidFeature constants."""
    constants = {name for name in dir(library("iced_x86").CpuidFeature) if name.isupper()}

    assert "AVX512_VNNI" in constants
    assert {name for f in TABLE.values() for name in f.iced} - constants == set()


# The names Linux 7.3 prints, by CPUID leaf, subleaf and register, each with its bit
# (arch/x86/include/asm/cpufeatures.h of Debian's linux-headers-7.3.4, words 0 to 18).
LINUX_7_3 = {
    (0x1, 0, "edx"): (
        "0:fpu 1:vme 2:de 3:pse 4:tsc 5:msr 6:pae 7:mce 8:cx8 9:apic 11:sep 12:mtrr 13:pge "
        "14:mca 15:cmov 16:pat 17:pse36 18:pn 19:clflush 21:dts 22:acpi 23:mmx 24:fxsr 25:sse "
        "26:sse2 27:ss 28:ht 29:tm 30:ia64 31:pbe "
    ),
    (0x80000001, 0, "edx"): (
        "11:syscall 19:mp 20:nx 22:mmxext 25:fxsr_opt 26:pdpe1gb 27:rdtscp 29:lm 30:3dnowext "
        "31:3dnow "
    ),
    (0x1, 0, "ecx"): (
        "0:pni 1:pclmulqdq 2:dtes64 3:monitor 4:ds_cpl 5:vmx 6:smx 7:est 8:tm2 9:ssse3 10:cid "
        "11:sdbg 12:fma 13:cx16 14:xtpr 15:pdcm 17:pcid 18:dca 19:sse4_1 20:sse4_2 21:x2apic "
        "22:movbe 23:popcnt 24:tsc_deadline_timer 25:aes 26:xsave 28:avx 29:f16c 30:rdrand "
        "31:hypervisor "
    ),
    (0x80000001, 0, "ecx"): (
        "0:lahf_lm 1:cmp_legacy 2:svm 3:extapic 4:cr8_legacy 5:abm 6:sse4a 7:misalignsse "
        "8:3dnowprefetch 9:osvw 10:ibs 11:xop 12:skinit 13:wdt 15:lwp 16:fma4 17:tce "
        "19:nodeid_msr 21:tbm 22:topoext 23:perfctr_core 24:perfctr_nb 26:bpext 27:ptsc "
        "28:perfctr_llc 29:mwaitx "
    ),
    (0x7, 0, "ebx"): (
        "0:fsgsbase 1:tsc_adjust 2:sgx 3:bmi1 4:hle 5:avx2 7:smep 8:bmi2 9:erms 10:invpcid "
        "11:rtm 12:cqm 14:mpx 15:rdt_a 16:avx512f 17:avx512dq 18:rdseed 19:adx 20:smap "
        "21:avx512ifma 23:clflushopt 24:clwb 25:intel_pt 26:avx512pf 27:avx512er 28:avx512cd "
        "29:sha_ni 30:avx512bw 31:avx512vl "
    ),
    (0xD, 1, "eax"): ("0:xsaveopt 1:xsavec 2:xgetbv1 3:xsaves "),
    (0x80000008, 0, "ebx"): (
        "0:clzero 1:irperf 2:xsaveerptr 4:rdpru 9:wbnoinvd 23:amd_ppin 25:virt_ssbd 27:cppc 31:brs "
    ),
    (0x7, 1, "eax"): ("4:avx_vnni 5:avx512_bf16 6:lass 17:fred 26:lam "),
    (0x7, 0, "ecx"): (
        "1:avx512vbmi 2:umip 3:pku 4:ospke 5:waitpkg 6:avx512_vbmi2 8:gfni 9:vaes "
        "10:vpclmulqdq 11:avx512_vnni 12:avx512_bitalg 13:tme 14:avx512_vpopcntdq 16:la57 "
        "22:rdpid 24:bus_lock_detect 25:cldemote 27:movdiri 28:movdir64b 29:enqcmd 30:sgx_lc "
    ),
    (0x7, 0, "edx"): (
        "2:avx512_4vnniw 3:avx512_4fmaps 4:fsrm 8:avx512_vp2intersect 10:md_clear "
        "14:serialize 16:tsxldtrk 18:pconfig 19:arch_lbr 20:ibt 22:amx_bf16 23:avx512_fp16 "
        "24:amx_tile 25:amx_int8 28:flush_l1d 29:arch_capabilities "
    ),
}
# Which of them Linux 5.10 did not print yet; 6.1 did (the same file of Debian's 5.10.223, 6.1.170).
NEW_BETWEEN_5_10_AND_6_1 = {"avx_vnni", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "ibt"}


def test_linux_prints_the_same_names() -> None:
    """A row has the name that Linux prints for its bit, and `never` where it prints none."""
    printed = {
        (*place, int(bit)): name
        for place, names in LINUX_7_3.items()
        for bit, name in (each.split(":") for each in names.split())
    }
    rows = {
        f.name: (printed.get((f.cpuid.leaf, f.cpuid.subleaf, f.cpuid.register, f.cpuid.bit)))
        for f in TABLE.values()
    }

    assert {f.name: f.kernel.flag for f in TABLE.values()} == rows


def test_linux_releases_agree_with_since() -> None:
    """What 5.10 lacks and 6.1 has came after 5.10; the rest of the names are older than that."""

    def release(since: str) -> tuple[int, ...]:
        return tuple(int(part) for part in since.split("."))

    for feature in TABLE.values():
        flag, since = feature.kernel.flag, feature.kernel.since
        if flag is None or since is None:
            continue
        young = flag in NEW_BETWEEN_5_10_AND_6_1
        assert ((5, 10) < release(since) <= (6, 1)) == young, feature.name
        assert release(since) <= (6, 1)


# py-cpuinfo 9 reads EBX where leaf 80000001H reports in EDX (cpuinfo.py, get_flags), so it never
# sees these bits.
CPUINFO_WRONG_REGISTER = {"syscall", "rdtscp", "3dnow"}
# Bits that py-cpuinfo 9 leaves in comments or does not read at all.
CPUINFO_NOT_DECODED = {"fsgsbase", "waitpkg", "cldemote", "movdiri", "movdir64b", "enqcmd"} | {
    "kl",
    "shstk",
    "mwaitx",
}
CPUINFO_REGISTERS = (
    *((1, "ecx"), (1, "edx"), (7, "ebx"), (7, "ecx")),
    *((0x80000001, "ecx"), (0x80000001, "edx")),
)
MOVES = {b"\x89\xd0": "edx", b"\x89\xc8": "ecx", b"\x89\xd8": "ebx"}


@every(
    [
        f.name
        for f in TABLE.values()
        if f.cpuid.subleaf == 0 and (f.cpuid.leaf, f.cpuid.register) in CPUINFO_REGISTERS
    ]
)
def test_py_cpuinfo_names_the_same_bit(name: str) -> None:
    """Py-cpuinfo, given a CPU whose CPUID has this one bit set, gives it our or Linux's name."""
    bit = TABLE[name].cpuid
    decoder = object.__new__(library("cpuinfo.cpuinfo").CPUID)

    def run_asm(*parts: bytes) -> int:
        code = b"".join(parts)  # [xor ecx, ecx;] mov eax, leaf; cpuid; mov eax, register; ret
        start = code.index(b"\xb8") + 1
        leaf = int.from_bytes(code[start : start + 4], "little")
        return 1 << bit.bit if (leaf, MOVES[code[-3:-1]]) == (bit.leaf, bit.register) else 0

    decoder._run_asm = run_asm
    seen = {flag.replace("_", "") for flag in decoder.get_flags(0x80000001)}
    ours = {each.replace("_", "") for each in (name, TABLE[name].kernel.flag) if each is not None}

    if name in CPUINFO_WRONG_REGISTER | CPUINFO_NOT_DECODED:
        assert seen == set()
    else:
        assert len(seen) == 1
        assert seen <= ours


def test_flags_of_this_machine_are_set_in_cpuid() -> None:
    """What /proc/cpuinfo lists here is set in CPUID where the table says (`cpuid -r`, one CPU)."""
    printed = run(required("cpuid"), "-r", "-1").stdout
    leaves = {
        (int(leaf, 16), int(subleaf, 16)): dict(re.findall(r"(e.x)=0x(\w+)", registers))
        for leaf, subleaf, registers in re.findall(r"^\s+0x(\w{8}) 0x(\w\w): (.*)$", printed, re.M)
    }
    flags = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    if flags is None or (1, 0) not in leaves:
        unable("this machine has no x86 /proc/cpuinfo or no CPUID")
    listed = [
        TABLE.by_kernel_flag[flag] for flag in flags[1].split() if flag in TABLE.by_kernel_flag
    ]

    assert len(listed) >= 10
    for feature in listed:
        bit = feature.cpuid
        register = leaves[bit.leaf, bit.subleaf][bit.register]
        assert int(register, 16) >> bit.bit & 1, f"{feature.name}: {bit}"

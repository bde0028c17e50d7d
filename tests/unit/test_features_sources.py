"""The feature table against sources that know nothing of it: compilers, decoders, this machine."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cpuprobe.features import Feature, load_features

TABLE = load_features()

# First major release that knows a name, where it is younger than the oldest compiler supported here.
GCC_SINCE = {
    **dict.fromkeys("avxifma avxvnniint8 avxneconvert cmpccxadd amx-fp16 amx-complex".split(), 13),
    **dict.fromkeys("sha512 sm3 sm4 avxvnniint16 apxf avx10.1".split(), 14),
}
# The Xeon Phi options went with GCC 15 (its release notes).
GCC_UNTIL = dict.fromkeys("avx512pf avx512er avx5124vnniw avx5124fmaps".split(), 14)
CLANG_SINCE = {
    **dict.fromkeys("avxifma avxvnniint8 avxneconvert cmpccxadd amx-fp16".split(), 16),
    **dict.fromkeys("sha512 sm3 sm4 avxvnniint16 amx-complex".split(), 17),
    "avx10.1": 20,
}
# 3DNow! and the Xeon Phi extensions went with LLVM 19 (its release notes).
CLANG_UNTIL = dict.fromkeys("3dnow avx512pf avx512er".split(), 18)


def missing(reason: str) -> NoReturn:
    """Skip for want of a tool; where everything must be at hand, fail instead."""
    if os.environ.get("CPUPROBE_LAB") == "require":
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str) -> str:
    """The path of a program, or the test is skipped."""
    path = shutil.which(name)
    if path is None:
        home = Path.home() / ".cargo" / "bin" / name
        if home.exists():
            return str(home)
        missing(f"{name} is not installed")
    return path


def library(name: str) -> Any:
    """An imported module, or the test is skipped."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(f"the Python package of {name} is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program prints; C locale, one minute."""
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def major(text: str) -> int:
    """The major version in the first line a compiler prints about itself."""
    found = re.search(r"(\d+)\.\d+", text)
    assert found is not None, text
    return int(found[1])


def outside(version: int, since: dict[str, int], until: dict[str, int]) -> set[str]:
    """The names that a compiler of this version is expected to refuse."""
    return {name for name, first in since.items() if version < first} | {
        name for name, last in until.items() if version > last
    }


def test_gcc_accepts_every_name() -> None:
    """GCC refuses exactly the names that are younger or older than itself."""
    gcc = tool("gcc")
    names = [feature.gcc for feature in TABLE.values() if feature.gcc is not None]
    done = run(gcc, *(f"-m{name}" for name in names), "-x", "c", "-fsyntax-only", os.devnull)
    refused = set(re.findall(r"unrecognized command-line option '-m([^']+)'", done.stderr))

    assert refused == outside(major(run(gcc, "--version").stdout), GCC_SINCE, GCC_UNTIL)


def test_clang_accepts_every_name() -> None:
    """Clang refuses exactly the names that are younger or older than its LLVM."""
    clang = tool("clang")
    names = [feature.llvm for feature in TABLE.values() if feature.llvm is not None]
    wanted = [each for name in names for each in ("-target-feature", f"+{name}")]
    base = (clang, "-cc1", "-triple", "x86_64-linux-gnu", "-fsyntax-only")
    done = run(*base, *wanted, "-x", "c", os.devnull)
    refused = set(re.findall(r"'\+([^']+)' is not a recognized feature", done.stderr))
    probe = run(*base, "-target-feature", "+nonsense", "-x", "c", os.devnull)

    assert "'+nonsense' is not a recognized feature" in probe.stderr
    assert refused == outside(major(run(clang, "--version").stdout), CLANG_SINCE, CLANG_UNTIL)


def macro(feature: Feature) -> str:
    """The macro that Clang defines for a feature, by its general rule."""
    return "__" + feature.name.upper().replace(".", "_").replace("-", "_") + "__"


# Where Clang's macro does not follow the rule, or there is none.
NO_MACRO = {
    "x87", "cmov", "syscall", "rdtscp", "sahf", "cx8", "cx16", "mmx", "3dnow", "avx10.1", "apxf",
    "avx5124fmaps", "avx5124vnniw", "amx-tile", "amx-int8", "amx-bf16",
}  # fmt: skip
# LLVM 14 defines what it implies; where the table follows a later LLVM or the manual, it says so.
IMPLIED_ELSEWHERE = {
    "avx512fp16": {"avx512vl", "avx512dq"},  # dropped by later LLVM
    "xsave": set[str](),
}


@pytest.mark.parametrize(
    "name",
    [f.name for f in TABLE.values() if f.llvm and f.name not in NO_MACRO | set(CLANG_SINCE)],
)
def test_clang_14_implies_the_same(name: str) -> None:
    """The macros that one `-target-feature` turns on are those of the feature and its closure."""
    clang = tool("clang")
    if major(run(clang, "--version").stdout) != 14:
        missing("the implications were compared with Clang 14")
    command = (clang, "-cc1", "-triple", "i386-linux-gnu", "-target-cpu", "i386")
    done = run(
        *command, "-target-feature", f"+{TABLE[name].llvm}", "-E", "-dM", "-x", "c", os.devnull
    )
    defined = set(re.findall(r"#define (__\w+__) 1$", done.stdout, re.M))
    seen = {f.name for f in TABLE.values() if f.name not in NO_MACRO and macro(f) in defined}
    expected = (TABLE.closure(name) | {name}) - NO_MACRO

    assert seen - IMPLIED_ELSEWHERE.get(name, set()) == expected


def test_rustc_knows_every_name() -> None:
    """Every Rust name is among the compiler's own, not merely LLVM's, target features."""
    printed = run(
        tool("rustc"), "--print", "target-features", "--target", "x86_64-unknown-linux-gnu"
    )
    if printed.returncode != 0:
        missing(f"rustc cannot list target features: {printed.stderr.strip()[:100]}")
    own = printed.stdout.split("Code-generation features supported by LLVM")[0]
    known = set(re.findall(r"^\s+(\S+)\s+- ", own, re.M))

    assert "avx2" in known
    assert {f.rust for f in TABLE.values() if f.rust is not None} - known == set()


def test_iced_knows_every_name() -> None:
    """Every iced-x86 name is one of its CpuidFeature constants."""
    constants = {name for name in dir(library("iced_x86").CpuidFeature) if name.isupper()}

    assert "AVX512_VNNI" in constants
    assert {name for f in TABLE.values() for name in f.iced} - constants == set()


# py-cpuinfo 9 reads EBX where leaf 80000001H reports in EDX (cpuinfo.py, get_flags), so it never
# sees these bits.
CPUINFO_WRONG_REGISTER = {"syscall", "rdtscp", "3dnow"}
# Bits that py-cpuinfo 9 leaves in comments or does not read at all.
CPUINFO_NOT_DECODED = {"fsgsbase", "waitpkg", "cldemote", "movdiri", "movdir64b", "enqcmd"}
CPUINFO_LEAVES = ((1, "ecx"), (1, "edx"), (7, "ebx"), (7, "ecx"))
CPUINFO_LEAVES += ((0x80000001, "ecx"), (0x80000001, "edx"))
MOVES = {b"\x89\xd0": "edx", b"\x89\xc8": "ecx", b"\x89\xd8": "ebx"}


@pytest.mark.parametrize(
    "name",
    [
        f.name
        for f in TABLE.values()
        if f.cpuid.subleaf == 0 and (f.cpuid.leaf, f.cpuid.register) in CPUINFO_LEAVES
    ],
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
    printed = run(tool("cpuid"), "-r", "-1").stdout
    leaves = {
        (int(leaf, 16), int(subleaf, 16)): dict(re.findall(r"(e.x)=0x(\w+)", registers))
        for leaf, subleaf, registers in re.findall(r"^\s+0x(\w{8}) 0x(\w\w): (.*)$", printed, re.M)
    }
    flags = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    if flags is None or (1, 0) not in leaves:
        missing("this machine has no x86 /proc/cpuinfo or no CPUID")
    listed = [
        TABLE.by_kernel_flag[flag] for flag in flags[1].split() if flag in TABLE.by_kernel_flag
    ]

    assert len(listed) >= 10
    for feature in listed:
        bit = feature.cpuid
        register = leaves[bit.leaf, bit.subleaf][bit.register]
        assert int(register, 16) >> bit.bit & 1, f"{feature.name}: {bit}"

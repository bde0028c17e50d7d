"""The profiles against sources that know nothing of them.

These are dumps of CPUs, GCC, rustc, archspec, QEMU and the installed wasmtime. Where a source says
otherwise, the difference stands here with its reason. One that is not listed fails a test, and so
does one that is listed and gone.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.every import every
from tests.required import required, unable

from cpuprobe.assessment.wasmtime import WINCH_SIMD
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.machines.read import parse_capture, read_capture
from cpuprobe.evidence.observation import CpuidLeaf
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.lint import problems
from cpuprobe.facts.presets import presets
from cpuprobe.facts.profiles import Profile, load_profiles
from cpuprobe.facts.tables import load_table, parse_toml
from cpuprobe.facts.wasmtime import UnknownWasmtimeError

TESTS = Path(__file__).parents[2]
NATIVE = TESTS.parent / "probe" / "cpuprobe" / "bin" / "cpuprobe-native"
TABLE = load_features()
PROFILES: Mapping[str, Profile] = {
    name: profile for name, profile in load_profiles().items() if profile.built_in
}

Difference = tuple[str, str]
"""What only the profile has, and what only the other source has: names with blanks between."""

SAME: Difference = ("", "")


def of_kind(*kinds: str) -> list[str]:
    """The names of the profiles of these kinds."""
    return [name for name, profile in PROFILES.items() if profile.kind in kinds]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program prints; C locale, one minute."""
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def listed(names: Iterable[str]) -> str:
    """Features as one string, in the order of the table."""
    chosen = set(names)
    return " ".join(name for name in TABLE if name in chosen)


# Features of CPUID leaves that the dumps at hand have not (14H, 19H, 1EH, 24H, 80000008H).
NOT_RECORDED = {
    name
    for name, feature in TABLE.items()
    if feature.cpuid.leaf in (0x14, 0x19, 0x1E, 0x24, 0x80000008)
}
# What programs cannot count on whatever the CPU: the head of cpus.toml gives the reasons.
IN_NO_ROW = {"hle", "tsxldtrk", "uintr", "hreset", "kl", "widekl", "shstk", "ibt"}


def difference(profile: Profile, other: Iterable[str], known: Iterable[str]) -> Difference:
    """How a profile and another source's set differ among the features that the source knows."""
    ours = profile.features & set(known)
    theirs = (set(other) & set(known)) - IN_NO_ROW
    return listed(ours - theirs), listed(theirs - ours)


# --- the rows among themselves

EXPECTED = """
    nehalem westmere sandybridge ivybridge haswell broadwell skylake kabylake coffeelake
    cometlake skylake-avx512 cascadelake cooperlake cannonlake icelake-client icelake-server
    tigerlake rocketlake alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake
    sapphirerapids emeraldrapids graniterapids silvermont goldmont goldmont-plus tremont
    gracemont alderlake-n twin-lake sierraforest clearwaterforest amdfam10 btver1 btver2 bdver1
    bdver2 bdver3 bdver4 znver1 znver2 znver3 znver4 znver5 via-nano zhaoxin-lujiazui
    zhaoxin-yongfeng zhaoxin-shijidadao qemu-qemu64 qemu-kvm64 proxmox-x86-64-v2-aes
    proxmox-x86-64-v3 proxmox-x86-64-v4 skylake-gds-force skylake-avx512-gds-force
    icelake-client-gds-force icelake-server-gds-force tigerlake-gds-force rocketlake-gds-force
    kabylake-gds-force coffeelake-gds-force cometlake-gds-force debian-12 debian-13 ubuntu-24.04
    ubuntu-25.10-amd64v3 fedora rhel-8 rhel-9 rhel-10 almalinux-10 almalinux-10-v2
    opensuse-leap-15 opensuse-leap-16 opensuse-tumbleweed arch alpine azure-linux-3
    amazon-linux-2023 no-avx512 simd-floor winch
"""


def test_what_is_promised_is_there() -> None:
    """The profiles that the documentation and scripts may name exist."""
    assert set(EXPECTED.split()) <= set(PROFILES)


@every(PROFILES)
def test_a_profile_is_coherent(name: str) -> None:
    """It is down-closed, states its source, and has all that it says it extends."""
    profile = PROFILES[name]
    taken = set(TABLE) - {"avx", *TABLE.dependents("avx")} if profile.kind == "gds-force" else TABLE

    assert problems(profile) == ()
    assert profile.source != "not stated"
    for base in profile.extends:
        assert PROFILES[base].features & set(taken) <= profile.features


@pytest.mark.parametrize("file", ["cpus", "distributions", "policies"])
def test_a_row_says_nothing_twice(file: str) -> None:
    """What a row extends is not repeated in its features."""
    for row in load_table(file)["profile"]:
        inherited = {each for base in row.get("extends", ()) for each in PROFILES[base].features}

        assert listed(inherited & set(row.get("features", ()))) == ""


@every(of_kind("cpu", "gds-force"))
def test_a_cpu_never_promises_rtm(name: str) -> None:
    """Microcode, firmware and kernels turn RTM off, and members of every family lack it."""
    assert "rtm" not in PROFILES[name].features


# Read off the documents that the rows name as their sources.
BUILT_FOR = {
    "x86-64-v1": """
        debian-12 debian-13 ubuntu-22.04 ubuntu-24.04 ubuntu-25.10 ubuntu-26.04 fedora rhel-8
        opensuse-leap-15 opensuse-tumbleweed sles-15 arch alpine azure-linux-3
    """,
    "x86-64-v2": """
        rhel-9 rocky-9 oracle-linux-9 almalinux-10-v2 opensuse-leap-16 sles-16 azure-linux-4
        amazon-linux-2023
    """,
    "x86-64-v3": "ubuntu-25.10-amd64v3 ubuntu-26.04-amd64v3 rhel-10 almalinux-10 rocky-10",
}


def test_a_distribution_is_built_for_one_level() -> None:
    """Each row has just what the psABI lists for the level of its release."""
    expected = {
        name: set(level.features)
        for level in load_levels()
        for name in BUILT_FOR.get(level.name, "").split()
    }

    assert {name: PROFILES[name].features for name in of_kind("distribution")} == expected


# --- real CPUs

Cpu = dict[str, Any]
CPUS: list[Cpu] = parse_toml(
    (TESTS / "data" / "profiles" / "cpuid.toml").read_bytes(), "cpuid.toml"
)["cpu"]

# What all dumps at hand of a family have and its row leaves out.
RTM = "turned off on many of them: no row has it"
SHARED: dict[str, tuple[str, str]] = {
    "skylake-avx512": ("rtm", RTM),
    "cascadelake": ("rtm", RTM),
    "icelake-server": ("rtm", RTM),
    "sapphirerapids": ("rtm", RTM),
    "emeraldrapids": ("rtm", RTM),
    "graniterapids": ("rtm", RTM),
    "sandybridge": ("aes", "Core i3 has none (Intel ARK), and no dump of one is at hand"),
}
# No dump is at hand: what LLVM 20's X86.td adds to the CPU before, rtm aside. GCC and rustc,
# below, know some of it too.
WITHOUT_DUMP = {
    "cooperlake": ("cascadelake", "pku avx512bf16"),
    "graniterapids-d": ("graniterapids", "amx-complex"),
    "sierraforest": (
        "gracemont",
        "avxifma avxvnniint8 avxneconvert cmpccxadd enqcmd cldemote",
    ),
    "grandridge": ("sierraforest", ""),
    "clearwaterforest": ("sierraforest", "avxvnniint16 sha512 sm3 sm4"),
}


def leaves(cpu: Cpu) -> Cpuid:
    """The CPUID leaves of a row of cpuid.toml."""
    found = []
    for line in cpu["cpuid"]:
        where, *registers = line.split()
        leaf, subleaf = where.split(":")
        found.append(CpuidLeaf(int(leaf, 16), int(subleaf, 16), *(int(r, 16) for r in registers)))
    return Cpuid(found, read_in_64_bit_mode=False)


def bits(cpuid: Cpuid) -> tuple[set[str], set[str]]:
    """What a CPU enumerates, and what was not recorded of it."""
    said = {name: cpuid.bit(feature.cpuid) for name, feature in TABLE.items()}
    return {n for n, bit in said.items() if bit}, {n for n, bit in said.items() if bit is None}


def members(name: str) -> list[Cpu]:
    """The CPUs that belong to a profile."""
    return [cpu for cpu in CPUS if name in cpu["profiles"]]


def test_every_cpu_has_dumps_or_says_that_it_has_none() -> None:
    """Only models of hypervisors and a few named families are without a recorded CPU."""
    recorded = {name for cpu in CPUS for name in cpu["profiles"]}
    virtual = {name for name in of_kind("cpu") if name.startswith(("qemu-", "proxmox-"))}

    assert set(of_kind("cpu")) - virtual - recorded == set(WITHOUT_DUMP)
    assert recorded <= set(of_kind("cpu"))


@pytest.mark.parametrize("name", WITHOUT_DUMP)
def test_a_cpu_without_dump_has_what_its_maker_told_llvm(name: str) -> None:
    """The row is that of the CPU before with what LLVM's table adds, and nothing else."""
    base, added = WITHOUT_DUMP[name]

    assert listed(PROFILES[name].features - PROFILES[base].features) == added
    assert PROFILES[base].features <= PROFILES[name].features


@every(CPUS, lambda cpu: f"{cpu['brand']}-{cpu['profiles'][0]}")
def test_a_recorded_cpu_has_what_its_profiles_promise(cpu: Cpu) -> None:
    """Nothing in a profile is denied by the CPUID of a member; only leaf 0DH may be unrecorded."""
    enumerated, unrecorded = bits(leaves(cpu))

    assert unrecorded <= {"xsaveopt", "xsavec", "xsaves", *NOT_RECORDED}
    for name in cpu["profiles"]:
        assert listed(PROFILES[name].features - enumerated - unrecorded) == ""


@every(sorted({name for cpu in CPUS for name in cpu["profiles"]}))
def test_a_profile_leaves_out_nothing_that_its_members_share(name: str) -> None:
    """What all recorded members enumerate is in the row, or stands above with its reason."""
    shared = set(TABLE)
    for cpu in members(name):
        enumerated, unrecorded = bits(leaves(cpu))
        shared &= enumerated | unrecorded
    # What nobody recorded is nobody's.
    shared &= set().union(*(bits(leaves(cpu))[0] for cpu in members(name)))

    assert listed(shared - PROFILES[name].features - IN_NO_ROW) == SHARED.get(name, ("", ""))[0]


def test_no_recorded_cpu_has_what_its_model_never_has() -> None:
    """The dumps bear out the rows of quirks.toml from which CP403 argues."""
    met = set()
    for cpu in CPUS:
        cpuid = leaves(cpu)
        family, model, _ = cpuid.signature or (0, 0, 0)
        for row in load_table("quirks")["never"]:
            if (
                row["vendor"] == cpuid.vendor
                and row.get("family", family) == family
                and model in row.get("models", (model,))
                and family < row.get("family_below", family + 1)
            ):
                met.add(row["name"])
                assert listed(set(row["features"]) & bits(cpuid)[0]) == "", cpu["brand"]

    assert len(met) >= 9


CAPTURES = {
    "aida64-alder-lake-n.txt": ("gracemont", "alderlake-n"),
    "aida64-alder-lake-p-avx512.txt": ("alderlake", "gracemont", "skylake"),
    "aida64-merom.txt": ("core2",),
    "aida64-zen4-raphael.txt": ("znver4", "znver1"),
    "libcpuid-cascade-lake-x.txt": ("cascadelake", "skylake-avx512"),
    "libcpuid-n95.txt": ("gracemont", "alderlake-n"),
}


@pytest.mark.parametrize("file", CAPTURES)
def test_a_capture_has_what_its_profiles_promise(file: str) -> None:
    """Every group of CPUs in a capture of a real machine enumerates all of its profiles."""
    for group in read_capture(TESTS / "data" / "captures" / file).groups:
        enumerated, unrecorded = bits(Cpuid(group.cpuid, read_in_64_bit_mode=False))

        assert not unrecorded
        for name in CAPTURES[file]:
            assert listed(PROFILES[name].features - enumerated) == ""


# --- gather_data_sampling=force


def gds_affected(cpu: Cpu) -> bool:
    """Whether quirks.toml counts a CPU among those with GDS."""
    cpuid = leaves(cpu)
    family, model, stepping = cpuid.signature or (0, 0, 0)
    return any(
        row["vendor"] == cpuid.vendor
        and row["family"] == family
        and model in row["models"]
        and stepping not in row.get("not_steppings", ())
        for row in load_table("quirks")["gds_affected"]
    )


def test_the_affected_cpus_and_only_they_have_a_profile_under_force() -> None:
    """The rows agree with the kernel's list; a CPU that never had AVX loses nothing."""
    affected = {name for cpu in CPUS if gds_affected(cpu) for name in cpu["profiles"]} - {
        "skylake-pentium"
    }
    forced = {name.removesuffix("-gds-force") for name in of_kind("gds-force")}

    assert "avx" not in PROFILES["skylake-pentium"].features
    # Of Cooper Lake there is no dump; it has the model number of Skylake-X.
    assert forced == affected | {"cooperlake"}


@pytest.mark.parametrize("name", of_kind("gds-force"))
def test_force_takes_what_needs_ymm_state_and_nothing_else(name: str) -> None:
    """AVX, FMA, F16C, VAES and AVX-512 go; AES, BMI and SHA, which have no YMM state, stay."""
    profile = PROFILES[name]
    (base,) = (PROFILES[each] for each in profile.extends)
    vectors = {each for each in base.features if TABLE[each].encoding in ("vex", "evex")}

    assert {"avx", "avx2", "fma", "f16c"} <= vectors
    assert profile.features == base.features - vectors
    assert {"aes", "pclmul", "bmi", "bmi2", "lzcnt", "xsave"} <= profile.features


# --- archspec

# archspec's names are those of /proc/cpuinfo, except where the kernel prints none.
ARCHSPEC_NAMES = {
    "sse3": "sse3",
    "avx_ifma": "avxifma",
    "avx_ne_convert": "avxneconvert",
    "avx_vnni_int8": "avxvnniint8",
    "avx_vnni_int16": "avxvnniint16",
    "cmpccxadd": "cmpccxadd",
    "sha512": "sha512",
    "sm3": "sm3",
    "sm4": "sm4",
}
# What archspec has and the table does not.
ARCHSPEC_ALONE = {"3dnowext", "flush_l1d", "tsc_adjust"}

SILENT = "archspec leaves it out of this one, the dumps have it"
I3 = "Core i3 of the generation lacks it"
ARCHSPEC: dict[str, tuple[Difference, str]] = {
    "x86-64-v1": (("mmx sse sse2", ""), "archspec gives x86_64 no features at all"),
    "core2": (("cx16 sahf", ""), SILENT),
    "sandybridge": (("xsave xsaveopt", "aes"), f"xsave: {SILENT}; aes: {I3}"),
    "ivybridge": (("xsave xsaveopt fsgsbase", "aes rdrnd"), f"{SILENT}; aes, rdrnd: {I3}"),
    "haswell": (("xsaveopt fsgsbase", ""), SILENT),
    "broadwell": (("xsaveopt fsgsbase", ""), SILENT),
    "skylake": (("fsgsbase", ""), SILENT),
    "skylake-avx512": (("fsgsbase", ""), SILENT),
    "cascadelake": (("fsgsbase", ""), SILENT),
    "cannonlake": (("fsgsbase pku", ""), SILENT),
    "icelake-server": (("fsgsbase pku", ""), SILENT),
    "sapphirerapids": (("avxvnni fsgsbase pku avx512fp16", ""), SILENT),
    "alderlake": (("fsgsbase pku", ""), SILENT),
    "arrowlake": (("fsgsbase pku", ""), SILENT),
    "arrowlake-s": (("fsgsbase pku", ""), SILENT),
    "knl": (("xsaveopt fsgsbase", ""), SILENT),
    "amdfam10": (("sse3 popcnt sahf", ""), SILENT),
    "bdver3": (("xsaveopt", ""), SILENT),
    "bdver4": (("xsaveopt", ""), SILENT),
    "znver1": (("sha adx rdrnd", ""), SILENT),
    "znver2": (("sha adx rdrnd rdpid", ""), SILENT),
    "znver3": (("sha adx rdrnd rdpid", ""), SILENT),
    "znver4": (("sha adx rdrnd rdpid", ""), SILENT),
    "znver5": (("sha adx rdrnd rdpid", ""), SILENT),
}


@functools.cache
def archspec_sets() -> dict[str, frozenset[str]]:
    """archspec's x86-64 microarchitectures, their features by the names of the table."""
    try:
        targets = importlib.import_module("archspec.cpu").TARGETS
    except ModuleNotFoundError:
        unable("the Python package archspec is not installed")
    names = {f.kernel.flag: f.name for f in TABLE.values() if f.kernel.flag} | ARCHSPEC_NAMES
    ours = [target for target in targets.values() if target.family.name == "x86_64"]
    alone = {feature for target in ours for feature in target.features} - set(names)
    assert alone == ARCHSPEC_ALONE
    return {
        target.name: frozenset(names[each] for each in set(target.features) - alone)
        for target in ours
    }


@every([n for n, p in PROFILES.items() if p.archspec])
def test_archspec_agrees_but_for_what_is_listed(name: str) -> None:
    """Compared are the features that archspec gives to any x86-64 CPU at all."""
    sets = archspec_sets()
    known = frozenset[str]().union(*sets.values())
    found = difference(PROFILES[name], sets[str(PROFILES[name].archspec)], known)

    assert found == ARCHSPEC.get(name, (SAME,))[0]


def test_every_difference_from_archspec_belongs_to_a_profile() -> None:
    """No reason outlives its row."""
    assert set(ARCHSPEC) <= {name for name, profile in PROFILES.items() if profile.archspec}


# --- GCC

GCC_MAJOR = 12
"""The release that the differences below were taken from: later ones change what -march means."""

# Not made from the name of the option.
GCC_MACROS = {
    "3dnow": "__3dNOW__",
    "cx16": "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16",
    "sahf": "__LAHF_SAHF__",
    "x87": None,  # no macro says it
}
GCC_UNKNOWN = {
    "raptorlake",
    "meteorlake",
    "arrowlake",
    "arrowlake-s",
    "lunarlake",
    "pantherlake",
    "emeraldrapids",
    "graniterapids",
    "graniterapids-d",
    "penryn",
    "gracemont",
    "sierraforest",
    "grandridge",
    "clearwaterforest",
    "znver4",
    "znver5",
    "zhaoxin-lujiazui",
    "zhaoxin-yongfeng",
    "zhaoxin-shijidadao",
}

NO_AES = "GCC names AES only from Skylake on, because some Celeron of each generation lack it"
CORE_X = "Xeon has it, Core X does not"
NO_CLDEMOTE = "no dump has it"
ISAIAH = "the dumps have it, GCC knows VIA's CPUs up to SSE4.1 only"
GCC: dict[str, tuple[Difference, str]] = {
    "westmere": (("aes", ""), NO_AES),
    "ivybridge": (("", "rdrnd"), I3),
    "haswell": (("aes", ""), NO_AES),
    "broadwell": (("aes", ""), NO_AES),
    "skylake-avx512": (("", "pku"), CORE_X),
    "cascadelake": (("", "pku"), CORE_X),
    "alderlake": (("", "cldemote"), NO_CLDEMOTE),
    "tremont": (("", "cldemote"), "Snow Ridge has it, Jasper Lake and Elkhart Lake do not"),
    "sapphirerapids": (("", "avx512vp2intersect"), "no dump has it; later GCC dropped it"),
    "knl": (("aes", ""), "GCC leaves it out, the dumps have it"),
    "btver1": (("", "xsave"), "no dump of a Bobcat has it"),
    "bdver4": (("", "rdrnd"), "firmware or Linux hides it on family 15H"),
    "via-nano": (("cx16", ""), ISAIAH),
    "via-nano-3000": (("popcnt cx16", ""), ISAIAH),
    "via-eden-x4": (
        (
            "sse4.2 popcnt cx16 xsave xsaveopt avx f16c avx2 aes pclmul lzcnt bmi bmi2 adx movbe "
            "rdrnd rdseed fsgsbase prfchw",
            "",
        ),
        ISAIAH,
    ),
}


def macro(name: str) -> str | None:
    """The macro that GCC predefines where it may use a feature."""
    option = TABLE[name].gcc
    if name in GCC_MACROS or option is None:
        return GCC_MACROS.get(name)
    return f"__{option.upper().replace('.', '_').replace('-', '_')}__"


@functools.cache
def gcc_set(march: str) -> frozenset[str] | None:
    """What GCC takes -march to mean; None where it does not know the name."""
    gcc = required("gcc")
    version = re.search(r"\d+", run(gcc, "-dumpversion").stdout)
    if version is None or int(version[0]) != GCC_MAJOR:
        unable(f"the differences are those of GCC {GCC_MAJOR}, this is {version and version[0]}")
    done = run(gcc, f"-march={march}", "-dM", "-E", "-x", "c", os.devnull)
    if done.returncode != 0:
        assert "bad value" in done.stderr
        return None
    defined = {line.split()[1] for line in done.stdout.splitlines()}
    return frozenset(name for name in TABLE if macro(name) in defined)


@every([n for n, p in PROFILES.items() if p.gcc])
def test_gcc_agrees_but_for_what_is_listed(name: str) -> None:
    """Compared are the features that have a macro; a name GCC does not know yet is listed too."""
    meant = gcc_set(str(PROFILES[name].gcc))

    assert (meant is None) == (name in GCC_UNKNOWN)
    if meant is not None:
        known = {each for each in TABLE if macro(each)}
        assert difference(PROFILES[name], meant, known) == GCC.get(name, (SAME,))[0]


def test_every_difference_from_gcc_belongs_to_a_profile() -> None:
    """No reason outlives its row."""
    assert set(GCC) | GCC_UNKNOWN <= {name for name, profile in PROFILES.items() if profile.gcc}


# --- rustc, which speaks for LLVM

RUST_SINCE = 95
"""The minor version of Rust 1 from which on it knows all of these."""

# Those of which GCC 12 or the dumps say nothing; Zhaoxin's names are GCC's alone.
RUST = sorted(name for name in GCC_UNKNOWN | set(WITHOUT_DUMP) if not name.startswith("zhaoxin-"))


@functools.cache
def rust_set(cpu: str) -> frozenset[str]:
    """What rustc takes -C target-cpu to mean."""
    rustc = required("rustc")
    version = re.search(r"1\.(\d+)", run(rustc, "--version").stdout)
    if version is None or int(version[1]) < RUST_SINCE:
        unable(f"Rust 1.{RUST_SINCE} or later is not installed")
    target = ("--target", "x86_64-unknown-linux-gnu")
    done = run(rustc, "--print", "cfg", "-C", f"target-cpu={cpu}", *target)
    assert (done.returncode, done.stderr) == (0, "")
    printed = set(re.findall(r'^target_feature="([^"]+)"$', done.stdout, re.MULTILINE))
    return frozenset(name for name, feature in TABLE.items() if feature.rust in printed)


@every(RUST)
def test_rustc_agrees(name: str) -> None:
    """Compared are the features that a stable rustc prints for any of these CPUs."""
    known = rust_set("graniterapids") | rust_set("clearwaterforest") | rust_set("znver5")

    assert {"sse3", "sse4a", "avx512bf16", "avx512fp16", "sm4", "avxvnniint16"} <= known
    assert difference(PROFILES[name], rust_set(str(PROFILES[name].gcc)), known) == SAME


# --- wasmtime's presets

OPEN = "the preset forgets AVX (and AVX2), on which its FMA or AVX-512 builds"
NO_PRESET_FLAG = "the preset forgets it"
SSE_ONLY = "the preset takes AMD's AVX generations for SSSE3 machines"
PRESETS: dict[str, tuple[Difference, str]] = {
    "core2": (("ssse3", ""), NO_PRESET_FLAG),
    "alderlake": (("avx avx2", ""), OPEN),
    "raptorlake": (("avx avx2", ""), OPEN),
    "meteorlake": (("avx avx2", ""), OPEN),
    "sierraforest": (("avx avx2", ""), OPEN),
    "grandridge": (("avx avx2", ""), OPEN),
    "sapphirerapids": (("avxvnni", ""), NO_PRESET_FLAG),
    "graniterapids": (("avxvnni", ""), NO_PRESET_FLAG),
    "knl": (("sse3 ssse3 sse4.1 sse4.2 avx avx2", ""), OPEN),
    "amdfam10": (("sse3", ""), NO_PRESET_FLAG),
    "btver2": (("sse4.1 sse4.2", ""), NO_PRESET_FLAG),
    "bdver1": (("sse4.1 sse4.2 avx", ""), SSE_ONLY),
    "bdver2": (("sse4.1 sse4.2 avx fma", ""), SSE_ONLY),
    "bdver3": (("sse4.1 sse4.2 avx fma", ""), SSE_ONLY),
    "bdver4": (("sse4.1 sse4.2 avx fma", ""), SSE_ONLY),
    "znver1": (("avx avx2", ""), OPEN),
    "znver2": (("avx avx2", ""), OPEN),
    "znver3": (("avx avx2", ""), OPEN),
    "znver4": (("avx avx2 avx512vnni", ""), f"{OPEN}; avx512vnni: {NO_PRESET_FLAG}"),
}
WITH_PRESET = {name: str(p.preset) for name, p in PROFILES.items() if p.preset}


@functools.cache
def preset_sets() -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """The presets of the installed wasmtime by name, and what it has flags for at all."""
    version = installed_version()
    try:
        found = presets(version or "")
    except UnknownWasmtimeError as error:
        unable(str(error))
    known = next(iter(found.values())).flags
    return (
        {
            name: frozenset(TABLE.by_cranelift[flag].name for flag, on in each.flags.items() if on)
            for name, each in found.items()
        },
        frozenset(TABLE.by_cranelift[flag].name for flag in known),
    )


@every(WITH_PRESET)
def test_the_installed_wasmtimes_preset_agrees_but_for_what_is_listed(name: str) -> None:
    """Compared are the features that wasmtime has a flag for. No preset has more than its row."""
    sets, known = preset_sets()
    found = difference(PROFILES[name], sets[WITH_PRESET[name]], known)

    assert found == PRESETS.get(name, (SAME,))[0]


def test_every_difference_from_a_preset_belongs_to_a_profile() -> None:
    """No reason outlives its row."""
    assert set(PRESETS) <= set(WITH_PRESET)


# --- QEMU

# The model under TCG, which lacks what TCG cannot emulate: it may have less than the row, not more.
QEMU_MODELS = {
    "Conroe": "core2",
    "Penryn": "penryn",
    "Nehalem": "nehalem",
    "Westmere": "westmere",
    "SandyBridge": "sandybridge",
    "IvyBridge": "ivybridge",
    "Haswell-noTSX": "haswell",
    "Broadwell-noTSX": "broadwell",
    "Skylake-Client-noTSX-IBRS": "skylake",
    "Skylake-Server-noTSX-IBRS": "skylake-avx512",
    "Cascadelake-Server-noTSX": "cascadelake",
    "Cooperlake": "cooperlake",
    "Icelake-Server-noTSX": "icelake-server",
    "Denverton": "goldmont",
    "Snowridge": "tremont",
    "Opteron_G3": "amdfam10",
    "Opteron_G4": "bdver1",
    "Opteron_G5": "bdver2",
    "EPYC": "znver1",
    "EPYC-Rome": "znver2",
    "EPYC-Milan": "znver3",
}
QEMU_HAS_MORE = {
    "SandyBridge": ("aes", I3),
    "IvyBridge": ("aes rdrnd", I3),
    "Skylake-Server-noTSX-IBRS": ("pku", CORE_X),
    "Cascadelake-Server-noTSX": ("pku", CORE_X),
}


def emulated(model: str) -> set[str]:
    """What a model of QEMU's enumerates under emulation."""
    qemu = required("qemu-x86_64")
    if not NATIVE.exists():
        unable(f"{NATIVE.name} is not built")
    done = run(qemu, "-cpu", model, str(NATIVE), "--no-exec")
    if "unable to find CPU model" in done.stderr:
        unable(f"this QEMU has no model {model}")
    (group,) = parse_capture(done.stdout.encode()).groups
    return bits(Cpuid(group.cpuid))[0]


@pytest.mark.parametrize("model", QEMU_MODELS)
def test_a_profile_has_what_qemus_model_of_the_cpu_has(model: str) -> None:
    """QEMU's authors copied real CPUs: what they saw is in the row or stands above."""
    more = listed(emulated(model) - PROFILES[QEMU_MODELS[model]].features)

    assert more == QEMU_HAS_MORE.get(model, ("", ""))[0]


# What qemu-server's CPUConfig.pm puts together, flag by flag, for QEMU to say what it is.
V2 = "qemu64,+popcnt,+pni,+sse4.1,+sse4.2,+ssse3"
V3 = f"{V2},+aes,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe,+xsave"
GUESTS = {
    "qemu-qemu64": "qemu64",
    "qemu-kvm64": "kvm64",
    "proxmox-kvm64": "kvm64,+lahf_lm",
    "proxmox-x86-64-v2": V2,
    "proxmox-x86-64-v2-aes": f"{V2},+aes",
    "proxmox-x86-64-v3": V3,
}


@pytest.mark.parametrize("name", GUESTS)
def test_a_hypervisors_model_is_just_what_qemu_shows(name: str) -> None:
    """TCG emulates all of these models, so that nothing may differ."""
    assert listed(PROFILES[name].features) == listed(emulated(GUESTS[name]))


def test_proxmox_v4_adds_the_five_of_the_level_to_its_v3() -> None:
    """TCG has no AVX-512: read from CPUConfig.pm instead."""
    more = PROFILES["proxmox-x86-64-v4"].features - PROFILES["proxmox-x86-64-v3"].features

    assert more == {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


# --- policies


def test_the_simd_floor_is_that_of_wasmtime_8() -> None:
    """What was measured of old wheels, on top of what every x86-64 CPU has."""
    (old,) = [row for row in load_table("wasmtime")["version"] if row["major"] == 8]
    added = PROFILES["simd-floor"].features - PROFILES["x86-64-v1"].features

    assert added == set(old["simd_floor"])


def test_winch_needs_avx_and_avx2_and_what_they_imply() -> None:
    """The policy says what the assessment says in CP502."""
    implied = {each for name in WINCH_SIMD for each in TABLE.closure(name)} | set(WINCH_SIMD)
    added = PROFILES["winch"].features - PROFILES["x86-64-v1"].features

    assert added == implied - PROFILES["x86-64-v1"].features


def test_without_avx_wasmtimes_detector_has_its_way() -> None:
    """The mask forbids what the detector of quirks.toml hides on a CPU without AVX."""
    (row,) = [each for each in load_table("quirks")["detector"] if each["without"] == "avx"]
    policy = PROFILES["no-avx"]

    assert policy.mask
    assert {"avx", "avx2", "fma", "avx512f", *row["hides"]} <= policy.withheld
    assert all(policy.permits(name) for name in ("sse4.2", "popcnt", "lzcnt", "aes", "cx16"))


def test_no_avx512_forbids_every_evex_encoding_and_nothing_else() -> None:
    """The group and the encodings say the same thing."""
    policy = PROFILES["no-avx512"]

    assert policy.mask
    assert policy.withheld == {name for name in TABLE if TABLE[name].encoding == "evex"}

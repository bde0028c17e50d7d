"""The readers of foreign captures on small texts: layouts, wrappings, and what is refused."""

from __future__ import annotations

import html
import json
import re
import struct
from pathlib import Path

import msgspec
import pytest
from tests import arm_fakes
from tests.every import every
from tests.fakes import V3, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.cpuid import Cpuid, clear_topology
from cpuprobe.evidence.machines import parse_capture, read_capture
from cpuprobe.evidence.observation import Auxv, CpuGroup, CpuidLeaf, Observation
from cpuprobe.evidence.share import pack, unpack
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.text import identity_line

SAMPLES = Path(__file__).parents[2] / "data" / "captures"

AIDA = """\
CPUID 00000000: 00000001-68747541-444D4163-69746E65
CPUID 00000001: 00000612-00000000-00000000-0081F9FF
CPUID 80000000: 80000001-68747541-444D4163-69746E65
CPUID 80000001: 00000712-00000000-00000000-C0C1F9FF
"""
CPUID_R = """\
CPU:
   0x00000000 0x00: eax=0x00000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
   0x00000001 0x00: eax=0x00000612 ebx=0x00000000 ecx=0x00000000 edx=0x0081f9ff
   0x80000000 0x00: eax=0x80000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
   0x80000001 0x00: eax=0x00000712 ebx=0x00000000 ecx=0x00000000 edx=0xc0c1f9ff
"""
LIBCPUID = """\
basic_cpuid[0]=00000001 68747541 444d4163 69746e65
basic_cpuid[1]=00000612 00000000 00000000 0081f9ff
ext_cpuid[0]=80000001 68747541 444d4163 69746e65
ext_cpuid[1]=00000712 00000000 00000000 c0c1f9ff
"""
LEAVES = (
    CpuidLeaf(0x0, 0, 0x1, 0x68747541, 0x444D4163, 0x69746E65),
    CpuidLeaf(0x1, 0, 0x612, 0, 0, 0x81F9FF),
    CpuidLeaf(0x80000000, 0, 0x80000001, 0x68747541, 0x444D4163, 0x69746E65),
    CpuidLeaf(0x80000001, 0, 0x712, 0, 0, 0xC0C1F9FF),
)
FLAGS = "flags\t\t: fpu cx8 cmov mmx fxsr sse sse2 syscall lm pni ssse3 cx16 lahf_lm"


def read(text: str) -> Observation:
    return parse_capture(text.encode())


def refusal(content: bytes) -> str:
    with pytest.raises(CaptureError) as caught:
        parse_capture(content)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (AIDA, "aida64"),
        (AIDA.replace(": ", "  \t"), "aida64"),
        (AIDA.replace(": ", " : ").replace("-", " "), "aida64"),
        (AIDA.replace(": ", " "), "aida64"),
        (AIDA.lower().replace("cpuid", "CPUID"), "aida64"),
        (AIDA.replace("65\n", "65 [AuthenticAMD]\n"), "aida64"),
        ("CPU#000 AffMask: 0x0000000000000001 \n" + AIDA, "aida64"),
        ("CPUID Registers (CPU #1):\n" + AIDA, "aida64"),
        ("Group: 0x00 Affinity mask: 0x0000000000000001\n" + AIDA, "aida64"),
        ("------[ CPUID Registers / Logical CPU #0 Virtual ]------\n" + AIDA, "aida64"),
        (CPUID_R, "cpuid-r"),
        (CPUID_R.replace("CPU:", "CPU 0:"), "cpuid-r"),
        (CPUID_R.replace(" 0x00:", ":"), "cpuid-r"),
        (LIBCPUID, "libcpuid"),
        (
            "version=0.8.0\n\n_________________ Logical CPU #0 _________________\n" + LIBCPUID,
            "libcpuid",
        ),
    ],
)
def test_layouts_of_one_cpu(text, source):
    """Old and new layouts of each kind of dump give the same leaves."""
    machine = read(text)

    assert machine.source == source
    assert [(each.cpus, each.cpuid) for each in machine.groups] == [((0,), LEAVES)]


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (AIDA, "------[ Logical CPU #{} ]------"),
        (AIDA, "------[ CPUID Registers / Logical CPU #{} ]------\n\nallcpu: Valid"),
        (AIDA, "CPU#00{} AffMask: 0x1"),
        (CPUID_R.removeprefix("CPU:\n"), "CPU {}:"),
        (LIBCPUID, "_________________ Logical CPU #{} _________________"),
    ],
)
def test_several_cpus(text, header):
    """CPUs with equal leaves are one group, APIC IDs aside; another CPU is another group."""
    second = text.replace("00000612-00000000", "00000612-01000000")
    third = text.replace("0081", "0080")
    parts = [f"{header.format(n)}\n{each}" for n, each in enumerate((text, second, third))]

    assert [each.cpus for each in read("\n".join(parts)).groups] == [(0, 1), (2,)]


def test_cpus_without_headers():
    """Where nothing separates the CPUs, leaf 0 begins the next one."""
    assert [each.cpus for each in read(AIDA + AIDA + AIDA).groups] == [(0, 1, 2)]


def test_msr_sections_are_no_cpus():
    """AIDA64 writes a section of MSRs a CPU under a similar header."""
    text = f"------[ Logical CPU #3 ]------\n{AIDA}------[ MSR Registers / Logical CPU #4 ]------\n"
    text += "MSR 00000017: 2140-0000-0000-0000 [PlatID = 0]\n"

    assert [each.cpus for each in read(text).groups] == [(3,)]


def test_unnumbered_subleaves():
    """Repeated lines of leaf 4 are its subleaves; of leaf 0DH only YMM state can be told."""
    text = AIDA.replace("00000001-6874", "0000000D-6874") + "\n".join(
        (
            "CPUID 00000004: 04000121-01C0003F-0000003F-00000001",
            "CPUID 00000004: 04000122-01C0003F-0000003F-00000001",
            "CPUID 0000000D: 00000007-00000340-00000340-00000000",
            "CPUID 0000000D: 00000040-000003C0-00000000-00000000",
            "CPUID 0000000D: 00000100-00000240-00000000-00000000",
        )
    )
    (only,) = read(text).groups

    assert [
        (leaf.leaf, leaf.subleaf, leaf.eax) for leaf in only.cpuid if 1 < leaf.leaf < 0x100
    ] == [
        (0x4, 0, 0x4000121),
        (0x4, 1, 0x4000122),
        (0xD, 0, 0x7),
        (0xD, 2, 0x100),
    ]


def test_libcpuid_arrays():
    """The arrays for leaves with subleaves; element 0 repeats what basic_cpuid has."""
    text = LIBCPUID + "basic_cpuid[4]=1c004121 01c0003f 0000003f 00000000\n"
    text += "intel_fn4[0]=1c004121 01c0003f 0000003f 00000000\n"
    text += "intel_fn4[1]=1c004122 01c0003f 0000003f 00000000\n"
    text += "intel_fn12h[1]=00000001 00000002 00000003 00000004\n"
    text += "amd_fn8000001dh[2]=00000001 00000002 00000003 00000004\n"
    (only,) = read(text).groups

    assert {(leaf.leaf, leaf.subleaf) for leaf in only.cpuid} == {
        *((leaf.leaf, leaf.subleaf) for leaf in LEAVES),
        (0x4, 0),
        (0x4, 1),
        (0x12, 1),
        (0x8000001D, 2),
    }


def test_the_serial_number_is_dropped():
    """Leaf 3 of a Pentium III never enters an observation."""
    machine = read(AIDA + "CPUID 00000003: 00000000-00000000-6107FB5A-0000E4CA\n")

    assert machine.groups[0].cpuid == LEAVES


@pytest.mark.parametrize(
    "text",
    [
        AIDA + "CPUID 00000001: 00000613-00000000-00000000-0081F9FF\n",
        AIDA + "CPUID 80000001: 00000712-00000000-00000000-C0C1F9FE [SL 00]\n",
        CPUID_R + CPUID_R.splitlines()[2].replace("612", "613"),
        LIBCPUID + "basic_cpuid[1]=00000613 00000000 00000000 0081f9ff",
    ],
)
def test_a_leaf_with_two_values_is_refused(text):
    """A value is never silently overwritten by another one."""
    assert "stands twice in one CPU" in refusal(text.encode())


def test_a_cpu_with_two_contents_is_refused():
    """Two machines pasted into one text are not merged; the same CPU twice is."""
    other = CPUID_R.replace("0081f9ff", "0080f9ff")

    assert "2 different machines" in refusal((CPUID_R + other).replace("CPU:", "CPU 0:").encode())
    assert read((CPUID_R + CPUID_R).replace("CPU:", "CPU 0:")).groups[0].cpus == (0,)


# --- what a leaf means --------------------------------------------------------------------------


def test_a_leaf_above_the_maximum_does_not_count():
    """With the BIOS switch for old Windows NT leaf 0 says 3: leaf 7 is listed but is not there."""
    text = AIDA.replace("00000001-6874", "00000003-6874", 1)
    text += "CPUID 00000007: 00000000-FFFFFFFF-FFFFFFFF-FFFFFFFF\n"
    features = assess(read(text)).features

    assert features["avx2"].cpuid is False
    assert features["avx2"].state == "absent"


def test_the_brand_stands_in_three_leaves():
    """80000002H to 80000004H in order, sixteen letters each, blanks folded (SDM vol. 2A, CPUID)."""
    name = b"Intel(R) Core(TM) i9-12900K    CPU @ 3.20GHz\0".ljust(48, b"\0")
    leaves = [
        CpuidLeaf(0x80000002 + at, 0, *struct.unpack_from("<4I", name, 16 * at)) for at in range(3)
    ]

    assert Cpuid(leaves).brand == "Intel(R) Core(TM) i9-12900K CPU @ 3.20GHz"
    assert Cpuid(leaves[:2]).brand is None


@pytest.mark.parametrize("eax", [0x0, 0x444D4163, 0x8001FFFF, 0xFFFFFFFF])
def test_an_extended_range_that_does_not_exist(eax):
    """CPUs without extended leaves answer 80000000H with something else."""
    leaves = [
        CpuidLeaf(0x80000000, 0, eax, 0, 0, 0),
        CpuidLeaf(0x80000001, 0, 0, 0, ~0 & 0xFFFFFFFF, 0),
    ]

    assert Cpuid(leaves).covered(0x80000001) is False


def test_what_is_not_recorded_is_unknown():
    """libcpuid records no subleaf 1 of leaf 7: CMPccXADD is unknown, not absent."""
    text = LIBCPUID.replace("=00000001 6874", "=00000007 6874", 1)
    text += "basic_cpuid[7]=00000001 00000020 00000000 00000000\n"
    features = assess(read(text)).features

    assert (features["cmpccxadd"].cpuid, features["cmpccxadd"].state) == (None, "unknown")
    assert features["cmpccxadd"].safe is False
    assert (features["avxvnni"].cpuid, features["avxvnni"].os) == (None, False)


def test_no_level_without_long_mode():
    """A 32-bit K8 Sempron has every feature of x86-64-v1 and is no x86-64 CPU."""
    sempron = LIBCPUID.replace("0081f9ff", "078bfbff").replace("c0c1f9ff", "c3d3fbff")

    assert assess(read(sempron)).advertised_level is None
    assert assess(read(sempron.replace("c3d3fbff", "e3d3fbff"))).advertised_level == "x86-64-v1"


@pytest.mark.parametrize(
    ("leaf", "cleared"),
    [
        (0x1, (0xFFFFFFFF, 0x00FFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
        (0x6, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x0000FFFF)),
        (0xB, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)),
        (0x1F, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)),
        (0x80000026, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)),
        (0x8000001E, (0, 0xFFFFFF00, 0xFFFFFF00, 0xFFFFFFFF)),
        (0x7, (0xFFFFFFFF,) * 4),
    ],
)
def test_what_numbers_a_cpu_is_cleared(leaf, cleared):
    """APIC, core and node IDs, and the row of the Hardware Feedback table."""
    assert clear_topology(leaf, (0xFFFFFFFF,) * 4) == cleared


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        ("CentaurHauls", "746E6543-736C7561-48727561"),
        ("  Shanghai  ", "68532020-20206961-68676E61"),
        ("HygonGenuine", "6F677948-656E6975-6E65476E"),
        ("GenuineTMx86", "756E6547-3638784D-54656E69"),
        ("CyrixInstead", "69727943-64616574-736E4978"),
        ("NexGenDriven", "4778654E-6E657669-72446E65"),
        ("RiseRiseRise", "65736952-65736952-65736952"),
        ("UMC UMC UMC ", "20434D55-20434D55-20434D55"),
    ],
)
def test_other_vendors(vendor, words):
    """A pre-SSE2 CPU of any vendor is reported as it is; nothing is safe that it lacks."""
    assessment = assess(read(AIDA.replace("68747541-444D4163-69746E65", words)))

    assert assessment.identity.vendor == vendor
    assert (assessment.level, assessment.advertised_level) == (None, None)
    assert assessment.features["mmx"].safe is True
    assert assessment.features["sse2"].safe is False
    assert not any(assessment.cranelift.values())


# --- /proc/cpuinfo and lscpu ----------------------------------------------------------------------


def test_a_pasted_flags_line():
    """One line is enough; what it does not list is denied only if every kernel in use prints it."""
    machine = read(f"$ grep -m1 flags /proc/cpuinfo\n{FLAGS}\n")
    assessment = assess(machine)

    assert machine.source == "proc-cpuinfo"
    assert machine.groups[0].cpus == (0,)
    assert assessment.advertised_level == "x86-64-v1"
    assert assessment.features["ssse3"].safe is True
    assert assessment.features["avx"].state == "absent"
    assert assessment.features["sha"].state == "unknown"
    assert assessment.features["sha"].safe is False


def test_a_known_release_makes_silence_count():
    """With `uname -a` in the paste, what that kernel would list and does not is not there."""
    text = f"Linux box 6.12.48 #1 SMP PREEMPT_DYNAMIC Debian x86_64 GNU/Linux\n{FLAGS}\n"
    machine = read(text)

    assert machine.kernel.release == "6.12.48"
    assert machine.kernel.version == "#1 SMP PREEMPT_DYNAMIC Debian"
    assert assess(machine).features["avx2"].state == "absent"


@pytest.mark.parametrize(
    "prose", ["It works on Linux kernel 6.12 too", "Linux 6.12 crashes", "Linux version 6.12 or so"]
)
def test_prose_names_no_release(prose):
    """A version in a sentence is not the release of the machine."""
    assert read(f"{prose}\n{FLAGS}\n").kernel.release is None


def test_uneven_cpuinfo():
    """CPUs whose flags differ are uneven."""
    text = f"processor\t: 0\n{FLAGS} avx\n\nprocessor\t: 1\n{FLAGS}\n"
    machine = read(text)

    assert [each.cpus for each in machine.groups] == [(0,), (1,)]
    assert assess(machine).features["avx"].safe is False


def test_a_processor_with_two_contents_is_refused():
    """Two different machines' /proc/cpuinfo in one text."""
    text = f"processor : 0\n{FLAGS} avx\nprocessor : 0\n{FLAGS}\n"

    assert "2 different machines" in refusal(text.encode())


def test_only_harmless_fields_are_kept():
    """Serial numbers and bogus keys of a cpuinfo do not enter the observation."""
    machine = read(f"processor : 0\n{FLAGS}\nSerial : 00000000abcdef\ncore id : 7\n")

    assert machine.cpuinfo is not None
    assert set(machine.cpuinfo[0].fields) == {"flags"}


def test_another_architecture():
    """ARM's flags are no x86 claims, though some names are the same: under a translator."""
    arm = "Architecture: x86_64\nCPU(s): 4\nVendor ID: ARM\nFlags: fp asimd aes pmull\n"

    assert "another instruction set (aarch64)" in refusal(arm.encode())


ARM_32 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt lpae evtstrm"
ARM_32_TEXTS = {
    "armv7l cpuinfo": "processor\t: 0\nmodel name\t: ARMv7 Processor rev 4 (v7l)\n"
    f"Features\t: {ARM_32} crc32\nCPU implementer\t: 0x41\nCPU architecture: 7\n",
    "armv8l cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 4 (v8l)\n"
    f"Features\t: {ARM_32} aes crc32\nCPU implementer\t: 0x41\nCPU architecture: 8\n",
    "armv5tel cpuinfo": "Processor\t: Feroceon 88FR131 rev 1 (v5l)\n"
    "Features\t: swp half thumb fastmult edsp\nCPU implementer\t: 0x56\nCPU architecture: 5TE\n",
    "no list": "processor : 0\nCPU implementer : 0x41\nCPU architecture: 7\nCPU part : 0xc07\n",
    "armv7l lscpu": "Architecture: armv7l\nCPU(s): 4\nVendor ID: ARM\nModel name: Cortex-A53\n"
    f"Flags: {ARM_32} crc32\n",
    "armv8l lscpu": "Architecture: armv8l\nCPU(s): 4\nVendor ID: ARM\n"
    f"Flags: {ARM_32} fphp asimdhp aes crc32\n",
    "lscpu below a translator": f"Architecture: x86_64\nCPU(s): 4\nFlags: {ARM_32}\n",
    "flags alone": f"CPU flags: {ARM_32}\n",
    "node_exporter": "".join(f'node_cpu_flag_info{{flag="{w}"}} 1\n' for w in ARM_32.split()),
    "cpuid2cpuflags": "CPU_FLAGS_ARM: edsp neon thumb vfp vfpv3 v4 v5 v6 v7 thumb2\n",
    "JVM": "CPU: total 4 (initial active 4) (ARMv7), vfp, vfp3-32, simd, mp_ext\n",
    "NumPy": "'simd_extensions': {'baseline': [], 'found': ['NEON'], 'not_found': ['ASIMD']}\n",
}


@every(ARM_32_TEXTS)
def test_32_bit_arm_is_called_so(kind):
    """It is no AArch64, whose 32-bit programs see such texts too, and one machine."""
    assert "another instruction set (arm" in refusal(ARM_32_TEXTS[kind].encode())


def test_names_of_32_bits_on_arm64():
    """Kernels of phones and boards mix them in: what only arm64 says counts."""
    below = f"Features : {ARM_32} aes\nCPU implementer : 0x41\nCPU architecture: "
    board = "processor : 0\nmodel name : ARMv8 Processor rev 1 (v8l)\n"
    phone = "Processor : AArch64 Processor rev 4 (aarch64)\nprocessor : 0\nprocessor : 1\n"

    assert read(f"{board}Features : fp asimd evtstrm aes {ARM_32}\n").isa == "aarch64"
    assert "(aarch64)" in refusal(f"{phone}{below}8\n".encode())
    assert "(aarch64)" in refusal(f"processor : 0\n{below}AArch64\n".encode())


def test_lscpu_of_aarch64():
    """Its flags are the kernel's list of Features; a short one denies nothing."""
    text = "Architecture: aarch64\nCPU(s): 4\nVendor ID: ARM\nModel name: Cortex-A72\nFlags: "
    short, whole = (
        read(f"{text}fp asimd aes pmull\n"),
        read(f"{text}fp asimd evtstrm crc32 cpuid\n"),
    )

    assert short.isa == whole.isa == "aarch64"
    assert whole.cpuinfo is not None and whole.cpuinfo[0].cpus == (0, 1, 2, 3)
    assert whole.cpuinfo[0].fields == {
        "Features": "fp asimd evtstrm crc32 cpuid",
        "CPU implementer": "0x41",
        "CPU part": "0xd08",
    }
    states = {name: each.state for name, each in assess(whole).features.items()}
    assert (states["crc"], states["aes"], states["sve2"]) == ("unverified", "absent", "unknown")
    states = {name: each.state for name, each in assess(short).features.items()}
    assert (states["aes"], states["crc"]) == ("unverified", "unknown")


LSCPU = {
    "Architecture": "x86_64",
    "CPU(s)": "4",
    "On-line CPU(s) list": "0,2-3",
    "Vendor ID": "AuthenticAMD",
    "Model name": "AMD EPYC",
    "CPU family": "25",
    "Model": "17",
    "Stepping": "1",
    "Flags": FLAGS.partition(": ")[2],
    "Vulnerability Gather data sampling": "Not affected",
}


def test_lscpu_in_all_its_forms():
    """Text, indented text, flat and nested JSON say the same; JSON says so in `source`."""
    plain = "\n".join(f"{key}:   {value}" for key, value in LSCPU.items())
    sections = "Vulnerabilities:\n  Gather data sampling:   Not affected"
    nested_text = "\n".join(f"  {key}:   {value}" for key, value in list(LSCPU.items())[:-1])
    entries = [{"field": f"{key}:", "data": value} for key, value in LSCPU.items()]
    nested = [
        {**entries[0], "children": entries[1:4]},
        {"field": "Vendor ID:", "data": None},
        *entries[4:-1],
        {
            "field": "Vulnerabilities:",
            "data": None,
            "children": [{"field": "Gather data sampling:", "data": "Not affected"}],
        },
    ]
    texts = [plain, f"{nested_text}\n{sections}"]
    documents = [json.dumps({"lscpu": each}, indent=3) for each in (entries, nested)]
    machines = [read(each) for each in texts + documents]

    assert [each.source for each in machines] == ["lscpu", "lscpu", "lscpu-json", "lscpu-json"]
    for machine in machines:
        assert [each.cpus for each in machine.groups] == [(0, 2, 3)]
        assert machine.cpuinfo is not None
        assert machine.cpuinfo[0].fields["cpu family"] == "25"
        assert machine.vulnerabilities == {"gather_data_sampling": "Not affected"}
        assert assess(machine).identity.model == 17


@pytest.mark.parametrize("online", ["3-1", "0-99999999", "0-65536", "x", "0,,1", "0-1-2"])
def test_a_bad_list_of_cpus(online):
    """The list of on-line CPUs is bounded and checked."""
    text = f"Architecture: x86_64\nFlags: fpu\nOn-line CPU(s) list: {online}"

    assert "CPUs" in refusal(text.encode())


# --- combination ----------------------------------------------------------------------------------


def test_a_flags_line_beside_a_dump_is_about_its_cpus():
    """A list without a CPU number is about all CPUs of the dump."""
    text = CPUID_R.replace("CPU:", "CPU 4:") + CPUID_R.replace("CPU:", "CPU 5:") + FLAGS
    machine = read(text)

    assert machine.source == "cpuid-r"
    assert machine.cpuinfo is not None
    assert machine.cpuinfo[0].cpus == (4, 5)


def test_what_describes_another_machine_is_refused():
    """A list of another model beside a dump: two machines, both named."""
    text = CPUID_R + "\n".join(f"{key}: {value}" for key, value in LSCPU.items())

    message = refusal(text.encode())
    assert "2 different machines" in message
    assert "AuthenticAMD, family 6, model 1 and AMD EPYC, family 25, model 17" in message


def test_the_richest_dump_is_taken():
    """Of two kinds of dumps in one text the one with more leaves counts."""
    assert (
        read(AIDA + LIBCPUID + "basic_cpuid[2]=00000000 00000000 00000000 00000000").source
        == "libcpuid"
    )


# --- wrapping -------------------------------------------------------------------------------------

SAMPLE_NAMES = [
    "aida64-merom",
    "cpuid-r-sapphire-rapids-kvm-guest",
    "gds-skylake-lscpu",
    "gds-skylake-proc-cpuinfo",
]


def quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


WRAPPINGS = {
    "issue": lambda text: f"# Crash\n\nIt dies, see:\n\n```\n{text}\n```\n\nWhy?\n",
    "indented": lambda text: "\n".join(f"    {line}" for line in text.splitlines()),
    "quoted": quoted,
    "quoted twice": lambda text: quoted(quoted(text)),
    "prompt": lambda text: f"me@box:~$ cpuid -r\n{text}\nme@box:~$ \n",
    "html": lambda text: (
        f"<html><body><p>See:</p><pre><code>{html.escape(text)}</code></pre></body></html>"
    ),
    "details": lambda text: f"<details><summary>dump</summary>\n\n```\n{text}\n```\n</details>\n",
    "root's prompt": lambda text: f"[root@box ~]# cpuid -r\n{text}\n[root@box ~]# \n",
    "kernel log": lambda text: f"[    0.000000] BIOS-provided physical RAM map:\n{text}\n",
    "json log": lambda text: f'{{"level": "info"}}\n{text}\n',
    "bom": lambda text: f"\ufeff{text}",
    "nbsp": lambda text: text.replace("  ", "\u00a0 "),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_text_around_the_data(name, wrapping):
    """A paste reads as the bare file does."""
    text = (SAMPLES / f"{name}.txt").read_text()

    assert read(WRAPPINGS[wrapping](text)) == read(text)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_utf16(name, codec):
    """What PowerShell's `>` writes, with and without a byte order mark."""
    text = (SAMPLES / f"{name}.txt").read_text()

    assert parse_capture(text.encode(codec)) == read(text)


def test_latin1():
    """Bytes that are no UTF-8, as in a German dump of EVEREST."""
    content = (SAMPLES / "aida64-merom.txt").read_bytes()

    assert parse_capture(b"Hauptplatine f\xfcr Pr\xe4zision\n" + content) == parse_capture(content)


def report_text(machine: Observation) -> str:
    return to_json(make_report(machine, assess(machine))).decode()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_report_inside_a_text_is_that_report(wrapping, indent):
    """An issue with the whole JSON in a fence or a folded block assesses byte for byte the same."""
    machine = gds_machine()
    document = json.dumps(json.loads(report_text(machine)), indent=indent, ensure_ascii=False)
    found = read(WRAPPINGS[wrapping](document))

    assert found == machine
    assert report_text(found) == report_text(machine)


def test_text_of_a_report_is_not_touched():
    """What would be cleaned in other text (no-break spaces, tags) stays in a report's strings."""
    machine = observation(group(V3), vulnerabilities={"mds": "\u00a0<b>ü</b> &amp;"})

    assert read(report_text(machine)) == machine
    assert read(f"```\n{report_text(machine)}```") == machine


def test_a_report_with_tables_around_it():
    """What else an issue holds, lscpu for one, does not outweigh the report."""
    machine = observation(group(V3), listed=V3)
    lscpu = (SAMPLES / "gds-skylake-lscpu.txt").read_text()

    assert read(f"{lscpu}\n```json\n{report_text(machine)}```\n{lscpu}") == machine


def test_the_same_report_twice_and_two_different_ones():
    """A report quoted in an answer is one report; two machines' are refused."""
    one, two = report_text(gds_machine()), report_text(observation(group(V3), listed=V3))

    assert read(f"a {one} b {one}") == gds_machine()
    assert "several different" in refusal(f"a {one} b {two}".encode())


# --- what is refused ------------------------------------------------------------------------------


LSCPU_WITHOUT_FLAGS = b"""Architecture:                    x86_64
CPU op-mode(s):                  32-bit, 64-bit
CPU(s):                          8
Vendor ID:                       GenuineIntel
CPU family:                      6
Model:                           85
Model name:                      Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz
Stepping:                        4
Virtualization:                  VT-x
Vulnerability Gather data sampling: Vulnerable: No microcode
Vulnerability Itlb multihit:     KVM: Vulnerable
"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"hello", "no capture of a known kind"),
        (b"\0" * 100, "no capture of a known kind"),
        (b"A" * 100_000, "no capture of a known kind"),
        (b"\x1f\x8b\x08" + b"\0" * 50, "compressed (gzip)"),
        (b"\xfd7zXZ\0" + b"\0" * 50, "compressed (xz)"),
        (b"PK\x03\x04" + b"\0" * 50, "compressed (zip)"),
        (b"\xff\xfe\x00\xd8", "looks like UTF-16"),
        (b"{", "not a cpuprobe report"),
        (b"{}", "JSON of no kind that is known"),
        (b'{"name": "left-pad", "version": "1"}', "its keys: name, version"),
        (b'{"schema":"cpuprobe.report/1"}', "missing required field `observation`"),
        (
            b'{"schema":"x/9","observation":{"source":"a","executed":false,"groups":[{"cpus":[0]}]}}',
            "is not known",
        ),
        (b'{"lscpu":[{"data":"x"}]}', "not the output of lscpu -J"),
        (b'{"lscpu":[]}', "JSON of no kind that is known"),
        (b"[]", "a JSON array"),
        (b"[root@box ~]# ", "no capture of a known kind"),
        (b"[[" * 50_000, "a JSON array"),
        (b'{"later":' + b"[" * 100_000, "nested too deeply"),
        (b'{"schema":' + b"9" * 100_000, "not a cpuprobe report"),
        (b'text {"schema":"cpuprobe.report/1","observation":{"source"', "not a cpuprobe report"),
        (b"processor : 99999999\nflags : fpu\n", "no CPU has the number"),
        (b"CPU 99999999:\n" + CPUID_R.encode()[5:], "no CPU has the number"),
        (b"flags : these are no flags of a CPU\n", "no capture of a known kind"),
        (b"vendor: GenuineIntel\nmodel: 6\n", "no capture of a known kind"),
        (
            LSCPU_WITHOUT_FLAGS,
            "tells of no CPU feature, only that the CPU is Intel(R) Xeon(R) Gold",
        ),
    ],
)
def test_refused_in_one_line(content, reason):
    """What is no capture ends in one line that says why."""
    assert reason in refusal(content)


def test_that_avx_is_switched_off_is_evidence():
    """Of all mitigations this one alone tells of a feature, without a list of any."""
    off = LSCPU_WITHOUT_FLAGS.replace(b"Vulnerable: No", b"Mitigation; AVX disabled, no")

    assert [each.code for each in assess(read(off.decode())).findings] == ["CP601", "CP602"]


CONTRADICTIONS = (
    (arm_fakes.observation(arm_fakes.group(arm_fakes.BASE)), "x86_64", "registers .* of aarch64"),
    (
        arm_fakes.observation(CpuGroup(cpus=(0,)), executed=False, auxv=Auxv(hwcap=3)),
        "i686",
        "auxiliary vector of aarch64",
    ),
    (gds_machine(), "aarch64", "CPUID or XCR0 of x86"),
    (
        Observation(source="probe", executed=False, groups=(CpuGroup(cpus=(0,), xcr0=7),)),
        "aarch64",
        "CPUID or XCR0 of x86",
    ),
)


@pytest.mark.parametrize(("machine", "isa", "reason"), CONTRADICTIONS)
def test_evidence_of_another_instruction_set_is_refused(machine, isa, reason, monkeypatch):
    """Told or left out, `isa` contradicts no register: in a report, nor in a share code."""
    document = json.loads(report_text(machine))
    told = [{**document["observation"], "isa": isa}]
    if isa == "x86_64":
        told.append({key: value for key, value in told[0].items() if key != "isa"})
    for each in told:
        assert re.search(reason, refusal(json.dumps({**document, "observation": each}).encode()))
    with monkeypatch.context() as unchecked:
        unchecked.setattr(Observation, "_check_isa", lambda self: None)
        code = pack(msgspec.structs.replace(machine, isa=isa))
    with pytest.raises(CaptureError, match=reason):
        unpack(code)


def test_the_cpuinfo_of_an_emulators_host_contradicts_nothing():
    """Below qemu-aarch64 programs may see the /proc/cpuinfo of the x86 machine that it runs on."""
    (block,) = gds_machine().cpuinfo or ()
    group = arm_fakes.group(arm_fakes.BASE, cpus=block.cpus)
    emulated = arm_fakes.observation(group, cpuinfo=(block,))

    assert read(report_text(emulated)) == emulated


def test_an_unreadable_path(tmp_path):
    """A missing file, a folder, a name with NUL: the name and the reason."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CaptureError, match=str(path)):
            read_capture(path)
    with pytest.raises(CaptureError, match="not a file name"):
        read_capture("a\0b")


def test_xen_ids_are_cleared():
    """The vCPU and domain IDs of Xen's leaf 40000004H neither leave nor tell CPUs apart."""
    cpu = (
        "   0x00000000 0x00: eax=0x00000001 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69\n"
        "   0x00000001 0x00: eax=0x000506e3 ebx=0x00000000 ecx=0x80000000 edx=0x078bfbff\n"
        "   0x40000000 0x00: eax=0x40000005 ebx=0x566e6558 ecx=0x65584d4d edx=0x4d4d566e\n"
        "   0x40000004 0x00: eax=0x0000001c ebx=0x000000{0} ecx=0x00000123 edx=0x00000000\n"
    )
    dump = "CPU 0:\n" + cpu.format("01") + "CPU 1:\n" + cpu.format("02")
    groups = parse_capture(dump.encode()).groups

    assert [group.cpus for group in groups] == [(0, 1)]
    assert [leaf.ebx | leaf.ecx for leaf in groups[0].cpuid if leaf.leaf == 0x40000004] == [0]


def test_a_line_of_features_alone_is_no_capture():
    """A benchmark's log says "Features:" too; in ARM's cpuinfo the line follows a "processor"."""
    log = b"OS:6.3.9600\nFeatures: X86,TSC,SSE,SSE2,AVX\nCPU#000 Vendor: AuthenticAMD\n"
    foreign = b"processor\t: 0\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\n"

    with pytest.raises(CaptureError, match="no capture of a known kind"):
        parse_capture(log)
    assert read(foreign.decode()).isa == "aarch64"


def test_cpuid2cpuflags_is_no_witness_of_the_system():
    """Not every version looks at XCR0, and the row does not tell which one wrote it."""
    (claims,) = read("CPU_FLAGS_X86: avx avx2 avx512f fma3 sse4_2").claims

    assert claims.witness == "cpuid"


GUEST = (
    "Architecture: x86_64\nVendor ID: GenuineIntel\nModel name: Xeon\n{}\nFlags: fpu sse2 lm {}\n"
)


@pytest.mark.parametrize("label", ["Hypervisor vendor", "Hypervisor-Anbieter", "超管理器厂商"])
def test_the_hypervisor_that_lscpu_names_is_the_machines(label):
    """In any language, as a part of who the machine is."""
    identity = assess(read(GUEST.format(f"{label}: VMware", "hypervisor"))).identity

    assert (identity.hypervisor, identity.brand) == ("VMware", "Xeon")


def test_a_hypervisor_without_a_name_is_one():
    """The flag alone tells that there is one; the screen makes no name of that."""
    assessed = assess(read(GUEST.format("Stepping: 1", "hypervisor")))

    assert assessed.identity.hypervisor == "not named"
    assert identity_line(assessed).endswith("a guest, 1 CPU")

"""Captures of real machines, with what each must assess to written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuprobe.assessment import Assessment, assess
from cpuprobe.evidence.machines import parse_capture, read_capture
from cpuprobe.evidence.observation import Observation

SAMPLES = Path(__file__).parents[2] / "data" / "captures"

V1, V2, V3, V4 = (f"x86-64-v{number}" for number in (1, 2, 3, 4))

# name: (source, CPUs, level of what is safe, level that is advertised, codes of the findings)
EXPECTED = {
    "aida64-alder-lake-n": ("aida64", 4, V3, V3, []),
    "aida64-alder-lake-p-avx512": ("aida64", 16, V4, V4, []),
    "aida64-merom": ("aida64", 2, V1, V1, []),
    "aida64-pentium3": ("aida64", 2, None, None, ["CP502"]),
    "aida64-zen4-raphael": ("aida64", 12, V4, V4, []),
    "cpuid-r-sapphire-rapids-kvm-guest": ("cpuid-r", 2, V4, V4, ["CP103", "CP403"]),
    "gds-skylake-cpuid-r": ("cpuid-r", 1, V2, V3, ["CP101", "CP504"]),
    "gds-skylake-lscpu": ("lscpu", 2, V2, V2, ["CP504", "CP601", "CP602"]),
    "gds-skylake-proc-cpuinfo": ("proc-cpuinfo", 2, V2, V2, ["CP504"]),
    "gds-skylake-vulnerabilities": ("vulnerabilities", 1, None, None, ["CP602"]),
    "libcpuid-cascade-lake-x": ("aida64", 28, V4, V4, []),
    "libcpuid-n95": ("aida64", 4, V3, V3, []),
    "proc-cpuinfo-sapphire-rapids-kvm-guest": ("proc-cpuinfo", 1, V4, V4, ["CP103"]),
}

# name: vendor, family, model, stepping, brand
IDENTITIES = {
    "aida64-merom": ("GenuineIntel", 6, 15, 6, "Intel(R) Core(TM)2 CPU T5600 @ 1.83GHz"),
    "aida64-pentium3": ("GenuineIntel", 6, 8, 3, None),
    "aida64-zen4-raphael": (
        "AuthenticAMD",
        25,
        0x61,
        2,
        "AMD Ryzen 5 7600X 6-Core Processor",
    ),
    "gds-skylake-lscpu": ("GenuineIntel", 6, 94, 3, "Intel Core Processor (Skylake)"),
    "gds-skylake-proc-cpuinfo": ("GenuineIntel", 6, 94, 3, "Intel Core Processor (Skylake)"),
    "libcpuid-n95": ("GenuineIntel", 6, 190, 0, "Intel(R) N95"),
}


def sample(name: str) -> tuple[Observation, Assessment]:
    observation = read_capture(SAMPLES / f"{name}.txt")
    return observation, assess(observation)


def states(name: str, *features: str) -> list[str]:
    assessed = sample(name)[1].features
    return [assessed[feature].state for feature in features]


def test_every_sample_is_expected():
    """No sample is without an expectation."""
    assert {path.stem for path in SAMPLES.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_sample(name):
    """Kind, number of CPUs, levels and findings of a sample; nothing was executed."""
    observation, assessment = sample(name)

    assert (
        observation.source,
        assessment.identity.cpus,
        assessment.level,
        assessment.advertised_level,
        [finding.code for finding in assessment.findings],
    ) == EXPECTED[name]
    assert assessment.basis == "cpuid"
    assert all(leaf.leaf != 3 for group in observation.groups for leaf in group.cpuid)


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name):
    """Who the machine is comes from CPUID, or from the kernel's fields where there is no CPUID."""
    who = sample(name)[1].identity

    assert (who.vendor, who.family, who.model, who.stepping, who.brand) == IDENTITIES[name]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", EXPECTED)
def test_line_ends_do_not_matter(name, ending):
    """CR/LF, LF and CR give the same observation."""
    content = (SAMPLES / f"{name}.txt").read_bytes().replace(b"\r\n", b"\n")

    assert parse_capture(content.replace(b"\n", ending)) == parse_capture(content)


def test_gds_without_xcr0_shows_in_the_size_of_the_enabled_state():
    """CPUID.0DH:EBX is 576 bytes: YMM state is off, though `cpuid -r` records no XCR0."""
    observation, assessment = sample("gds-skylake-cpuid-r")

    size = next(leaf.ebx for leaf in observation.groups[0].cpuid if leaf.leaf == 0xD)
    assert size == 576
    assert states("gds-skylake-cpuid-r", "avx", "avx2", "fma", "f16c") == ["withheld"] * 4
    assert states("gds-skylake-cpuid-r", "sse4.2", "bmi") == ["unverified"] * 2
    assert assessment.cranelift["has_avx"] is False
    assert assessment.cranelift["has_lzcnt"] is True


@pytest.mark.parametrize("name", ["gds-skylake-lscpu", "gds-skylake-proc-cpuinfo"])
def test_f16c_listed_without_avx_is_not_safe(name):
    """Linux 6.1 leaves f16c standing when it turns AVX off; F16C builds on AVX."""
    features = sample(name)[1].features

    assert features["f16c"].kernel is True
    assert features["f16c"].safe is False
    assert features["avx"].kernel is False
    assert features["avx"].safe is False
    assert features["bmi2"].safe is True


@pytest.mark.parametrize("name", ["gds-skylake-lscpu", "gds-skylake-proc-cpuinfo"])
def test_std_detect_refuses_bmi_where_avx_is_not_listed(name):
    """The vendor of the list is enough to know that wasmtime would refuse has_bmi1 (SKL052)."""
    flags = sample(name)[1].cranelift

    assert (flags["has_bmi1"], flags["has_bmi2"]) == (False, False)


def test_lscpu_has_the_kernels_words_on_gds():
    """lscpu writes `Mitigation;`, the kernel `Mitigation:`."""
    observation, assessment = sample("gds-skylake-lscpu")

    assert (
        observation.vulnerabilities["gather_data_sampling"]
        == "Mitigation: AVX disabled, no microcode"
    )
    assert observation.vulnerabilities["mds"] == (
        "Vulnerable: Clear CPU buffers attempted, no microcode; SMT disabled"
    )
    assert next(each for each in assessment.findings if each.code == "CP601").cause == (
        "AVX is disabled, because the microcode has no mitigation of its own"
    )


def test_everything_about_one_machine_in_one_paste():
    """CPUID, the kernel's list, its release and its vulnerabilities explain the missing AVX."""
    parts = ["cpuid-r", "lscpu", "proc-cpuinfo", "vulnerabilities"]
    text = "\n\n".join((SAMPLES / f"gds-skylake-{part}.txt").read_text() for part in parts)
    text += "\nLinux secret-host 6.1.0-49-amd64 #1 SMP PREEMPT_DYNAMIC Debian x86_64 GNU/Linux\n"
    text += "BOOT_IMAGE=/vmlinuz root=UUID=0123-secret gather_data_sampling=force quiet\n"
    observation = parse_capture(text.encode())
    assessment = assess(observation)

    assert observation.source == "cpuid-r"
    assert observation.kernel.release == "6.1.0-49-amd64"
    assert observation.cmdline == ("gather_data_sampling=force",)
    assert "secret" not in repr(observation)
    codes = [finding.code for finding in assessment.findings]
    assert codes == ["CP101", "CP104", "CP504", "CP601"]
    assert "Gather Data Sampling" in assessment.findings[0].cause
    assert assessment.features["avx2"].kernel is False
    assert (assessment.level, assessment.advertised_level) == (V2, V3)


def test_32_bit_programs_see_no_syscall_on_intel():
    """AIDA64's SYSCALL bit is 0 on an N95; long mode stands for it. The P6 has neither."""
    observation, assessment = sample("aida64-alder-lake-n")

    extended = next(leaf for leaf in observation.groups[0].cpuid if leaf.leaf == 0x80000001)
    assert extended.edx & 1 << 11 == 0
    assert assessment.features["syscall"].cpuid is True
    assert sample("aida64-pentium3")[1].features["syscall"].safe is False


def test_avx512_with_the_e_cores_switched_off():
    """All 16 threads of this 12900K are P-core ones and alike, so nothing is uneven."""
    observation, assessment = sample("aida64-alder-lake-p-avx512")

    assert len(observation.groups) == 1
    assert assessment.features["avx512fp16"].safe is True
    assert assessment.cranelift["has_avx512f"] is True


def test_p_and_e_cores_in_one_dump_disagree():
    """A dump with AVX-512 on the P-cores and none on the E-cores is uneven (CP301)."""
    p_cores = (SAMPLES / "aida64-alder-lake-p-avx512.txt").read_text()
    e_cores = (SAMPLES / "aida64-alder-lake-n.txt").read_text()
    for number in range(4):
        e_cores = e_cores.replace(f"Logical CPU #{number} ]", f"Logical CPU #{number + 16} ]")
    assessment = assess(parse_capture((p_cores + e_cores).encode()))

    (uneven,) = [finding for finding in assessment.findings if finding.code == "CP301"]
    assert uneven.severity == "error"
    assert "avx512f" in uneven.features
    assert "avx2" not in uneven.features
    assert uneven.cpus == tuple(range(20))
    assert "absent on CPU 16-19" in next(each for each in uneven.evidence if "avx512f:" in each)
    assert (assessment.level, assessment.advertised_level) == (V3, V3)
    assert assessment.cranelift["has_avx512f"] is False

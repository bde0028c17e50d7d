"""What a hypervisor can hide of a CPU, and what the CPU itself lacks."""

from __future__ import annotations

import pytest
from tests.fakes import V2, V3, XCR0_AVX, XCR0_SSE, group, observation

from cpuprobe.assessment import assess
from cpuprobe.assessment.masks import lacks_in_silicon
from cpuprobe.evidence.observation import Outcome

KVM, TCG = "KVMKVMKVM", "TCGTCGTCGTCG"


@pytest.mark.parametrize(
    ("feature", "xcr0", "hypervisor", "lacks"),
    [
        ("sse4a", XCR0_AVX, KVM, True),  # #UD, and nothing but the CPU raises it
        ("sse4a", XCR0_AVX, None, True),
        ("sse4a", XCR0_AVX, TCG, False),  # another CPU model has it
        ("fma4", XCR0_AVX, KVM, True),
        ("avxvnni", XCR0_SSE, KVM, False),  # no register state: any CPU raises #UD
        ("fma4", XCR0_SSE, KVM, True),  # no AMD CPU has it without SSE4A
        ("waitpkg", XCR0_AVX, KVM, False),  # VMX has a control for it
        ("avx512f", XCR0_AVX, KVM, False),
        ("avx512bw", XCR0_AVX, KVM, False),
        ("avx2", XCR0_AVX, KVM, False),  # it is there
    ],
)
def test_a_mask_of_cpuid_does_not_make_an_instruction_fault(feature, xcr0, hypervisor, lacks):
    listed = V3 if xcr0 == XCR0_AVX else V2
    machine = observation(group(listed, xcr0=xcr0, hypervisor=hypervisor), listed=listed)

    assert lacks_in_silicon(feature, assess(machine)) is lacks


def test_what_was_not_executed_may_be_masked():
    machine = observation(group(V3, hypervisor=KVM, executed=False), listed=V3)

    assert not lacks_in_silicon("sse4a", assess(machine))


def test_what_builds_on_what_the_cpu_lacks_is_not_there_either():
    """It is skipped where that died."""
    skipped: dict[str, Outcome] = {"fma4": "skipped", "xop": "skipped"}
    machine = observation(group(V3, hypervisor=KVM, outcomes=skipped), listed=V3)

    assert lacks_in_silicon("xop", assess(machine))

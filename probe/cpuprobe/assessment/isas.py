"""The instruction sets, each as one record; what is common to all asks the observation's."""

from __future__ import annotations

import cpuprobe.assessment.aarch64 as arm
import cpuprobe.assessment.causes_aarch64 as arm_causes
import cpuprobe.assessment.causes_x86_64 as x86_causes
import cpuprobe.assessment.x86_64 as x86
from cpuprobe.assessment.isa import Causes, Isa, Words
from cpuprobe.assessment.std_detect_x86_64 import std_detect
from cpuprobe.facts import isa as facts

X86_64 = Isa(
    facts=facts.X86_64,
    evidence=x86.X86Evidence,
    identity=x86.identity,
    advertised=x86.advertised,
    long_mode=x86.long_mode,
    detected=std_detect,
    detector_is_told=x86.detector_is_told,
    basis="cpuid",
    causes=Causes(
        not_listed=x86_causes.why_not_listed,
        faults=x86_causes.why_it_faults,
        wrong=x86_causes.why_it_is_wrong,
        masked=x86_causes.why_masked,
        incoherent=x86_causes.why_incoherent,
    ),
    words=Words(
        enumerates="CPUID enumerates",
        denies="CPUID denies",
        and_enabled=" and the register state is enabled",
        asked="CPUID and XCR0",
        alone="cpuid-alone",
        flags="x86",
    ),
)

AARCH64 = Isa(
    facts=facts.AARCH64,
    evidence=arm.ArmEvidence,
    identity=arm.identity,
    advertised=arm.advertised,
    long_mode=arm.long_mode,
    detected=arm.std_detect,
    detector_is_told=arm.detector_is_told,
    basis="registers",
    causes=Causes(
        not_listed=arm_causes.why_not_listed,
        faults=arm_causes.why_it_faults,
        wrong=arm_causes.why_it_is_wrong,
        masked=arm_causes.why_masked,
        incoherent=arm_causes.why_incoherent,
    ),
    words=Words(
        enumerates="ID registers or HWCAP tell of",
        denies="ID registers and HWCAP deny",
        and_enabled="",
        asked="HWCAP",
        alone="hwcap-alone",
        flags="aarch64",
    ),
)

_BY_NAME = {each.facts.name: each for each in (X86_64, AARCH64)}


def isa_of(name: str) -> Isa:
    """The record of an instruction set, by the name of its facts. Raises KeyError for another."""
    return _BY_NAME[name]

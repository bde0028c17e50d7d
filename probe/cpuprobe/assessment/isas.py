"""The instruction sets, each as one record; what is common to all asks the observation's."""

from __future__ import annotations

from cpuprobe.assessment.causes import (
    why_it_faults,
    why_it_is_wrong,
    why_masked,
    why_not_listed,
)
from cpuprobe.assessment.isa import Causes, Isa, Words
from cpuprobe.assessment.std_detect import std_detect
from cpuprobe.assessment.x86_64 import (
    X86Evidence,
    advertised,
    detector_is_told,
    identity,
    long_mode,
)
from cpuprobe.facts.isa import X86_64 as FACTS_OF_X86_64

X86_64 = Isa(
    facts=FACTS_OF_X86_64,
    evidence=X86Evidence,
    identity=identity,
    advertised=advertised,
    long_mode=long_mode,
    detected=std_detect,
    detector_is_told=detector_is_told,
    basis="cpuid",
    causes=Causes(
        not_listed=why_not_listed,
        faults=why_it_faults,
        wrong=why_it_is_wrong,
        masked=why_masked,
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

_BY_NAME = {each.facts.name: each for each in (X86_64,)}


def isa_of(name: str) -> Isa:
    """The record of an instruction set, by the name of its facts. Raises KeyError for another."""
    return _BY_NAME[name]

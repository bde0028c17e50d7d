"""Where independent libraries disagree with the assessment, in sentences. Pure.

py-cpuinfo 9 lists the union of the flags line of /proc/cpuinfo and of its own reading of CPUID. Two
of its habits explain most differences and are named where they apply:
  - it decodes CPUID.80000001H:EDX from EBX (cpuinfo/cpuinfo.py, lines 1291 to 1310), which holds
    AMD's brand and package type (APM vol. 3, appendix E): the names of `_FROM_EBX` may be invented;
  - it never reads XCR0, so what the operating system switched off stays in its list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cpuprobe.evidence.witnesses import OtherIdentity
from cpuprobe.facts.isa import facts_named
from cpuprobe.report.subject import ReportedMachine
from cpuprobe.words import names

# Names that py-cpuinfo takes from EBX of leaf 80000001H, with the bit; in truth bits of EDX.
_FROM_EBX: Mapping[str, int] = {
    "cx8": 8,
    "syscall": 11,
    "cmov": 15,
    "nx": 20,
    "mmxext": 22,
    "mmx": 23,
    "fxsr": 24,
    "fxsr_opt": 25,
    "rdtscp": 27,
    "lm": 29,
    "3dnowext": 30,
    "3dnow": 31,
}

# py-cpuinfo's own spellings where they differ from the kernel's.
_SPELLINGS: Mapping[str, str] = {
    "sha": "sha_ni",
    "rdrnd": "rdrand",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "sse3": "pni",
}


def disagreements(subject: ReportedMachine) -> Iterator[str]:
    """What other witnesses say otherwise, one sentence each; nothing where all agree."""
    for other in subject.surroundings.others:
        yield from _identity(subject, other)
        yield from _flags(subject, other)
    guess = subject.surroundings.host_microarchitecture
    if guess is not None:
        unsafe = [
            name
            for name in guess.requires
            if not subject.assessment.features[name].safe
            and subject.assessment.features[name].state != "unverified"
        ]
        if unsafe:
            yield (
                f"{guess.library} takes this machine for {guess.name}, whose code may use "
                f"{names(unsafe)}: not safe here"
            )


def agreements(subject: ReportedMachine) -> list[str]:
    """The libraries that were asked."""
    asked = [other.library for other in subject.surroundings.others]
    if subject.surroundings.host_microarchitecture is not None:
        asked.append(subject.surroundings.host_microarchitecture.library)
    return asked


def _identity(subject: ReportedMachine, other: OtherIdentity) -> Iterator[str]:
    ours = subject.assessment.identity
    for label in ("vendor", "brand", "family", "model", "stepping"):
        said, known = getattr(other, label), getattr(ours, label)
        if said is not None and known is not None and said != known:
            yield f"{other.library} says {label} {said}, CPUID says {known}"


def _flags(subject: ReportedMachine, other: OtherIdentity) -> Iterator[str]:
    if not other.flags:
        return
    listed = {_SPELLINGS.get(flag, flag) for flag in other.flags}
    table = facts_named(subject.assessment.isa).features()
    unsafe, missing = [], []
    for name, feature in subject.assessment.features.items():
        flag = table[name].kernel.flag
        if flag is None:
            continue
        # What was not executed is nobody's mistake.
        doubtful = not feature.safe and feature.state != "unverified"
        if flag in listed and doubtful and flag not in _FROM_EBX:
            unsafe.append(f"{name} ({feature.state})")
        # Its silence counts only where the kernel, which it reads too, lists the name.
        if flag not in listed and feature.safe and feature.kernel:
            missing.append(name)
    if unsafe:
        yield (
            f"{other.library} lists {names(unsafe)}: not safe here. It joins /proc/cpuinfo with "
            "CPUID and looks at neither XCR0 nor execution"
        )
    if missing:
        yield f"{other.library} does not list {names(missing)}, which are safe here"
    invented = sorted(_inventions(subject, listed))
    if invented:
        yield (
            f"{other.library} lists {names(invented)}, which CPUID does not claim: it decodes "
            "CPUID.80000001H:EDX from EBX (cpuinfo.py, lines 1291 to 1310)"
        )


def _inventions(subject: ReportedMachine, listed: set[str]) -> Iterator[str]:
    """Names of `_FROM_EBX` that are listed, set in EBX and clear in EDX."""
    for leaf in subject.observation.groups[0].cpuid:
        if (leaf.leaf, leaf.subleaf) == (0x80000001, 0):
            for name, bit in _FROM_EBX.items():
                # CX8, CMOV, MMX and FXSR are also bits of CPUID.01H:EDX, which it reads rightly.
                basic = name in ("cx8", "cmov", "mmx", "fxsr")
                if name in listed and not basic and leaf.ebx >> bit & 1 and not leaf.edx >> bit & 1:
                    yield name

"""Fake machines: observations built in Python, for tests of everything that takes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cpuprobe.evidence.observation import (
    Candidate,
    CpuGroup,
    CpuidLeaf,
    Cpuinfo,
    Kernel,
    Observation,
    Outcome,
    Wasmtime,
)
from cpuprobe.facts.features import CpuidBit, load_features

INTEL, AMD = "GenuineIntel", "AuthenticAMD"
SKYLAKE = (6, 0x5E, 3)
HASWELL = (6, 0x3C, 3)
ALDER_LAKE_N = (6, 0xBE, 0)
ZEN4 = (25, 0x61, 2)

V1 = ("cmov", "cx8", "x87", "fxsr", "mmx", "syscall", "sse", "sse2")
V2 = (*V1, "cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3")
V3 = (*V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
V4 = (*V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

XCR0_SSE, XCR0_AVX, XCR0_AVX512, XCR0_AMX = 0x3, 0x7, 0xE7, 0x602E7

_OSXSAVE = CpuidBit(0x1, 0, "ecx", 27)
_HYPERVISOR = CpuidBit(0x1, 0, "ecx", 31)


def leaves(
    features: Iterable[str],
    *,
    vendor: str = INTEL,
    signature: tuple[int, int, int] = SKYLAKE,
    osxsave: bool = True,
    hypervisor: str | None = None,
) -> tuple[CpuidLeaf, ...]:
    """CPUID leaves that enumerate exactly `features`."""
    table = load_features()
    registers: dict[tuple[int, int], dict[str, int]] = {}
    basic = ((0x1, 0), (0x7, 0), (0x7, 1), (0xD, 0), (0xD, 1), (0x14, 0), (0x19, 0), (0x1E, 0))
    for leaf in (*basic, (0x1E, 1), (0x24, 0), (0x80000001, 0), (0x80000008, 0)):
        registers[leaf] = dict.fromkeys(("eax", "ebx", "ecx", "edx"), 0)

    def put(bit: CpuidBit) -> None:
        registers.setdefault(
            (bit.leaf, bit.subleaf), dict.fromkeys(("eax", "ebx", "ecx", "edx"), 0)
        )
        registers[bit.leaf, bit.subleaf][bit.register] |= bit.least << bit.bit

    for name in features:
        put(table[name].cpuid)
    if osxsave:
        put(_OSXSAVE)
    if hypervisor is not None:
        put(_HYPERVISOR)
        words = _words(hypervisor.ljust(12, "\0"))
        registers[0x40000000, 0] = dict(eax=0x40000000, ebx=words[0], ecx=words[1], edx=words[2])
    family, model, stepping = signature
    base_family, extended = (family, 0) if family < 0xF else (0xF, family - 0xF)
    registers[0x1, 0]["eax"] = (
        extended << 20 | (model >> 4) << 16 | base_family << 8 | (model & 0xF) << 4 | stepping
    )
    registers[0x7, 0]["eax"] = registers[0x1E, 0]["eax"] = 1
    name_words = _words(vendor)
    top = max(leaf for leaf, _ in registers if leaf < 0x40000000)
    registers[0x0, 0] = dict(eax=top, ebx=name_words[0], edx=name_words[1], ecx=name_words[2])
    registers[0x80000000, 0] = dict(eax=0x80000008, ebx=0, ecx=0, edx=0)
    return tuple(
        CpuidLeaf(leaf, subleaf, **values) for (leaf, subleaf), values in sorted(registers.items())
    )


def _words(text: str) -> list[int]:
    raw = text.encode().ljust(12, b"\0")
    return [int.from_bytes(raw[at : at + 4], "little") for at in (0, 4, 8)]


def candidates(extra: Iterable[tuple[str, tuple[str, ...]]] = ()) -> tuple[Candidate, ...]:
    """One candidate a feature, and `extra` ones."""
    singles = tuple(Candidate(f"probe {name}", (name,)) for name in load_features())
    return (*singles, *(Candidate(name, features) for name, features in extra))


def group(
    features: Iterable[str],
    *,
    cpus: tuple[int, ...] = (0, 1),
    xcr0: int | None = XCR0_AVX,
    outcomes: Mapping[str, Outcome] | None = None,
    extra: Iterable[tuple[str, tuple[str, ...]]] = (),
    executed: bool = True,
    before: Mapping[str, Outcome] | None = None,
    vendor: str = INTEL,
    signature: tuple[int, int, int] = SKYLAKE,
    osxsave: bool = True,
    hypervisor: str | None = None,
) -> CpuGroup:
    """CPUs that enumerate `features` and execute what is enumerated and enabled in XCR0.

    `outcomes` overrides the outcome of candidates, by feature or by name.
    """
    table = load_features()
    claimed = frozenset(features)
    chosen = dict(outcomes or {})

    def ran(candidate: Candidate) -> Outcome:
        if candidate.name in chosen:
            return chosen[candidate.name]
        if candidate.name.removeprefix("probe ") in chosen:
            return chosen[candidate.name.removeprefix("probe ")]
        for name in candidate.features:
            mask = table[name].xcr0
            if name not in claimed or (mask and (not osxsave or (xcr0 or 0) & mask != mask)):
                return "sigill"
            if table[name].os == "osxsave" and not osxsave:
                return "sigill"
            if table[name].hint:
                return "skipped"
        return "ok"

    return CpuGroup(
        cpus=cpus,
        cpuid=leaves(
            claimed, vendor=vendor, signature=signature, osxsave=osxsave, hypervisor=hypervisor
        ),
        xgetbv_outcome="ok" if xcr0 is not None and osxsave else "skipped",
        xcr0=xcr0 if osxsave else None,
        ran=tuple(ran(each) for each in candidates(extra)) if executed else (),
        ran_before_permission={f"probe {name}": each for name, each in (before or {}).items()},
    )


def cpuinfo(
    features: Iterable[str],
    *,
    cpus: tuple[int, ...] = (0, 1),
    vendor: str = INTEL,
    signature: tuple[int, int, int] = SKYLAKE,
    bugs: str = "",
) -> Cpuinfo:
    """A block of /proc/cpuinfo that lists `features` by the kernel's names."""
    table = load_features()
    flags = [table[name].kernel.flag for name in features]
    family, model, stepping = signature
    return Cpuinfo(
        cpus=cpus,
        fields={
            "vendor_id": vendor,
            "cpu family": str(family),
            "model": str(model),
            "stepping": str(stepping),
            "flags": " ".join(flag for flag in flags if flag is not None),
            "bugs": bugs,
        },
    )


def observation(
    groups: CpuGroup | tuple[CpuGroup, ...],
    *,
    listed: Iterable[str] | None = None,
    blocks: tuple[Cpuinfo, ...] | None = None,
    release: str | None = "6.12.48",
    cmdline: tuple[str, ...] | None = (),
    gds: str | None = "Not affected",
    extra: Iterable[tuple[str, tuple[str, ...]]] = (),
    wasmtime: str | None = None,
    vendor: str = INTEL,
    signature: tuple[int, int, int] = SKYLAKE,
    hwcap2: int | None = 2,
    **more: object,
) -> Observation:
    """A machine; `listed` is what its /proc/cpuinfo lists (None: there is no such file)."""
    several = groups if isinstance(groups, tuple) else (groups,)
    executed = any(each.ran for each in several)
    if blocks is None and listed is not None:
        cpus = tuple(sorted(cpu for each in several for cpu in each.cpus))
        blocks = (cpuinfo(listed, cpus=cpus, vendor=vendor, signature=signature),)
    made = Observation(
        source="probe",
        executed=executed,
        groups=several,
        candidates=candidates(extra) if executed else (),
        kernel=Kernel(release=release),
        cpuinfo=blocks,
        cmdline=cmdline,
        vulnerabilities={} if gds is None else {"gather_data_sampling": gds},
        hwcap2=hwcap2,
        wasmtime=None if wasmtime is None else Wasmtime(version=wasmtime),
    )
    return msgspec.structs.replace(made, **more) if more else made


GDS_DISABLED = "Mitigation: AVX disabled, no microcode"


def gds_machine(**more: object) -> Observation:
    """A Skylake whose kernel (6.1, which leaves f16c standing) turned AVX off."""
    features = (*V3, "aes", "adx")
    kept = [name for name in features if name not in ("avx", "avx2", "fma")]
    options: dict[str, object] = dict(
        listed=kept,
        release="6.1.0-49-amd64",
        cmdline=("gather_data_sampling=force",),
        gds=GDS_DISABLED,
    )
    options.update(more)
    return observation(group(features, xcr0=XCR0_SSE), **options)  # type: ignore[arg-type]

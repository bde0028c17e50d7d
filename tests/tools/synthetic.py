"""Made-up fleets: reports as JSON lines, as varied as those of a real one, from a seed.

`python -m tests.tools.synthetic 10000 --seed 1 > fleet.jsonl`. The CPU models, the kinds of trouble
and how often each occurs are a choice, not a fact; the candidates are those of the real report
tests/data/reports/zen4-kvm-guest.json, and their outcomes follow from the features. Some machines
are other captures of tests/data, wrapped in an object.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from cpuprobe.evidence.observation import (
    CpuGroup,
    CpuidLeaf,
    Cpuinfo,
    Document,
    Kernel,
    Observation,
    Outcome,
)
from cpuprobe.facts.features import load_features
from tests.fakes import AMD, GDS_DISABLED, INTEL, V2, V3, V4, leaves

DATA = Path(__file__).parents[1] / "data"

_AES = ("aes", "pclmul", "xsaveopt", "fsgsbase", "rdrnd")
_BROADWELL = (*V3, *_AES, "adx", "rdseed", "prfchw")
_SKYLAKE = (*_BROADWELL, "clflushopt", "xsavec", "xsaves")
_SKYLAKE_X = (*_SKYLAKE, *V4, "clwb")
_CASCADE = (*_SKYLAKE_X, "avx512vnni")
_ICE_LAKE = (
    *_CASCADE,
    *("avx512vbmi", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq", "avx512ifma"),
    *("gfni", "vaes", "vpclmulqdq", "sha", "rdpid"),
)
_SAPPHIRE = (*_ICE_LAKE, "avxvnni", "avx512bf16", "avx512fp16", "movdiri", "movdir64b", "waitpkg")
_ALDER_N = (*_SKYLAKE, "avxvnni", "gfni", "vaes", "vpclmulqdq", "sha", "rdpid", "movdiri")
_ZEN1 = (*_BROADWELL, "sse4a", "sha", "clflushopt", "xsavec", "xsaves")
_ZEN3 = (*_ZEN1, "clwb", "rdpid", "vaes", "vpclmulqdq")
_ZEN4 = (
    *_ZEN3,
    *V4,
    *("avx512vbmi", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq", "avx512ifma"),
    *("avx512vnni", "avx512bf16", "gfni"),
)


class Model(NamedTuple):
    """A CPU model: how often it is met, its name, who it says it is, what it has."""

    often: int
    brand: str
    vendor: str
    signature: tuple[int, int, int]
    features: tuple[str, ...]


MODELS = (
    Model(2, "Intel(R) Xeon(R) CPU X5670 @ 2.93GHz", INTEL, (6, 0x2C, 2), (*V2, "aes", "pclmul")),
    Model(1, "Intel(R) Core(TM) i7 CPU 920 @ 2.67GHz", INTEL, (6, 0x1A, 5), V2),
    Model(4, "Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz", INTEL, (6, 0x2D, 7),
          (*V2, "aes", "pclmul", "xsave", "xsaveopt", "avx")),
    Model(4, "Intel(R) Xeon(R) CPU E5-2690 v3 @ 2.60GHz", INTEL, (6, 0x3F, 2), (*V3, *_AES)),
    Model(9, "Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", INTEL, (6, 0x4F, 1), _BROADWELL),
    Model(6, "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz", INTEL, (6, 0x5E, 3), _SKYLAKE),
    Model(10, "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", INTEL, (6, 0x55, 4), _SKYLAKE_X),
    Model(14, "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", INTEL, (6, 0x55, 7), _CASCADE),
    Model(12, "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", INTEL, (6, 0x6A, 6), _ICE_LAKE),
    Model(9, "Intel(R) Xeon(R) Platinum 8488C", INTEL, (6, 0x8F, 8), _SAPPHIRE),
    Model(2, "Intel(R) N95", INTEL, (6, 0xBE, 0), _ALDER_N),
    Model(3, "AMD EPYC 7571", AMD, (23, 0x01, 2), _ZEN1),
    Model(10, "AMD EPYC 7R13 Processor", AMD, (25, 0x01, 1), _ZEN3),
    Model(11, "AMD EPYC 9R14", AMD, (25, 0x11, 1), _ZEN4),
    Model(2, "AMD Ryzen 5 7600X 6-Core Processor", AMD, (25, 0x61, 2), _ZEN4),
)  # fmt: skip
HYPERVISORS = (None, "KVMKVMKVM", "KVMKVMKVM", "Microsoft Hv", "VMwareVMware", "XenVMMXenVMM")
KERNELS = ("4.18.0-553.{}.1.el8_10.x86_64", "5.10.0-{}-amd64", "5.14.0-427.{}.1.el9_4.x86_64",
           "5.15.0-{}-generic", "6.1.0-{}-amd64", "6.1.{}", "6.6.{}", "6.8.0-{}-generic", "6.12.{}",
           "6.18.{}")  # fmt: skip
CORES = (1, 2, 2, 4, 4, 8, 16, 32, 48, 64, 96)
# What a hypervisor's CPU model or a firmware setting takes from a machine, with what builds on it.
MASKED = ("avx512f", "avx512f", "rdrnd", "rdseed", "aes", "sha", "movbe", "xsaves", "avx",
          "avx512bf16", "gfni", "adx", "f16c")  # fmt: skip
TROUBLES = ("gds", "clearcpuid", "lying", "wrong", "uneven", "cpuid")

_ZMM, _YMM, _SSE = 0xE7, 0x7, 0x3


@functools.cache
def _report() -> Observation:
    content = (DATA / "reports" / "zen4-kvm-guest.json").read_bytes()
    return msgspec.json.decode(content, type=Document).observation


@functools.cache
def _hints() -> frozenset[str]:
    """Candidates that prove nothing by running, as the real report has it."""
    real = _report()
    pairs = zip(real.candidates, real.groups[0].ran, strict=True)
    return frozenset(each.name for each, outcome in pairs if outcome == "skipped")


def _closed(features: tuple[str, ...]) -> frozenset[str]:
    table = load_features()
    return frozenset(features).union(*(table.closure(name) for name in features))


@functools.cache
def _without(features: frozenset[str], masked: str | None) -> frozenset[str]:
    if masked is None:
        return features
    return features - {masked, *load_features().dependents(masked)}


@functools.cache
def _ran(
    features: frozenset[str], xcr0: int, bad: str | None, outcome: Outcome
) -> tuple[Outcome, ...]:
    """The outcomes of the real candidates; those that need `bad` have `outcome`."""
    table, hints, outcomes = load_features(), _hints(), []
    for candidate in _report().candidates:
        said: Outcome = "ok"
        if any(
            name not in features or xcr0 & table[name].xcr0 != table[name].xcr0
            for name in candidate.features
        ):
            said = "sigill"
        elif candidate.name in hints:
            said = "skipped"
        elif bad in candidate.features:
            said = outcome
        outcomes.append(said)
    return tuple(outcomes)


@functools.cache
def _cpuid(model: Model, features: frozenset[str], hypervisor: str | None) -> tuple[CpuidLeaf, ...]:
    """Leaves with the brand string in them (AMD APM vol. 3, CPUID Fn8000_000[4:2])."""
    made = leaves(features, vendor=model.vendor, signature=model.signature, hypervisor=hypervisor)
    raw = model.brand.encode().ljust(48, b"\0")
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, 48, 4)]
    brand = [CpuidLeaf(0x80000002 + at, 0, *words[at * 4 : at * 4 + 4]) for at in range(3)]
    first = CpuidLeaf(0x80000000, 0, 0x80000004, 0, 0, 0)
    kept = [leaf for leaf in made if leaf.leaf != 0x80000000]
    return tuple(sorted((*kept, first, *brand), key=lambda leaf: (leaf.leaf, leaf.subleaf)))


@functools.cache
def _flags(features: frozenset[str], more: str) -> str:
    table = load_features()
    named = [table[name].kernel.flag for name in table if name in features]
    return " ".join(["lm", *(flag for flag in named if flag is not None), more]).strip()


def machine(chance: random.Random) -> Observation:
    """One machine."""
    model = chance.choices(MODELS, [each.often for each in MODELS])[0]
    hypervisor = chance.choice(HYPERVISORS)
    masked = chance.choice(MASKED) if chance.random() < 0.06 else None
    features = _without(_closed(model.features), masked)
    trouble = chance.choice(TROUBLES) if chance.random() < 0.05 else None
    if trouble == "gds" and (model.signature != (6, 0x5E, 3) or hypervisor is not None):
        trouble = None
    xcr0 = _SSE if trouble == "gds" or "xsave" not in features else _YMM
    if xcr0 == _YMM and "avx512f" in features:
        xcr0 = _ZMM
    release = chance.choice(KERNELS).format(chance.randrange(1, 40))
    listed, bad = features, None
    outcome: Outcome = "ok"
    cmdline: tuple[str, ...] = chance.choice(((), (), (), ("mitigations=off",), ("nosmt",)))
    gds = "Not affected" if model.vendor == AMD else "Mitigation: Microcode"
    if trouble == "gds":
        cmdline, gds, release = ("gather_data_sampling=force",), GDS_DISABLED, "6.1.0-49-amd64"
        listed = features - {"avx", "avx2", "fma"}
    elif trouble == "clearcpuid" and "rdseed" in features:
        cmdline, listed = ("clearcpuid=rdseed",), features - {"rdseed"}
    elif trouble == "lying":
        bad, outcome = "avx512vl" if "avx512vl" in features else "avx2", "sigill"
    elif trouble == "wrong":
        bad, outcome = "lzcnt", "wrong"
    cpus = tuple(range(chance.choice(CORES)))
    groups: tuple[CpuGroup, ...]
    if trouble == "uneven" and len(cpus) > 2 and "avx512f" in features:
        half = len(cpus) // 2
        fewer = _without(features, "avx512f")
        groups = (
            _group(model, features, hypervisor, xcr0, cpus[:half], None, "ok"),
            _group(model, fewer, hypervisor, xcr0, cpus[half:], None, "ok"),
        )
    else:
        groups = (_group(model, features, hypervisor, xcr0, cpus, bad, outcome),)
    executed = trouble != "cpuid"
    if not executed:
        groups = tuple(msgspec.structs.replace(each, ran=()) for each in groups)
    family, number, stepping = model.signature
    fields = {
        "vendor_id": model.vendor,
        "cpu family": str(family),
        "model": str(number),
        "model name": model.brand,
        "stepping": str(stepping),
        "microcode": f"{chance.randrange(0x100, 0x180):#x}",
        "flags": _flags(listed, "hypervisor" if hypervisor else ""),
        "bugs": "gds" if gds != "Not affected" else "",
    }
    return Observation(
        source="probe",
        executed=executed,
        groups=groups,
        candidates=_report().candidates if executed else (),
        kernel=Kernel(release=release),
        cpuinfo=(Cpuinfo(cpus=cpus, fields=fields),),
        cmdline=cmdline,
        vulnerabilities={"gather_data_sampling": gds},
        hwcap2=2,
    )


def _group(
    model: Model,
    features: frozenset[str],
    hypervisor: str | None,
    xcr0: int,
    cpus: tuple[int, ...],
    bad: str | None,
    outcome: Outcome,
) -> CpuGroup:
    osxsave = "xsave" in features
    return CpuGroup(
        cpus=cpus,
        cpuid=_cpuid(model, features, hypervisor),
        xgetbv_outcome="ok" if osxsave else "skipped",
        xcr0=xcr0 if osxsave else None,
        ran=_ran(features, xcr0, bad, outcome),
    )


def lines(count: int, seed: int, pool: int | None = None) -> Iterator[bytes]:
    """Reports as lines of JSON.

    Args:
        count: how many.
        seed: the same gives the same lines.
        pool: how many machines may differ: others are copies of one of them, as in a fleet whose
            machines were bought and installed by the dozen. None: each is drawn anew.
    """
    chance = random.Random(seed)
    others = sorted((DATA / "captures").glob("*.txt"))
    encoder = msgspec.json.Encoder()
    for number in range(count):
        if chance.random() < 0.005:
            text = chance.choice(others).read_bytes().decode("latin-1")
            yield encoder.encode({"capture": text, "machine": f"other {number}"}) + b"\n"
            continue
        drawn = chance.randrange(1 << 62) if pool is None else chance.randrange(pool)
        observation = machine(random.Random(seed * 1_000_003 + drawn))
        report = {"schema": "cpuprobe.report/1", "cpuprobe": "0.1.0", "observation": observation}
        if chance.random() < 0.1:
            report["weight"] = chance.choice((0.5, 2, 3, 10, 0.125))
        yield encoder.encode(report) + b"\n"


def main() -> None:
    """Writes lines to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pool", type=int)
    given = parser.parse_args()
    sys.stdout.buffer.writelines(lines(given.count, given.seed, given.pool))


if __name__ == "__main__":
    main()

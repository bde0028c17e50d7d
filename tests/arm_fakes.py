"""Fake aarch64 machines: observations built in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cpuprobe.evidence.observation import (
    Auxv,
    Candidate,
    CpuGroup,
    Cpuinfo,
    Kernel,
    Observation,
    Outcome,
)
from cpuprobe.facts.aarch64 import load_features

CORTEX_A72 = 0x410FD083
NEOVERSE_V1 = 0x411FD401
APPLE_GUEST = 0x610F0000
BASE = ("fp-armv8", "neon", "crc")

CANDIDATES = tuple(Candidate(f"probe {name}", (name,)) for name in load_features())


def registers(features: Iterable[str], midr: int = CORTEX_A72) -> dict[str, int]:
    """ID registers that tell of exactly `features`; each field has the least value that does."""
    values = {each.register: 0 for row in load_features().values() for each in row.id}
    told: dict[tuple[str, int], tuple[int, int]] = {}
    for feature in load_features().values():
        field = feature.id[0]
        if field.signed:  # 0 tells the first of them, -1 none
            told.setdefault((field.register, field.lsb), (15, field.width))
    for name in features:
        field = load_features()[name].id[0]
        place = (field.register, field.lsb)
        least = told.get(place, (0, 0))[0]
        value = field.at_least if least == 15 else max(least, field.at_least)
        told[place] = (value, field.width)
    for (register, lsb), (value, _) in told.items():
        values[register] |= value << lsb
    return {"midr_el1": midr, **values}


def auxv(features: Iterable[str]) -> Auxv:
    """HWCAP of exactly `features`."""
    words = {"hwcap": 0, "hwcap2": 0, "hwcap3": 0}
    for name in features:
        bit = load_features()[name].hwcap
        if bit is not None:
            words[bit.word] |= 1 << bit.bit
    return Auxv(**words)


def cpuinfo(
    features: Iterable[str], cpus: tuple[int, ...] = (0, 1), part: str = "0xd08"
) -> Cpuinfo:
    """A block of an arm64 /proc/cpuinfo that lists `features`."""
    words = [load_features()[name].kernel.flag or "" for name in features]
    fields = {
        "Features": " ".join(["evtstrm", *words, "cpuid"]),
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": part,
        "CPU revision": "3",
    }
    return Cpuinfo(cpus, fields)


def group(
    features: Iterable[str],
    *,
    cpus: tuple[int, ...] = (0, 1),
    midr: int = CORTEX_A72,
    told: Mapping[str, int] | None = None,
    outcomes: Mapping[str, Outcome] | None = None,
    executed: bool = True,
    **more: Any,
) -> CpuGroup:
    """CPUs that tell of `features` and execute those, unless `outcomes` say otherwise."""
    has, table = set(features), load_features()

    def ran(name: str) -> Outcome:
        if outcomes is not None and name in outcomes:
            return outcomes[name]
        if not table[name].for_programs:
            return "skipped"
        return "ok" if name in has else "sigill"

    return CpuGroup(
        cpus=cpus,
        registers=registers(has, midr) if told is None else dict(told),
        ran=tuple(ran(name) for name in table) if executed else (),
        **more,
    )


def observation(*groups: CpuGroup, executed: bool = True, **more: Any) -> Observation:
    """A machine of these CPUs, under Linux 6.12 unless `kernel` says otherwise."""
    return Observation(
        **{
            "source": "probe",
            "executed": executed,
            "isa": "aarch64",
            "groups": groups,
            "candidates": CANDIDATES if executed else (),
            "kernel": Kernel("6.12.9", None),
            "page_size": 4096,
            **more,
        }
    )

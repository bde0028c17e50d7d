"""The flags for wasmtime, and its findings CP501 to CP504."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import cause
from cpuprobe.assessment.ground import Cause
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding, WasmtimeTarget
from cpuprobe.facts.features import Feature
from cpuprobe.facts.wasmtime import WasmtimeVersion
from cpuprobe.words import names

REFUSED = "this wasmtime accepts it on no host"
"""Why a flag is off that a wasmtime knows and cannot test for."""

WINCH_SIMD = ("avx", "avx2")  # wasmtime winch/codegen/src/isa/x64/masm.rs, UnimplementedForNoAvx


def features_of(version: WasmtimeVersion) -> list[str]:
    """The flags of a version that stand for features; others say how code is made."""
    return [flag for flag in version.flags if flag.startswith("has_")]


class Flags:
    """The `has_*` flags for one wasmtime version on this machine."""

    def __init__(self, machine: Machine, version: WasmtimeVersion, target: WasmtimeTarget) -> None:
        """Decide every flag that `version` knows."""
        self.machine = machine
        self.version = version
        self.target = target
        # A thread may compile on one CPU and run on another: all have to be accepted.
        self.detected = frozenset.intersection(
            *(machine.isa.detected(group, machine) for group in machine.groups)
        )
        self.values: dict[str, bool] = {}
        self.off: dict[str, str] = {}
        for flag in features_of(version):
            reason = self._reason_off(flag)
            self.values[flag] = reason is None
            if reason is not None:
                self.off[flag] = reason

    def _feature(self, flag: str) -> Feature | None:
        return self.machine.table.by_cranelift.get(flag)

    def refused(self, feature: Feature) -> bool:
        """Whether the detector is known to refuse the feature on this machine."""
        if feature.name in self.detected:
            return False
        return self.machine.isa.detector_is_told(self.machine, feature)

    def _reason_off(self, flag: str) -> str | None:
        feature = self._feature(flag)
        if feature is None:
            return "cpuprobe does not know this flag"
        assessed = self.machine.features[feature.name]
        if flag in self.version.refuses:
            return REFUSED
        if not assessed.safe:
            if assessed.state in ("usable", "unverified") and assessed.cpuid is not False:
                missing = [
                    each
                    for each in self.machine.table.closure(feature.name)
                    if not self.machine.features[each].safe
                ]
                if missing:
                    return f"{feature.name} builds on {names(sorted(missing))}, not safe here"
            return f"{feature.name} is {assessed.state}"
        if self.refused(feature):
            return "wasmtime's own detector refuses it here (CP504)"
        return None


def wasmtime_findings(flags: Flags) -> Iterator[Finding]:
    """CP501 to CP504. Nothing is said of a wasmtime that the observed machine does not have."""
    machine = flags.machine
    if flags.target.installed:
        yield from _would_enable(flags)
        yield from _unknown_flags(flags)
    yield from _below_floor(flags)
    refused = [
        feature.name
        for flag in flags.version.flags
        if (feature := machine.table.by_cranelift.get(flag)) is not None
        and flag not in flags.version.refuses
        and machine.features[feature.name].safe
        and flags.refused(feature)
    ]
    if refused:
        reasons = [
            row["reason"] for row in machine.quirks["detector"] if set(refused) & set(row["hides"])
        ]
        yield machine.finding(
            "CP504",
            refused,
            machine.all_cpus,
            [f"{names(refused)}: usable, but not reported by Rust's std_detect"],
            Cause("; ".join(reasons)) if reasons else cause("detector-rules"),
        )


def _would_enable(flags: Flags) -> Iterator[Finding]:
    machine = flags.machine
    if not machine.observation.executed:
        return
    listed = []
    cpus: set[int] = set()
    for flag in flags.version.flags:
        feature = machine.table.by_cranelift.get(flag)
        if feature is None or flag in flags.version.refuses:
            continue
        if machine.usable[feature.name] is not False:  # safe, or not known to be unsafe
            continue
        # One CPU on which wasmtime infers the flag is enough: it may be the one that compiles.
        where = machine.cpus_where(
            lambda group, name=feature.name: name in machine.isa.detected(group, machine)
        )
        if where:
            listed.append(feature.name)
            cpus.update(where)
    if listed:
        yield machine.finding(
            "CP501",
            listed,
            sorted(cpus),
            [
                f"wasmtime {flags.target.version} infers {names(listed)} from "
                f"{machine.isa.words.asked}",
                *(f"{name} is {machine.features[name].state}" for name in listed),
            ],
            cause(machine.isa.words.alone),
        )


def _unknown_flags(flags: Flags) -> Iterator[Finding]:
    machine = flags.machine
    listed = [
        feature.name
        for flag, feature in machine.table.by_cranelift.items()
        if flag not in flags.version.flags and machine.features[feature.name].safe
    ]
    if listed:
        yield machine.finding(
            "CP503",
            listed,
            machine.all_cpus,
            [
                f"wasmtime {flags.target.version} knows {len(flags.version.flags)} "
                f"{machine.isa.words.flags} flags"
            ],
        )


def _below_floor(flags: Flags) -> Iterator[Finding]:
    machine = flags.machine
    floor = [name for name in flags.version.simd_floor if machine.usable.get(name) is False]
    winch = [name for name in WINCH_SIMD if machine.usable.get(name) is False]
    if floor:
        evidence = [
            f"Cranelift in wasmtime {flags.target.version} needs "
            f"{names(flags.version.simd_floor)} for wasm SIMD"
        ]
    elif winch and machine.observation.executed:
        evidence = ["Winch needs AVX and AVX2 for wasm SIMD; Cranelift does not"]
    else:
        return
    yield machine.finding("CP502", floor or winch, machine.all_cpus, evidence)

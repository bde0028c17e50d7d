"""The flags for wasmtime, and its findings CP501 to CP504."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import cause
from cpuprobe.assessment.machine import Cause, Machine, finding
from cpuprobe.assessment.model import Finding, WasmtimeTarget
from cpuprobe.assessment.std_detect import std_detect
from cpuprobe.facts.features import X86Feature
from cpuprobe.facts.wasmtime import WasmtimeVersion
from cpuprobe.words import names

REFUSED = "this wasmtime accepts it on no host"
"""Why a flag is off that a wasmtime knows and cannot test for."""

WINCH_SIMD = ("avx", "avx2")  # wasmtime winch/codegen/src/isa/x64/masm.rs, UnimplementedForNoAvx


class Flags:
    """The `has_*` flags for one wasmtime version on this machine."""

    def __init__(self, machine: Machine, version: WasmtimeVersion, target: WasmtimeTarget) -> None:
        """Decide every flag that `version` knows."""
        self.machine = machine
        self.version = version
        self.target = target
        # A thread may compile on one CPU and run on another: all have to be accepted.
        self.detected = frozenset.intersection(
            *(std_detect(group, machine) for group in machine.groups)
        )
        self.values: dict[str, bool] = {}
        self.off: dict[str, str] = {}
        for flag in version.flags:
            reason = self._reason_off(flag)
            self.values[flag] = reason is None
            if reason is not None:
                self.off[flag] = reason

    @property
    def knows_xcr0(self) -> bool:
        """Whether XCR0 was recorded, without which the detector's answer cannot be told."""
        return all(group.measured.xcr0 is not None for group in self.machine.groups)

    def _feature(self, flag: str) -> X86Feature | None:
        return self.machine.table.by_cranelift.get(flag)

    def refused(self, feature: X86Feature) -> bool:
        """Whether the detector is known to refuse the feature on this machine."""
        cpuid_is_mute = self.machine.observation.executed and not self.machine.cpuid
        if feature.name in self.detected or cpuid_is_mute:
            return False
        return self.knows_xcr0 or feature.xcr0 == 0

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
        yield finding(
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
        if feature is None or flag in flags.version.refuses or machine.features[feature.name].safe:
            continue
        # One CPU on which wasmtime infers the flag is enough: it may be the one that compiles.
        where = machine.cpus_where(
            lambda group, name=feature.name: name in std_detect(group, machine)
        )
        if where:
            listed.append(feature.name)
            cpus.update(where)
    if listed:
        yield finding(
            "CP501",
            listed,
            sorted(cpus),
            [
                f"wasmtime {flags.target.version} infers {names(listed)} from CPUID and XCR0",
                *(f"{name} is {machine.features[name].state}" for name in listed),
            ],
            cause("cpuid-alone"),
        )


def _unknown_flags(flags: Flags) -> Iterator[Finding]:
    machine = flags.machine
    listed = [
        feature.name
        for flag, feature in machine.table.by_cranelift.items()
        if flag not in flags.version.flags and machine.features[feature.name].safe
    ]
    if listed:
        yield finding(
            "CP503",
            listed,
            machine.all_cpus,
            [f"wasmtime {flags.target.version} knows {len(flags.version.flags)} x86 flags"],
        )


def _below_floor(flags: Flags) -> Iterator[Finding]:
    machine = flags.machine
    floor = [name for name in flags.version.simd_floor if machine.usable[name] is False]
    winch = [name for name in WINCH_SIMD if machine.usable[name] is False]
    if floor:
        evidence = [
            f"Cranelift in wasmtime {flags.target.version} needs "
            f"{names(flags.version.simd_floor)} for wasm SIMD"
        ]
    elif winch and machine.observation.executed:
        evidence = ["Winch needs AVX and AVX2 for wasm SIMD; Cranelift does not"]
    else:
        return
    yield finding("CP502", floor or winch, machine.all_cpus, evidence)

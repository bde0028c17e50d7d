"""The assessment: what an observation means. These types are the `assessment` of a report file."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

import msgspec

from cpuprobe.evidence.observation import Outcome
from cpuprobe.facts.cases import KnownCase

State = Literal[
    "usable",
    "absent",
    "withheld",
    "broken",
    "hidden",
    "gated",
    "uneven",
    "unverified",
    "unknown",
]
Severity = Literal["error", "warning", "info"]
Basis = Literal["executed", "cpuid", "registers"]
Verdict = Literal["consistent", "mismatch", "insufficient"]
SetAside = Literal["missing", "covered", "gvisor", "no-flags", "no-features", "another-cpu"]
"""Why the kernel witness is not heard; the words are the `set_aside` rows of findings.toml."""


class FeatureAssessment(msgspec.Struct, frozen=True):
    """One feature: its state, and what each witness says, over all CPUs together.

    Attributes:
        state: see docs/how-it-works.md; only `usable` can be safe where anything was executed.
        safe: usable, and everything it implies is safe.
        cpuid: enumerated; None where CPUID could not be read or was not recorded.
        os: enabled by the operating system; None where that is not known.
        kernel: listed in /proc/cpuinfo; None where the kernel witness cannot speak.
        ran: the worst outcome of the candidates that bear on it; None if none did.
    """

    state: State
    safe: bool
    cpuid: bool | None
    os: bool | None
    kernel: bool | None
    ran: Outcome | None


class Family(IntEnum):
    """What findings are about, by the first digit of their codes."""

    WITHHELD = 1
    EXECUTION = 2
    UNIFORMITY = 3
    IDENTITY = 4
    WASMTIME = 5
    GDS = 6


class Finding(msgspec.Struct, frozen=True):
    """One disagreement, with its evidence and what to do about it.

    `cause_id` is the row of findings.toml that `cause` is worded by; `unknown` where nothing that
    can be read explains it, None where there is no such row. `cases` are public ones of the same
    feature and cause, the closest first.
    """

    code: str
    severity: Severity
    features: tuple[str, ...]
    cpus: tuple[int, ...]
    title: str
    evidence: tuple[str, ...]
    cause: str
    remedy: str
    cause_id: str | None = None
    cases: tuple[KnownCase, ...] = ()

    @property
    def family(self) -> Family:
        """What it is about."""
        return Family(int(self.code[2]))


class Identity(msgspec.Struct, frozen=True):
    """Who the machine says it is. For people only: no feature is ever inferred from it."""

    vendor: str | None = None
    brand: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    microcode: str | None = None
    kernel: str | None = None
    hypervisor: str | None = None
    cpus: int = 0


class WasmtimeTarget(msgspec.Struct, frozen=True):
    """The wasmtime that the flags are for.

    Attributes:
        version: as asked for or found.
        installed: whether it is the one installed on the observed machine.
    """

    version: str
    installed: bool


class Known(msgspec.Struct, frozen=True):
    """How many features any witness speaks of, of how many that cpuprobe knows."""

    features: int
    of: int


class Assessment(msgspec.Struct, frozen=True):
    """The meaning of one observation; a pure function of it.

    Attributes:
        basis: `executed`, or `cpuid` (on aarch64 `registers`) where nothing was executed; `safe`
            then means only that nothing known speaks against the feature.
        verdict: `mismatch` if any finding is an error; `insufficient` if too little is known to
            tell the psABI level.
        known: how much is told at all.
        level: the psABI level of what is safe; None below x86-64-v1, on a 32-bit system, and where
            it is not decided.
        level_at_least: the highest level all of whose features are known to be safe.
        level_at_most: the highest level none of whose features is known not to be safe.
        advertised_level: the psABI level of what CPUID alone claims.
        features: by canonical name, in the order of the table.
        findings: ordered by code.
        cranelift: every `has_*` flag of the target wasmtime.
        cranelift_off: why a flag is false.
        wasmtime: what the flags are for.
        identity: for people.
        notes: what was set aside, and why.
        kernel_set_aside: why the kernel witness was not heard, None where it was.
        bits: of programs there: 32 where the kernel or the CPU allows no more; psABI levels are of
            64-bit programs.
    """

    basis: Basis
    verdict: Verdict
    known: Known
    level: str | None
    level_at_least: str | None
    level_at_most: str | None
    advertised_level: str | None
    features: dict[str, FeatureAssessment]
    findings: tuple[Finding, ...]
    cranelift: dict[str, bool]
    cranelift_off: dict[str, str]
    wasmtime: WasmtimeTarget
    identity: Identity
    notes: tuple[str, ...]
    kernel_set_aside: SetAside | None = None
    bits: Literal[32, 64] = 64

    @property
    def isa(self) -> str:
        """The name of the instruction set, by the features that were judged."""
        return "aarch64" if "fp-armv8" in self.features else "x86-64"


def by_gravity(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then warnings, then information; by code within each."""
    order = ("error", "warning", "info")
    return sorted(findings, key=lambda finding: (order.index(finding.severity), finding.code))

"""What was measured on one machine, raw: the observation, with no opinion in it.

These types are the `observation` of a report file; docs/report-format.md and its JSON Schema are
made from them. Decoding validates: a report from a stranger is either an `Observation` or an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cpuprobe.evidence.shapes import (
    CpuNumber,
    FeatureName,
    Field,
    Flag,
    Hex,
    Label,
    Line,
    Mask,
    Mnemonic,
    Mount,
    PsabiLevel,
    Register,
    Release,
    SystemRegister,
    Version,
    Word,
)

Outcome = Literal[
    "ok",
    "sigill",
    "sigsegv",
    "sigbus",
    "sigfpe",
    "sigtrap",
    "wrong",
    "timeout",
    "killed",
    "skipped",
]

# Why a candidate was left out that is not the CPU's doing: the measuring process was killed by
# somebody else while it ran, it waited in the kernel, the CPU it ran on was not known.
Disturbance = Literal["killed", "blocked", "moved"]

_MOST_CPUS = 65536
_MOST_NAMES = 4096


class CpuidLeaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One CPUID result: the leaf (EAX in), the subleaf (ECX in), and the four registers out."""

    leaf: Register
    subleaf: Register
    eax: Register
    ebx: Register
    ecx: Register
    edx: Register


class Candidate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One instruction that was executed: mnemonic and operands, and every feature it needs."""

    name: Mnemonic
    features: Annotated[tuple[FeatureName, ...], msgspec.Meta(min_length=1, max_length=16)]


class Fault(msgspec.Struct, frozen=True):
    """Where a candidate faulted, if not with a plain #UD at its first byte.

    Attributes:
        offset: bytes into the candidate; -1 while its registers were being loaded.
        si_code: the signal's code, None where the kernel gave a negative one.
    """

    offset: int
    si_code: int | None = None


class Repeated(msgspec.Struct, frozen=True):
    """What many rounds showed that one round did not.

    Attributes:
        rounds: how often every candidate was run on each CPU.
        failed: candidates that succeeded in the first round, and in how many later ones they
            failed; their outcome is that of the last such round.
    """

    rounds: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
    failed: dict[Mnemonic, Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]]


class CpuGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """CPUs on which everything measured was identical.

    Attributes:
        cpus: their numbers as the kernel counts.
        pinned: whether the probe could be pinned to them; if not, it is not known which CPU it saw.
        cpuid: every leaf that was read; leaf 3 never is.
        cpuid_outcome: `ok`, or how CPUID itself died.
        xgetbv_outcome: `ok`, how XGETBV died, or `skipped` (OSXSAVE clear, or not asked).
        xcr0: the value of XCR0, None where it is not known.
        ran: the outcome of each of the observation's candidates, in their order; empty where none
            was executed.
        ran_before_permission: for AMX, the outcome before the permission was asked for.
        faults: candidates that faulted in an unusual way.
        wrong: the bytes (hexadecimal) that candidates with outcome `wrong` left behind.
        asked_once: what died of #UD and CPUID denies was executed only on the first CPU that has
            this CPUID, and is taken to die on the others.
        repeated: what `--repeat` showed, None if every candidate was run once.
        disturbed: candidates that are `skipped` because somebody else was in the way, None
            where nobody was.
        registers: on aarch64, the ID registers that were read, by their names in the Arm ARM in
            lower case; the kernel shows programs what it lets them use.
        registers_outcome: `ok`, or how reading them died.
    """

    cpus: tuple[CpuNumber, ...]
    pinned: bool = True
    cpuid: tuple[CpuidLeaf, ...] = ()
    cpuid_outcome: Outcome = "ok"
    xgetbv_outcome: Outcome = "skipped"
    xcr0: Mask | None = None
    ran: tuple[Outcome, ...] = ()
    ran_before_permission: dict[Mnemonic, Outcome] = {}
    faults: dict[Mnemonic, Fault] = {}
    wrong: dict[Mnemonic, Hex] = {}
    asked_once: bool = False
    repeated: Repeated | None = None
    disturbed: dict[Mnemonic, Disturbance] | None = None
    registers: dict[SystemRegister, Mask] = {}
    registers_outcome: Outcome = "ok"


class Cpuinfo(msgspec.Struct, frozen=True):
    """Blocks of /proc/cpuinfo with equal content, and the CPUs that share it.

    Attributes:
        cpus: the numbers of the `processor` lines.
        fields: lines of the block as key and value; only harmless keys are ever taken.
        incomplete: why its list of flags is not the whole list, so that a name which is not on it
            says nothing: `short` (a part from the start), `cut` (it breaks off or has a gap),
            `foreign` (the list is not Linux's own). None where it shows no sign of that.
    """

    cpus: tuple[CpuNumber, ...]
    fields: dict[Field, Line]
    incomplete: Literal["short", "cut", "foreign"] | None = None


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a text tells of features by name, where it has neither raw CPUID nor a kernel's list.

    A feature that stands in neither `yes` nor `no` is not told of.

    Attributes:
        source: the format it was read from, by its name in the registry of formats.
        witness: whose word it is: CPUID's (`cpuid`), the operating system's on the register state
            (`os`), that of a detector that looks at both (`cpuid+os`), or the kernel's list.
        yes: features that it says are there, by canonical name.
        no: features that it says are not there.
        level: the highest psABI level all of whose features it says are there.
        not_level: the lowest psABI level that it says is not there; which of its features is
            missing is not told.
    """

    source: Field
    witness: Literal["cpuid", "os", "cpuid+os", "kernel"]
    yes: tuple[FeatureName, ...] = ()
    no: tuple[FeatureName, ...] = ()
    level: PsabiLevel | None = None
    not_level: PsabiLevel | None = None


class ToldIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a text says the CPU is, beside CPUID and /proc/cpuinfo; for people only."""

    vendor: Label | None = None
    brand: Label | None = None
    family: Register | None = None
    model: Register | None = None
    stepping: Register | None = None
    microcode: Label | None = None
    hypervisor: Label | None = None


class Auxv(msgspec.Struct, frozen=True, omit_defaults=True):
    """Words of the auxiliary vector of an aarch64 kernel; None where it gave none."""

    hwcap: Mask | None = None
    hwcap2: Mask | None = None
    hwcap3: Mask | None = None


class Kernel(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `uname -r` and `uname -v` say, None where it is not known."""

    release: Release | None = None
    version: Line | None = None


class Wasmtime(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wasmtime found beside cpuprobe: its version, and its x86 flags if they were measured."""

    version: Version
    flags: Annotated[tuple[Flag, ...], msgspec.Meta(max_length=512)] | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything measured on one machine.

    Attributes:
        source: `probe`, or the kind of capture it was read from.
        executed: whether candidates were run.
        groups: the CPUs, by equal results; at least one.
        candidates: what was executed; empty if nothing was.
        kernel: release and version of the running kernel.
        cpuinfo: what /proc/cpuinfo says, None where there is none.
        cpuinfo_mount: the filesystem type mounted over /proc/cpuinfo, if any.
        cmdline: the known words of the kernel command line, None where it cannot be read.
        vulnerabilities: files of /sys/devices/system/cpu/vulnerabilities, by name.
        hwcap2, amx_permission: AT_HWCAP2 of an x86 kernel, what ARCH_REQ_XCOMP_PERM answered.
        unmeasured_cpus: allowed CPUs that could not be reached (gone offline).
        denied: system calls that a sandbox refused to the probe, and that it could do without.
        wasmtime: the wasmtime of that machine, None if there is none or nobody looked.
        isa: the instruction set of its kernel; programs on an `i686` one are 32-bit.
        claims, identity: what texts told of features by name, and who they say it is.
        auxv, page_size: AT_HWCAP and its like as the kernel hands them out, and bytes (aarch64).
        executions: `ran_on_each`, where a share code holds few of the candidates; 0: not known.
    """

    source: Field
    executed: bool
    groups: Annotated[tuple[CpuGroup, ...], msgspec.Meta(min_length=1, max_length=_MOST_CPUS)]
    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(max_length=_MOST_NAMES)] = ()
    kernel: Kernel = Kernel()
    cpuinfo: tuple[Cpuinfo, ...] | None = None
    cpuinfo_mount: Mount | None = None
    cmdline: tuple[Word, ...] | None = None
    vulnerabilities: dict[Field, Line] = {}
    hwcap2: Mask | None = None
    amx_permission: Literal["not asked", "granted", "refused"] = "not asked"
    unmeasured_cpus: tuple[CpuNumber, ...] = ()
    denied: tuple[Field, ...] = ()
    wasmtime: Wasmtime | None = None
    isa: Literal["x86_64", "i686", "aarch64"] = "x86_64"
    claims: tuple[Claims, ...] = ()
    identity: ToldIdentity | None = None
    auxv: Auxv | None = None
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] | None = None
    executions: Annotated[int, msgspec.Meta(ge=0, le=_MOST_NAMES)] | None = None

    @property
    def ran_on_each(self) -> int:
        """How many candidates ran, with the right result, on every CPU; 0 where it is not known."""
        ran = sum({*ran} == {"ok"} for ran in zip(*(g.ran for g in self.groups), strict=True))
        return ran if self.executions is None else self.executions

    def __post_init__(self) -> None:
        """Checks what the types cannot say; decoding turns a ValueError into its own error."""
        seen: set[int] = set()
        for group in self.groups:
            if not group.cpus:
                raise ValueError("a group without CPUs")
            if seen.intersection(group.cpus):
                raise ValueError("a CPU stands in two groups")
            seen.update(group.cpus)
            if any(value >= 1 << 64 for value in (group.xcr0 or 0, *group.registers.values())):
                raise ValueError("XCR0 or a register has more than 64 bits")
            expected = len(self.candidates) if self.executed else 0
            if len(group.ran) != expected:
                raise ValueError(f"{len(group.ran)} outcomes for {expected} candidates")
            if len({(leaf.leaf, leaf.subleaf) for leaf in group.cpuid}) != len(group.cpuid):
                raise ValueError("a CPUID leaf stands twice in a group")
        words = () if self.auxv is None else msgspec.structs.astuple(self.auxv)
        if any((word or 0) >= 1 << 64 for word in words):
            raise ValueError("a word of the auxiliary vector has more than 64 bits")
        if len({candidate.name for candidate in self.candidates}) != len(self.candidates):
            raise ValueError("a candidate stands twice")
        self._check_isa()

    def _check_isa(self) -> None:
        """Refuses registers of another `isa`; /proc/cpuinfo may be that of an emulator's host."""
        if self.isa == "aarch64":
            if any(group.cpuid or group.xcr0 is not None for group in self.groups):
                raise ValueError("CPUID or XCR0 of x86, but isa says aarch64")
        elif self.auxv is not None or any(group.registers for group in self.groups):
            told = self.isa.replace("_", "-")
            raise ValueError(f"registers or auxiliary vector of aarch64, but isa says {told}")


class Document(msgspec.Struct, frozen=True):
    """The outermost object of a report file, as far as reading an observation needs it."""

    schema: Field
    observation: Observation
    cpuprobe: Version = "unknown"

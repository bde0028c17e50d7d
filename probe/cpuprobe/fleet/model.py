"""What `cpuprobe fleet` tells: these types are its `--json`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Share(msgspec.Struct, frozen=True):
    """A part of the fleet.

    Attributes:
        machines: how many.
        weight: their weights added up; equal to `machines` where nobody gave weights.
        share: their weight as a part of the fleet's, 0 to 1.
    """

    machines: int
    weight: float
    share: float


class Coverage(msgspec.Struct, frozen=True):
    """The machines that meet a set: all of its features are safe there.

    Attributes:
        name: of the psABI level, the profile or the set of flags.
        kind: the profile's kind, or `flags`.
        covered: the machines that meet it.
    """

    name: str
    kind: str
    covered: Share


class Step(msgspec.Struct, frozen=True):
    """One step of the curve: what is added, and which machines that loses.

    Attributes:
        added: the features (canonical names) that this step adds, of those that programs can need;
            with what they imply, as far as earlier steps have not added it, and whatever else all
            the machines have that are left.
        flags: Cranelift's names of those features that have one.
        covered: the machines that have everything added up to here.
        lost: the machines that this step loses.
        losers: the CPU models of the machines lost, heaviest first, at most five.
    """

    added: tuple[str, ...]
    flags: tuple[str, ...]
    covered: Share
    lost: Share
    losers: tuple[str, ...] = ()


class BestSet(msgspec.Struct, frozen=True):
    """The set of k flags that most machines can use.

    Attributes:
        k: how many flags.
        flags: Cranelift's names, down-closed.
        covered: the machines on which all of them are safe.
    """

    k: int
    flags: tuple[str, ...]
    covered: Share


class Target(msgspec.Struct, frozen=True):
    """The largest set of flags that still covers a wanted share.

    Attributes:
        wanted: the share to be covered, 0 to 1.
        best: the largest set that does; None if even the empty set does not.
    """

    wanted: float
    best: BestSet | None


class FindingCount(msgspec.Struct, frozen=True):
    """Machines with a finding, by code and cause."""

    code: str
    severity: str
    title: str
    cause: str
    machines: Share


class Group(msgspec.Struct, frozen=True):
    """Machines that share a value.

    Attributes:
        value: the CPU model, the kernel's release or the hypervisor; `unknown` where not recorded.
        machines: how many.
        levels: their levels of what is safe, `none` below the first, to the share of the group
            (0 to 1).
        mismatched: those with a finding of severity error.
    """

    value: str
    machines: Share
    levels: dict[str, float]
    mismatched: Share


class Matrix(msgspec.Struct, frozen=True):
    """Which part of each CPU model has each flag safe.

    Attributes:
        rows: CPU models, heaviest first; the last may be `others`.
        columns: Cranelift's flags.
        weights: a row's part of the fleet, 0 to 1.
        shares: for each row, for each column: the part of the row's machines with the flag safe.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]


class Skipped(msgspec.Struct, frozen=True):
    """A capture that could not be read.

    Attributes:
        capture: what it is called.
        why: in one line.
        kind: of reason: `file` (not to be opened, or of a kind that is not read), `damaged` (or
            built to do harm), `size` (larger than any capture), `text` (no capture of a known
            kind); or of a machine that is known and cannot be counted, as in `Unknown`.
        what: likewise.
    """

    capture: str
    why: str
    kind: Literal["file", "damaged", "size", "text", "isa", "identity"] = "text"
    what: str = ""


UnknownKind = Literal["insufficient", "identity", "isa"]


class Unknown(msgspec.Struct, frozen=True):
    """Machines that are outside all shares, because too little is known of them.

    Attributes:
        kind: `insufficient` (their features do not decide the psABI level), `identity` (nothing but
            their name is told) or `isa` (of another instruction set).
        what: the format that tells so little, or the instruction set.
        machines: how many.
        mismatched: how many of them have a finding of severity error all the same.
    """

    kind: UnknownKind
    what: str
    machines: int
    mismatched: int = 0


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the counts of a table of machines are from, in its own words.

    Attributes:
        table: the name of its file.
        source: who counted what.
        licence: of the counts.
        date: when the machines were asked.
        bias: in what they differ from all machines.
        machines: how many there are.
    """

    table: str
    source: str
    licence: str
    date: str
    bias: str
    machines: int


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `cpuprobe fleet` says.

    Attributes:
        schema: `cpuprobe.fleet/1`.
        isa: the instruction set of the machines that the shares are of; left out for x86-64.
        isas: the same of the machines of each other instruction set, by its name; left out where
            there are none. No share here counts them. What no share at all counts, and what
            could not be read, stands in the outermost alone.
        total: all machines that were read and of which enough is known.
        executed: those whose basis is `executed`: on the rest nothing was run, and safe means only
            that nothing known speaks against a feature.
        mismatched: those with a finding of severity error.
        reference: where the counts are from, if they are those of a table.
        dated: those whose list of features is whole, of a kernel whose age is not told: what it
            does not name they may have if it is too young for that kernel.
        wasmtime: the version whose flags are counted.
        levels: the psABI levels, or the versions of the Arm architecture.
        profiles: the other profiles.
        flag_sets: sets of flags that were asked for by name.
        features: each feature's own coverage, by canonical name, in the order of the table.
        curve: from the set that loses least to everything, step by step.
        best: the best set for each k from 0 on.
        targets: the largest sets for the wanted shares, largest share first.
        findings: by code, then by weight.
        models: by CPU model, heaviest first.
        kernels: by kernel release.
        hypervisors: by hypervisor.
        matrix: CPU models against flags.
        unknown: machines that no share counts, most first.
        skipped: captures that could not be read, the first 100 of them.
        unread: how many captures could not be read in all.
        unread_kinds: how many for each kind of reason.
    """

    schema: str = "cpuprobe.fleet/1"
    isa: str | msgspec.UnsetType = msgspec.UNSET
    cpuprobe: str
    backend: str
    total: Share
    executed: Share
    mismatched: Share
    wasmtime: str
    levels: tuple[Coverage, ...]
    profiles: tuple[Coverage, ...]
    flag_sets: tuple[Coverage, ...]
    features: dict[str, Share]
    curve: tuple[Step, ...]
    best: tuple[BestSet, ...]
    targets: tuple[Target, ...]
    findings: tuple[FindingCount, ...]
    models: tuple[Group, ...]
    kernels: tuple[Group, ...]
    hypervisors: tuple[Group, ...]
    matrix: Matrix
    reference: Reference | None = None
    dated: Share = Share(0, 0.0, 0.0)
    unknown: tuple[Unknown, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    unread: int = 0
    unread_kinds: dict[str, int] = {}
    isas: dict[str, Fleet] | msgspec.UnsetType = msgspec.UNSET

    @property
    def others(self) -> dict[str, Fleet]:
        """`isas`, empty where it is left out."""
        return {} if self.isas is msgspec.UNSET else self.isas

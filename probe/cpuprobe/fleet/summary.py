"""From what was counted to the answer: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.facts.profiles import Profile, built_in_profiles, needed
from cpuprobe.facts.tables import load_table
from cpuprobe.fleet.model import (
    BestSet,
    Coverage,
    FindingCount,
    Fleet,
    Group,
    Matrix,
    Reference,
    Share,
    Skipped,
    Step,
    Target,
)
from cpuprobe.fleet.selection import Cut, Pattern, best_sets, curve, positions
from cpuprobe.fleet.tally import OTHERS, Answers, Count, FindingRow, GroupCount, Tally, total
from cpuprobe.version import VERSION

_UNIT = 1_000_000

COVERAGES = (Decimal("0.999"), Decimal("0.99"), Decimal("0.95"))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of a fleet.

    Attributes:
        profiles: those whose coverage is told, each of its instruction set; levels always are.
        flag_sets: sets that were asked for by name, each of the instruction set that has them.
        wanted: shares to be covered, 0 to 1.
        top: how many models, kernels and hypervisors are told apart.
    """

    profiles: tuple[Profile, ...] = ()
    flag_sets: tuple[tuple[str, ...], ...] = ()
    wanted: tuple[Decimal, ...] = COVERAGES
    top: int = 20


def summarize(
    tally: Tally,
    asked: Asked,
    *,
    backend: str,
    wasmtime: str,
    flags: Sequence[str],
    skipped: Sequence[Skipped] = (),
    unread: int = 0,
    unread_kinds: Mapping[str, int] | None = None,
    reference: Reference | None = None,
    isas: dict[str, Fleet] | None = None,
) -> Fleet:
    """Everything that is told of the machines of one instruction set.

    Args:
        tally: what was counted.
        asked: what is to be told.
        backend: what was asked of tables.
        wasmtime: the version that the flags are of.
        flags: all of them, in its order.
        skipped: captures that could not be read.
        unread: how many in all.
        unread_kinds: how many for each kind of reason.
        reference: where the counts are from, if they are those of a table.
        isas: what is told of the machines of other instruction sets.

    Raises:
        CaptureError: no machine was counted, of these others neither.
    """
    fleet = Summary(tally.answers(asked.top, may_be_empty=bool(isas)), flags, tally.isa)
    best = fleet.best()
    return Fleet(
        isa=msgspec.UNSET if tally.isa is X86_64 else tally.isa.name,
        cpuprobe=VERSION,
        backend=backend,
        total=fleet.share(fleet.answers.total),
        executed=fleet.share(fleet.answers.executed),
        mismatched=fleet.share(fleet.answers.mismatched),
        wasmtime=wasmtime,
        levels=fleet.levels(),
        profiles=fleet.profiles(asked.profiles),
        flag_sets=fleet.flag_sets(asked.flag_sets),
        features=fleet.features(),
        curve=fleet.curve(),
        best=best,
        targets=tuple(fleet.target(each, best) for each in sorted(set(asked.wanted), reverse=True)),
        findings=tuple(fleet.finding(each) for each in fleet.answers.findings),
        models=fleet.groups("model"),
        kernels=fleet.groups("kernel"),
        hypervisors=fleet.groups("hypervisor"),
        matrix=fleet.matrix(),
        dated=fleet.share(fleet.answers.dated),
        unknown=tuple(fleet.answers.unknown),
        skipped=tuple(skipped),
        unread=unread,
        unread_kinds=dict(unread_kinds or {}),
        reference=reference,
        isas=isas or msgspec.UNSET,
    )


class Summary:
    """The counts, and what they are parts of."""

    def __init__(self, answers: Answers, flags: Sequence[str], isa: IsaFacts = X86_64) -> None:
        """Keep what was counted, wasmtime's flags in its order, and the instruction set."""
        self._isa = isa
        self.answers = answers
        self._flags = tuple(flags)
        self._patterns = answers.patterns
        self._table = isa.features()
        self._names = tuple(self._table)
        self._bits = {name: 1 << at for at, name in enumerate(self._names)}
        self._levels = isa.levels()

    def share(self, count: Count) -> Share:
        """A count as a part of the fleet."""
        whole = self.answers.total.weight
        return Share(count.machines, count.weight / _UNIT, count.weight / whole if whole else 0.0)

    def mask(self, names: Iterable[str]) -> int:
        """Features as bits in the order of the table."""
        return sum(self._bits[name] for name in names)

    def count(self, test: Callable[[Pattern], bool]) -> Count:
        """The machines whose pattern passes."""
        return total(Count(each.machines, each.weight) for each in self._patterns if test(each))

    def levels(self) -> tuple[Coverage, ...]:
        """The levels: of a chain by the level that each machine was assessed to have.

        Those of the Arm architecture are none, so that one level does not tell which others a
        machine reaches: there by their features.
        """
        if self._isa is not X86_64:
            profiles = built_in_profiles(self._isa.name)
            return tuple(self.profile(profiles[level.name]) for level in self._levels)
        names = [level.name for level in self._levels]
        return tuple(
            Coverage(
                name,
                "level",
                self.share(self.count(lambda each, at=at: each.level in names[at:])),  # type: ignore[misc]
            )
            for at, name in enumerate(names)
        )

    def profiles(self, profiles: Iterable[Profile]) -> tuple[Coverage, ...]:
        """Those of the instruction set."""
        return tuple(self.profile(each) for each in profiles if each.isa == self._isa.name)

    def profile(self, profile: Profile) -> Coverage:
        """The machines that meet a profile: all that programs can need of it is safe there.

        What holds all of x86-64-v1 is a profile of x86-64, which a CPU without 64-bit mode does not
        meet whatever its features.
        """
        return Coverage(profile.name, profile.kind, self.share(self.count(self.meets(profile))))

    def meets(self, profile: Profile) -> Callable[[Pattern], bool]:
        """Whether machines meet a profile."""
        long_mode = profile.features.issuperset(self._levels[0].features)
        wanted = self.mask(needed(profile))

        def meets(pattern: Pattern) -> bool:
            return wanted & pattern.safe == wanted and not (long_mode and pattern.level is None)

        return meets

    def flag_sets(self, sets: Iterable[Sequence[str]]) -> tuple[Coverage, ...]:
        """The machines on which all flags of a set are safe, for each that has these alone."""
        return tuple(map(self._flag_set, filter(set(self._flags).issuperset, sets)))

    def _flag_set(self, flags: Sequence[str]) -> Coverage:
        wanted = sum(1 << self._flags.index(flag) for flag in flags)
        covered = self.count(lambda each: wanted & each.flags == wanted)
        return Coverage(",".join(flags), "flags", self.share(covered))

    def features(self) -> dict[str, Share]:
        """The machines on which each feature is safe."""
        return {
            name: self.share(self.count(lambda each, at=at: each.safe >> at & 1 == 1))  # type: ignore[misc]
            for at, name in enumerate(self._names)
        }

    def curve(self) -> tuple[Step, ...]:
        """The curve of coverage, over what programs can need: no run confirms anything else."""
        needs = {
            at: self.mask(self._table.closure(name))
            for at, (name, feature) in enumerate(self._table.items())
            if feature.for_programs
        }
        return tuple(self._step(cut) for cut in curve(self._patterns, needs))

    def _step(self, cut: Cut) -> Step:
        added = _named(cut.added, self._names)
        flags = (self._table[name].cranelift for name in added)
        return Step(
            added=added,
            flags=tuple(flag for flag in flags if flag is not None),
            covered=self.share(Count(cut.machines, cut.weight)),
            lost=self.share(Count(cut.lost_machines, cut.lost_weight)),
            losers=cut.losers,
        )

    def best(self) -> tuple[BestSet, ...]:
        """The best set for each size."""
        by_flag = self._table.by_cranelift
        names = [None if (row := by_flag.get(flag)) is None else row.name for flag in self._flags]
        needs = {
            at: sum(
                1 << other
                for other, needed_name in enumerate(names)
                if name is not None and needed_name in self._table.closure(name)
            )
            for at, name in enumerate(names)
        }
        return tuple(
            BestSet(
                k, _named(each.flags, self._flags), self.share(Count(each.machines, each.weight))
            )
            for k, each in enumerate(best_sets(self._patterns, needs))
        )

    def target(self, wanted: Decimal, best: Sequence[BestSet]) -> Target:
        """The last set that covers enough: with a flag more, never more machines are covered."""
        least = wanted * Decimal(self.answers.total.weight)
        enough = [each for each in best if round(each.covered.weight * _UNIT) >= least]
        return Target(float(wanted), enough[-1] if enough else None)

    def finding(self, row: FindingRow) -> FindingCount:
        """A finding; where its machines differ in the features, the words leave them open."""
        first, last = row.titles
        title = first
        if first != last:
            rows = load_table("findings")["finding"]
            words = next((each["title"] for each in rows if each["code"] == row.code), first)
            title = words.replace("{features}", "some features")
        return FindingCount(row.code, row.severity, title, row.cause, self.share(row.machines))

    def groups(self, column: str) -> tuple[Group, ...]:
        """The groups by one column."""
        return tuple(self._group(each) for each in self.answers.groups[column])

    def _group(self, group: GroupCount) -> Group:
        whole = group.all.weight
        return Group(
            group.value,
            self.share(group.all),
            {name: weight / whole if whole else 0.0 for name, weight in group.levels.items()},
            self.share(group.mismatched),
        )

    def matrix(self) -> Matrix:
        """CPU models against flags."""
        shown = [each.value for each in self.answers.groups["model"]]
        held = {model: [0] * len(self._flags) for model in shown}
        whole = dict.fromkeys(shown, 0)
        for pattern in self._patterns:
            model = pattern.model if pattern.model in held else OTHERS
            whole[model] += pattern.weight
            for at in positions(pattern.flags):
                held[model][at] += pattern.weight
        all_weight = self.answers.total.weight
        return Matrix(
            rows=tuple(shown),
            columns=self._flags,
            weights=tuple(whole[model] / all_weight for model in shown),
            shares=tuple(tuple(weight / whole[model] for weight in held[model]) for model in shown),
        )


def _named(mask: int, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[at] for at in positions(mask))

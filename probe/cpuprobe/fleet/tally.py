"""Machines counted by all that the answer asks of them: the same counts whoever has counted.

A table's rows come from a database already added up; captures come one by one. Memory grows with
what differs in the fleet, never with its machines, and is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

from cpuprobe.errors import CaptureError
from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.fleet.machine import CPU, UNDECIDED, Facts
from cpuprobe.fleet.model import Unknown, UnknownKind
from cpuprobe.fleet.selection import Pattern
from cpuprobe.fleet.weights import SCALE

MODELS = 1000
"""CPU models that patterns tell apart; the lightest beyond are `others`."""
MAXIMUM_KINDS = 100_000
MAXIMUM_FINDINGS = 500
COLUMNS = ("model", "kernel", "hypervisor")
OTHERS = "others"
WRONG = "mismatch"

_Key = TypeVar("_Key", bound=tuple[object, ...])


class Count(NamedTuple):
    """Machines, and their weight in millionths."""

    machines: int = 0
    weight: int = 0


class GroupKey(NamedTuple):
    """Machines that share a value of a column, and all else that their group tells of them."""

    value: str
    level: str
    verdict: str
    basis: str


class FindingKey(NamedTuple):
    """A finding, as machines are counted by it."""

    code: str
    severity: str
    cause: str


class UnknownKey(NamedTuple):
    """Machines that no share counts; see `model.Unknown`."""

    kind: UnknownKind
    what: str
    verdict: str = ""


class GroupCount(NamedTuple):
    """Machines that share a value, by level, and those with a finding of severity error."""

    value: str
    all: Count
    levels: dict[str, int]
    mismatched: Count


class FindingRow(NamedTuple):
    """Machines with a finding; `titles` are its words where they differ least and most."""

    code: str
    severity: str
    cause: str
    titles: tuple[str, str]
    machines: Count


class Answers(NamedTuple):
    """Everything that was counted.

    Attributes:
        total: all machines.
        executed: those on which something was executed.
        mismatched: those with a finding of severity error.
        dated: those whose kernel may be too old to name what they lack.
        patterns: the distinct sets, with CPU model and level.
        findings: by code, then by weight.
        groups: for model, kernel and hypervisor: the heaviest, and `others`.
        unknown: machines that no share counts, most first.
    """

    total: Count
    executed: Count
    mismatched: Count
    dated: Count
    patterns: list[Pattern]
    findings: list[FindingRow]
    groups: dict[str, list[GroupCount]]
    unknown: list[Unknown]


def millionths(weight: Decimal | None) -> int:
    """A weight as a whole number."""
    return 0 if weight is None else int(weight.scaleb(SCALE))


def total(counts: Iterable[Count]) -> Count:
    """Counts added up."""
    listed = list(counts)
    return Count(sum(each.machines for each in listed), sum(each.weight for each in listed))


class Tally:
    """The counts of machines of one instruction set."""

    def __init__(self, isa: IsaFacts = X86_64) -> None:
        """Nothing is counted yet."""
        self.isa = isa
        self._patterns: dict[tuple[int, int, str, str], Count] = {}
        self._groups: dict[str, dict[GroupKey, Count]] = {column: {} for column in COLUMNS}
        self._findings: dict[FindingKey, Count] = {}
        self._unknown: dict[UnknownKey, Count] = {}
        self.cpus: dict[tuple[CPU, int], Count] = {}
        self._titles: dict[FindingKey, tuple[str, str]] = {}

    def add(self, facts: Facts, count: Count) -> None:
        """Counts machines that have the same facts."""
        if facts.level == UNDECIDED:
            self.unknown(UnknownKey("insufficient", facts.source, facts.verdict), count)
            return
        level = facts.level or ""
        self.pattern(facts.safe, facts.flags, level, facts.model, count)
        self.cpu(facts.cpu, facts.safe, count)
        for column in COLUMNS:
            value: str = getattr(facts, column)
            self.group(column, GroupKey(value, level, facts.verdict, facts.basis), count)
        once: dict[FindingKey, list[str]] = {}
        for code, severity, cause, title in facts.findings:
            once.setdefault(FindingKey(code, severity, cause), []).append(title)
        for key, titles in once.items():
            self.finding(key, (min(titles), max(titles)), count)

    def pattern(self, safe: int, flags: int, level: str, model: str, count: Count) -> None:
        """Counts machines by their sets."""
        _add(self._patterns, (safe, flags, level, model), count)

    def cpu(self, cpu: CPU, safe: int, count: Count) -> None:
        """Counts machines by their CPU and what is safe on it."""
        _add(self.cpus, (cpu, safe), count)

    def group(self, column: str, key: GroupKey, count: Count) -> None:
        """Counts machines by a column."""
        _add(self._groups[column], key, count)

    def finding(self, key: FindingKey, titles: tuple[str, str], count: Count) -> None:
        """Counts machines by a finding that each of them has."""
        _add(self._findings, key, count)
        low, high = self._titles.get(key, titles)
        self._titles[key] = min(low, titles[0]), max(high, titles[1])

    def unknown(self, key: UnknownKey, count: Count) -> None:
        """Counts machines that no share counts."""
        _add(self._unknown, key, count)

    def __bool__(self) -> bool:
        """Whether a machine was counted that shares are of."""
        return bool(self._patterns)

    def answers(self, top: int, *, may_be_empty: bool = False) -> Answers:
        """What the counts come to, with so many models, kernels and hypervisors told apart.

        Raises:
            CaptureError: no machine was counted, and it may not be empty.
        """
        every = self._groups["hypervisor"]
        if not every and not may_be_empty:
            raise CaptureError(self._nothing())
        levels = [level.name for level in self.isa.levels()]
        groups = {column: _by_value(self._groups[column], levels) for column in COLUMNS}
        told_apart = {each.value for each in groups["model"][: max(top, MODELS)]}
        patterns: dict[tuple[int, int, str, str], Count] = {}
        for (safe, flags, level, model), count in self._patterns.items():
            kept = model if model in told_apart else OTHERS
            _add(patterns, (safe, flags, level, kept), count)
        findings = [
            FindingRow(*key, self._titles[key], count) for key, count in self._findings.items()
        ]
        findings.sort(key=lambda row: (row.code, -row.machines.weight, row.severity, row.cause))
        return Answers(
            total=total(every.values()),
            executed=_where(every, lambda each: each.basis == "executed"),
            mismatched=_where(every, _wrong),
            dated=_where(every, lambda each: each.verdict == "insufficient"),
            patterns=[
                Pattern(safe, flags, model, level or None, *count)
                for (safe, flags, level, model), count in sorted(patterns.items())
            ],
            findings=findings[:MAXIMUM_FINDINGS],
            groups={column: _with_others(found, top) for column, found in groups.items()},
            unknown=self._unknown_machines(),
        )

    def _unknown_machines(self) -> list[Unknown]:
        found: dict[tuple[UnknownKind, str], list[UnknownKey]] = {}
        for key in self._unknown:
            found.setdefault((key.kind, key.what), []).append(key)
        unknown = [
            Unknown(
                kind,
                what,
                sum(self._unknown[key].machines for key in keys),
                sum(self._unknown[key].machines for key in keys if key.verdict == WRONG),
            )
            for (kind, what), keys in found.items()
        ]
        return sorted(unknown, key=lambda each: (each.kind, -each.machines, each.what))

    def _nothing(self) -> str:
        if not self._unknown:
            return "no machine is left: on none was anything executed"
        count = total(self._unknown.values()).machines
        kinds = ", ".join(sorted({key.what or key.kind for key in self._unknown})[:5])
        return f"too little is known of all {count:,} machines to count them ({kinds})"


def _add(counts: dict[_Key, Count], key: _Key, count: Count) -> None:
    old = counts.get(key)
    if old is not None:
        count = Count(old.machines + count.machines, old.weight + count.weight)
    elif len(counts) >= MAXIMUM_KINDS:
        raise CaptureError(f"more than {MAXIMUM_KINDS:,} kinds of machines: no fleet has so many")
    counts[key] = count


def _wrong(key: GroupKey) -> bool:
    return key.verdict == WRONG


def _where(counts: dict[GroupKey, Count], test: Callable[[GroupKey], bool]) -> Count:
    return total(count for key, count in counts.items() if test(key))


def _group(value: str, counts: dict[GroupKey, Count], names: Sequence[str]) -> GroupCount:
    every = total(counts.values())
    levels = {
        name: _where(counts, lambda each, name=name: each.level == name).weight  # type: ignore[misc]
        for name in names
    }
    below = every.weight - sum(levels.values())
    return GroupCount(value, every, {"none": below, **levels}, _where(counts, _wrong))


def _by_value(counts: dict[GroupKey, Count], levels: Sequence[str]) -> list[GroupCount]:
    """A group for each value, the heaviest first."""
    values: dict[str, dict[GroupKey, Count]] = {}
    for key, count in counts.items():
        values.setdefault(key.value, {})[key] = count
    groups = [_group(value, held, levels) for value, held in values.items()]
    return sorted(groups, key=lambda group: (-group.all.weight, group.value))


def _with_others(groups: list[GroupCount], top: int) -> list[GroupCount]:
    """The first groups, and one of all the rest."""
    rest = groups[top:]
    if not rest:
        return groups
    levels = {name: sum(each.levels[name] for each in rest) for name in rest[0].levels}
    others = GroupCount(
        OTHERS,
        total(each.all for each in rest),
        levels,
        total(each.mismatched for each in rest),
    )
    return [*groups[:top], others]

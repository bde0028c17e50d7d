"""What is asked of the tables: Ibis expressions, written once for every backend.

They do all the counting of machines and give back what is small: totals, groups, findings, and the
distinct sets of safe features with the machines that have them. Every result is ordered by all that
tells its rows apart, and weights are decimal numbers: two backends give the same tables.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.fleet.selection import Pattern
from cpuprobe.fleet.weights import SCALE

MODELS = 1000
"""CPU models that patterns tell apart; the lightest beyond are `others`."""
MAXIMUM_PATTERNS = 100_000
MAXIMUM_FINDINGS = 500
OTHERS = "others"

_WORD = 62  # bits of a sum that stays a positive 64-bit number
_GLOB = "*?[{"


class Count(NamedTuple):
    """Machines, and their weight in millionths."""

    machines: int
    weight: int


class GroupCount(NamedTuple):
    """Machines that share a value, by psABI level, and those with a finding of severity error."""

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
    """Everything that a backend has counted.

    Attributes:
        total: all machines.
        executed: those on which something was executed.
        mismatched: those with a finding of severity error.
        patterns: the distinct sets, with CPU model and level.
        findings: by code, then by weight.
        groups: for model, kernel and hypervisor: the heaviest, and `others`.
    """

    total: Count
    executed: Count
    mismatched: Count
    patterns: list[Pattern]
    findings: list[FindingRow]
    groups: dict[str, list[GroupCount]]


def ask(
    connection: Any,
    folders: Sequence[str],
    flags: Sequence[str],
    *,
    executed_only: bool = False,
    top: int = 20,
) -> Answers:
    """Asks a backend all there is to ask.

    Args:
        connection: of Ibis.
        folders: of tables, at least one, with the same flags.
        flags: their manifest's.
        executed_only: whether machines on which nothing was executed are left out.
        top: how many models, kernels and hypervisors are told apart.

    Raises:
        CaptureError: no machine is left, or more different ones than any fleet has.
    """
    questions = _Questions(connection, folders, executed_only)
    totals = questions.totals()
    if totals.all.machines == 0:
        raise CaptureError("no machine is left: on none was anything executed")
    groups = {}
    models = questions.heaviest("model", max(top, MODELS) + 1)
    for column in ("model", "kernel", "hypervisor"):
        found = models if column == "model" else questions.heaviest(column, top + 1)
        groups[column] = _with_others(found, totals, top)
    told_apart = [each.value for each in models[: max(top, MODELS)]]
    return Answers(
        total=totals.all,
        executed=questions.executed(),
        mismatched=totals.mismatched,
        patterns=questions.patterns(flags, told_apart if len(models) > len(told_apart) else None),
        findings=questions.findings(),
        groups=groups,
    )


def _millionths(weight: Decimal | None) -> int:
    return 0 if weight is None else int(weight.scaleb(SCALE))


class _Questions:
    """The expressions over one set of tables."""

    def __init__(self, connection: Any, folders: Sequence[str], executed_only: bool) -> None:
        self._ibis = importlib.import_module("ibis")
        self._connection = connection
        self._names = list(load_features())
        self._levels = [level.name for level in load_levels()]
        self._selected = executed_only
        # The conditions and `fill_null` are for tables that a stranger has made.
        machines = self._union("machines", folders)
        machines = machines.filter(machines.weight > 0, machines.flags >= 0)
        self._machines = (
            machines.filter(machines.basis == "executed") if executed_only else machines
        )
        self._features = self._union("features", folders)
        findings = self._union("findings", folders)
        self._findings = findings.filter(findings.weight > 0).mutate(
            **{
                name: findings[name].fill_null("")
                for name in ("code", "severity", "cause", "title")
            }
        )

    def _union(self, table: str, folders: Sequence[str]) -> Any:
        """A table of all folders; `part` tells them apart, as each counts its machines from 0."""
        parts = []
        for part, folder in enumerate(folders):
            path = os.path.join(os.path.abspath(folder), f"{table}.parquet")
            if any(sign in path for sign in _GLOB):
                raise CannotMeasureError(f"{folder}: rename it, backends take {_GLOB} for patterns")
            try:
                read = self._connection.read_parquet(path)
            except NotImplementedError:
                raise CannotMeasureError(
                    f"{self._connection.name}: this backend reads no Parquet"
                ) from None
            parts.append(read.mutate(part=self._ibis.literal(part, "int32")))
        return self._ibis.union(*parts) if len(parts) > 1 else parts[0]

    def totals(self) -> GroupCount:
        """All machines, as one group."""
        rows = self._machines.aggregate(**self._sums(self._machines)).to_pyarrow().to_pylist()
        return self._group({"value": "", **rows[0]})

    def executed(self) -> Count:
        """The machines on which something was executed."""
        machines = self._machines
        ran = machines.basis == "executed"
        row = (
            machines.aggregate(machines=ran.sum(), weight=machines.weight.sum(where=ran))
            .to_pyarrow()
            .to_pylist()[0]
        )
        return Count(row["machines"] or 0, _millionths(row["weight"]))

    def heaviest(self, column: str, most: int) -> list[GroupCount]:
        """The values of a column with most weight, at most so many."""
        machines = self._machines.mutate(value=self._machines[column].fill_null("unknown"))
        rows = (
            machines.group_by("value")
            .aggregate(**self._sums(machines))
            .order_by([self._ibis.desc("weight"), "value"])
            .limit(most)
            .to_pyarrow()
            .to_pylist()
        )
        return [self._group(row) for row in rows]

    def _sums(self, machines: Any) -> dict[str, Any]:
        wrong = machines.verdict == "mismatch"
        sums = {
            "machines": machines.count(),
            "weight": machines.weight.sum(),
            "wrong_machines": wrong.sum(),
            "wrong_weight": machines.weight.sum(where=wrong),
        }
        for number, level in enumerate(self._levels):
            sums[f"level_{number}"] = machines.weight.sum(where=machines.level == level)
        return sums

    def _group(self, row: dict[str, Any]) -> GroupCount:
        levels = {
            level: _millionths(row[f"level_{number}"]) for number, level in enumerate(self._levels)
        }
        weight = _millionths(row["weight"])
        return GroupCount(
            row["value"],
            Count(row["machines"], weight),
            {"none": weight - sum(levels.values()), **levels},
            Count(row["wrong_machines"] or 0, _millionths(row["wrong_weight"])),
        )

    def findings(self) -> list[FindingRow]:
        """Machines by code and cause; each counts once however often it has the finding."""
        findings = self._findings
        if self._selected:
            findings = findings.semi_join(self._machines, ["part", "machine"])
        once = findings.group_by(["part", "machine", "code", "severity", "cause"]).aggregate(
            weight=findings.weight.max(), first=findings.title.min(), last=findings.title.max()
        )
        rows = (
            once.group_by(["code", "severity", "cause"])
            .aggregate(
                machines=once.count(),
                weight=once.weight.sum(),
                first=once["first"].min(),
                last=once["last"].max(),
            )
            .order_by(["code", self._ibis.desc("weight"), "severity", "cause"])
            .limit(MAXIMUM_FINDINGS)
            .to_pyarrow()
            .to_pylist()
        )
        return [
            FindingRow(
                row["code"],
                row["severity"],
                row["cause"],
                (row["first"], row["last"]),
                Count(row["machines"], _millionths(row["weight"])),
            )
            for row in rows
        ]

    def patterns(self, flags: Sequence[str], models: Sequence[str] | None) -> list[Pattern]:
        """The distinct sets of safe features and flags, with the machines that have them.

        A machine's set is the sum of one bit a feature, spread over as many 64-bit words as the
        table needs. Summing needs no more memory for a machine than those words.

        Args:
            flags: what the bits of `flags` are.
            models: those that are told apart; None for all.
        """
        words = [f"word_{number}" for number in range(-(-len(self._names) // _WORD))]
        names = self._ibis.memtable(
            {
                "feature": self._names,
                "word": [number // _WORD for number in range(len(self._names))],
                "bit": [1 << number % _WORD for number in range(len(self._names))],
            }
        )
        safe = self._features.filter(self._features.safe).join(names, "feature")
        sets = safe.group_by(["part", "machine"]).aggregate(
            **{
                word: safe.bit.sum(where=safe.word == number).fill_null(0).cast("int64")
                for number, word in enumerate(words)
            }
        )
        machines = self._machines
        joined = machines.left_join(sets, ["part", "machine"]).select(
            *(sets[word].fill_null(0).name(word) for word in words),
            machines.flags,
            machines.level.fill_null("").name("level"),
            self._told_apart(machines.model.fill_null("unknown"), models).name("model"),
            machines.weight,
        )
        keys = [*words, "flags", "level", "model"]
        rows = (
            joined.group_by(keys)
            .aggregate(machines=joined.count(), weight=joined.weight.sum())
            .order_by(keys)
            .limit(MAXIMUM_PATTERNS + 1)
            .to_pyarrow()
        )
        if rows.num_rows > MAXIMUM_PATTERNS:
            raise CaptureError(
                f"more than {MAXIMUM_PATTERNS:,} different sets of features: no fleet has so many"
            )
        return list(self._patterns_of(rows, words, flags))

    def _told_apart(self, model: Any, models: Sequence[str] | None) -> Any:
        return model if models is None else self._ibis.ifelse(model.isin(models), model, OTHERS)

    def _patterns_of(
        self, rows: Any, words: Sequence[str], flags: Sequence[str]
    ) -> Iterator[Pattern]:
        """Bits back to names; equal sets are one object."""
        sets: dict[tuple[int, ...], frozenset[str]] = {}
        flag_sets: dict[int, frozenset[str]] = {}
        for batch in rows.to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                bits = tuple(row[word] for word in words)
                if bits not in sets:
                    sets[bits] = frozenset(
                        name
                        for number, name in enumerate(self._names)
                        if bits[number // _WORD] >> number % _WORD & 1
                    )
                mask = row["flags"]
                if mask not in flag_sets:
                    flag_sets[mask] = frozenset(
                        flag for at, flag in enumerate(flags) if mask >> at & 1
                    )
                yield Pattern(
                    safe=sets[bits],
                    flags=flag_sets[mask],
                    model=row["model"],
                    level=row["level"] or None,
                    machines=row["machines"],
                    weight=_millionths(row["weight"]),
                )


def _with_others(found: list[GroupCount], totals: GroupCount, top: int) -> list[GroupCount]:
    """The first groups, and one of all the rest."""
    shown = found[:top]
    if len(found) <= top:
        return shown
    rest = Count(
        totals.all.machines - sum(each.all.machines for each in shown),
        totals.all.weight - sum(each.all.weight for each in shown),
    )
    wrong = Count(
        totals.mismatched.machines - sum(each.mismatched.machines for each in shown),
        totals.mismatched.weight - sum(each.mismatched.weight for each in shown),
    )
    levels = {
        level: weight - sum(each.levels[level] for each in shown)
        for level, weight in totals.levels.items()
    }
    return [*shown, GroupCount(OTHERS, rest, levels, wrong)]

"""What is asked of the tables: SQL, written once for every backend.

A backend adds up machines that are alike; what comes of the counts is the same as for captures
that were never written to a table. The conditions are for tables that a stranger has made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.facts.features import load_features
from cpuprobe.fleet.backends import Connection
from cpuprobe.fleet.machine import CPU, UNDECIDED
from cpuprobe.fleet.tally import (
    COLUMNS,
    MAXIMUM_KINDS,
    Count,
    FindingKey,
    GroupKey,
    Tally,
    UnknownKey,
    millionths,
)
from cpuprobe.fleet.weights import SCALE

_GLOB = "*?[{"
_ONCE = """(
SELECT part, machine, code, severity, cause,
       MAX(weight) AS weight, MIN(title) AS low, MAX(title) AS high
FROM {findings} AS f
WHERE weight > 0{selected}
GROUP BY part, machine, code, severity, cause)"""
_SELECTED = """ AND EXISTS (SELECT 1 FROM {chosen} AND m.part = f.part AND m.machine = f.machine)"""


def ask(
    connection: Connection, folders: Sequence[str], tally: Tally, *, executed_only: bool = False
) -> None:
    """Counts the machines of tables.

    Args:
        connection: of a backend.
        folders: of tables, at least one, with the same flags and features.
        tally: where they are counted.
        executed_only: whether machines on which nothing was executed are left out.

    Raises:
        CaptureError: there are more different machines than any fleet has.
        CannotMeasureError: the backend reads no Parquet.
    """
    machines, findings = (_union(connection, table, folders) for table in ("machines", "findings"))
    every = f"{machines} AS m WHERE weight > 0 AND flags >= 0"
    if executed_only:
        every += " AND basis = 'executed'"
    chosen = f"{every} AND COALESCE(level, '') <> '{UNDECIDED}'"

    def counted(
        what: str, source: str, lowest: str = "", highest: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        between = f", MIN({lowest}) AS {lowest}, MAX({highest}) AS {highest}" if lowest else ""
        question = (
            f"SELECT {what}{between}, COUNT(*) AS machines, SUM(weight) AS total FROM {source} "
            f"GROUP BY {what} LIMIT {MAXIMUM_KINDS + 1}"
        )
        words = [name for name in (*what.split(", "), lowest, highest) if name]
        kinds = {name: "int64" if name == "flags" else "string" for name in words}
        kinds |= {"machines": "int64", "total": f"decimal(38, {SCALE})"}
        for *values, count, weight in connection.rows(question, kinds):
            yield (*values, Count(count, millionths(weight)))

    for safe, flags, level, model, count in counted("safe, flags, level, model", chosen):
        tally.pattern(_mask(safe), flags, level or "", model or "unknown", count)
    for cpu, safe, count in counted("cpu, safe", chosen):
        tally.cpu(_cpu(cpu), _mask(safe), count)
    undecided = list(counted("source, verdict", f"{every} AND level = '{UNDECIDED}'"))
    for source, verdict, count in undecided:
        tally.unknown(UnknownKey("insufficient", source or "unknown", verdict or ""), count)
    for column in COLUMNS:
        for value, level, verdict, basis, count in counted(
            f"{column}, level, verdict, basis", chosen
        ):
            group = GroupKey(value or "unknown", level or "", verdict or "", basis or "")
            tally.group(column, group, count)
    # Joined only where it must be: it takes memory for every machine.
    selected = _SELECTED.format(chosen=chosen) if undecided or executed_only else ""
    once = _ONCE.format(findings=findings, selected=selected)
    for code, severity, cause, low, high, count in counted(
        "code, severity, cause", f"{once} AS o", "low", "high"
    ):
        key = FindingKey(code or "", severity or "", cause or "")
        tally.finding(key, (low or "", high or ""), count)


def _union(connection: Connection, table: str, folders: Sequence[str]) -> str:
    """A table of all folders; `part` tells them apart, as each counts its machines from 0."""
    parts = []
    for part, folder in enumerate(folders):
        path = os.path.join(os.path.abspath(folder), f"{table}.parquet")
        if any(sign in path for sign in _GLOB):
            raise CannotMeasureError(f"{folder}: rename it, backends take {_GLOB} for patterns")
        connection.add(path, f"{table}_{part}")
        parts.append(f"SELECT {part} AS part, * FROM {table}_{part}")
    return f"({' UNION ALL '.join(parts)})"


def _cpu(cpu: str | None) -> CPU:
    """A CPU as `writer` has put it."""
    match (cpu or "").split("/"):
        case [vendor, family, model, bits32, guest]:
            return CPU(vendor, family, model, bits32 == "True", guest == "True")
    return CPU("unknown", "-", "-", False, False)


def _mask(safe: str | None) -> int:
    """The features of a hexadecimal number; those that this table has."""
    try:
        return int(safe or "0", 16) & (1 << len(load_features())) - 1
    except ValueError:
        raise CaptureError("machines.parquet: no set of features: ingest again") from None

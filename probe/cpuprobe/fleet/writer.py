"""Writes the tables of a fleet. They are made of whole columns: what is many is not a loop here."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cpuprobe.facts.features import load_features
from cpuprobe.fleet.backends import arrow
from cpuprobe.fleet.machine import STATES, Facts
from cpuprobe.fleet.tables import COLUMNS, WEIGHT
from cpuprobe.fleet.weights import SCALE

BATCH = 4096
"""Machines a row group, and how many wait in memory to be written."""


class Writer:
    """Writes machines as they come; at most one row group of them is in memory."""

    def __init__(self, folder: str) -> None:
        """Make the three files in a folder that exists and is empty."""
        self._pa, pq = arrow()
        pa = self._pa
        self._types = {
            "BIGINT": pa.int64(),
            "BOOLEAN": pa.bool_(),
            "VARCHAR": pa.dictionary(pa.int32(), pa.string()),
            WEIGHT: pa.decimal128(18, SCALE),
        }
        self._names = list(load_features())
        self._files = {
            table: pq.ParquetWriter(
                os.path.join(folder, f"{table}.parquet"),
                pa.schema([(name, self._types[kind]) for name, kind in columns.items()]),
                compression="zstd",
                store_decimal_as_integer=True,  # Spark and DuckDB add those up faster
            )
            for table, columns in COLUMNS.items()
        }
        self._waiting: list[tuple[str, Decimal, Facts]] = []
        self.machines = 0

    def add(self, label: str, weight: Decimal, facts: Facts) -> None:
        """Takes one machine."""
        self._waiting.append((label, weight, facts))
        if len(self._waiting) >= BATCH:
            self._flush()

    def close(self) -> None:
        """Writes what waits and ends the files."""
        if self._waiting:
            self._flush()
        for file in self._files.values():
            file.close()

    def _flush(self) -> None:
        rows = [
            {**facts._asdict(), "machine": number, "label": label, "weight": weight}
            for number, (label, weight, facts) in enumerate(self._waiting, self.machines)
        ]
        self._write("features", self._features(rows))
        machines = [
            {**row, "safe": f"{row['safe']:x}", "cpu": "/".join(map(str, row["cpu"]))}
            for row in rows
        ]
        self._write(
            "machines", {name: [row[name] for row in machines] for name in COLUMNS["machines"]}
        )
        found = [
            (row["machine"], *finding, row["weight"]) for row in rows for finding in row["findings"]
        ]
        if found:
            columns = map(list, zip(*found, strict=True))
            self._write("findings", dict(zip(COLUMNS["findings"], columns, strict=True)))
        self.machines += len(rows)
        self._waiting = []

    def _features(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A row for each machine and feature, made of whole columns: Python has no loop here."""
        pa, width = self._pa, len(self._names)

        def bytes_of(content: bytes) -> Any:
            return pa.Array.from_buffers(
                pa.uint8(), len(rows) * width, [None, pa.py_buffer(content)]
            )

        def words(indices: bytes, names: Sequence[str]) -> Any:
            return pa.DictionaryArray.from_arrays(bytes_of(indices).cast(pa.int32()), list(names))

        repeated = pa.array([at for at in range(len(rows)) for _ in range(width)], pa.int32())
        return {
            "machine": pa.array([row["machine"] for row in rows], pa.int64()).take(repeated),
            "feature": words(bytes(range(width)) * len(rows), self._names),
            "state": words(b"".join(row["states"] for row in rows), STATES),
            "safe": bytes_of(b"".join(_bits(row["safe"], width) for row in rows)).cast(pa.bool_()),
            "weight": pa.array([row["weight"] for row in rows], self._types[WEIGHT]).take(repeated),
        }

    def _write(self, table: str, columns: dict[str, Any]) -> None:
        schema = self._files[table].schema
        made = self._pa.table(
            {
                name: self._pa.array(column, self._pa.string()).dictionary_encode()
                if isinstance(column, list) and schema.field(name).type == self._types["VARCHAR"]
                else column
                for name, column in columns.items()
            },
            schema=schema,
        )
        self._files[table].write_table(made, row_group_size=max(1, made.num_rows))


@functools.lru_cache(maxsize=4096)
def _bits(mask: int, width: int) -> bytes:
    """The bits of a mask, a byte each."""
    return bytes(mask >> at & 1 for at in range(width))

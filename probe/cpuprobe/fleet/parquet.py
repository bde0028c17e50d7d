"""A stranger's Parquet: a table with a column `capture`, and perhaps `weight` and `machine`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from cpuprobe.fleet.backends import arrow
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget, Piece, label_of, why_of

_BUFFER = 1 << 20


def parquet_pieces(file: Any, label: str, budget: Budget) -> Iterator[Piece | Skipped]:
    """The rows of a table. Sizes are looked at before anything is read.

    Args:
        file: seekable.
        label: what to call it.
        budget: how large a capture may be.
    """
    if not file.seekable():
        yield Skipped(label, "Parquet can be read from a file, not from a pipe", "file")
        return
    pa, pq = arrow()
    try:
        names = pq.read_schema(file).names
        wanted = [name for name in ("capture", "weight", "machine") if name in names]
        if "capture" not in wanted:
            why = "Parquet without a column `capture` (tables of fleet ingest: name the folder)"
            yield Skipped(label, why, "text")
            return
        with pq.ParquetFile(
            file, read_dictionary=["capture"], buffer_size=_BUFFER, pre_buffer=False
        ) as table:
            if _too_large(table.metadata, wanted, budget):
                yield Skipped(
                    label, f"it says of itself that it holds values {budget.too_large}", "size"
                )
                return
            number = 0
            for batch in table.iter_batches(batch_size=16, columns=wanted, use_threads=False):
                for row in range(batch.num_rows):
                    number += 1
                    yield _row(
                        {name: batch.column(name)[row] for name in wanted}, label, number, budget
                    )
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, MemoryError):
            raise
        yield Skipped(label, f"not Parquet that can be read: {why_of(error)}", "damaged")


def _too_large(metadata: Any, wanted: list[str], budget: Budget) -> bool:
    """Whether values are larger on average than any may be, unpacked, in some part of a column."""
    return any(
        chunk.total_uncompressed_size > budget.capture * max(chunk.num_values, 1)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        for chunk in map(group.column, range(metadata.num_columns))
        if chunk.path_in_schema in wanted
    )


def _row(scalars: dict[str, Any], label: str, number: int, budget: Budget) -> Piece | Skipped:
    place = f"{label}:{number}"
    content = scalars["capture"]
    if hasattr(content, "dictionary"):
        content = content.value  # many rows may refer to one text
    machine = scalars["machine"].as_py() if "machine" in scalars else None
    if machine is not None:
        place = label_of(str(machine)) or place
    if not content.is_valid or not hasattr(content, "as_buffer"):
        return Skipped(place, "no text in column `capture`", "text")
    content = content.as_buffer()
    if content.size > budget.capture:
        return Skipped(place, budget.too_large, "size")
    weight = scalars["weight"].as_py() if "weight" in scalars else None
    if isinstance(weight, float):
        weight = Decimal(repr(weight))
    return Piece(place, content.to_pybytes(), weight=None if weight is None else str(weight))

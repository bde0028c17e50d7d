"""The tables that `fleet ingest` makes: a folder of three Parquet files and what they mean.

features    machine, feature, state, safe, weight
machines    machine, label, weight, basis, verdict, level, advertised_level, model, kernel,
            hypervisor, flags (a bit for each flag of `Manifest.flags`, lowest first), source
findings    machine, code, severity, cause, title, weight

`machine` counts from 0 and means nothing outside its folder. Weights are decimal numbers: sums of
them are exact in every backend and in any order. The folder is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple, get_args

import msgspec

from cpuprobe.assessment.model import State
from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
from cpuprobe.facts.features import load_features
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.weights import SCALE

MANIFEST = "cpuprobe-fleet.json"
SCHEMA = "cpuprobe.fleet-tables/1"
TABLES = ("features", "machines", "findings")
STATES: tuple[str, ...] = get_args(State)
BATCH = 4096
"""Machines a row group, and how many wait in memory to be written."""
MAXIMUM_FLAGS = 62
"""Flags are bits of a signed 64-bit column."""

_MAXIMUM_MANIFEST = 1 << 20
_KNOWN = frozenset({MANIFEST, *(f"{table}.parquet" for table in TABLES)})


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder holds.

    Attributes:
        schema: changes its number when a column changes its meaning.
        cpuprobe: the version that made it.
        wasmtime: the version whose flags are in the tables.
        flags: Cranelift's names, in the order of the bits of `machines.flags`.
        machines: how many.
        unread: captures that could not be read.
        skipped: the first 100 of them.
    """

    schema: str
    cpuprobe: str
    wasmtime: str
    flags: tuple[str, ...]
    machines: int
    unread: int = 0
    skipped: tuple[Skipped, ...] = ()


class Facts(NamedTuple):
    """What the tables hold of one observation.

    Attributes:
        states: for each feature of the table the number of its state in `STATES`.
        safe: for each feature 1 or 0.
        basis: as in the assessment.
        verdict: as in the assessment.
        level: as in the assessment.
        advertised_level: as in the assessment.
        model: the CPU model.
        kernel: its release.
        hypervisor: its signature.
        flags: a bit for each flag.
        source: the kind of capture.
        findings: code, severity, cause and title of each.
    """

    states: bytes
    safe: bytes
    basis: str
    verdict: str
    level: str | None
    advertised_level: str | None
    model: str
    kernel: str
    hypervisor: str
    flags: int
    source: str
    findings: tuple[tuple[str, str, str, str], ...]


def is_ingested(path: str) -> bool:
    """Whether a path is a folder that `fleet ingest` made."""
    try:
        return os.path.isfile(os.path.join(path, MANIFEST))
    except ValueError:
        return False


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder; the tables are checked to have the columns they must have.

    Raises:
        CaptureError: it is none, is of another version, or a table is not what it should be.
    """
    name = os.path.basename(os.path.normpath(folder))
    try:
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            manifest = msgspec.json.decode(file.read(_MAXIMUM_MANIFEST), type=Manifest)
    except OSError as error:
        raise CaptureError(f"{name}/{MANIFEST}: {error.strerror}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise CaptureError(f"{name}/{MANIFEST}: {why}: ingest the captures again") from None
    if manifest.schema != SCHEMA:
        raise CaptureError(
            f"{name}: tables of {manifest.schema[:40]!r}, this cpuprobe reads {SCHEMA}: "
            "ingest the captures again"
        )
    if len(manifest.flags) > MAXIMUM_FLAGS:
        raise CaptureError(f"{name}/{MANIFEST}: more than {MAXIMUM_FLAGS} flags")
    _check_columns(folder, name)
    return manifest


def _check_columns(folder: str, name: str) -> None:
    pa, pq = arrow()
    for table, wanted in _schemas(pa).items():
        try:
            found = pq.read_schema(os.path.join(folder, f"{table}.parquet"))
        except (pa.ArrowException, OSError, ValueError) as error:
            why = " ".join(str(error).split())[:120]
            raise CaptureError(f"{name}/{table}.parquet: {why}: ingest again") from None
        if [(field.name, field.type) for field in found] != [
            (field.name, field.type) for field in wanted
        ]:
            raise CaptureError(f"{name}/{table}.parquet: not the columns that ingest writes")


def arrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        CannotMeasureError: they are not installed.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise CannotMeasureError("fleet needs pyarrow: pip install 'cpuprobe[fleet]'") from None


def _schemas(pa: Any) -> dict[str, Any]:
    word = pa.dictionary(pa.int32(), pa.string())
    weight = ("weight", pa.decimal128(18, SCALE))
    machine = ("machine", pa.int64())
    small = pa.dictionary(pa.int16(), pa.string())
    return {
        "features": pa.schema(
            [machine, ("feature", small), ("state", small), ("safe", pa.bool_()), weight]
        ),
        "machines": pa.schema(
            [
                machine,
                ("label", pa.string()),
                weight,
                *(
                    (name, word)
                    for name in (
                        "basis",
                        "verdict",
                        "level",
                        "advertised_level",
                        "model",
                        "kernel",
                        "hypervisor",
                    )
                ),
                ("flags", pa.int64()),
                ("source", word),
            ]
        ),
        "findings": pa.schema(
            [
                machine,
                *((name, word) for name in ("code", "severity", "cause", "title")),
                weight,
            ]
        ),
    }


class Writer:
    """Writes machines as they come; at most one row group of them is in memory."""

    def __init__(self, folder: str) -> None:
        """Make the three files in a folder that exists and is empty."""
        self._pa, pq = arrow()
        self._schemas = _schemas(self._pa)
        self._names = list(load_features())
        self._files = {
            table: pq.ParquetWriter(
                os.path.join(folder, f"{table}.parquet"),
                schema,
                compression="zstd",
                store_decimal_as_integer=True,  # Spark and DuckDB add those up faster
            )
            for table, schema in self._schemas.items()
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
        pa, rows = self._pa, self._waiting
        numbers = range(self.machines, self.machines + len(rows))
        machine = pa.array(numbers, pa.int64())
        weight = pa.array([each for _, each, _ in rows], pa.decimal128(18, SCALE))
        self._write("features", self._features(machine, weight))
        columns: list[Any] = [machine, [label for label, _, _ in rows], weight]
        columns += [
            [getattr(facts, name) for _, _, facts in rows]
            for name in self._schemas["machines"].names[3:]
        ]
        self._write("machines", columns)
        found = [
            (number, *finding, each)
            for number, (_, each, facts) in zip(numbers, rows, strict=True)
            for finding in facts.findings
        ]
        if found:
            self._write("findings", [list(column) for column in zip(*found, strict=True)])
        self.machines += len(rows)
        self._waiting = []

    def _features(self, machine: Any, weight: Any) -> list[Any]:
        """A row for each machine and feature, made of whole columns: Python has no loop here."""
        pa, rows, width = self._pa, self._waiting, len(self._names)
        count = len(rows) * width
        which = pa.array([at for at in range(len(rows)) for _ in range(width)], pa.int32())

        def words(indices: bytes, names: list[str]) -> Any:
            numbers = pa.Array.from_buffers(pa.uint8(), count, [None, pa.py_buffer(indices)])
            return pa.DictionaryArray.from_arrays(numbers.cast(pa.int16()), names)

        each = array("B", range(width)).tobytes()
        safe = pa.Array.from_buffers(
            pa.uint8(), count, [None, pa.py_buffer(b"".join(facts.safe for _, _, facts in rows))]
        )
        return [
            machine.take(which),
            words(each * len(rows), self._names),
            words(b"".join(facts.states for _, _, facts in rows), list(STATES)),
            safe.cast(pa.bool_()),
            weight.take(which),
        ]

    def _write(self, table: str, columns: list[Any]) -> None:
        pa, schema = self._pa, self._schemas[table]
        arrays = []
        for field, column in zip(schema, columns, strict=True):
            if not isinstance(column, list):
                arrays.append(column)
            elif pa.types.is_dictionary(field.type):
                arrays.append(pa.array(column, pa.string()).dictionary_encode())
            else:
                arrays.append(pa.array(column, field.type))
        made = pa.Table.from_arrays(arrays, schema=schema)
        self._files[table].write_table(made, row_group_size=max(1, made.num_rows))


@contextmanager
def new_folder(path: str) -> Iterator[str]:
    """A folder to be filled, which takes the place of `path` when the block ends well.

    Raises:
        UsageError: there is something at `path` that ingest did not make.
        CannotMeasureError: it cannot be made there.
    """
    path = os.path.realpath(path)
    _check_place(path)
    parent = os.path.dirname(path)
    try:
        temporary = tempfile.mkdtemp(prefix=".cpuprobe-fleet-", dir=parent)
    except OSError as error:
        raise CannotMeasureError(f"{path}: {error.strerror}") from None
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)
        _check_place(path)  # it took a while
        old = None
        if os.path.lexists(path):
            old = tempfile.mkdtemp(prefix=".cpuprobe-fleet-", dir=parent)
            os.rename(path, os.path.join(old, "old"))
        os.rename(temporary, path)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CannotMeasureError(f"{path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)


def _check_place(path: str) -> None:
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        with contextlib.suppress(OSError):
            held = set(os.listdir(path))
            if not held or (MANIFEST in held and held <= _KNOWN):
                return
    raise UsageError(f"{path}: is there already and was not made by fleet ingest; give another")


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Writes the manifest: the last file of a folder, by which it is known to be whole."""
    with open(os.path.join(folder, MANIFEST), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")

"""The tables that `fleet ingest` makes: a folder of three Parquet files and what they mean.

features    machine, feature, state, safe, weight
machines    machine, label, weight, basis, verdict, level, advertised_level, model, kernel,
            hypervisor, flags (a bit for each flag of `Manifest.flags`, lowest first), source, safe
            (a hexadecimal number: a bit for each of `Manifest.features`, lowest first), cpu
            (vendor, family, model, whether 32-bit, whether a guest)
findings    machine, code, severity, cause, title, weight

`machine` counts from 0 and means nothing outside its folder. Weights are decimal numbers: sums of
them are exact in every backend and in any order. The folder is written whole or not at all.
Answers come from `machines` and `findings`; `features` is for questions of one's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
from cpuprobe.fleet.backends import duckdb_module
from cpuprobe.fleet.model import Skipped, Unknown
from cpuprobe.fleet.weights import SCALE
from cpuprobe.words import plain

MANIFEST = "cpuprobe-fleet.json"
SCHEMA = "cpuprobe.fleet-tables/1"
WEIGHT = f"DECIMAL(18,{SCALE})"
COLUMNS = {
    "features": {
        "machine": "BIGINT",
        **dict.fromkeys(("feature", "state"), "VARCHAR"),
        "safe": "BOOLEAN",
        "weight": WEIGHT,
    },
    "machines": {
        "machine": "BIGINT",
        "label": "VARCHAR",
        "weight": WEIGHT,
        **dict.fromkeys(("basis", "verdict", "level", "advertised_level"), "VARCHAR"),
        **dict.fromkeys(("model", "kernel", "hypervisor"), "VARCHAR"),
        "flags": "BIGINT",
        **dict.fromkeys(("source", "safe", "cpu"), "VARCHAR"),
    },
    "findings": {
        "machine": "BIGINT",
        **dict.fromkeys(("code", "severity", "cause", "title"), "VARCHAR"),
        "weight": WEIGHT,
    },
}
"""The columns of each table and their types, as DuckDB calls them."""

MAXIMUM_FLAGS = 62
"""Flags are bits of a signed 64-bit column."""

_KNOWN = frozenset({MANIFEST, *(f"{table}.parquet" for table in COLUMNS)})


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder holds.

    Attributes:
        schema: changes its number when a column changes its meaning.
        cpuprobe: the version that made it.
        wasmtime: the version whose flags are in the tables.
        flags: Cranelift's names, in the order of the bits of `machines.flags`.
        features: canonical names, in the order of the bits of `machines.safe`.
        machines: how many.
        unknown: machines that are in no table, for they cannot be judged.
        unread: captures that could not be read.
        unread_kinds: how many for each kind of reason.
        skipped: the first 100 of them.
    """

    schema: str
    cpuprobe: str
    wasmtime: str
    flags: tuple[str, ...]
    features: tuple[str, ...]
    machines: int
    unknown: tuple[Unknown, ...] = ()
    unread: int = 0
    unread_kinds: dict[str, int] = {}
    skipped: tuple[Skipped, ...] = ()


def is_ingested(path: str) -> bool:
    """Whether a path is a folder that `fleet ingest` made."""
    try:
        return os.path.isfile(os.path.join(path, MANIFEST))
    except ValueError:
        return False


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder; the tables are checked to have the columns they must have.

    Raises:
        CaptureError: it is not one, is of another version, or a table is not what it should be.
    """
    name = os.path.basename(os.path.normpath(folder))
    try:
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            manifest = msgspec.json.decode(file.read(1 << 20), type=Manifest)
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
    duckdb = duckdb_module()
    with duckdb.connect(config={"threads": 1}) as connection:
        for table, wanted in COLUMNS.items():
            file = f"{table}.parquet"
            try:
                found = connection.read_parquet(os.path.join(folder, file))
                columns = dict(zip(found.columns, map(str, found.types), strict=True))
            except (duckdb.Error, OSError, ValueError) as error:
                why = plain(str(error).partition("\n")[0])[:120]
                raise CaptureError(f"{name}/{file}: {why}: ingest again") from None
            if columns != wanted:
                raise CaptureError(f"{name}/{file}: not the columns that ingest writes")


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

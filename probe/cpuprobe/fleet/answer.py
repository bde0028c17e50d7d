"""`cpuprobe fleet` from its paths to its `Fleet`: ingest what is raw, ask, sum up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from cpuprobe.errors import UsageError
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.wasmtime import lookup
from cpuprobe.fleet.backends import MEMORY, connect
from cpuprobe.fleet.ingest import NAMED, ingest, target_version
from cpuprobe.fleet.model import Fleet, Skipped
from cpuprobe.fleet.queries import ask
from cpuprobe.fleet.sources import Argument, Reading, expand
from cpuprobe.fleet.summary import summarize
from cpuprobe.fleet.tables import Manifest, arrow, read_manifest
from cpuprobe.fleet.weights import Weights

COVERAGES = (Decimal("0.999"), Decimal("0.99"), Decimal("0.95"))


class Feedback(msgspec.Struct):
    """How a long run tells of itself.

    Attributes:
        start: called once with what is read, before reading.
        progress: called with the number of captures that are done.
        complain: called with each capture that could not be read.
    """

    start: Callable[[Reading], None] = lambda reading: None
    progress: Callable[[int], None] = lambda machines: None
    complain: Callable[[Skipped], None] = lambda skipped: None


class Reads(msgspec.Struct, kw_only=True):
    """How captures are read; see `ingest.ingest`."""

    wasmtime: str | None = None
    weights: Weights | None = None
    processes: int = 1
    strict: bool = False


def make_tables(paths: Sequence[str], folder: str, how: Reads, feedback: Feedback) -> Manifest:
    """`cpuprobe fleet ingest`: captures to a folder of tables.

    Raises:
        UsageError: one of the paths is such a folder already.
        CaptureError, CannotMeasureError: see `ingest.ingest`.
    """
    version = target_version(how.wasmtime)
    arrow()  # before anything is read
    ingested, arguments = expand(paths)
    if ingested:
        raise UsageError(f"{ingested[0]}: holds tables already; `cpuprobe fleet` takes several")
    return _ingest(arguments, folder, version, how, feedback)


def _ingest(
    arguments: Sequence[Argument], folder: str, version: str, how: Reads, feedback: Feedback
) -> Manifest:
    reading = Reading(arguments)
    feedback.start(reading)
    return ingest(
        reading.pieces(),
        folder,
        wasmtime=version,
        weights=how.weights,
        processes=how.processes,
        strict=how.strict,
        progress=feedback.progress,
        complain=feedback.complain,
    )


def fleet_of(
    paths: Sequence[str],
    how: Reads,
    feedback: Feedback,
    *,
    backend: str = "duckdb",
    memory: str = MEMORY,
    profiles: Sequence[Profile] = (),
    flag_sets: Sequence[Sequence[str]] = (),
    wanted: Sequence[Decimal] = COVERAGES,
    executed_only: bool = False,
    top: int = 20,
) -> Fleet:
    """What captures and tables say of a fleet.

    Args:
        paths: what the user named; see `sources.expand`.
        how: how the captures among them are read.
        feedback: where progress goes.
        backend: see `backends.connect`.
        memory: likewise.
        profiles: see `summary.summarize`.
        flag_sets: likewise.
        wanted: likewise.
        executed_only: whether machines on which nothing was executed are left out.
        top: how many models, kernels and hypervisors are told apart.

    Raises:
        UsageError: a flag is unknown, or tables and options do not go together.
        CaptureError: nothing could be read.
        CannotMeasureError: a library is missing or a backend failed.
    """
    arrow()
    ingested, arguments = expand(paths)
    manifests = [read_manifest(folder) for folder in ingested]
    version = _version(ingested, manifests, how)
    flags = manifests[0].flags if manifests else lookup(version).flags
    if any(each.flags != flags for each in manifests):
        raise UsageError("the tables have different flags of wasmtime: ingest again")
    _check_flags(flag_sets, flags, version)
    with tempfile.TemporaryDirectory(prefix="cpuprobe-fleet-") as scratch:
        folders = list(ingested)
        if arguments:
            folders.append(os.path.join(scratch, "tables"))
            manifests.append(_ingest(arguments, folders[-1], version, how, feedback))
            if manifests[-1].flags != flags:
                raise UsageError(f"{ingested[0]}: has other flags than this cpuprobe: ingest again")
        with connect(backend, scratch, memory) as connection:
            answers = ask(connection, folders, flags, executed_only=executed_only, top=top)
            name = str(connection.name)
    skipped = [each for manifest in manifests for each in manifest.skipped]
    return summarize(
        answers,
        backend=name,
        wasmtime=version,
        flags=flags,
        profiles=profiles,
        flag_sets=flag_sets,
        wanted=wanted,
        skipped=skipped[:NAMED],
        unread=sum(each.unread for each in manifests),
    )


def _version(ingested: Sequence[str], manifests: Sequence[Manifest], how: Reads) -> str:
    if not manifests:
        return target_version(how.wasmtime)
    if how.weights is not None:
        raise UsageError(f"--weights: {ingested[0]} has its weights in it: give them to ingest")
    version = manifests[0].wasmtime
    wanted = version if how.wasmtime is None else target_version(how.wasmtime)
    for folder, manifest in zip(ingested, manifests, strict=True):
        if _major(manifest.wasmtime) != _major(wanted):
            raise UsageError(
                f"{folder}: its flags are those of wasmtime {manifest.wasmtime}, not {wanted}: "
                "ingest it again"
            )
    return version


def _major(version: str) -> str:
    return version.partition(".")[0]


def _check_flags(flag_sets: Sequence[Sequence[str]], flags: Sequence[str], version: str) -> None:
    for flag in (flag for each in flag_sets for flag in each):
        if flag not in flags:
            raise UsageError(
                f"--flags {flag[:60]}: wasmtime {version} has no such flag; it has "
                f"{', '.join(flags)}"
            )

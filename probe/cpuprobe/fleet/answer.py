"""`cpuprobe fleet` from its paths to its `Fleet`: read or ask, count, sum up."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import msgspec

from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup
from cpuprobe.fleet.backends import MEMORY, arrow, connect
from cpuprobe.fleet.machine import Facts
from cpuprobe.fleet.model import Fleet, Skipped, Unknown
from cpuprobe.fleet.queries import ask
from cpuprobe.fleet.reading import REMEMBERED, read
from cpuprobe.fleet.sources import Argument, Reading, expand
from cpuprobe.fleet.summary import Asked, summarize
from cpuprobe.fleet.tables import (
    MAXIMUM_FLAGS,
    SCHEMA,
    Manifest,
    new_folder,
    read_manifest,
    write_manifest,
)
from cpuprobe.fleet.tally import Count, Tally, UnknownKey
from cpuprobe.fleet.weights import Weights
from cpuprobe.fleet.writer import Writer
from cpuprobe.version import VERSION

NAMED = 100
"""How many captures that could not be read are named."""


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
    """How captures are read.

    Attributes:
        wasmtime: the version that the flags are for; None for that of `target_version`.
        weights: the user's own, if any.
        processes: how many may work at once.
        strict: whether the first capture that cannot be read ends it all.
        remembered: see `reading.read`.
    """

    wasmtime: str | None = None
    weights: Weights | None = None
    processes: int = 1
    strict: bool = False
    remembered: int = REMEMBERED


class _Captures:
    """The machines of captures, and what could not be read of them."""

    def __init__(
        self, arguments: Sequence[Argument], version: str, how: Reads, feedback: Feedback
    ) -> None:
        """Nothing is read before `machines` is asked."""
        self._reading = Reading(arguments)
        self._version, self._how, self._feedback = version, how, feedback
        self.skipped: list[Skipped] = []
        self.unread = 0
        self.kinds: Counter[str] = Counter()
        self.unknown: Counter[UnknownKey] = Counter()

    def machines(self) -> Iterator[tuple[str, Decimal, Facts]]:
        """Label, weight and facts of each.

        Raises:
            CaptureError: not one could be read, or with `strict` one could not.
            CannotMeasureError: a process was killed.
        """
        self._feedback.start(self._reading)
        how, weights = self._how, self._how.weights or Weights({})
        found = read(
            self._reading.pieces(),
            self._version,
            how.processes,
            how.remembered,
            self._reading.give_up,
        )
        done = 0
        with contextlib.closing(found) as rows:
            for done, row in enumerate(rows, 1):
                if isinstance(row, Skipped):
                    self._skip(row)
                else:
                    machine, facts = row
                    weight = weights.of(machine.label, machine.weight, facts.model)
                    yield machine.label, weight, facts
                self._feedback.progress(done)
        if self.unread == done:  # what is in no table is counted in the end
            raise CaptureError(self._nothing())

    def _skip(self, skipped: Skipped) -> None:
        match skipped.kind:
            case "isa" | "identity" as kind:
                self.unknown[UnknownKey(kind, skipped.what)] += 1
                return
        if self._how.strict:
            raise CaptureError(f"{skipped.capture}: {skipped.why}")
        self.unread += 1
        self.kinds[skipped.kind] += 1
        if len(self.skipped) < NAMED:
            self.skipped.append(skipped)
        self._feedback.complain(skipped)

    def _nothing(self) -> str:
        if not self.skipped:
            return "no captures there"
        first = f"{self.skipped[0].capture}: {self.skipped[0].why}"
        if self.unread == 1:
            return first
        return f"none of {self.unread:,} captures could be read; the first: {first}"


def target_version(wanted: str | None) -> str:
    """The version of wasmtime that all machines are assessed for.

    Args:
        wanted: the user's; None for the installed one, or the newest known if there is none or it
            was never measured.

    Raises:
        UsageError: `wanted` was never measured.
    """
    if wanted is None:
        installed = installed_version()
        with contextlib.suppress(UnknownWasmtimeError):
            if installed is not None:
                lookup(installed)
                return installed
        return str(next(iter(known_versions())))
    try:
        lookup(wanted)
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    return wanted.removeprefix("v")


def make_tables(paths: Sequence[str], folder: str, how: Reads, feedback: Feedback) -> Manifest:
    """`cpuprobe fleet ingest`: captures to a folder of tables, all or nothing.

    Args:
        paths: what the user named; see `sources.expand`.
        folder: what to make; one that was made earlier is replaced.
        how: how the captures are read.
        feedback: where progress goes.

    Raises:
        UsageError: a path is such a folder already, or something else is in the folder's place.
        CaptureError: not one capture could be read, or with `strict` one could not.
        CannotMeasureError: a process was killed, or the folder cannot be written.
    """
    version = target_version(how.wasmtime)
    arrow()  # before anything is read
    ingested, arguments = expand(paths)
    if ingested:
        raise UsageError(f"{ingested[0]}: holds tables already; `cpuprobe fleet` takes several")
    return _ingest(_Captures(arguments, version, how, feedback), folder, version)


def _ingest(captures: _Captures, folder: str, version: str) -> Manifest:
    flags = lookup(version).flags
    if len(flags) > MAXIMUM_FLAGS:
        raise CannotMeasureError(f"wasmtime {version} has more than {MAXIMUM_FLAGS} flags")
    with new_folder(folder) as temporary:
        writer = Writer(temporary)
        for machine in captures.machines():
            writer.add(*machine)
        writer.close()
        manifest = Manifest(
            schema=SCHEMA,
            cpuprobe=VERSION,
            wasmtime=version,
            flags=flags,
            features=tuple(load_features()),
            machines=writer.machines,
            unread=captures.unread,
            unknown=tuple(
                Unknown(key.kind, key.what, count) for key, count in captures.unknown.items()
            ),
            unread_kinds=dict(captures.kinds),
            skipped=tuple(captures.skipped),
        )
        write_manifest(temporary, manifest)
    return manifest


def fleet_of(
    paths: Sequence[str],
    how: Reads,
    feedback: Feedback,
    asked: Asked,
    *,
    backend: str = "duckdb",
    memory: str = MEMORY,
    executed_only: bool = False,
) -> Fleet:
    """What captures and tables say of a fleet.

    Captures are counted as they are read; a backend is asked for tables, and for captures too where
    it is another than the default.

    Args:
        paths: what the user named; see `sources.expand`.
        how: how the captures among them are read.
        feedback: where progress goes.
        asked: what is to be told.
        backend: see `backends.connect`.
        memory: likewise.
        executed_only: whether machines on which nothing was executed are left out.

    Raises:
        UsageError: a flag is unknown, or tables and options do not go together.
        CaptureError: nothing could be read.
        CannotMeasureError: a library is missing or a backend failed.
    """
    folders, arguments = expand(paths)
    manifests = [read_manifest(folder) for folder in folders]
    version = _version(folders, manifests, how)
    flags = lookup(version).flags if arguments or not manifests else manifests[0].flags
    for folder, manifest in zip(folders, manifests, strict=True):
        if (manifest.flags, manifest.features) != (flags, tuple(load_features())):
            raise UsageError(
                f"{folder}: has other flags or features than this cpuprobe: ingest again"
            )
    _check_flags(asked.flag_sets, flags, version)
    captures = _Captures(arguments, version, how, feedback)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="cpuprobe-fleet-") as scratch:
        if arguments and backend == "duckdb":
            for _, weight, facts in captures.machines():
                if facts.basis == "executed" or not executed_only:
                    tally.add(facts, weight)
        elif arguments:
            folders.append(os.path.join(scratch, "tables"))
            _ingest(captures, folders[-1], version)
        name = backend
        if folders:
            with connect(backend, scratch, memory) as connection:
                ask(connection, folders, tally, executed_only=executed_only)
                name = connection.name
    for each in (each for manifest in manifests for each in manifest.unknown):
        captures.unknown[UnknownKey(each.kind, each.what)] += each.machines
    for key, machines in captures.unknown.items():
        tally.unknown(key, Count(machines))
    skipped = [*(each for manifest in manifests for each in manifest.skipped), *captures.skipped]
    return summarize(
        tally,
        asked,
        backend=name,
        wasmtime=version,
        flags=flags,
        skipped=skipped[:NAMED],
        unread=sum(each.unread for each in manifests) + captures.unread,
        unread_kinds=dict(sum((Counter(each.unread_kinds) for each in manifests), captures.kinds)),
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

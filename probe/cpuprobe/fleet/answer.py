"""`cpuprobe fleet` from its paths to its `Fleet`: read or ask, count, sum up."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress

from cpuprobe.errors import CannotMeasureError, UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.features import load_features
from cpuprobe.facts.isa import OTHERS, X86_64
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, lookup, newest
from cpuprobe.fleet.backends import MEMORY, arrow, connect
from cpuprobe.fleet.captures import NAMED, Captures, Feedback, Reads
from cpuprobe.fleet.machine import UNDECIDED
from cpuprobe.fleet.model import Fleet, Skipped, Unknown
from cpuprobe.fleet.queries import ask
from cpuprobe.fleet.reference import count_table
from cpuprobe.fleet.sources import expand
from cpuprobe.fleet.summary import Asked, summarize
from cpuprobe.fleet.tables import (
    MAXIMUM_FLAGS,
    SCHEMA,
    Manifest,
    new_folder,
    read_manifest,
    write_manifest,
)
from cpuprobe.fleet.tally import Count, Tally, UnknownKey, millionths
from cpuprobe.fleet.writer import Writer
from cpuprobe.scratch import temporary_folder
from cpuprobe.version import VERSION


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
        with suppress(UnknownWasmtimeError):
            if installed is not None:
                lookup(installed)
                return installed
        return str(newest().major)
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
    return _ingest(Captures(arguments, version, how, feedback), folder, version)


def _ingest(captures: Captures, folder: str, version: str) -> Manifest:
    flags = lookup(version).flags
    if len(flags) > MAXIMUM_FLAGS:
        raise CannotMeasureError(f"wasmtime {version} has more than {MAXIMUM_FLAGS} flags")
    with new_folder(folder) as temporary:
        writer = Writer(temporary)
        for label, weight, facts in captures.machines():
            if facts.isa == X86_64.name:
                writer.add(label, weight, facts)
            else:  # the tables have the columns of one instruction set
                captures.unknown[UnknownKey("isa", facts.isa)] += 1
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

    A backend is asked for tables (of x86-64 alone), and for captures where it is not the default.

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
    _check_tables(folders, manifests, flags)
    known = {each.name: _flags(version, each.name) for each in OTHERS}
    _check_flags(asked.flag_sets, [flags, *known.values()], version)
    captures = Captures(arguments, version, how, feedback)
    name, tally, tallies = backend, Tally(), {each.name: Tally(each) for each in OTHERS}
    with temporary_folder() if folders or backend != "duckdb" else nullcontext("") as scratch:
        if arguments and backend == "duckdb":
            _count(captures, tally, tallies, executed_only)
        elif arguments:
            folders.append(os.path.join(scratch, "tables"))
            _ingest(captures, folders[-1], version)
        if folders:
            with connect(backend, scratch, memory) as connection:
                ask(connection, folders, tally, executed_only=executed_only)
                name = connection.name
    _add_unknown(tally, captures, manifests)
    feedback.counted(tally)
    others = {isa: each for isa, each in tallies.items() if each}
    _check_flags(asked.flag_sets, [flags, *map(known.__getitem__, others)], version)
    one = functools.partial(summarize, asked=asked, backend=name, wasmtime=version)
    return one(
        tally,
        flags=flags,
        isas={isa: one(each, flags=known[isa]) for isa, each in others.items()},
        skipped=_skipped(manifests, captures),
        unread=sum(each.unread for each in manifests) + captures.unread,
        unread_kinds=dict(sum((Counter(each.unread_kinds) for each in manifests), captures.kinds)),
    )


def _count(
    captures: Captures, tally: Tally, others: Mapping[str, Tally], executed_only: bool
) -> None:
    """Counts machines, each with those of its instruction set; the undecided stand together."""
    for _, weight, facts in captures.machines():
        if facts.basis == "executed" or not executed_only:
            apart = facts.level != UNDECIDED and facts.isa in others
            counted = others[facts.isa] if apart else tally
            counted.add(facts, Count(1, millionths(weight)))


def _add_unknown(tally: Tally, captures: Captures, manifests: Sequence[Manifest]) -> None:
    """Counts the machines of which too little is known, those of tables included."""
    for each in (each for manifest in manifests for each in manifest.unknown):
        captures.unknown[UnknownKey(each.kind, each.what)] += each.machines
    for key, machines in captures.unknown.items():
        tally.unknown(key, Count(machines))


def _skipped(manifests: Sequence[Manifest], captures: Captures) -> list[Skipped]:
    """The first captures that could not be read, those of tables before."""
    told = [each for manifest in manifests for each in manifest.skipped]
    return [*told, *captures.skipped][:NAMED]


def _check_tables(
    folders: Sequence[str], manifests: Sequence[Manifest], flags: tuple[str, ...]
) -> None:
    for folder, manifest in zip(folders, manifests, strict=True):
        if (manifest.flags, manifest.features) != (flags, tuple(load_features())):
            raise UsageError(
                f"{folder}: has other flags or features than this cpuprobe: ingest again"
            )


def reference_of(path: str | None, wasmtime: str | None, asked: Asked) -> Fleet:
    """What a table of machines says.

    Args:
        path: see `reference.count_table`.
        wasmtime: whose flags; see `target_version`.
        asked: what is to be told.

    Raises:
        UsageError: a flag is unknown.
        CaptureError: the table cannot be read.
    """
    version = target_version(wasmtime)
    flags = lookup(version).flags
    _check_flags(asked.flag_sets, [flags], version)
    reference, tally = count_table(path, version)
    return summarize(
        tally, asked, backend="table", wasmtime=version, flags=flags, reference=reference
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


def _flags(version: str, isa: str) -> tuple[str, ...]:
    """The flags of a version; none where it was not measured for the instruction set."""
    with suppress(UnknownWasmtimeError):
        return lookup(version, isa).flags
    return ()


def _check_flags(
    flag_sets: Sequence[Sequence[str]], known: Sequence[Sequence[str]], version: str
) -> None:
    """Each set is of the flags of one instruction set; `known` has those of x86-64 first."""
    for each in flag_sets:
        if any(set(flags).issuperset(each) for flags in known):
            continue
        flag = next(flag for flag in each if flag not in known[0])
        raise UsageError(
            f"--flags {flag[:60]}: wasmtime {version} has no such flag; it has "
            f"{', '.join(known[0])}"
        )

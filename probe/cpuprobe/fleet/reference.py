"""Tables of machines: how many have which CPU and list which features; for those without a fleet.

A line for each kind of machine, after lines `# key: words` on where the counts are from. They hold
counts and kinds of CPUs, nothing of a single machine. The counting is that of captures.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import NamedTuple

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.observation import CpuGroup, Cpuinfo, Observation
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table, tables_folder
from cpuprobe.files import read_bounded
from cpuprobe.fleet.machine import CPU, facts_of
from cpuprobe.fleet.model import Reference
from cpuprobe.fleet.selection import positions
from cpuprobe.fleet.tally import Count, Tally
from cpuprobe.fleet.weights import SCALE
from cpuprobe.words import plain

BUILT_IN = "linux-machines-2022.tsv"

_MAXIMUM_BYTES = 16 << 20
_MAXIMUM_MACHINES = 10**9
_COLUMNS = "vendor\tfamily\tmodel\tarchitecture\tguest\tmachines\twords of /proc/cpuinfo"
_VENDOR = re.compile(r"[A-Za-z0-9.!_-]{1,16}")
_NUMBER = re.compile(r"\d{1,4}|-")
_WORDS = re.compile(r"[a-z0-9_. ]{0,8000}")


class _Row(NamedTuple):
    """Machines of a kind."""

    cpu: CPU
    machines: int
    words: str


def count_table(path: str | None, wasmtime: str) -> tuple[Reference, Tally]:
    """The machines of a table.

    Args:
        path: of the table; None for the one that comes with cpuprobe.
        wasmtime: the version that the flags are for.

    Returns:
        Where the counts are from, and the counts.

    Raises:
        CaptureError: it cannot be read, or is no such table.
    """
    file = os.path.join(tables_folder(), BUILT_IN) if path is None else path
    name, content = read_bounded(file, _MAXIMUM_BYTES, ", no table of machines is")
    text = content.decode("utf-8", "replace")
    told = dict(re.findall(r"^# (source|licence|date|bias): *(.+?)\s*$", text, re.MULTILINE))
    tally = Tally()
    machines = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        row = _read(line)
        if row is None:
            raise CaptureError(f"{name}: line {number}: not {_COLUMNS.expandtabs(1)}")
        facts = facts_of(_observation(row), wasmtime)
        tally.add(
            facts._replace(model=_model(row.cpu)), Count(row.machines, row.machines * 10**SCALE)
        )
        machines += row.machines
    if not machines:
        raise CaptureError(f"{name}: no machines in it")
    words = {
        key: plain(told.get(key, "not stated"))[:500]
        for key in ("source", "licence", "date", "bias")
    }
    return Reference(table=os.path.basename(file), machines=machines, **words), tally


def _read(line: str) -> _Row | None:
    fields = line.split(None, 6)  # by tabs, or by blanks where it was pasted
    if len(fields) not in {6, 7}:
        return None
    vendor, family, model, architecture, guest, machines, words = (*fields, "")[:7]
    valid = (
        _VENDOR.fullmatch(vendor)
        and _NUMBER.fullmatch(family)
        and _NUMBER.fullmatch(model)
        and re.fullmatch("x86_64|i[3-6]86", architecture)
        and guest in {"yes", "no"}
        and re.fullmatch(r"[1-9]\d{0,9}", machines)
        and int(machines) <= _MAXIMUM_MACHINES
        and _WORDS.fullmatch(words)
    )
    bits32 = architecture != "x86_64"
    return (
        _Row(CPU(vendor, family, model, bits32, guest == "yes"), int(machines), words)
        if valid
        else None
    )


def _observation(row: _Row) -> Observation:
    fields = {"vendor_id": row.cpu.vendor, "cpu family": row.cpu.family, "model": row.cpu.model}
    fields["flags"] = f"{row.words} hypervisor" if row.cpu.guest else row.words
    return Observation(
        source="reference",
        executed=False,
        groups=(CpuGroup(cpus=(0,)),),
        cpuinfo=(Cpuinfo((0,), fields),),
        isa="i686" if row.cpu.bits32 else "x86_64",
    )


def _model(cpu: CPU) -> str:
    """What a CPU is called, where that is known, with its family and model."""
    names: Mapping[str, Mapping[str, str]] = load_table("cpu_names").get(cpu.vendor, {})
    by_model = names.get(cpu.family, {})
    called = by_model.get(cpu.model) or by_model.get("*")
    number = f"{cpu.vendor} family {cpu.family} model {cpu.model}"
    return f"{called} ({number})" if called else number


def table_of(tally: Tally) -> Iterator[str]:
    """The lines of a table of the machines that were counted: what is usable on each CPU."""
    flags = [feature.kernel.flag for feature in load_features().values()]
    rows: Counter[tuple[CPU, str]] = Counter()
    for (cpu, safe), count in tally.cpus.items():
        named = {flag for at in positions(safe) if (flag := flags[at]) is not None}
        rows[cpu, " ".join(sorted(named if cpu.bits32 else named | {"lm"}))] += count.machines
    yield f"# source: cpuprobe fleet --export, {rows.total():,} machines"
    yield "# licence: not stated"
    yield f"# date: {datetime.now(timezone.utc):%Y-%m-%d}"
    yield "# bias: the machines of one fleet; of each, what is usable"
    yield f"# {_COLUMNS}"
    for (cpu, words), machines in sorted(rows.items(), key=lambda row: (-row[1], row[0])):
        architecture, guest = "i686" if cpu.bits32 else "x86_64", "yes" if cpu.guest else "no"
        fields = (cpu.vendor, cpu.family, cpu.model, architecture, guest, str(machines), words)
        yield "\t".join(fields)

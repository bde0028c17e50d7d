"""How fast `cpuprobe fleet` reads and answers, and whether its memory stays flat.

`python -m tests.tools.fleet_bench [--reports 100000] [--texts 20000]` makes two fleets of all
different reports, a tenth and the whole, and one whose machines are copies of a twentieth as many;
ingests each in a process of its own and asks it; and two of lscpu texts, a tenth and the whole,
that are counted as they are read. Rates are of this machine on this day; the ratios hold elsewhere:
against one process that only reads and assesses, and of peak memory at the two sizes. Ends with
exit code 1 if memory grew by more than a fifth.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.tools.lscpu_texts import texts
from tests.tools.synthetic import lines

GROWTH = 1.2

_INGEST = """
import json, os, resource, sys, time
from cpuprobe.fleet.answer import make_tables
from cpuprobe.fleet.captures import Feedback, Reads

path, folder, remembered = sys.argv[1:]
start = time.perf_counter()
how = Reads(
    wasmtime="50", processes=len(os.sched_getaffinity(0)), remembered=int(remembered)
)
made = make_tables([path], folder, how, Feedback())
seconds = time.perf_counter() - start
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(each.ru_utime + each.ru_stime for each in used)
print(json.dumps([made.machines, seconds, cpu, *(each.ru_maxrss for each in used)]))
"""

_ASK = """
import json, resource, sys, time
from cpuprobe.fleet.answer import fleet_of
from cpuprobe.fleet.captures import Feedback, Reads
from cpuprobe.fleet.summary import Asked

start = time.perf_counter()
found = fleet_of(sys.argv[1:], Reads(), Feedback(), Asked())
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
cpu = used.ru_utime + used.ru_stime
print(json.dumps([found.total.machines, seconds, cpu, used.ru_maxrss, 0]))
"""

_COUNT = """
import json, os, resource, sys, time
from cpuprobe.fleet.answer import fleet_of
from cpuprobe.fleet.captures import Feedback, Reads
from cpuprobe.fleet.summary import Asked

start = time.perf_counter()
how = Reads(processes=len(os.sched_getaffinity(0)))
found = fleet_of(sys.argv[1:], how, Feedback(), Asked())
seconds = time.perf_counter() - start
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(each.ru_utime + each.ru_stime for each in used)
print(json.dumps([found.total.machines, seconds, cpu, *(each.ru_maxrss for each in used)]))
"""

_LOOP = """
import itertools, json, sys, time
from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture

with open(sys.argv[1], "rb") as file:
    reports = [line for line in itertools.islice(file, 1000) if line.startswith(b'{"schema"')]
assess(parse_capture(reports[0]))
start, used = time.perf_counter(), time.process_time()
for report in reports:
    assess(parse_capture(report))
cpu = time.process_time() - used
print(json.dumps([len(reports), time.perf_counter() - start, cpu, 0, 0]))
"""


class Run(NamedTuple):
    """What a program of its own says of itself.

    Attributes:
        machines: how many it has read.
        seconds: of wall clock.
        cpu: seconds of CPU, its own and its workers'.
        own: its peak memory in KiB.
        workers: that of its largest worker.
    """

    machines: int
    seconds: float
    cpu: float
    own: int
    workers: int


def run(program: str, *arguments: str) -> Run:
    """Runs a program of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return Run(*json.loads(done.stdout))


def write(path: Path, made: Iterator[bytes]) -> int:
    """Writes lines; how many of them differ."""
    different = set()
    with open(path, "wb") as file:
        for line in made:
            file.write(line)
            different.add(hashlib.blake2b(line, digest_size=16).digest())
    return len(different)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--folder", help="where the fleets are written (27 KB a report)")
    given = parser.parse_args()
    whole = given.reports
    fleets = (
        ("all differ, nothing remembered", max(1, whole // 10), None, 0),
        ("all differ, nothing remembered", whole, None, 0),
        ("copies, assessments remembered", whole, max(1, whole // 20), 4096),
    )
    peaks = []
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        for number, (name, count, pool, remembered) in enumerate(fleets):
            path, tables = Path(scratch, f"{number}.jsonl"), f"{scratch}/{number}"
            start = time.perf_counter()
            different = write(path, lines(count, number, pool))
            size = path.stat().st_size / 1e6
            print(f"\n{count:,} reports, {different:,} of them different ({name}): {size:,.0f} MB")
            print(f"  made in {time.perf_counter() - start:.0f} s", flush=True)
            alone = run(_LOOP, str(path))
            made = run(_INGEST, str(path), tables, str(remembered))
            assert made.machines == count, f"{made.machines} of {count} were read"
            rate, single = count / made.seconds, alone.machines / alone.seconds
            print(f"  ingest    {rate:8,.0f} reports/s ({made.seconds:.1f} s)")
            print(f"            {count / made.cpu:8,.0f} reports a second of CPU")
            print(f"            {rate / single:8.2f} times one process that only assesses")
            worker = made.workers / 1024
            print(f"  peak      {made.own / 1024:8,.0f} MiB, each worker {worker:,.0f} MiB")
            asked = run(_ASK, tables)
            kept = sum(each.stat().st_size for each in Path(tables).iterdir()) / 1e6
            print(f"  tables    {kept:8,.1f} MB")
            peak = asked.own / 1024
            print(f"  query     {asked.seconds:8.2f} s, peak {peak:,.0f} MiB", flush=True)
            peaks.append(made.own + made.workers)
            path.unlink()
        growths = [peaks[1] / peaks[0], _texts(given.texts, scratch)]
    print(f"\npeak memory at ten times the reports: {growths[0]:.2f}, the texts: {growths[1]:.2f}")
    return int(max(growths) > GROWTH)


def _texts(whole: int, scratch: str) -> float:
    """Counts fleets of texts; how much more memory ten times as many take."""
    peaks = []
    for count in (max(1, whole // 10), whole):
        path = Path(scratch, "texts.jsonl")
        size = write(path, (json_line(text) for _, text in texts(count, count)))
        print(f"\n{count:,} lscpu texts, {size:,} different: {path.stat().st_size / 1e6:.1f} MB")
        ran = run(_COUNT, str(path))
        print(f"  counted   {count / ran.seconds:8,.0f} texts/s ({ran.seconds:.1f} s)")
        print(f"            {count / ran.cpu:8,.0f} texts a second of CPU")
        print(f"  peak      {ran.own / 1024:8,.0f} MiB, each worker {ran.workers / 1024:,.0f} MiB")
        peaks.append(ran.own + ran.workers)
    return peaks[1] / peaks[0]


def json_line(text: str) -> bytes:
    """A line that holds a text."""
    return json.dumps({"capture": text}).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())

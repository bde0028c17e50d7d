"""Files built to do harm: 20 s of CPU time and 1 GB are the limits for any, one line the answer.

Each is a few hundred kilobytes or less, and is made here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuprobe.fleet.archives import pieces_of
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Budget
from tests.fleet.common import five

pytestmark = pytest.mark.slow

CPU_SECONDS = 20.0
MEMORY = 1 << 20  # KiB


def newlines() -> bytes:
    """300 MiB of empty lines."""
    return gzip.compress(b"\n" * (300 << 20))


def junk_lines() -> bytes:
    """Millions of lines that are no captures."""
    return gzip.compress(b"{\n" * (20 << 20))


def long_line() -> bytes:
    """3 GB without an end, in 40 streams one after the other."""
    return bz2.compress(b" " * (76 << 20)) * 40


def long_line_xz() -> bytes:
    """Likewise, 1.2 GB."""
    return lzma.compress(b"{" * (120 << 20), preset=0) * 10


def folders() -> bytes:
    """300,000 folders and nothing in them."""
    header = tarfile.TarInfo("d")
    header.type = tarfile.DIRTYPE
    return gzip.compress(header.tobuf() * 300_000)


def long_names() -> bytes:
    """450 headers that each say that a long name follows."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    return (header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 450


def holes() -> bytes:
    """A member that says of itself that it is 8 GiB."""
    header = tarfile.TarInfo("huge.txt")
    header.size = 8 << 30
    return gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(100 << 20)) * 15


def array() -> bytes:
    """Twenty million objects, as a parser counts them."""
    return gzip.compress(b"[" + b"{}," * (20 << 20) + b"{}]")


def large_captures() -> bytes:
    """Lines of 60 MiB that a reader would have to look through."""
    line = b'{"capture": "' + b"flags : sse " * (5 << 20) + b'"}\n'
    return gzip.compress(line) * 5


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""

FILES: list[tuple[str, Callable[[], bytes]]] = [
    ("a.jsonl.gz", newlines),
    ("a.txt.gz", newlines),
    ("a.jsonl.gz", junk_lines),
    ("a.jsonl.bz2", long_line),
    ("a.txt.bz2", long_line),
    ("a.jsonl.xz", long_line_xz),
    ("a.tar.gz", folders),
    ("a.tar", long_names),
    ("a.tgz", holes),
    ("a.json.gz", array),
    ("a.jsonl.gz", large_captures),
]


def ran(*arguments: str | Path) -> tuple[int, str, float, int]:
    """A fleet's exit code, its complaints, its seconds of CPU and the largest process in KiB."""
    # A process counts what it was before exec too, so a small one starts and measures it.
    process = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-m", "cpuprobe", "fleet"]
        + [str(argument) for argument in arguments],
        capture_output=True,
    )
    code, seconds, memory = process.stdout.split()
    return int(code), process.stderr.decode(), float(seconds), int(memory)


@pytest.mark.parametrize(
    ("name", "make"), FILES, ids=[f"{make.__name__}-{name}" for name, make in FILES]
)
def test_a_hostile_file_costs_little(name: str, make: Callable[[], bytes], tmp_path: Path) -> None:
    """And what stands beside it is counted."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(make())
    (tmp_path / "x" / "z.json").write_bytes(five()["c-v3.json"])
    assert (tmp_path / "x" / name).stat().st_size < 2 << 20

    code, said, seconds, memory = ran(tmp_path / "x", "--json")

    assert code == 0, said
    assert "Traceback" not in said
    assert said.count("\n") <= 3
    assert seconds < CPU_SECONDS
    assert memory < MEMORY


_PARQUET = """
import sys
import pyarrow, pyarrow.parquet
table = pyarrow.table({"capture": [b" " * (100 << 20), *[b"x"] * (int(sys.argv[2]) - 1)]})
pyarrow.parquet.write_table(
    table, f"{sys.argv[1]}/a.parquet", compression="zstd", use_dictionary=False
)
"""


@pytest.mark.parametrize("rows", [1, 30])
def test_sizes_of_parquet_are_looked_at_first(rows: int, tmp_path: Path) -> None:
    """A string far larger than any capture in a few kilobytes; alone, or among small ones."""
    pytest.importorskip("pyarrow.parquet")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "z.json").write_bytes(five()["c-v3.json"])
    # In a process of its own, for what it takes would be counted below.
    subprocess.run([sys.executable, "-c", _PARQUET, tmp_path / "x", str(rows)], check=True)
    assert (tmp_path / "x" / "a.parquet").stat().st_size < 100 << 10

    code, said, seconds, memory = ran(tmp_path / "x", "--json")

    assert code == 0, said
    assert said.startswith("cpuprobe: skipped: a.parquet")
    assert said.count("\n") <= 2
    assert seconds < CPU_SECONDS
    assert memory < MEMORY


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "pipe"])
def test_pipes_and_devices_are_refused(path: str, tmp_path: Path) -> None:
    """None waits for a writer, none acts."""
    os.mkfifo(tmp_path / "pipe")

    code, said, *_ = ran(tmp_path / path)

    assert code == 4
    assert "not a regular file" in said
    assert said.count("\n") == 1


def test_a_capture_earns_what_lies_between() -> None:
    """An archive of captures with much else is read to its end, one of nothing else is not."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for number in range(300):
            folder = tarfile.TarInfo(f"d{number}")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            if number < 150:
                member = tarfile.TarInfo(f"d{number}/a.txt")
                member.size = 1
                tar.addfile(member, io.BytesIO(b"x"))
    reader = io.BufferedReader(io.BytesIO(made.getvalue()))

    found = list(pieces_of(reader, "a.tar", Budget(items=50)))

    assert len([each for each in found if not isinstance(each, Skipped)]) == 150
    assert isinstance(found[-1], Skipped)
    assert "50 headers and lines that hold no capture" in found[-1].why

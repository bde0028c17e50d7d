"""Reading in several processes: what becomes of them when something ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import children
from tests.fleet.common import five

pytest.importorskip("pyarrow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: one process reads"),
]


def workers_of(pid: int) -> list[int]:
    """The processes that a process has started and that run Python's spawned main."""
    return [
        child
        for child in children(pid)
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def gone(pid: int) -> bool:
    """Whether a process has ended, or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(test: object, seconds: float = 60) -> bool:
    """Waits until a test is true; whether it ever was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if test():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`fleet ingest -` that has started its processes and waits for more lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cpuprobe", "fleet", "ingest", "-", "-o", "t", "--json"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    machine = five()["c-v3.json"] + b"\n"
    process.stdin.write(machine * 2000)
    process.stdin.flush()
    assert until(lambda: len(workers_of(process.pid)) >= 2)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_a_killed_process_is_one_line(reading: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Exit code 3, no tables, nothing left behind.

    Enough is left to do that it cannot end well without the one that was killed.
    """
    os.kill(workers_of(reading.pid)[0], signal.SIGKILL)
    out, err = reading.communicate((five()["c-v3.json"] + b"\n") * 2000, timeout=60)

    assert (reading.returncode, out) == (3, b"")
    assert b"was killed (out of memory?): nothing was written" in err
    assert err.count(b"\n") == 1
    assert os.listdir(tmp_path) == []


def test_an_interrupt_is_quiet(reading: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group; one process answers."""
    workers = workers_of(reading.pid)
    os.killpg(reading.pid, signal.SIGINT)
    reading.wait(60)
    out, err = reading.communicate()

    assert (reading.returncode, out) == (130, b"")
    assert err in (b"", b"cpuprobe: error: interrupted\n")  # as typer has it
    assert os.listdir(tmp_path) == []
    assert until(lambda: all(gone(each) for each in workers))


def test_no_process_outlives_the_first(reading: subprocess.Popen[bytes]) -> None:
    """Killed itself, it cannot end the others: they see that it is gone."""
    workers = workers_of(reading.pid)

    reading.kill()

    assert until(lambda: all(gone(each) for each in workers))


def test_it_ends_well(reading: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Left alone, all lines are read."""
    out, err = reading.communicate(five()["a-old.json"], timeout=120)

    assert (reading.returncode, err) == (0, b"")
    assert b'"machines":2001' in out
    assert os.listdir(tmp_path) == ["t"]

"""What the tests of fleets share: a few machines, and `cpuprobe fleet` run in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cpuprobe.cli import run
from cpuprobe.evidence.observation import Observation
from tests.fakes import V2, V3, V4, XCR0_AVX512, gds_machine, group, observation

CAPTURES = Path(__file__).parents[1] / "data" / "captures"


def report(machine: Observation) -> bytes:
    """A report as cpuprobe-native prints it: one line, without its end."""
    return msgspec.json.encode(
        {"schema": "cpuprobe.report/1", "cpuprobe": "0.1.0", "observation": machine}
    )


def five() -> dict[str, bytes]:
    """Five machines by name: one below AVX, one whose AVX is off, two v3, one v4."""
    made = {
        "a-old.json": observation(group(V2), listed=V2),
        "b-gds.json": gds_machine(),
        "c-v3.json": observation(group(V3), listed=V3),
        "d-v3.json": observation(group(V3), listed=V3, release="6.1.5"),
        "e-v4.json": observation(group(V4, xcr0=XCR0_AVX512), listed=V4),
    }
    return {name: report(machine) for name, machine in made.items()}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """The files in a new folder."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


class Ran:
    """One run: its exit code, and what it wrote."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        """Keep them."""
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


def cpuprobe(capture: Any, *arguments: str | Path) -> Ran:
    """Runs a command line; `capture` is pytest's capfdbinary."""
    capture.readouterr()
    code = run([str(each) for each in arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = capture.readouterr()
    return Ran(code, out, err.decode())


def covered(coverages: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Machines by the name of a set."""
    return {each["name"]: each["covered"]["machines"] for each in coverages}

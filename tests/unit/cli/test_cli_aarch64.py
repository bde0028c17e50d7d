"""Commands that are of x86-64, told of an aarch64 machine: one line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import arm_fakes
from tests.command import cpuprobe

from cpuprobe.assessment import assess
from cpuprobe.report.document import make_report, to_json


@pytest.fixture
def pi4(tmp_path: Path) -> Path:
    """A report of a Raspberry Pi 4."""
    machine = arm_fakes.observation(arm_fakes.group(arm_fakes.BASE))
    path = tmp_path / "pi4.json"
    path.write_bytes(to_json(make_report(machine, assess(machine))))
    return path


def test_what_is_of_x86_says_so(pi4: Path, tmp_path: Path) -> None:
    module = tmp_path / "m.wasm"
    module.write_bytes(b"\0asm\1\0\0\0")

    for words, code in (
        (("verify", "--on", pi4), 2),
        (("run", module, "--flags-from", pi4), 2),
        (("check", module, "--on", pi4), 4),
        (("check", module, "--on", pi4, "--format", "nfd-image"), 2),
        (("flags", "--on", pi4, "--format", "jvm"), 2),
    ):
        done = cpuprobe(*words)
        (line,) = done.stderr.splitlines()
        assert done.returncode == code, words
        assert b"x86-64" in line and b"aarch64" in line, words

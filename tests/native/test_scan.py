"""The scanner in C on random bytes, under sanitizers and between pages that cannot be read."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.native.conftest import HERE, NATIVE, VARIANTS
from tests.required import required

SOURCES = [HERE / "fuzz_scan.c", *sorted((NATIVE / "scan").glob("*.c"))]
ROUNDS = os.environ.get("SCAN_ROUNDS", "3000")


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "optimised"), [("gcc", "-O0"), ("clang", "-O1")])
def test_random_bytes(compiler: str, optimised: str, tmp_path: Path) -> None:
    """No read outside of them, nothing undefined, and the same answers however they are cut.

    Clang as `make fuzz` has it: not optimised, its sanitizers take four times as long.
    """
    required(compiler)
    program = tmp_path / "fuzz_scan"
    warnings = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-D_GNU_SOURCE")
    lane = "-DSWEEP_LANE=64"  # of little bytes, for all that can be where two lanes meet
    options = (*VARIANTS["sanitized"], optimised, f"-I{NATIVE / 'scan'}", lane)
    subprocess.run([compiler, *warnings, *options, "-o", program, *SOURCES], check=True)
    done = subprocess.run([program, ROUNDS, "15"], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{ROUNDS} rounds\n"

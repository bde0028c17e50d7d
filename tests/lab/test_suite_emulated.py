"""What the suite says of this machine, it says of one whose CPU has no AVX and no BMI."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.required import required

ROOT = Path(__file__).parents[2]
# Of what measures this machine, or has wasmtime compile for it: what is quick enough emulated.
FILES = (
    "cli/test_cli.py",
    "assessment/test_wasmtime_model.py",
    "code/test_check_cwasm.py",
    "wasm/test_module_proof.py",
    "evidence/test_verdict.py",
)
# The first runs cpuprobe-native, which nobody emulates there; the others are slow and say no more.
LEFT_OUT = "not (test_native_prints or without_a_module or another_machine or help)"


@pytest.mark.lab
def test_no_test_depends_on_the_cpu(tmp_path: Path) -> None:
    """The tests, and every Python that they start, run on an emulated Nehalem and pass."""
    python = tmp_path / "python"
    qemu = required("qemu-x86_64")
    python.write_text(f'#!/bin/sh\nexec {qemu} -cpu Nehalem {sys.executable} "$@"\n')
    python.chmod(0o755)
    # Read by every Python at its start: those that they start in their turn are emulated too.
    site = f"import sys\n\nsys.executable = {str(python)!r}\n"
    (tmp_path / "sitecustomize.py").write_text(site)
    plugins = ("-p", "no:cacheprovider", "-p", "no:xdist")
    files = [f"tests/unit/{file}" for file in FILES]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *plugins, "-k", LEFT_OUT, *files],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
    )

    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"^\d{3} passed", done.stdout, re.MULTILINE)

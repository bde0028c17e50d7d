"""A CPU that has what this machine's may lack, for tests that compile for it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def cpu_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function (*features): where this CPU lacks one, every Python is started on an emulated CPU.

    Those are started as `sys.executable`; compiling executes nothing of what is only claimed there.
    """

    def start_there(*features: str) -> None:
        from cpuprobe.assessment import assess
        from cpuprobe.evidence.measure import observe
        from tests.golden.coverage import CLAIMS_ALL, GLIBC

        assessed = assess(observe())
        if all(assessed.features[feature].safe for feature in features):
            return
        emulator = shutil.which("qemu-x86_64")
        if emulator is None:
            pytest.skip(f"this CPU lacks one of {features}, and there is no qemu-x86_64")
        python = tmp_path / "python"
        settings = " ".join(f"{name}={value}" for name, value in GLIBC.items())
        own = os.path.join(sys.prefix, "bin", "python")
        python.write_text(
            f'#!/bin/sh\nexec env {settings} {emulator} -cpu {CLAIMS_ALL} {own} "$@"\n'
        )
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return start_there

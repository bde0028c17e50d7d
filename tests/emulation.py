"""A CPU that has what this machine's may lack, for tests that compile for it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from cpuprobe.errors import CannotMeasureError
from tests.golden.coverage import CLAIMS_ALL, GLIBC

Answer = TypeVar("Answer")
REFUSED = "not available on the host"


def anywhere(call: Callable[[], Answer], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Calls; where this CPU lacks a flag, again with every Python it starts on an emulated one.

    Args:
        call: raises CannotMeasureError with wasmtime's words, or returns exit code 3.
        folder: for the script that starts them.
        monkeypatch: puts it in the place of `sys.executable`.
    """
    try:
        answer = call()
        if answer != 3:
            return answer
    except CannotMeasureError as error:
        if REFUSED not in str(error):
            raise
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("this CPU lacks a flag, and there is no qemu-x86_64")
    python = folder / "python"
    settings = " ".join(f"{name}={value}" for name, value in GLIBC.items())
    own = os.path.join(sys.prefix, "bin", "python")
    python.write_text(f'#!/bin/sh\nexec env {settings} {emulator} -cpu {CLAIMS_ALL} {own} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return call()

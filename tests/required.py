"""Tools that a test needs: without them it is skipped, or fails where all must be at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_CARGO = Path.home() / ".cargo" / "bin"
"""What rustup has put there is newer than a distribution's rustc."""


def required(tool: str) -> str:
    """The path of a tool; skips the test where it is missing, unless CPUPROBE_LAB=require."""
    path = shutil.which(tool, path=_CARGO) or shutil.which(tool)
    if path is None:
        unable(f"{tool} is not installed")
    return path


def unable(reason: str) -> NoReturn:
    """Skips the test; fails it if CPUPROBE_LAB=require."""
    if os.environ.get("CPUPROBE_LAB") == "require":
        pytest.fail(f"{reason}, and CPUPROBE_LAB=require")
    pytest.skip(reason)

"""A command line run in this process: what a process of its own would say, without its start."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from cpuprobe.cli import run


def cpuprobe(
    *arguments: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> CompletedProcess[bytes]:
    """Runs `cpuprobe ARGUMENTS`; what it raises, which would be a traceback, fails the test.

    Args:
        arguments: the command line.
        stdin: what it may read.
        env: set beside what is in the environment.
        cwd: where it runs.
    """
    command = [str(each) for each in arguments]
    out, err = io.BytesIO(), io.BytesIO()
    here = os.getcwd()
    with (
        mock.patch.dict(os.environ, env or {}),
        mock.patch.object(
            sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)), "utf-8")
        ),
        mock.patch.object(sys, "stdout", io.TextIOWrapper(out, "utf-8")),
        mock.patch.object(sys, "stderr", io.TextIOWrapper(err, "utf-8", "backslashreplace")),
    ):
        try:
            os.chdir(cwd or here)
            code = run(command)
            sys.stdout.flush()
            sys.stderr.flush()
            return CompletedProcess(command, code, out.getvalue(), err.getvalue())
        finally:
            os.chdir(here)

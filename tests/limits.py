"""Commands under the limits that hold for every hostile file: 20 s of CPU time and 1 GB."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

SECONDS = 20
MEMORY = 1 << 30


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """The command under the limits; CPU time counts, so that a busy machine changes nothing."""
    command = [sys.executable, "-m", "cpuprobe", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, preexec_fn=limited, timeout=600, stdin=subprocess.DEVNULL
    )


def assert_answered(*arguments: str | Path, refused: bool | None = None) -> None:
    """An answer, or one line of refusal."""
    ended = run(*arguments)
    errors = ended.stderr.decode()

    assert ended.returncode in (0, 1, 4), (ended.returncode, errors[-300:])
    assert errors.count("\n") == (ended.returncode == 4)
    assert "Traceback" not in errors
    if refused is not None:
        assert (ended.returncode == 4) == refused, errors

"""What every part of the lab needs: its errors, its cache folder, and how it starts other programs.

LabError
    LabMissing   a tool, a package or the network is not there: a test may skip
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.architecture import X86_64, Architecture

CHECKOUT = Path(__file__).parents[2]
GUEST_SOURCES = Path(__file__).parent / "guest"

_EVERY = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static"]
# -fno-tree-loop-distribute-patterns keeps GCC from compiling memset() into a call of memset().
_FREESTANDING = [
    "-ffreestanding",
    "-nostdlib",
    "-no-pie",
    "-fno-pic",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    # Where no program lies by itself: lie.c puts another in its own place.
    "-Wl,-Ttext-segment=0x70000000",
]


class LabError(Exception):
    """A world could not be run to its end; the message says why and holds what the guest said."""


class LabMissing(LabError):
    """Something the lab stands on is absent: a program, a package, the network."""


def cache_dir() -> Path:
    """Return the cache: `$CPUPROBE_LAB_CACHE`, else build/lab in the checkout."""
    chosen = os.environ.get("CPUPROBE_LAB_CACHE")
    folder = Path(chosen) if chosen else CHECKOUT / "build" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep others, threads and processes alike, from making the same cache entry meanwhile.

    Args:
        target: the entry; its folder is made, and the lock is a file beside it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def tool(name: str, package: str) -> str:
    """Return the path of a program, looking in the sbin folders too, where Debian keeps mke2fs.

    Raises:
        LabMissing: it is not installed; the message names the Debian package.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise LabMissing(f"{name} not found: install the Debian package {package}")
    return found


def run_tool(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    good: Sequence[int] = (0,),
) -> str:
    """Run a tool of the host and return its standard output.

    Args:
        argv: the program and its arguments.
        cwd: the folder to run it in.
        env: variables to add to the environment.
        timeout: seconds.
        good: exit codes that are no failure.

    Raises:
        LabError: it failed or took too long; the message ends with its last words.
    """
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} took over {timeout:g} s") from None
    if done.returncode not in good:
        raise LabError(f"{name} failed ({done.returncode}): {tail(done.stderr or done.stdout, 5)}")
    return done.stdout


def tail(text: str, lines: int) -> str:
    """Return the last `lines` lines of a text."""
    return "\n".join(text.strip().splitlines()[-lines:])


def digest(*parts: bytes | str) -> str:
    """Return a short name for the given contents, to key a cache by."""
    state = hashlib.sha256()
    for part in parts:
        blob = part.encode() if isinstance(part, str) else part
        state.update(len(blob).to_bytes(8, "little"))
        state.update(blob)
    return state.hexdigest()[:20]


def c_compiler(architecture: Architecture = X86_64) -> str:
    """Return the C compiler for an instruction set; $CC is this machine's.

    Raises:
        LabMissing: it is not installed.
    """
    name, package = architecture.compiler
    named = os.environ.get("CC") if architecture is X86_64 else None
    return tool(named or name, package)


def freestanding(source: str, architecture: Architecture = X86_64) -> Path:
    """Compile a program of tests/lab/guest, static and without libc, once for each version.

    Args:
        source: file name in tests/lab/guest, e.g. "init.c".
        architecture: what it is to run on.

    Returns:
        The executable, in the cache.

    Raises:
        LabMissing: there is no C compiler.
        LabError: it does not compile.
    """
    return _compiled(source, architecture, [*_FREESTANDING, *architecture.flags])


def ordinary(source: str, architecture: Architecture = X86_64) -> Path:
    """Compile a program of tests/lab/guest with libc, static; else the same."""
    return _compiled(source, architecture, [])


def _compiled(source: str, architecture: Architecture, further: Sequence[str]) -> Path:
    compiler = c_compiler(architecture)
    options = [*_EVERY, *further]
    path = GUEST_SOURCES / source
    key = digest(
        path.read_bytes(), (GUEST_SOURCES / "sys.h").read_bytes(), compiler, " ".join(options)
    )
    target = cache_dir() / "bin" / f"{path.stem}-{key}"
    with locked(target):
        if not target.exists():
            half = target.with_name(f"{target.name}.part")
            run_tool([compiler, *options, "-o", half, path])
            half.replace(target)
    return target

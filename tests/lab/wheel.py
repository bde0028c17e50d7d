"""Finds or builds the wheel that the full root installs."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.lab.architecture import X86_64, Architecture
from tests.lab.common import (
    CHECKOUT,
    LabMissing,
    c_compiler,
    cache_dir,
    digest,
    locked,
    run_tool,
)

# What a wheel is made of, as `setup.py` and the Makefile see it.
_FILES = ("pyproject.toml", "setup.py", "Makefile", "README.md", "LICENSE")
_FOLDERS = ("native", "probe", "profiles")
_MADE = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "bin")
_KEPT = 4


def _sources() -> Iterator[Path]:
    """Every file a wheel depends on, in a fixed order."""
    yield from (CHECKOUT / name for name in _FILES)
    for folder in _FOLDERS:
        for top, folders, names in os.walk(CHECKOUT / folder):
            made = _MADE(top, [*folders, *names])
            folders[:] = sorted(set(folders) - made)
            yield from (Path(top, name) for name in sorted(set(names) - made))


def _ready(architecture: Architecture = X86_64) -> Path | None:
    """The newest wheel in dist/, unless a source is newer."""
    found = (CHECKOUT / "dist").glob(f"cpuprobe-*_{architecture.machine_name}.whl")
    wheels = [path for path in found if "musllinux" not in path.name]
    if not wheels:
        return None
    newest = max(wheels, key=lambda path: path.stat().st_mtime)
    changed = max(path.stat().st_mtime for path in _sources())
    return newest if newest.stat().st_mtime > changed else None


def _build(folder: Path, architecture: Architecture) -> None:
    """Build from a copy: a build in the checkout would leave its traces there."""
    settings = {}
    if architecture is not X86_64:
        settings = {"CPUPROBE_ISA": architecture.machine_name, "CC": c_compiler(architecture)}
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=cache_dir()) as name:
        copy = Path(name, "checkout")
        for source in _sources():
            target = copy / source.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        made = Path(name, "wheel")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        run_tool([*command, "--no-deps", "--wheel-dir", made, copy], env=settings, timeout=600)
        made.rename(folder)


@functools.cache
def built(architecture: Architecture = X86_64) -> Path:
    """Return the wheel of the sources as they are now, built once; it is kept in the cache."""
    key = digest(*(part for path in _sources() for part in (path.name, path.read_bytes())))
    folder = cache_dir() / f"wheels-{architecture.debian}" / key
    with locked(folder):
        if not folder.exists():
            _build(folder, architecture)
            _prune(folder.parent)
    (found,) = folder.glob("cpuprobe-*.whl")
    return found


def wheel(architecture: Architecture = X86_64) -> Path:
    """Return the wheel: $CPUPROBE_LAB_WHEEL, the one in dist/ if it is current, or a new one.

    The variable names that of x86-64 only. A new one is kept in the cache under the digest of its
    sources.

    Raises:
        LabMissing: the one that was named is not there.
        LabError: it does not build.
    """
    named = os.environ.get("CPUPROBE_LAB_WHEEL") if architecture is X86_64 else None
    if named is None:
        return _ready(architecture) or built(architecture)
    if not Path(named).exists():
        raise LabMissing(f"CPUPROBE_LAB_WHEEL: {named} not found")
    return Path(named).absolute()


def _prune(folder: Path) -> None:
    """Keep the newest wheels only: every change of a source makes one."""
    built = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for old in built[:-_KEPT]:
        shutil.rmtree(old)

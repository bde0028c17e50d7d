"""CPython for arm64 under qemu-aarch64: Debian's packages and wheels, unpacked into the cache."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import packages
from tests.lab.common import cache_dir, digest, locked, run_tool

# The tags of wheels that run on Debian 12 (glibc 2.36).
_PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (34, 31, 28, 27, 26, 24, 17)]
_PLATFORMS += ["manylinux2014_aarch64", "linux_aarch64"]
_KEPT = 4


@dataclass(frozen=True)
class ArmPython:
    """An interpreter for arm64.

    Attributes:
        root: what QEMU's -L needs.
        env: environment of the interpreter.
    """

    root: Path
    env: Mapping[str, str]

    @property
    def executable(self) -> Path:
        """The interpreter."""
        return self.root / "usr/bin/python3.11"

    @property
    def loader(self) -> Path:
        """The dynamic loader, which starts it too."""
        return self.root / "lib/ld-linux-aarch64.so.1"


def _site(requirements: Sequence[str]) -> Path:
    """Packages for it, installed once for the same requirements; wheels count by their content."""
    parts: list[bytes | str] = []
    for requirement in requirements:
        path = Path(requirement)
        parts += [path.name, path.read_bytes()] if path.is_file() else [requirement]
    folder = cache_dir() / "sites-arm64" / digest(*parts)
    with locked(folder):
        if not folder.exists():
            half = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(half, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
            pip += ["--disable-pip-version-check", "--only-binary=:all:", "--target", str(half)]
            pip += ["--implementation", "cp", "--python-version", "3.11"]
            pip += [word for name in _PLATFORMS for word in ("--platform", name)]
            files = [name for name in requirements if Path(name).is_file()]
            names = [name for name in requirements if name not in files]
            run_tool([*pip, *names], timeout=600)
            # pip judges the markers of what they require by this machine, not by the one it is for.
            if files:
                run_tool([*pip, "--no-deps", *files], timeout=600)
            half.rename(folder)
            made = sorted(
                (each for each in folder.parent.iterdir() if each.is_dir()),
                key=lambda each: each.stat().st_mtime,
            )
            for old in made[:-_KEPT]:
                shutil.rmtree(old)
    return folder


def arm_python(requirements: Sequence[str] = ()) -> ArmPython:
    """Return CPython 3.11 for arm64 with packages.

    Args:
        requirements: what pip is to install: requirement strings, and wheels (paths), of which
            what they require has to be named as well.

    Raises:
        LabMissing: Debian's packages cannot be had.
        LabError: pip failed.
    """
    root = packages.python_arm64()
    env = {
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": str(_site(requirements)) if requirements else "",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }
    return ArmPython(root, env)

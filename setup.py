"""Builds what pyproject.toml cannot say: the cffi extension and the static cpuprobe-native.

On anything but Linux on x86-64 neither can be built; the package then installs as plain Python,
which still reads, assesses and compares captures from other machines.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "native"))

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"


class BuildNative(build_ext):
    """build_ext, and then cpuprobe-native by the Makefile's own rule."""

    def run(self):
        super().run()
        compiler = (
            os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or "clang"
        ).split()
        subprocess.run(
            ["make", "native", f"CC={' '.join(compiler)}"], check=True, stdout=sys.stderr
        )
        package = Path(self.get_ext_fullpath("cpuprobe._native")).parent
        (package / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2("build/cpuprobe-native", package / "bin" / "cpuprobe-native")


if SUPPORTED:
    setup(cffi_modules=["native/binding.py:builder"], cmdclass={"build_ext": BuildNative})
else:
    setup()

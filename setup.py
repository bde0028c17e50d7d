"""Builds what pyproject.toml cannot say: the cffi extension and the static cpuprobe-native.

Where neither can be built (another system, no C compiler, no Python.h) the package installs as
plain Python, which still reads, assesses and compares captures from other machines. With
CPUPROBE_REQUIRE_NATIVE set, as the Makefile does, that is an error.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "native"))

COMPILER = (os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or "clang").split()


def missing():
    """What the native parts need and this system has not; empty if it has all."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "Linux on x86-64"
    if shutil.which(COMPILER[0]) is None:
        return "a C compiler (install gcc, or set CC)"
    if shutil.which("make") is None:
        return "make"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h (install python3-dev)"
    return ""


class BuildNative(build_ext):
    """build_ext, and then cpuprobe-native by the Makefile's own rule."""

    def run(self):
        super().run()
        subprocess.run(
            ["make", "native", f"CC={' '.join(COMPILER)}"], check=True, stdout=sys.stderr
        )
        package = Path(self.get_ext_fullpath("cpuprobe._native")).parent
        (package / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2("build/cpuprobe-native", package / "bin" / "cpuprobe-native")


lacking = missing()
if not lacking:
    setup(cffi_modules=["native/binding.py:builder"], cmdclass={"build_ext": BuildNative})
elif os.environ.get("CPUPROBE_REQUIRE_NATIVE"):
    sys.exit(f"cpuprobe: its native parts need {lacking}")
else:
    print(
        f"cpuprobe: without its native parts, which need {lacking}: this installation reads "
        "captures and measures nothing",
        file=sys.stderr,
    )
    setup()

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
    """build_ext, and then cpuprobe-native and libcpuprobe by the Makefile's own rules."""

    def run(self):
        super().run()
        # Who works on a checkout has the library from `make lib`, and need not wait for it here.
        targets = ["native"] if self.inplace or self.editable_mode else ["native", "lib"]
        subprocess.run(
            ["make", *targets, f"CC={' '.join(COMPILER)}"], check=True, stdout=sys.stderr
        )
        package = Path(self.get_ext_fullpath("cpuprobe._native")).parent
        (package / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2("build/cpuprobe-native", package / "bin" / "cpuprobe-native")
        if "lib" in targets:
            for folder in ("lib", "include"):
                shutil.copytree(f"build/{folder}", package / folder, dirs_exist_ok=True)


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

"""Builds what pyproject.toml cannot say: the cffi extension and the static cpuprobe-native.

Where neither can be built (another system, no C compiler, no Python.h) the package installs as
plain Python, which still reads, assesses and compares captures from other machines. With
CPUPROBE_REQUIRE_NATIVE set, as the Makefile does, that is an error.

CPUPROBE_ISA names another instruction set to build for, with the cross compiler that CC names: the
extension has the limited API, so the headers of this Python serve it.
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

ISA = os.environ.get("CPUPROBE_ISA", platform.machine())
if platform.machine() != ISA:
    os.environ["_PYTHON_HOST_PLATFORM"] = f"linux-{ISA}"  # what the wheel is named after
EXECUTABLE = "build/cpuprobe-native" + (f"-{ISA}" if platform.machine() != ISA else "")
COMPILER = (os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc") or "clang").split()


def missing():
    """What the native parts need and this system has not; empty if it has all."""
    if sys.platform != "linux" or ISA not in {"x86_64", "aarch64"}:
        return "Linux on x86-64 or aarch64"
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
        command = ["make", f"ISA={ISA}", f"EXECUTABLE={EXECUTABLE}", f"CC={' '.join(COMPILER)}"]
        subprocess.run([*command, EXECUTABLE], check=True, stdout=sys.stderr)
        package = Path(self.get_ext_fullpath("cpuprobe._native")).parent
        (package / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(EXECUTABLE, package / "bin" / "cpuprobe-native")
        # Who works on a checkout has the library from `make lib`, and need not wait for it here.
        # It is the verdict, for which the core of aarch64 lacks the tables.
        if not self.inplace and not self.editable_mode and ISA == "x86_64":
            subprocess.run([*command, "lib"], check=True, stdout=sys.stderr)
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

"""Builds the core's test program and the static executable, each variant once a session."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.required import required

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
NATIVE = ROOT / "native"

TEST_SOURCES = (
    "test_core.c",
    "fakes.c",
    "beliefs.c",
    "caller.c",
    "identity.c",
    "groups.c",
    "flag_files.c",
)
ISA = NATIVE / "isa" / "x86_64"
EXECUTABLE_ONLY = {NATIVE / "main.c", ISA / "start.c"}
CORE_SOURCES = sorted(
    {*NATIVE.glob("*.c"), *ISA.glob("*.c"), *ISA.glob("candidates/*.c")} - EXECUTABLE_ONLY
)
FLAGS = (
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-g",
    "-D_GNU_SOURCE",
    f"-I{NATIVE / 'isa' / 'x86_64'}",
    "-DCPUPROBE_HOSTED",
    "-DWALL_TICK_MICROSECONDS=100000",  # what waits in the kernel is noticed sooner
)
PUBLIC = (
    "cpuprobe_error_text",
    "cpuprobe_judge",
    "cpuprobe_level",
    "cpuprobe_observe_json",
    "cpuprobe_safe_flags",
    "cpuprobe_safe_flags_cached",
    "cpuprobe_version",
)
VARIANTS = {
    "plain": ("-O2",),
    # Not optimised, nothing is hidden from the sanitizers, and it is built in half the time.
    "sanitized": ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    # qemu-user opens no host libraries for its guest's sake: a static program is simplest.
    "static": ("-O2", "-static"),
}


@pytest.fixture(scope="session")
def core_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function (compiler, variant) -> the test program, built on first use."""
    built: dict[tuple[str, str], Path] = {}

    def build(compiler: str, variant: str) -> Path:
        key = (compiler, variant)
        if key not in built:
            program = tmp_path_factory.mktemp("core") / f"test_core-{compiler}-{variant}"
            sources = [HERE / name for name in TEST_SOURCES]
            sources += CORE_SOURCES
            command: list[str] = [
                compiler,
                *FLAGS,
                *VARIANTS[variant],
                "-pthread",
                "-o",
                str(program),
            ]
            command += map(str, sources)
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            built[key] = program
        return built[key]

    return build


def make_native(tree: Path, compiler: str = "gcc") -> tuple[Path, Path]:
    """cpuprobe-native by the Makefile's own rule, in a copy of the sources; and before `strip`."""
    required("make")
    shutil.copytree(NATIVE, tree / "native")
    shutil.copy2(ROOT / "Makefile", tree)
    strip = tree / "bin" / "strip"
    strip.parent.mkdir()
    strip.write_text(f'#!/bin/sh\ncp "$1" symbols && exec {required("strip")} "$@"\n')
    strip.chmod(0o755)
    done = subprocess.run(
        ["make", "native", f"CC={compiler}"],
        cwd=tree,
        env={**os.environ, "PATH": f"{strip.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return tree / "build" / "cpuprobe-native", tree / "symbols"


@pytest.fixture(scope="session")
def native_builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """cpuprobe-native as `make native` leaves it, and the same with its symbols."""
    return make_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make lib` leaves: lib/ and include/."""
    required("make")
    tree = tmp_path_factory.mktemp("library")
    shutil.copytree(NATIVE, tree / "native")
    shutil.copy2(ROOT / "Makefile", tree)
    command = ["make", "-s", "-j2", "lib", "CC=gcc"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tree / "build"


@pytest.fixture(scope="session")
def library(prefix: Path) -> ctypes.CDLL:
    """libcpuprobe in this very process, made a shared library."""
    path = prefix / "libcpuprobe.so"
    archive = str(prefix / "lib" / "libcpuprobe.a")
    whole = ["-Wl,--whole-archive", archive, "-Wl,--no-whole-archive"]
    command = [required("gcc"), "-shared", "-o", str(path), *whole]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(path))
    for name in PUBLIC:
        loaded[name].restype = ctypes.c_long
    loaded.cpuprobe_error_text.restype = loaded.cpuprobe_version.restype = ctypes.c_char_p
    loaded.cpuprobe_error_text.argtypes = [ctypes.c_long]
    return loaded

"""Verdicts on programs in C, C++ and Rust, held to what emulated CPUs make of them.

What dies on a Nehalem, or ends itself there, must not fit x86-64-v2; what runs there must.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.needs import read_needs
from tests.unit.check import samples

from cpuprobe.check.against import within
from cpuprobe.check.judge import judge
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.slow

CPUINFO = "processor\t: 0\nflags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt lm\n"


def compiled(folder: Path, source: str, suffix: str, *command: str) -> Path:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    (folder / f"a{suffix}").write_text(source)
    subprocess.run([*command, f"a{suffix}", "-o", "a.out"], cwd=folder, check=True)
    return folder / "a.out"


def ends(path: Path, cpu: str, *options: str) -> str:
    """What becomes of a program on an emulated CPU."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("no qemu-x86_64 here")
    result = subprocess.run([qemu, *options, "-cpu", cpu, path], capture_output=True, timeout=120)
    return {0: "runs", -4: "dies"}.get(result.returncode, "refuses")  # 4 is SIGILL


def hold(path: Path, truth: str, folder: Path) -> None:
    """The verdict and two emulated CPUs agree; the older one finds its own /proc/cpuinfo."""
    (folder / "root/proc").mkdir(parents=True)
    (folder / "root/proc/cpuinfo").write_text(CPUINFO)
    fit = judge(str(path), read_needs(str(path)), within(find_profile("x86-64-v2")))

    assert fit.missing
    assert fit.fits is (truth == "runs"), fit.reason
    assert ends(path, "Nehalem", "-L", str(folder / "root")) == truth
    assert ends(path, "Haswell") == "runs"


@pytest.mark.parametrize("name", samples.C)
def test_c(name, tmp_path):
    truth, source = samples.C[name]
    main = "" if name in samples.C_ALONE else samples.C_MAIN
    path = compiled(tmp_path, samples.C_HEAD + source + main, ".c", "gcc", "-O2", "-w")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", samples.CXX)
def test_cxx(name, tmp_path):
    truth, source = samples.CXX[name]
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".cc", "g++", "-O2", "-w", "-std=c++17")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", samples.COMDAT)
def test_an_inline_function_of_which_the_linker_keeps_one_copy(name, tmp_path):
    truth, source = samples.COMDAT[name]
    (tmp_path / "b.cc").write_text(samples.SHARED + samples.OTHER)
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    newer = ("g++", "-O3", "-mavx2", "-mfma", "-c", "b.cc")
    subprocess.run(newer, cwd=tmp_path, check=True)
    path = compiled(tmp_path, samples.SHARED + source, ".cc", "g++", "-O3", "b.o")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", samples.RUST)
def test_rust(name, tmp_path):
    truth, source = samples.RUST[name]
    flags = samples.RUST_FLAGS.get(name, ())
    source = samples.RUST_HEAD + source
    path = compiled(tmp_path, source, ".rs", "rustc", "--edition=2021", "-O", *flags)

    hold(path, truth, tmp_path)

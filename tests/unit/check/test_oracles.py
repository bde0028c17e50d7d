"""Verdicts on programs in C, C++, Rust and Go, held to what emulated CPUs make of them.

What dies on a Nehalem, or ends itself there, must not fit x86-64-v2; what runs there must.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.needs import read_needs
from tests.unit.check import containers, go_samples, object_samples, samples

from cpuprobe.check.against import within
from cpuprobe.check.judge import judge
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.slow

CPUINFO = "processor\t: 0\nflags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt lm\n"


def need(tool: str) -> None:
    """Skips a test where a program is not installed; CI has all of them."""
    if shutil.which(tool) is None:
        assert os.environ.get("CPUPROBE_LAB") != "require", f"no {tool} here"
        pytest.skip(f"no {tool} here")


def compiled(folder: Path, source: str, suffix: str, *command: str) -> Path:
    need(command[0])
    (folder / f"a{suffix}").write_text(source)
    subprocess.run([*command, f"a{suffix}", "-o", "a.out"], cwd=folder, check=True)
    return folder / "a.out"


def ends(path: Path, cpu: str, *options: str) -> str:
    """What becomes of a program on an emulated CPU."""
    need("qemu-x86_64")
    result = subprocess.run(
        ["qemu-x86_64", *options, "-cpu", cpu, path], capture_output=True, timeout=120
    )
    if b"SIGILL: illegal instruction" in result.stderr:  # Go's runtime catches it, and says so
        return "dies"
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


@pytest.mark.parametrize("name", ["order", "vendor", "family", "level", "bytes_of_another"])
def test_c_without_symbols(name, tmp_path):
    """What libgcc answers is found where nothing names it."""
    truth, source = samples.C[name]
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".c", "gcc", "-O2", "-w", "-s")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", ["switch", *samples.STATIC])
def test_c_with_its_library_in_it(name, tmp_path):
    """What the C library does with the answers of its own makes no choice of the program's."""
    truth, source = (samples.C | samples.STATIC)[name]
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".c", "gcc", "-O2", "-w", "-static")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", samples.CALLS)
def test_assembly_without_symbols(name, tmp_path):
    truth, source = samples.CALLS[name]
    (tmp_path / "b.s").write_text(samples.ASSEMBLY)
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".c", "gcc", "-O2", "-w", "-s", "b.s")

    hold(path, truth, tmp_path)


def test_c_that_does_not_move(tmp_path):
    source = samples.C_HEAD + samples.STORED + samples.C_MAIN
    path = compiled(tmp_path, source, ".c", "gcc", "-O1", "-w", "-fno-pie", "-no-pie")

    hold(path, "dies", tmp_path)


def test_c_that_asks_another_library(tmp_path):
    """What kind an object is of follows from a variable of another file: a switch chooses by it."""
    need("gcc")
    (tmp_path / "b.c").write_text(samples.OTHERS)
    shared = ("gcc", "-O2", "-shared", "-fPIC", "b.c", "-o", "libb.so")
    subprocess.run(shared, cwd=tmp_path, check=True)
    source = samples.C_HEAD.partition("OLD int has")[0] + samples.ASKS_OTHERS + samples.C_MAIN
    flags = ("-O2", "-w", "-fPIC", "-Wl,--no-as-needed", "libb.so", f"-Wl,-rpath,{tmp_path}")
    path = compiled(tmp_path, source, ".c", "gcc", *flags)

    hold(path, "runs", tmp_path)


@pytest.mark.parametrize("name", samples.CXX)
def test_cxx(name, tmp_path):
    truth, source = samples.CXX[name]
    source = samples.C_HEAD + source + ("" if name in samples.CXX_ALONE else samples.C_MAIN)
    path = compiled(tmp_path, source, ".cc", "g++", "-O2", "-w", "-std=c++17")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("how", [("gcc", "-O2"), ("clang", "-O0")], ids=" ".join)
@pytest.mark.parametrize("name", object_samples.C)
def test_what_is_kept_in_objects(name, how, tmp_path):
    truth, source = object_samples.C[name]
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".c", *how, "-w", "-pthread")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("how", [("g++", "-O2"), ("clang++", "-O0")], ids=" ".join)
@pytest.mark.parametrize("name", object_samples.CXX)
def test_what_is_kept_in_objects_of_classes(name, how, tmp_path):
    truth, source = object_samples.CXX[name]
    source = object_samples.CXX_HEAD + samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".cc", *how, "-w", "-std=c++17")

    hold(path, truth, tmp_path)


def test_cxx_that_does_not_move(tmp_path):
    """Tables of virtual functions are known where no relocation tells of them."""
    truth, source = samples.CXX["made_by_level_too_low"]
    source = samples.C_HEAD + source + samples.C_MAIN
    path = compiled(tmp_path, source, ".cc", "g++", "-O2", "-w", "-no-pie", "-flto")

    hold(path, truth, tmp_path)


@pytest.mark.parametrize("name", samples.COMDAT)
def test_an_inline_function_of_which_the_linker_keeps_one_copy(name, tmp_path):
    truth, source = samples.COMDAT[name]
    (tmp_path / "b.cc").write_text(samples.SHARED + samples.OTHER)
    need("g++")
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


@pytest.mark.parametrize("name", ["detected", "order"])
def test_rust_without_optimisation(name, tmp_path):
    """Each word of the cache is told to functions, and how it is loaded stands in a table."""
    truth, source = samples.RUST[name]
    path = compiled(tmp_path, samples.RUST_HEAD + source, ".rs", "rustc", "--edition=2021")

    hold(path, truth, tmp_path)


GO_BUILDS = {"plain": (), "stripped": ("-ldflags=-s -w",)}
BUILD_OF = dict(zip(go_samples.GO, itertools.cycle(GO_BUILDS), strict=False))


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All samples in Go, by build and name: of one module, built together without a network."""
    need("go")
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text(go_samples.MODULE)
    for name, (_, text) in go_samples.GO.items():
        source = textwrap.dedent(text)
        known = [each for each in go_samples.IMPORTS if f"{each.split('/')[-1]}." in source]
        imports = "".join(f'import "{each}"\n' for each in known)
        head = go_samples.HEAD.replace('import "os"\n', 'import "os"\n' + imports)
        (folder / name).mkdir()
        (folder / name / "main.go").write_text(head + source)
        more = go_samples.TESTED if "tested(" in source else ""
        (folder / name / "all.s").write_text(go_samples.ASSEMBLY + more)
    (folder / "cpu").mkdir()
    (folder / "cpu/cpu.go").write_text(go_samples.CPU)
    (folder / "cpu/all.s").write_text(go_samples.ASSEMBLY)
    settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOAMD64": "v1"}
    environment = {**os.environ, **settings, "GOCACHE": str(folder / "cache"), "GO111MODULE": "on"}
    for build, flags in GO_BUILDS.items():
        (folder / "built" / build).mkdir(parents=True)
        those = [f"./{name}" for name, wanted in BUILD_OF.items() if wanted == build]
        command = ["go", "build", *flags, "-o", f"built/{build}/", *those]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder / "built"


@pytest.mark.parametrize("name", go_samples.GO)
def test_go(name, go_programs, tmp_path):
    hold(go_programs / BUILD_OF[name] / name, go_samples.GO[name][0], tmp_path)


@pytest.mark.parametrize(
    "name", ["unasked", "order", "goroutine", "direct", "pointer", "interface"]
)
@pytest.mark.parametrize("container", [containers.pe, containers.macho])
def test_go_for_windows_and_macos(container, name, go_programs, tmp_path):
    """The same code and data in another container are judged as the program for Linux is."""
    path = tmp_path / "a.bin"
    path.write_bytes(container(go_programs / BUILD_OF[name] / name))
    fit = judge(str(path), read_needs(str(path)), within(find_profile("x86-64-v2")))

    assert fit.missing
    assert fit.fits is (go_samples.GO[name][0] == "runs"), fit.reason

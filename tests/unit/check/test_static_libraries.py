"""Objects of static libraries, judged together, and held to what emulated CPUs make of them."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.archives import ar_of
from tests.unit.check.library_samples import HAS, HEAD, LIBRARIES, MAIN
from tests.unit.check.test_oracles import ends, need

from cpuprobe.check.against import within
from cpuprobe.check.contents import contents
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code import library
from cpuprobe.code import linked as linking
from cpuprobe.code.native import NATIVE
from cpuprobe.facts.profiles import find_profile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NATIVE, reason="nothing is followed without the extension"),
]

BUILDS = {
    "pie": ("gcc", "-O2"),
    "clang": ("clang", "-O2"),
    "fixed": ("gcc", "-O2", "-fno-pic", "-fno-pie", "-no-pie"),
    "no_plt": ("gcc", "-O3", "-fPIC", "-fno-plt"),
    "sections": ("gcc", "-Os", "-ffunction-sections", "-fdata-sections"),
}
BUILD_OF = dict(zip(LIBRARIES, itertools.cycle(BUILDS), strict=False))


def built(folder: Path, members: dict[str, str], *command: str) -> Path:
    """A static library with members by name."""
    need(command[0])
    for name, source in members.items():
        (folder / f"{name}.c").write_text(HEAD + source)
    for newer in (False, True):
        names = [f"{name}.c" for name in members if name.endswith("3") is newer]
        flags = ("-O3", "-march=x86-64-v3") if newer else ()
        subprocess.run([*command, *flags, "-w", "-c", *names], cwd=folder, check=bool(names))
    path = folder / "lib.a"
    path.write_bytes(ar_of({f"{name}.o/": (folder / f"{name}.o").read_bytes() for name in members}))
    return path


def judged(path: Path) -> dict[str, Fit]:
    """The verdict on each object, by its name."""
    fits = {}
    for each in contents(str(path)).met:
        assert each.needs is not None, each
        fit = judge(each.name, each.needs, within(find_profile("x86-64-v2")))
        fits[each.name.rpartition("!")[2]] = fit
    return fits


def linked(folder: Path, *command: str) -> Path:
    """A program with all objects of the library."""
    whole = ("-Wl,--whole-archive", "lib.a", "-Wl,--no-whole-archive")
    subprocess.run([*command, "-w", "main.c", *whole, "-o", "main"], cwd=folder, check=True)
    return folder / "main"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_fits_where_a_program_with_all_of_it_runs(name, tmp_path):
    truth, members = LIBRARIES[name]
    command = BUILDS[BUILD_OF[name]]
    fits = judged(built(tmp_path, members, *command))
    (tmp_path / "main.c").write_text(HEAD + MAIN)
    program = linked(tmp_path, *command)

    assert any(fit.missing for fit in fits.values())
    assert all(fit.fits for fit in fits.values()) is (truth == "runs"), fits
    assert ends(program, "Nehalem") == truth
    assert ends(program, "Haswell") == "runs"


OTHERS = {
    "COFF": ("clang", "-target", "x86_64-pc-windows-msvc", "-O2"),
    "Mach-O": ("clang", "-target", "x86_64-apple-macos11", "-O2"),
}


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("name", sorted(LIBRARIES.keys() - {"ifunc"}))
def test_a_library_for_another_system_is_judged_as_one_for_linux(name, form, tmp_path):
    """By relocations and symbols of that form; what becomes of it is known from the other."""
    truth, members = LIBRARIES[name]
    fits = judged(built(tmp_path, members, *OTHERS[form]))

    assert any(fit.missing for fit in fits.values())
    assert all(fit.fits for fit in fits.values()) is (truth == "runs"), fits


@pytest.mark.parametrize("order", [("fast3", "slow"), ("slow", "fast3")])
def test_of_an_inline_function_the_first_object_has_the_copy_that_counts(order, tmp_path):
    """As a linker takes it: with AVX2 where that object comes first."""
    assert {name[:4] for name in order} == {"fast", "slow"}
    inline = "__attribute__((noinline)) inline void shared(int k) { LOOP(k); }"
    members = {
        "work": "void work(int k) { if (has()) fast(k); else slow(k); }",
        "has": HAS,
        **{
            name: f"{inline} void {name.removesuffix('3')}(int k) {{ shared(k); }}"
            for name in order
        },
    }
    fits = judged(built(tmp_path, members, "gcc", "-O2", "-xc++"))
    (tmp_path / "main.c").write_text(HEAD + MAIN)
    program = linked(tmp_path, "gcc", "-O2")

    assert fits["fast3.o"].fits is (order[0] == "slow")
    assert ends(program, "Nehalem") == ("dies" if order[0] == "fast3" else "runs")


LEAKED = LIBRARIES["one_leaked"][1]


def test_each_object_is_told_of_by_its_own_addresses(tmp_path):
    """The one that leaked, and through which other object's function one comes there."""
    fits = judged(built(tmp_path, LEAKED, "gcc", "-O2"))
    fit = fits["leaked3.o"]
    assert fit.needs is not None

    assert {name for name, each in fits.items() if not each.fits} == {"leaked3.o"}
    reached = fit.needs.reached[min(fit.needs.reached)]
    assert reached.address in range(fit.needs.coverage.total)
    assert (reached.by, reached.name) == ("export", "work")
    assert fits["fast3.o"].reason.endswith("looked for and not found")


def test_objects_that_use_addresses_in_other_ways_are_judged_alone(tmp_path):
    """-mcmodel=large: in doubt they do not fit."""
    fits = judged(built(tmp_path, LIBRARIES["asks_elsewhere"][1], "gcc", "-O2", "-mcmodel=large"))

    assert not fits["fast3.o"].fits
    assert "nothing in this file chooses" in fits["fast3.o"].reason


@pytest.mark.parametrize(("module", "limit"), [(library, "MOST_HELD"), (linking, "MOST_SYMBOLS")])
def test_objects_that_are_too_many_are_judged_alone(module, limit, tmp_path, monkeypatch):
    path = built(tmp_path, LIBRARIES["asks_elsewhere"][1], "gcc", "-O2")
    assert judged(path)["fast3.o"].fits
    monkeypatch.setattr(module, limit, 3)

    assert not judged(path)["fast3.o"].fits

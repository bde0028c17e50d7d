"""Is code beyond the target guarded? Compiled samples, and what emulated CPUs make of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.needs import read_needs

from cpuprobe.check.against import within
from cpuprobe.check.judge import Fit, judge
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

HEAD = """
#include <stdio.h>
float a[1000], b[1000];
#define LOOP(k) for (int i = 0; i < 1000; i++) a[i] = a[i] * b[i] + k
#define NEW __attribute__((target("arch=haswell"), noinline))
#define OLD __attribute__((noinline))
NEW void fast(int k) { LOOP(k); }
OLD void slow(int k) { LOOP(k); }
"""
MAIN = 'int main(int argc, char **argv) { work(argc); printf("%f\\n", a[7]); return 0; }\n'
V3 = ("-march=x86-64-v3",)

# What dies on a CPU without AVX2. The second and third ask the CPU, and it is of no help.
UNGUARDED = {
    "plain": "OLD void work(int k) { LOOP(k); }\n",
    "stray": """OLD void work(int k) {
        printf("%d\\n", __builtin_cpu_supports("sse4.2")); LOOP(k); }\n""",
    "later": """int quiet; OLD void work(int k) {
        if (__builtin_cpu_supports("avx2")) quiet = 1;
        if (k > 100) printf("many\\n");
        slow(k); }\n""",
}
# What runs on every CPU.
GUARDED = {
    "supports": """OLD void work(int k) {
        if (__builtin_cpu_supports("avx2")) fast(k); else slow(k); }\n""",
    "early": """OLD void work(int k) {
        if (!__builtin_cpu_supports("avx2")) { slow(k); return; }
        fast(k); }\n""",
    "clones": """__attribute__((target_clones("arch=haswell", "default"), noinline))
        void work(int k) { LOOP(k); }\n""",
    "ifunc": """static void (*choose(void))(int) {
        __builtin_cpu_init(); return __builtin_cpu_supports("avx2") ? fast : slow; }
        void work(int k) __attribute__((ifunc("choose")));\n""",
    "table": """static void (*chosen)(int) = slow;
        __attribute__((constructor)) void set(void) {
            if (__builtin_cpu_supports("avx2")) chosen = fast; }
        OLD void work(int k) { chosen(k); }\n""",
    "answer": """#include <cpuid.h>
        OLD int has(void) { unsigned a, b, c, d;
            return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }
        OLD void work(int k) { if (has()) fast(k); else slow(k); }\n""",
    "cached": """#include <cpuid.h>
        static int known = -1;
        OLD int has(void) { unsigned a, b, c, d;
            return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }
        OLD void work(int k) { if (known < 0) known = has();
            if (known) fast(k); else slow(k); }\n""",
}
LINKED = {
    "pie": (),
    "static": ("-static",),
    "no-pie": ("-no-pie",),
    "static-pie": ("-static-pie",),
    "stripped": ("-s",),
    "stripped-static": ("-s", "-static"),
    "lto": ("-flto",),
}


def build(folder: Path, source: str, *options: str, name: str = "a.out") -> Path:
    path = folder / name
    text = path.with_suffix(".c")
    text.write_text(source)
    subprocess.run(["gcc", "-O3", text, "-o", path, *options], check=True)
    return path


def held_against(path: Path, name: str) -> Fit:
    return judge(str(path), read_needs(str(path)), within(find_profile(name)))


def ends(path: Path, cpu: str) -> int | None:
    """The exit code on an emulated CPU, None without the emulator."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        return None
    return subprocess.run([qemu, "-cpu", cpu, path], capture_output=True, timeout=120).returncode


QUICK = ("pie",)
SAMPLES = [
    pytest.param(sample, linked, marks=[] if linked in QUICK else pytest.mark.slow)
    for sample in (*UNGUARDED, *GUARDED)
    for linked in LINKED
]


@pytest.mark.parametrize(("sample", "linked"), SAMPLES)
def test_programs_do_as_they_are_judged(sample, linked, tmp_path):
    """What dies on a Nehalem does not fit x86-64-v2, and what runs there does."""
    source = HEAD + (UNGUARDED | GUARDED)[sample] + MAIN
    march = V3 if sample in UNGUARDED else ()
    path = build(tmp_path, source, *march, *LINKED[linked])
    fit = held_against(path, "x86-64-v2")

    assert fit.missing
    assert held_against(path, "x86-64-v3").expectation in ("runs", "guarded")  # glibc's AVX-512
    assert ends(path, "Haswell") in (0, None)
    if sample in GUARDED:
        assert (fit.expectation, fit.fits) == ("guarded", True), fit.reason
        assert ends(path, "Nehalem") in (0, None)
    else:
        assert fit.expectation in ("unguarded", "dies"), fit.reason
        assert not fit.fits
        assert ends(path, "Nehalem") in (-4, None)  # SIGILL


@pytest.mark.parametrize("options", [("-shared", "-fPIC"), ("-c",)], ids=["library", "object"])
def test_libraries_and_objects_of_a_build_do_not_fit(options, tmp_path):
    source = HEAD + UNGUARDED["plain"]
    fit = held_against(build(tmp_path, source, *V3, *options), "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("unguarded", False)
    assert held_against(tmp_path / "a.out", "x86-64-v3").expectation == "runs"


def test_what_every_load_executes_dies(tmp_path):
    """A constructor of a library; loading it is enough."""
    source = HEAD + "__attribute__((constructor)) void set(void) { LOOP(1); }\n"
    library = build(tmp_path, source, *V3, "-shared", "-fPIC", name="libset.so")
    fit = held_against(library, "x86-64-v2")
    loading = build(
        tmp_path,
        "int main(void) { return 0; }",
        "-Wl,--no-as-needed",
        str(library),
        f"-Wl,-rpath,{tmp_path}",
        name="loading",
    )

    assert (fit.expectation, fit.fits) == ("dies", False)
    assert "every load meets" in fit.reason
    assert held_against(loading, "x86-64-v2").expectation == "runs"
    assert ends(loading, "Nehalem") in (-4, None)


def test_an_entry_point_makes_no_program(tmp_path):
    """Old linkers set e_entry of libraries to the start of .text: nobody enters there."""
    source = HEAD + UNGUARDED["plain"]
    library = build(tmp_path, source, *V3, "-shared", "-fPIC", "-Wl,-e,fast")
    note = build(tmp_path, source, "-shared", "-fPIC", "-Wl,-e,slow,-z,x86-64-v3", name="note.so")

    assert read_needs(str(library)).kind == "library"
    assert held_against(library, "x86-64-v2").expectation == "unguarded"
    # And the loader does look at the note of what has an entry point.
    assert held_against(note, "x86-64-v2").expectation == "refused"


def test_what_is_spread_through_a_file_is_a_build(tmp_path):
    """Sixty functions for AVX2 in a library that asks the CPU in one."""
    functions = "".join(f"OLD void f{n}(int k) {{ LOOP(k + {n}); }}\n" for n in range(60))
    stray = 'int asked(void) { return __builtin_cpu_supports("avx2"); }\n'
    built = held_against(
        build(tmp_path, HEAD + functions + stray, *V3, "-shared", "-fPIC"), "x86-64-v2"
    )
    chosen = held_against(
        build(tmp_path, HEAD + functions + stray, "-shared", "-fPIC", name="b"), "x86-64-v2"
    )

    assert built.expectation == "unguarded"
    assert "61 of 6" in built.reason or "62 of 6" in built.reason
    assert "is reached from a function that others may call" in built.reason
    assert (chosen.expectation, chosen.missing) == ("guarded", ("avx", "avx2", "fma"))


def test_the_doubt_is_said(tmp_path):
    """Nothing in an object chooses; the rest of its program may."""
    fit = held_against(build(tmp_path, HEAD, "-c"), "x86-64-v2")

    assert fit.expectation == "unguarded"
    assert "runs only if the rest of its program keeps it from these functions" in fit.reason

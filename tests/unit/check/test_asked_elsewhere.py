"""Who asks what the CPU can do is another library, or a part of a function elsewhere."""

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
#define OLD __attribute__((noipa))
static float a[1000], b[1000];
#define LOOP(k) for (int i = 0; i < 1000; i++) a[i] = a[i] * b[i] + k
static __attribute__((target("arch=haswell"), noipa)) void fast(int k) { LOOP(k); }
static OLD void slow(int k) { LOOP(k); }
"""
# As OpenCV's libraries ask libopencv_core, and nothing else.
KEPT = """
int checkHardwareSupport(int feature), getNumThreads(int); static int flag;
OLD void start(int k) { flag = ASKED; if (checkHardwareSupport(4)) puts("new"); }
void work(int k) { if (flag) fast(9); else slow(9); }
"""
# As GCC parts qDetectCpuFeatures of Qt, which ends where code stands that seldom runs.
PARTED = """
unsigned long detect(void);
__asm__(".text\\n.type detect, @function\\ndetect: push %rbx; mov $7, %eax; xor %ecx, %ecx; cpuid;"
        "test $64, %ebx; je detect.cold; jmp detect.cold\\n.size detect, .-detect\\n"
        ".section .text.unlikely,\\"ax\\"\\n.type detect.cold, @function\\n"
        "detect.cold: or $1, %ebx; mov %rbx, %rax; pop %rbx; ret\\n"
        ".size detect.cold, .-detect.cold\\n.text");
static unsigned long known;
void work(int k) {
    if (!known) known = detect();
    if (TEST) fast(9); else slow(9); }
"""

# As Botan fills the only object of a class: what does that returns nothing.
FILLED = """
#include <cpuid.h>
struct cpu { unsigned long bits, other[8], line; }; static struct cpu cpu; static int ready;
OLD unsigned long detect(void) { unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) ? b >> 5 & 1 : 0; }
OLD long line(void) { return 64; }
OLD void construct(struct cpu *cpu) { cpu->bits = detect(); cpu->line = line(); }
void work(int k) {
    if (!ready) construct(&cpu), ready = 1;
    if (TEST) fast(9); else slow(9); }
"""

# As GEGL's library holds functions for x86-64-v3 that stand in no table, and one for v2 that does.
NAMED = """
typedef int four __attribute__((vector_size(16)));
__attribute__((target("ssse3"), noipa)) static four older(four x) {
    return __builtin_ia32_pabsd128(x); }
four (*table[])(four) = {older};
void work_avx2(int k) { fast(k); }
void work(int k) { CALLS(k); }
"""


def held(folder: Path, source: str, *options: str) -> Fit:
    (folder / "a.c").write_text(HEAD + source)
    command = ["gcc", "-O2", "-shared", "-fPIC", "-w", *options, "a.c", "-o", "a.so"]
    subprocess.run(command, cwd=folder, check=True)
    path = str(folder / "a.so")
    return judge(path, read_needs(path), within(find_profile("x86-64-v2")))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("checkHardwareSupport(11)", "guarded"),
        ("getNumThreads(11)", "unguarded"),
        ("k == 3", "unguarded"),
    ],
)
@pytest.mark.parametrize("way", [(), ("-s",)])
def test_what_another_library_was_asked_and_is_kept(asked, expected, way, tmp_path):
    """A flag for which nothing was asked guards nothing, whatever else was."""
    assert held(tmp_path, KEPT, f"-DASKED={asked}", *way).expectation == expected


def test_the_auxiliary_vector_tells_nothing_of_an_x86_cpu(tmp_path):
    """Linux puts CPUID.1:EDX there, which is the same on all."""
    source = "#include <sys/auxv.h>\n" + KEPT.replace("puts", "(void)")
    fit = held(tmp_path, source.replace("checkHardwareSupport(4)", "0"), "-DASKED=getauxval(16)")

    assert fit.expectation == "unguarded"
    assert "nothing in this file chooses" in fit.reason


@pytest.mark.parametrize(
    ("test", "expected"), [("known & 32", "guarded"), ("a[1] > 2", "unguarded")]
)
def test_what_a_part_of_a_function_returns_that_stands_elsewhere(test, expected, tmp_path):
    """By the register in which the answer is handed over, which a function gives back as it was."""
    assert held(tmp_path, PARTED, f"-DTEST={test}").expectation == expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [("cpu.bits & 1", "guarded"), ("cpu.line & 1", "unguarded"), ("ready & 2", "unguarded")],
)
@pytest.mark.parametrize("way", [(), ("-s",)])
def test_an_object_that_another_function_fills(test, expected, way, tmp_path):
    """Only where an answer was put: what stands beside it tells nothing."""
    assert held(tmp_path, FILLED, f"-DTEST={test}", *way).expectation == expected


@pytest.mark.parametrize(("calls", "expected"), [("slow", "guarded"), ("fast", "unguarded")])
@pytest.mark.parametrize("way", [(), ("-s",)])
def test_what_a_machine_has_is_no_matter_to_names(calls, expected, way, tmp_path):
    """Nothing asks; whoever may call the function for SSSE3, the others are for AVX2 by name."""
    assert held(tmp_path, NAMED, f"-DCALLS={calls}", *way).expectation == expected

"""One function among many that a library exports, built for a newer CPU: is it a leak?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.needs import read_needs

from cpuprobe.check.against import within
from cpuprobe.check.judge import judge
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

HEAD = """typedef float wide __attribute__((vector_size(32)));
#define LOOP(k) for (int i = 0; i < n; i++) x[i] = x[i] * x[i] + k
#define OLD __attribute__((noinline))
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN int has(void); void slow(float *x, int n); extern void (*chosen)(float *, int);
"""
MANY = "".join(f"int f{number}(int k) {{ return k * {number}; }}\n" for number in range(60))
ASKS = """void slow(float *x, int n) { LOOP(1); }
void (*chosen)(float *, int) = slow;
int has(void) { return __builtin_cpu_supports("avx2"); }
"""
# What another object holds, and what the one that asks has beside it; whether it is a leak.
SOURCES = {
    "alone": ("void sum(float *x, int n) { LOOP(2); }", "", True),
    "by another": (
        "static OLD void inner(float *x, int n) { LOOP(2); } "
        "void sum(float *x, int n) { inner(x, n / 2); inner(x + 9, n / 2); }",
        "",
        True,
    ),
    "called as well": (
        "void sum(float *x, int n) { LOOP(2); }",
        "void sum(float *, int); void more(float *x, int n) { sum(x, 2 * n); slow(x, n); }",
        True,
    ),
    "chosen": (
        "void sum(float *x, int n) { LOOP(2); }",
        "void sum(float *, int); void set(void) { if (has()) chosen = sum; }",
        False,
    ),
    "by what is chosen": (
        "void sum(float *x, int n) { LOOP(2); }",
        "void sum(float *, int); static void inner(float *x, int n) { sum(x + 1, n - 1); } "
        "void set(void) { if (has()) chosen = inner; }",
        False,
    ),
    "by a table that is chosen from": (
        "void sum(float *x, int n) { LOOP(2); }",
        "void sum(float *, int); static void inner(float *x, int n) { sum(x + 1, n - 1); } "
        "static void (*const each[])(float *, int) = {slow, inner}; "
        "void set(void) { chosen = each[has()]; }",
        False,
    ),
    "named": ("void sum_avx2(float *x, int n) { LOOP(2); }", "", False),
    "handed a vector": ("wide sum(wide x) { return x + x; }", "", False),
    "returns a vector": ("wide sum(wide *x) { return *x + *x; }", "", False),
    "hands a vector on": (
        "extern wide *(*next)(wide *, wide); "
        "wide *sum(wide *all, wide x) { next(all, x); __builtin_ia32_vzeroupper(); return all; }",
        "void *next;",
        False,
    ),
    "copy of an inline one": (
        "__attribute__((weak)) void sum(float *x, int n) { LOOP(2); }",
        "",
        False,
    ),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """An object with many functions, one of which asks the CPU."""
    folder = tmp_path_factory.mktemp("many")
    return compiled(folder, "many", HEAD + MANY + ASKS, "x86-64")


def compiled(folder: Path, name: str, source: str, march: str) -> Path:
    (folder / f"{name}.c").write_text(source)
    command = ["gcc", "-O3", f"-march={march}", "-fPIC", "-w", "-c", f"{name}.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / f"{name}.o"


PACKED = "-Wl,-z,pack-relative-relocs"  # the addresses in tables are in a form of their own


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, ()) for name in SOURCES), ("by a table that is chosen from", (PACKED,))],
)
def test_one_exported_function_of_many(name, options, many, tmp_path):
    leaked, beside, is_leak = SOURCES[name]
    new = compiled(tmp_path, "leaked", HEAD + leaked, "x86-64-v3")
    old = compiled(tmp_path, "beside", HEAD + beside, "x86-64")
    path = tmp_path / "a.so"
    subprocess.run(["gcc", "-shared", *options, "-o", path, many, new, old], check=True)
    fit = judge(str(path), read_needs(str(path)), within(find_profile("x86-64-v2")))

    assert fit.missing
    assert (fit.expectation, fit.fits) == ("unguarded" if is_leak else "guarded", not is_leak)
    assert ("a function that others may call" in fit.reason) is is_leak, fit.reason


LARGE = """#define WIDE __attribute__((target("avx"), noinline))
int has(void);
"""
LARGE += "".join(
    f"WIDE static void large{n}(void) {{ "
    '__asm__ volatile(".rept 2000\\n vaddps %ymm0, %ymm1, %ymm2\\n .endr"); }\n'
    f"void plain{n}(float *x, int n) {{ LOOP({n}); }}\n"
    for n in range(80)
)
LARGE += "void (*table[80])(void);\nvoid set(void) { if (has()) {"
LARGE += "".join(f" table[{n}] = large{n};" for n in range(80)) + " } }\n"
LARGE += "".join(
    f"WIDE static void inner{n}(float *x, int n) {{ LOOP({n}); }}\n"
    f"int call{n}(float *x, int n) {{ if (CHOICE) inner{n}(x, n); return {n}; }}\n"
    for n in range(40)
)


@pytest.mark.parametrize(("choice", "expected"), [("1", "unguarded"), ("has()", "guarded")])
def test_where_few_searches_end_several_exported_functions_tell(choice, expected, tmp_path):
    """As in FINUFFT's library, which has FFTW in it: what asks chooses much, and all has leaked."""
    source = HEAD + f"#define CHOICE {choice}\n" + LARGE
    compiled(tmp_path, "large", source, "x86-64")
    asks = compiled(tmp_path, "asks", HEAD + ASKS, "x86-64")
    path = tmp_path / "a.so"
    subprocess.run(["gcc", "-shared", "-o", path, tmp_path / "large.o", asks], check=True)
    fit = judge(str(path), read_needs(str(path)), within(find_profile("x86-64-v2")))

    assert fit.expectation == expected, fit.reason

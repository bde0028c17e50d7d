"""Is code beyond the target guarded? Compiled samples, and what emulated CPUs make of them."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.archives import tar_of, zip_of
from tests.needs import read_needs

from cpuprobe.check import many
from cpuprobe.check.against import within
from cpuprobe.check.contents import contents
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code import go
from cpuprobe.code.needs import Needs
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
# One function for AVX2 among others for every CPU, in a program that asks the CPU for its own ends.
ASKED = """OLD int asked(void) { return __builtin_cpu_supports("sse4.2"); }
"""
LEAKS = {
    "called": 'OLD void work(int k) { if (asked()) puts("new"); fast(k); }\n',
    "compared": """#include <stdlib.h>
        NEW int order(const void *x, const void *y) { LOOP(1); return *(int *)x - *(int *)y; }
        OLD void work(int k) { int x[] = {3, k, 2}; if (asked()) puts("new");
            qsort(x, 3, sizeof *x, order); }\n""",
    "thread": """#include <pthread.h>
        NEW void *start(void *p) { LOOP(1); return p; }
        OLD void work(int k) { pthread_t t; if (asked()) puts("new");
            pthread_create(&t, 0, start, 0); pthread_join(t, 0); }\n""",
    "initialised": """static void (*best)(int);
        OLD void init(void) { best = asked() ? fast : slow; }
        OLD void work(int k) { init(); best(k); }\n""",
    "queued": """static struct { void (*f)(int); int k; } jobs[8]; static int count;
        OLD void push(void (*f)(int), int k) { jobs[count].f = f; jobs[count++].k = k; }
        OLD void work(int k) { if (asked()) puts("new"); push(slow, k); push(fast, k);
            while (count--) jobs[count].f(jobs[count].k); }\n""",
}
# What ends by itself on a CPU without AVX2.
REFUSALS = {
    "exit": """#include <stdlib.h>
        OLD void work(int k) { if (!__builtin_cpu_supports("avx2")) exit(9); fast(k); }\n""",
    "abort": """#include <stdlib.h>
        __attribute__((constructor)) void look(void) {
            if (!__builtin_cpu_supports("avx2")) abort(); }
        OLD void work(int k) { fast(k); }\n""",
}
HAS = """#include <cpuid.h>
#include <stdlib.h>
OLD int has(void) { unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }
struct object { int size; unsigned cpu; void (*f)(int); };
"""
# Answers that are kept, and handed on.
KEPT = {
    "local": """OLD void work(int k) { int h = has(); puts("between"); if (k > 9) puts("many");
        if (h) fast(k); else slow(k); }\n""",
    "object": """OLD void run(struct object *o, int k) { if (o->cpu & 4) fast(k); else slow(k); }
        OLD void work(int k) { struct object *o = malloc(sizeof *o);
            o->cpu = has() ? 4 : 0; run(o, k); }\n""",
    "pointer": """OLD void set(struct object *o, int cpu) { o->f = slow; if (cpu & 4) o->f = fast; }
        OLD void work(int k) { struct object *o = malloc(sizeof *o);
            set(o, has() * 4); o->f(k); }\n""",
    "argument": """OLD void run(int newer, int k) { if (newer) fast(k); else slow(k); }
        OLD void work(int k) { run(has(), k); }\n""",
    "registered": """static void (*best)(int); static int rank = -1;
        OLD void reg(int need, void (*f)(int)) {
            if (need <= has() && need > rank) { best = f; rank = need; } }
        OLD void work(int k) { reg(0, slow); reg(1, fast); best(k); }\n""",
    # As libFLAC does: flags behind a pointer that is read again, and much that is stored.
    "coder": """struct coder { struct state { long pad[40]; int use; struct { int bmi2, avx2; } cpu;
            void (*f[4])(int); } *state; };
        OLD void other(int k) { a[0] += k; } OLD void third(int k) { a[1] += k; }
        OLD void info(int *cpu) { cpu[0] = 0; cpu[1] = has(); }
        OLD void init(struct coder *c) { info(&c->state->cpu.bmi2); c->state->use = 1;
            c->state->f[0] = slow; c->state->f[1] = other; c->state->f[2] = third;
            c->state->f[3] = info == 0 ? slow : other; puts("between");
            if (c->state->use && c->state->cpu.avx2) c->state->f[0] = fast; }
        OLD void work(int k) { struct coder c = {calloc(1, sizeof *c.state)};
            init(&c); c.state->f[0](k); }\n""",
    # As FFmpeg does: flags that another function keeps, for what is named for a CPU.
    "context": """NEW void mul_avx2(int k) { LOOP(k); }
        static int forced = -1; OLD int ask(void) { return has() << 3; }
        OLD int flags(void) { int f = forced; if (f == -1) forced = f = ask(); return f; }
        OLD void init(struct object *o) {
            int f = flags(); o->f = slow; if (f & 8) o->f = mul_avx2; }
        OLD void work(int k) { struct object *o = malloc(sizeof *o); init(o); o->f(k); }\n""",
    "loop": """OLD void work(int k) { int h = __builtin_cpu_supports("avx2");
        for (int j = 0; j < k + 3; j++) if (h) fast(j); else slow(j); }\n""",
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


def build(
    folder: Path, source: str, *options: str, name: str = "a.out", compiler: str = "gcc"
) -> Path:
    path = folder / name
    text = path.with_suffix(".c")
    text.write_text(source)
    subprocess.run([compiler, "-O3", text, "-o", path, *options], check=True)
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


@pytest.mark.slow
@pytest.mark.parametrize("linked", ["static", "stripped-static"])
def test_what_a_static_program_begins_with(linked, tmp_path):
    """No dynamic section tells of its constructors."""
    source = """__attribute__((constructor)) void look(void) { fast(7); }
        OLD void work(int k) { printf("%d\\n", __builtin_cpu_supports("sse4.2")); slow(k); }\n"""
    path = build(tmp_path, HEAD + source + MAIN, *LINKED[linked])
    fit = held_against(path, "x86-64-v2")

    assert fit.expectation == "dies", fit.reason
    assert ends(path, "Haswell") in (0, None)
    assert ends(path, "Nehalem") in (-4, None)


@pytest.mark.slow
@pytest.mark.parametrize("linked", ["static", "static-pie"])
def test_what_a_static_program_hands_to_its_c_library(linked, tmp_path):
    """To be called at once, in a thread, or at its end; the library keeps it until then."""
    ended = """#include <stdlib.h>
        NEW void last(void) { LOOP(1); }
        OLD void work(int k) { if (asked()) puts("new"); atexit(last); }\n"""
    for name, source in {**LEAKS, "ended": ended}.items():
        path = build(tmp_path, HEAD + ASKED + source + MAIN, *LINKED[linked], "-pthread")

        assert held_against(path, "x86-64-v2").expectation == "unguarded", name
        assert ends(path, "Nehalem") in (-4, None), name


@pytest.mark.parametrize(("sample", "linked"), SAMPLES)
def test_programs_do_as_they_are_judged(sample, linked, tmp_path):
    """What dies on a Nehalem does not fit x86-64-v2, and what runs there does."""
    source = HEAD + (UNGUARDED | GUARDED)[sample] + MAIN
    march = V3 if sample in UNGUARDED else ()
    path = build(tmp_path, source, *march, *LINKED[linked])
    needs = read_needs(str(path))
    fit = judge(str(path), needs, within(find_profile("x86-64-v2")))
    above = judge(str(path), needs, within(find_profile("x86-64-v3")))

    assert fit.missing
    assert above.expectation in ("runs", "guarded")  # glibc's AVX-512
    assert ends(path, "Haswell") in (0, None)
    if sample in GUARDED:
        assert (fit.expectation, fit.fits) == ("guarded", True), fit.reason
        assert ends(path, "Nehalem") in (0, None)
    else:
        assert fit.expectation in ("unguarded", "dies"), fit.reason
        assert not fit.fits
        assert ends(path, "Nehalem") in (-4, None)  # SIGILL


WAYS = {"": (), "-O0": ("-O0",), "no-pie": ("-no-pie",), "stripped": ("-s",)}


@pytest.mark.parametrize("way", [pytest.param(x, marks=[pytest.mark.slow] * bool(x)) for x in WAYS])
@pytest.mark.parametrize("sample", [*LEAKS, *REFUSALS])
def test_a_choice_that_guards_nothing(sample, way, tmp_path):
    """The program asks, and executes AVX2 all the same, or refuses to run without it."""
    source = HEAD + ASKED + (LEAKS | REFUSALS)[sample] + MAIN
    path = build(tmp_path, source, "-pthread", *WAYS[way])
    fit = held_against(path, "x86-64-v2")

    assert fit.expectation in ("unguarded", "dies"), fit.reason
    assert not fit.fits
    assert re.search("no choice (was found )?before it", fit.reason)
    assert held_against(path, "x86-64-v3").expectation == "runs"
    ended = {"exit": 9, "abort": -6}.get(sample, -4)
    assert ends(path, "Nehalem") in (ended, None)
    assert ends(path, "Haswell") in (0, None)


@pytest.mark.parametrize("way", [pytest.param(x, marks=[pytest.mark.slow] * bool(x)) for x in WAYS])
@pytest.mark.parametrize("sample", KEPT)
def test_an_answer_guards_wherever_it_was_put(sample, way, tmp_path):
    path = build(tmp_path, HEAD + HAS + KEPT[sample] + MAIN, *WAYS[way])
    fit = held_against(path, "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("guarded", True), fit.reason
    assert ends(path, "Nehalem") in (0, None)
    assert ends(path, "Haswell") in (0, None)


@pytest.mark.parametrize("options", [("-shared", "-fPIC"), ("-c",)], ids=["library", "object"])
def test_libraries_and_objects_of_a_build_do_not_fit(options, tmp_path):
    source = HEAD + UNGUARDED["plain"]
    fit = held_against(build(tmp_path, source, *V3, *options), "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("unguarded", False)
    assert held_against(tmp_path / "a.out", "x86-64-v3").expectation == "runs"


@pytest.mark.parametrize("asks", ["", ASKED])
def test_an_argument_of_an_exported_function_is_no_answer(asks, tmp_path):
    """It is a number of floats, whether or not the library asks the CPU elsewhere."""
    source = "OLD float sum(float *x, int n) { float s = 0; for (int i = 0; i < n; i++) s += x[i]; "
    path = build(tmp_path, HEAD + asks + source + "return s; }\n", *V3, "-shared", "-fPIC")

    assert held_against(path, "x86-64-v2").expectation == "unguarded"


MODULE = """#include <cpuid.h>
#include <string.h>
struct method { const char *name; void (*call)(int); int flags; };
struct module { long counted[5]; const char *name; long size; const struct method *methods; };
extern int take(struct module *);
OLD int vendor(void) { unsigned a, b, c, d; return __get_cpuid(0, &a, &b, &c, &d) ? b : 0; }
OLD int has(void) { unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }
static const struct method methods[] = {{"slow", slow, 1}, {"fast", fast, 1}, {0}};
static struct module module = {{1}, "module", -1, methods};
void (*chosen)(int);
"""
OBJECT = """#include <cpuid.h>
struct object { long head; char is_long, has_avx2; };
OLD int vendor(void) { unsigned a, b, c, d; return __get_cpuid(0, &a, &b, &c, &d) ? b : 0; }
OLD void inner(int k) { INNER(k); }
int PyInit_object(struct object *o) {
    if (o->has_avx2) NAME(2);
    if (!o->is_long) return vendor();
    inner(1); return 0; }
"""


@pytest.mark.parametrize(
    ("name", "inner", "expected"),
    [
        ("fast_avx2", "slow", "guarded"),
        ("fast", "slow", "unguarded"),
        ("fast_avx2", "fast_avx2", "unguarded"),
    ],
)
def test_a_flag_of_an_object_guards_what_is_named_for_cpus(name, inner, expected, tmp_path):
    """Objects know much beside the CPU: whether they are a number, say."""
    source = HEAD.replace("void fast", "static void NAME") + OBJECT
    path = build(tmp_path, source, f"-DNAME={name}", f"-DINNER={inner}", "-shared", "-fPIC")

    assert held_against(path, "x86-64-v2").expectation == expected


HANDED = {
    "module": ("unguarded", "int init(void) { return take(&module) + vendor(); }\n"),
    "behind a choice": ("guarded", "int init(void) { return has() ? take(&module) : 0; }\n"),
    "copied": (
        "guarded",
        """int init(void) { struct method mine[3]; memcpy(mine, methods, sizeof mine);
        __asm__("" : : "r"(mine) : "memory");
        chosen = mine[has()].call; return 0; }\n""",
    ),
}


@pytest.mark.parametrize("name", HANDED)
@pytest.mark.parametrize("way", [(), ("-s",)])
def test_a_table_that_is_handed_to_another_file(name, way, tmp_path):
    """As a module of Python hands over its methods: who has the table calls all that is in it."""
    expected, source = HANDED[name]
    options = ("-O2", "-shared", "-fPIC", *way)
    fit = held_against(build(tmp_path, HEAD + MODULE + source, *options), "x86-64-v2")

    assert fit.expectation == expected, fit.reason


def test_what_no_one_is_seen_to_call_is_in_doubt_where_nothing_asks(tmp_path):
    """Only names that say for which CPU they are tell that callers choose."""
    source = HEAD + "static void (*all[])(int) = {slow, fast};\n"
    source += "void NAME(int k) { all[k](k); }\n"

    def expected(name: str) -> str:
        path = build(tmp_path, source, f"-DNAME={name}", "-shared", "-fPIC", name=f"{name}.so")
        return held_against(path, "x86-64-v2").expectation

    assert expected("work") == "unguarded"
    leading = HEAD.replace("NEW void fast", "NEW void fast_avx2")
    path = build(tmp_path, leading, "-shared", "-fPIC", name="named.so")
    assert held_against(path, "x86-64-v2").expectation == "guarded"


def test_what_a_library_calls_by_its_own_table_is_no_choice(tmp_path):
    """Exported functions call each other through the PLT: such a slot is no table of choices."""
    parts = "".join(
        f"NEW float new{n}(int k) {{ LOOP(k); return a[{n}]; }}\n"
        f"int part{n}(int k) {{ return new{n}(k) > 1; }}\n"
        for n in range(40)
    )
    calls = " + ".join(f"part{n}(k)" for n in range(40))
    source = HEAD + ASKED + parts + f"int all(int k) {{ return {calls}; }}\n"
    path = build(tmp_path, source, "-shared", "-fPIC", "-O1", "-fno-inline", name="liball.so")
    user = "int all(int); int main(int argc, char **argv) { return all(argc) & 64; }"
    program = build(tmp_path, user, str(path), f"-Wl,-rpath,{tmp_path}")

    assert held_against(path, "x86-64-v2").expectation == "unguarded"
    assert ends(program, "Nehalem") in (-4, 132, None)


def test_what_loads_a_module_tells_it_nothing(tmp_path):
    """Whatever CPU its name is for: CPython calls PyInit_, and a stray question guards nothing."""
    source = """__attribute__((visibility("default"))) void *PyInit_core_avx2(void) {
        LOOP(3); return asked() ? a : b; }\n"""
    options = (*V3, "-shared", "-fPIC", "-fvisibility=hidden")
    path = build(tmp_path, HEAD + ASKED + source, *options, name="core_avx2.so")
    fit = held_against(path, "x86-64-v2")

    assert fit.expectation == "unguarded"
    assert "what every load executes (PyInit_core_avx2)" in fit.reason


@pytest.mark.parametrize("visibility", ["default", "protected"])
def test_what_others_see_of_a_library_is_exported(visibility, tmp_path):
    """Protected functions too: they are bound within the library, and others call them."""
    source = HEAD + ASKED + "void work(int k) { slow(k); LOOP(k); }\n"
    options = (*V3, "-shared", "-fPIC", f"-fvisibility={visibility}")
    fit = held_against(build(tmp_path, source, *options), "x86-64-v2")

    assert fit.expectation == "unguarded"
    assert "a function that others may call" in fit.reason


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
    """Sixty functions for AVX2 in a library that asks the CPU in one; and one alone."""
    functions = "".join(f"OLD void f{n}(int k) {{ LOOP(k + {n}); }}\n" for n in range(60))
    stray = 'int asked(void) { return __builtin_cpu_supports("avx2"); }\n'
    options = "-shared", "-fPIC"
    named = HEAD.replace("fast(", "sum_avx2(")
    built = held_against(build(tmp_path, HEAD + functions + stray, *V3, *options), "x86-64-v2")
    chosen = held_against(
        build(tmp_path, named + functions + stray, *options, name="b"), "x86-64-v2"
    )
    leaked = held_against(
        build(tmp_path, HEAD + functions + stray, *options, name="c"), "x86-64-v2"
    )

    assert built.expectation == "unguarded"
    assert "61 of 6" in built.reason or "62 of 6" in built.reason
    assert "is reached from a function that others may call" in built.reason
    assert (chosen.expectation, chosen.missing) == ("guarded", ("avx", "avx2", "fma"))
    assert leaked.expectation == "unguarded"  # its name tells nobody to ask before


def test_an_object_whose_functions_are_named_for_cpus(tmp_path):
    """Others choose them; one function without such a name, and it is not so."""
    named = HEAD.replace("fast(", "sum_avx2(")
    other = "NEW void other(int k) { LOOP(k); }\n"
    fit = held_against(build(tmp_path, named, "-c"), "x86-64-v2")

    assert (fit.expectation, fit.fits) == ("guarded", True)
    assert "functions that are named or listed for such CPUs: their callers choose" in fit.reason
    assert held_against(build(tmp_path, named + other, "-c"), "x86-64-v2").expectation == (
        "unguarded"
    )


@pytest.mark.parametrize("options", [("-shared", "-fPIC", "-fvisibility=hidden"), ("-c",)])
def test_many_functions_that_are_named_for_cpus(options, tmp_path):
    """More than are shown, which a library keeps to itself; with another name it is not so."""
    kinds = [f"NEW void sum{n}_avx2(int k) {{ LOOP(k) + {n}; }}\n" for n in range(12)]
    names = ", ".join(f"sum{n}_avx2" for n in range(12))
    plain = HEAD.replace("fast(", "sum_avx2(")
    table = f"void (*all[])(int) = {{{names}}};\nint which; void work(int k) {{ all[which](k); }}\n"
    other = table.replace("{sum0_avx2", "{other, sum0_avx2")

    def expected(source: str) -> str:
        return held_against(build(tmp_path, source, *options), "x86-64-v2").expectation

    assert expected(plain + "".join(kinds) + table) == "guarded"
    kinds[-1] += "NEW void other(int k) { LOOP(k); }\n"
    assert expected(plain + "".join(kinds) + other) == "unguarded"


@pytest.mark.parametrize(
    ("leak", "expected"),
    [("void other(int k) { fast(k); }\n", "unguarded"), ("", "guarded")],
    ids=["leak", "choice"],
)
@pytest.mark.parametrize("target", [(), ("-target", "x86_64-pc-windows-msvc")], ids=["ELF", "COFF"])
def test_that_an_object_asks_says_nothing_of_what_does_not(leak, expected, target, tmp_path):
    """As in a library of this object alone; by itself, or packed."""
    choice = 'OLD int has(void) { unsigned a, b, c, d; __asm__("cpuid" : "=a"(a), "=b"(b), '
    choice += '"=c"(c), "=d"(d) : "a"(7), "c"(0)); return b >> 5 & 1; }\n'
    choice += "void work(int k) { if (has()) fast(k); else slow(k); }\n"
    plain = HEAD.replace("#include <stdio.h>", "")  # which is not there for each target
    path = build(tmp_path, plain + choice + leak, "-c", *target, compiler="clang")
    packed = tmp_path / "a.zip"
    packed.write_bytes(zip_of({"a.o": path.read_bytes()}))
    path = path.rename(tmp_path / "a.o")
    files = [(str(path), True), (str(packed), True)]
    fits = many.check(files, within(find_profile("x86-64-v2")), 1, lambda *_: None)

    assert [fit.expectation for fit in fits] == [expected] * 2, fits
    assert all("CPUID" in fit.reason for fit in fits)


def test_a_program_that_does_not_move_is_the_same_in_an_archive(tmp_path):
    """What is unpacked in memory is judged as the file is: its data hold addresses, unrelocated."""
    path = build(tmp_path, HEAD + ASKED + LEAKS["called"] + MAIN, "-no-pie")
    packed = tmp_path / "a.tgz"
    packed.write_bytes(gzip.compress(tar_of({"a.out": path.read_bytes()})))
    (met,) = contents(str(packed)).met

    assert met.needs == read_needs(str(path))
    assert met.needs.reached


def test_the_doubt_is_said(tmp_path):
    """Nothing in an object chooses; the rest of its program may."""
    fit = held_against(build(tmp_path, HEAD, "-c"), "x86-64-v2")

    assert fit.expectation == "unguarded"
    assert "runs only if the rest of its program keeps it from these functions" in fit.reason


# What Go 1.19 writes into .go.buildinfo: a magic number, the size of pointers, flags, two strings.
BUILT = (
    b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.19.8\xe5\x010w\xaf\x0c\x92t\x08\x02"
    b"path\tcommand-line-arguments\nbuild\t-compiler=gc\nbuild\tGOAMD64=v3\n"
)


@pytest.mark.parametrize(
    ("content", "level"),
    [
        (BUILT, "x86-64-v3"),
        (BUILT.replace(b"=v3", b"=v1"), "x86-64-v1"),
        (BUILT.replace(b"GOAMD64", b"GOARM64"), None),
        (BUILT[:15] + b"\0" + BUILT[16:], None),  # strings elsewhere: before Go 1.18
        (b"\tGOAMD64=v3\n" * 9, None),
        (b"", None),
    ],
)
def test_a_go_program_says_its_level(content, level):
    assert go.level(content) == level


def test_gos_runtime_refuses(tmp_path):
    """Seen with Go 1.19.8 on an emulated Nehalem: these words, and exit code 1."""
    needs = Needs(kind="executable", go="x86-64-v3")
    fit = judge("a", needs, within(find_profile("x86-64-v2")))

    assert (fit.expectation, fit.fits) == ("refused", False)
    assert fit.message == (
        "This program can only be run on AMD64 processors with v3 microarchitecture support."
    )
    assert judge("a", needs, within(find_profile("x86-64-v3"))).expectation == "runs"

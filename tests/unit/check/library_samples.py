"""Static libraries: what becomes of a program that calls `work`, and the sources of their objects.

As in samples.py: it `runs` or `dies` on a CPU without AVX2. An object whose name ends in 3 is
compiled for x86-64-v3.
"""

from __future__ import annotations

HEAD = """
#include <cpuid.h>
extern float a[1000], b[1000];
#define LOOP(k) for (int i = 0; i < 1000; i++) a[i] = a[i] * b[i] + k
#define OLD __attribute__((noinline))
#ifdef __cplusplus
extern "C" {
#endif
int has(void); void fast(int); void slow(int); void work(int); void other(int);
#ifdef __cplusplus
}
#endif
"""
MAIN = """
#include <stdio.h>
float a[1000], b[1000];
int main(int argc, char **argv) { work(argc); printf("%f\\n", a[7]); return 0; }
"""
FAST = "void fast(int k) { LOOP(k); }"
SLOW = "void slow(int k) { LOOP(k); }"
HAS = """int has(void) { unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }"""
HIDDEN = "#pragma GCC visibility push(hidden)\n"

LIBRARIES: dict[str, tuple[str, dict[str, str]]] = {
    "asks_elsewhere": (
        "runs",
        {
            "work": "void work(int k) { if (has()) fast(k); else slow(k); }",
            "has": HAS,
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "asks_for_another": (
        "dies",
        {
            "work": "void work(int k) { fast(k); } void other(int k) { if (has()) slow(k); }",
            "has": HAS,
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "one_leaked": (
        "dies",
        {
            "work": "void leaked(int); void work(int k) { if (has()) fast(k); else slow(k);"
            " leaked(k); }",
            "has": HAS,
            "fast3": FAST,
            "leaked3": "void leaked(int k) { LOOP(2 * k); }",
            "slow": SLOW,
        },
    ),
    "all_leaked": (
        "dies",
        {
            "work3": "void work(int k) { LOOP(2 * k); if (has()) fast(k); else slow(k); }",
            "has3": HAS,
            "fast3": FAST,
            "slow3": SLOW,
        },
    ),
    "pointer": (
        "runs",
        {
            "work": "extern void (*chosen)(int); void work(int k) { chosen(k); }",
            "table": "void (*chosen)(int) = slow;"
            " __attribute__((constructor)) void look(void) { if (has()) chosen = fast; }",
            "has": HAS,
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "pointer_at_first": (
        "dies",
        {
            "work": "extern void (*chosen)(int); void work(int k) { chosen(k); }",
            "table": "void (*chosen)(int) = fast; void other(int k) { if (has()) slow(k); }",
            "has": HAS,
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "flag": (
        "runs",
        {
            "work": "extern int is_new; void work(int k) { if (is_new) fast(k); else slow(k); }",
            "flag": "int is_new; __attribute__((constructor)) void look(void) { is_new = has(); }",
            "has": HAS,
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "ifunc": (
        "runs",
        {
            "work": "void either(int); void work(int k) { either(k); }",
            "either": "static void *pick(void) { __builtin_cpu_init();"
            ' return __builtin_cpu_supports("avx2") ? fast : slow; }'
            ' void either(int) __attribute__((ifunc("pick")));',
            "fast3": FAST,
            "slow": SLOW,
        },
    ),
    "constructor": (
        "dies",
        {
            "work": "int done; void work(int k) { if (has()) fast(k); else slow(k); }",
            "has": HAS,
            "fast3": FAST
            + " extern int done; __attribute__((constructor)) void start(void) { LOOP(done); }",
            "slow": SLOW,
        },
    ),
    "two_floors": (
        "runs",
        {
            "work": "void work(int k) { if (has()) fast(k); else slow(k); }",
            "has": HAS,
            "fast": "void kernel(int); void fast(int k) { kernel(k); kernel(k + 1); }",
            "kernel3": "void kernel(int k) { LOOP(k); }",
            "slow": SLOW,
        },
    ),
    "two_floors_and_a_door": (
        "dies",
        {
            "work": "void kernel(int); void work(int k) { kernel(k); }"
            " void other(int k) { if (has()) fast(k); else slow(k); }",
            "has": HAS,
            "fast": "void kernel(int); void fast(int k) { kernel(k); kernel(k + 1); }",
            "kernel3": "void kernel(int k) { LOOP(k); }",
            "slow": SLOW,
        },
    ),
    "strong_before_weak": (
        "dies",
        {
            "work": "void work(int k) { slow(k); }",
            "weak": HAS
            + " __attribute__((weak)) "
            + SLOW
            + " void other(int k) { if (has()) fast(k); else slow(k); }",
            "strong3": SLOW,
            "fast3": FAST,
        },
    ),
    "hidden": (
        "runs",
        {
            "work": "void work(int k) { if (has()) fast(k); else slow(k); }",
            "has": HIDDEN + HAS,
            "fast3": HIDDEN + FAST,
            "slow": HIDDEN + SLOW,
        },
    ),
    "nobody_asks": (
        "dies",
        {"work": "void work(int k) { fast(k); }", "fast3": FAST},
    ),
}

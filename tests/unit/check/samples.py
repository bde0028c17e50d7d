"""Programs in C, C++ and Rust that ask what the CPU can do, or do not, and what becomes of them.

Each is (what it does on a CPU without AVX2, source): it `runs`, `dies` of SIGILL, or `refuses`, by
its own exit code. Emulated CPUs hold these words (test_oracles.py).
"""

from __future__ import annotations

C_HEAD = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cpuid.h>
float a[1000], b[1000];
#define LOOP(k) for (int i = 0; i < 1000; i++) a[i] = a[i] * b[i] + k
#define NEW __attribute__((target("arch=haswell"), noinline))
#define OLD __attribute__((noinline))
NEW void fast(int k) { LOOP(k); }
OLD void slow(int k) { LOOP(k); }
OLD int has(void) { unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 5 & 1; }
OLD int asked(void) { return __builtin_cpu_supports("sse4.2"); }
"""
C_MAIN = 'int main(int argc, char **argv) { work(argc); printf("%f\\n", a[7]); return 0; }\n'

# Nothing here asks for itself, but the C library that is linked in does.
STATIC = {
    "no_choice": (
        "dies",
        r"""struct state { long one, two, three; };
        OLD void within(struct state *s, int k) { if (s->one && s->two && s->three) fast(k); }
        OLD void handed(int a, int b, int c, int d, int e, int f, int g, struct state *s) {
        if (g) within(s, a); else slow(a); }
        OLD void work(int k) { struct state *s = malloc(sizeof *s); s->one = s->two = s->three = k;
        if (strlen(getenv("PATH")) > 2) handed(k, k, k, k, k, k, k, s); else slow(k); }
        """,
    ),
}

C = {
    "order": (
        "dies",
        r"""OLD void work(int k) { if (asked()) fast(k); else slow(k); }
        """,
    ),
    "order_cpuid": (
        "dies",
        r"""OLD void work(int k) { unsigned a, b, c, d; __cpuid(1, a, b, c, d);
        if (c >> 20 & 1) fast(k); else slow(k); }
        """,
    ),
    "vendor": (
        "dies",
        r"""OLD void work(int k) {
        if (__builtin_cpu_is("intel") || __builtin_cpu_is("amd")) fast(k); else slow(k); }
        """,
    ),
    "inverted": (
        "dies",
        r"""OLD void work(int k) { if (has()) slow(k); else fast(k); }
        """,
    ),
    "or": (
        "dies",
        r"""OLD void work(int k) { if (has() || k < 100) fast(k); else slow(k); }
        """,
    ),
    "own_bits": (
        "runs",
        r"""static unsigned flags; OLD void init(void) { if (asked()) flags |= 1;
        if (__builtin_cpu_supports("avx2")) flags |= 2; }
        OLD void work(int k) { init(); if (flags & 2) fast(k); else slow(k); }
        """,
    ),
    "own_bits_other": (
        "dies",
        r"""static unsigned flags; OLD void init(void) { if (asked()) flags |= 1;
        if (__builtin_cpu_supports("avx2")) flags |= 2; }
        OLD void work(int k) { init(); if (flags & 1) fast(k); else slow(k); }
        """,
    ),
    "slow_at_first": (
        "runs",
        r"""static int is_slow = 1; __attribute__((constructor)) void look(void) {
        if (__builtin_cpu_supports("avx2")) is_slow = 0; }
        OLD void work(int k) { if (is_slow) slow(k); else fast(k); }
        """,
    ),
    "ternary_order": (
        "dies",
        r"""OLD void work(int k) { (__builtin_cpu_supports("ssse3") ? fast : slow)(k); }
        """,
    ),
    "indexed": (
        "dies",
        r"""static void (*const table[])(int) = {slow, fast, slow, slow};
        OLD void work(int k) { if (asked()) puts("new"); table[k & 3](k); }
        """,
    ),
    "pointer": (
        "dies",
        r"""static void (*impl)(int) = fast; void set(void (*f)(int)) { impl = f; }
        OLD void work(int k) { if (asked()) puts("new"); impl(k); }
        """,
    ),
    "struct_ops_always": (
        "dies",
        r"""struct ops { void (*f)(int); void (*g)(int); };
        static const struct ops all = {slow, fast}; const struct ops *volatile ops = &all;
        OLD void work(int k) { if (asked()) puts("new"); ops->f(k); ops->g(k); }
        """,
    ),
    "kept_order": (
        "dies",
        r"""static int flag; OLD void go(int k) { if (flag) fast(k); else slow(k); }
        OLD void work(int k) { flag = asked(); go(k); }
        """,
    ),
    "family": (
        "runs",
        r"""OLD void work(int k) { if (__builtin_cpu_is("haswell")) fast(k); else slow(k); }
        """,
    ),
    "level": (
        "runs",
        r"""OLD void work(int k) { if (__builtin_cpu_supports("x86-64-v3")) fast(k); else slow(k); }
        """,
    ),
    "both": (
        "runs",
        r"""OLD void work(int k) {
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) fast(k);
        else slow(k); }
        """,
    ),
    "bitmask": (
        "runs",
        r"""OLD void work(int k) { unsigned a, b, c, d; __cpuid(1, a, b, c, d);
        if ((c & (1<<27)) == 0) { slow(k); return; }
        unsigned lo, hi; __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
        if ((lo & 6) != 6) { slow(k); return; }
        __cpuid_count(7, 0, a, b, c, d);
        if (b & (1 << 5)) fast(k); else slow(k); }
        """,
    ),
    "returns": (
        "refuses",
        r"""int main(int argc, char **argv) { if (!has()) { fprintf(stderr, "needs AVX2\n");
        return 1; } fast(argc); printf("%f\n", a[7]); return 0; }
        """,
    ),
    "returns_check": (
        "refuses",
        r"""OLD int check(void) { if (!has()) { fputs("not supported\n", stderr); return -1; }
        return 0; }
        int main(int argc, char **argv) { if (check() < 0) return 2; fast(argc); return 0; }
        """,
    ),
    "fallback_check": (
        "runs",
        r"""OLD int init(void) { if (!has()) return -1; return 0; }
        OLD int run(int k) { int r = init(); if (r) return r; fast(k); return 0; }
        OLD void work(int k) { if (run(k) < 0) slow(k); }
        """,
    ),
    "indexed_level": (
        "runs",
        r"""static void (*const table[])(int) = {slow, fast};
        OLD void work(int k) { table[has()](k); }
        """,
    ),
    "indexed_kept": (
        "runs",
        r"""static void (*const table[])(int) = {slow, fast}; static int level;
        __attribute__((constructor)) void set(void) { level = has(); }
        OLD void work(int k) { table[level](k); }
        """,
    ),
    "codecs": (
        "dies",
        r"""struct codec { const char *name; void (*f)(int); };
        static const struct codec all[] = {{"one", slow}, {"two", fast}};
        OLD void work(int k) { if (asked()) puts("new"); for (int i = 0; i < 2;
        i++) all[i].f(k); }
        """,
    ),
    "pointer_lowered": (
        "runs",
        r"""static void (*impl)(int) = fast;
        __attribute__((constructor)) void set(void) { if (!has()) impl = slow; }
        OLD void work(int k) { impl(k); }
        """,
    ),
    "pointer_lazy": (
        "runs",
        r"""static void resolve(int k); static void (*impl)(int) = resolve;
        static void resolve(int k) { impl = has() ? fast : slow; impl(k); }
        OLD void work(int k) { impl(k); }
        """,
    ),
    "switch_level": (
        "runs",
        r"""OLD int level(void) { return has() ? 3 : 1; }
        OLD void work(int k) { switch (level()) { case 0: puts("0"); break; case 1: slow(k);
        break; case 2: puts("2"); break;
        case 3: fast(3); break; case 4: puts("4"); break; case 5: puts("five"); slow(9);
        break; case 6: slow(7); break; } }
        """,
    ),
    "never_back": (  # the sides meet, though the function does not end there
        "dies",
        r"""OLD void work(int k) { if (asked()) puts("new"); fast(k); puts("done"); exit(k > 99); }
        """,
    ),
    "never_back_chosen": (
        "runs",
        r"""OLD void work(int k) { if (has()) fast(k); else slow(k); puts("done"); exit(k > 99); }
        """,
    ),
    "switch_never_back": (  # the cases meet
        "dies",
        r"""OLD int level(void) { return has() ? 3 : asked() ? 2 : 1; }
        OLD void work(int k) { switch (level()) { case 0: puts("0"); break; case 1: slow(k);
        break; case 2: puts("2"); break; case 3: puts("3"); break; case 4: puts("4"); slow(3);
        break; case 5: puts("five"); slow(9); break; case 6: slow(7); break; }
        fast(k); puts("done"); exit(k > 99); }
        """,
    ),
    "cpuinfo": (
        "runs",
        r"""OLD int knows(void) { char line[4096]; int found = 0;
        FILE *f = fopen("/proc/cpuinfo", "r"); if (!f) return 0;
        while (fgets(line, sizeof line, f)) if (!strncmp(line, "flags", 5)) {
        found = strstr(line, " avx2") != NULL; break; } fclose(f); return found; }
        OLD void work(int k) { if (knows()) fast(k); else slow(k); }
        """,
    ),
    "cpuinfo_read": (
        "runs",
        r"""#include <fcntl.h>
        #include <unistd.h>
        static char text[1 << 16]; OLD int knows(void) { int fd = open("/proc/cpuinfo",
        O_RDONLY); if (fd < 0) return 0; int n = read(fd, text, sizeof text - 1); close(fd);
        return n > 0 && strstr(text, " avx2") != NULL; }
        OLD void work(int k) { if (knows()) fast(k); else slow(k); }
        """,
    ),
    "struct_ops": (
        "runs",
        r"""struct ops { void (*f)(int); void (*g)(int); };
        static const struct ops new_ops = {fast, fast}, old_ops = {slow, slow};
        static const struct ops *ops; __attribute__((constructor)) void set(void) {
        ops = has() ? &new_ops : &old_ops; }
        OLD void work(int k) { ops->f(k); ops->g(k); }
        """,
    ),
    "atexit": (
        "dies",
        r"""NEW void last(void) { LOOP(1); } OLD void work(int k) { if (asked()) puts("new");
        atexit(last); }
        """,
    ),
    "and_size": (
        "runs",
        r"""OLD void work(int k) { if (k < 100 && has()) fast(k); else slow(k); }
        """,
    ),
    "after": (
        "dies",
        r"""OLD void work(int k) { fast(k); if (has()) fast(k + 1); else slow(k); }
        """,
    ),
    "ternary": (
        "runs",
        r"""OLD void work(int k) { (has() ? fast : slow)(k); }
        """,
    ),
    "global_bits": (
        "runs",
        r"""static unsigned flags; OLD void init(void) {
        if (__builtin_cpu_supports("sse4.2")) flags |= 1;
        if (__builtin_cpu_supports("avx2")) flags |= 2; }
        OLD void work(int k) { init(); if (flags & 2) fast(k); else slow(k); }
        """,
    ),
    "global_bits_of_another": (
        "dies",
        r"""static unsigned flags; OLD void init(void) {
        if (__builtin_cpu_supports("sse4.2")) flags |= 1;
        if (__builtin_cpu_supports("avx2")) flags |= 2; }
        OLD void work(int k) { init(); if (flags & 1) fast(k); else slow(k); }
        """,
    ),
    "own_level": (
        "runs",
        r"""OLD int detect(void) { unsigned a, b, c, d; int level = 0;
        __cpuid(1, a, b, c, d); if (d & bit_SSE2) level = 1; if (c & bit_SSE4_2) level = 2;
        __cpuid_count(7, 0, a, b, c, d); if (b & bit_AVX2) level = 3; return level; }
        OLD void work(int k) { if (detect() > 2) fast(k); else slow(k); }
        """,
    ),
    "own_level_too_low": (
        "dies",
        r"""OLD int detect(void) { unsigned a, b, c, d; int level = 0;
        __cpuid(1, a, b, c, d); if (d & bit_SSE2) level = 1; if (c & bit_SSE4_2) level = 2;
        __cpuid_count(7, 0, a, b, c, d); if (b & bit_AVX2) level = 3; return level; }
        OLD void work(int k) { if (detect() > 1) fast(k); else slow(k); }
        """,
    ),
    "bytes_of_another": (
        "dies",
        r"""static struct { unsigned char sse42, avx2; } cpu;
        OLD void init(void) { cpu.sse42 = __builtin_cpu_supports("sse4.2") != 0;
        cpu.avx2 = __builtin_cpu_supports("avx2") != 0; }
        OLD void work(int k) { init(); if (cpu.sse42) fast(k); else slow(k); }
        """,
    ),
    "told_flags": (
        "runs",
        r"""enum { OF_SSE42 = 1, OF_AVX2 = 2 }; struct work { void (*f)(int); };
        OLD unsigned gather(void) { return (asked() ? OF_SSE42 : 0) | (has() ? OF_AVX2 : 0); }
        OLD void fill(struct work *all, unsigned flags) { all->f = slow;
        if (flags & OF_AVX2) all->f = fast; }
        OLD void work(int k) { struct work *all = malloc(sizeof *all); fill(all, gather());
        all->f(k); free(all); }
        """,
    ),
    "told_flags_of_another": (
        "dies",
        r"""enum { OF_SSE2 = 1, OF_SSE42 = 2, OF_AVX2 = 4 }; struct work { void (*f)(int); };
        OLD unsigned gather(void) { unsigned a, b, c, d, flags = 0; __cpuid(1, a, b, c, d);
        if (d & bit_SSE2) flags |= OF_SSE2; if (c & bit_SSE4_2) flags |= OF_SSE42;
        if (has()) flags |= OF_AVX2; return flags; }
        OLD void fill(struct work *all, unsigned flags) { all->f = slow;
        if (flags & OF_SSE42) all->f = fast; }
        OLD void work(int k) { struct work *all = malloc(sizeof *all); fill(all, gather());
        all->f(k); free(all); }
        """,
    ),
    "flags_handed_through": (
        "runs",
        r"""enum { OF_SSE42 = 1, OF_AVX2 = 2 }; struct work { void (*f)(int); }; struct work all;
        OLD unsigned gather(void) { return (asked() ? OF_SSE42 : 0) | (has() ? OF_AVX2 : 0); }
        OLD void fill(unsigned flags) { all.f = slow; if (flags & OF_AVX2) all.f = fast; }
        OLD void fill_more(unsigned flags) { puts("filling"); fill(flags); puts("filled"); }
        void set(unsigned flags) { fill_more(flags); }
        OLD void work(int k) { fill_more(gather()); all.f(k); }
        """,
    ),
    "number_handed_on": (  # who may not use it hands on 0, through two functions
        "runs",
        r"""#define ALONE __attribute__((noipa))
        ALONE void choose(int k, int wide) { if (wide) fast(k); else slow(k); }
        ALONE void through(int k, int wide) { choose(k + 1, wide); }
        ALONE void others(int k) { through(k, has()); }
        OLD void work(int k) { through(k, 0); others(k); }
        """,
    ),
    "number_handed_on_of_another": (
        "dies",
        r"""#define ALONE __attribute__((noipa))
        ALONE void choose(int k, int wide) { if (wide) fast(k); else slow(k); }
        ALONE void through(int k, int wide) { choose(k + 1, wide); }
        ALONE void others(int k) { through(k, has()); }
        OLD void work(int k) { through(k, 1); others(k); }
        """,
    ),
    "number_by_which_an_address_is_taken": (
        "runs",
        r"""#define ALONE __attribute__((noipa))
        ALONE void choose(int k, unsigned flags) { void (*f)(int) = slow;
        if (flags & 2) f = fast; a[4] = k; f(k); }
        ALONE void others(int k) { choose(k, has() ? 7 : 1); }
        OLD void work(int k) { choose(k, 5); others(k); }
        """,
    ),
    "flag_on_the_stack": (  # below it RSP goes down for what another function is handed there
        "runs",
        r"""#define ALONE __attribute__((noipa))
        ALONE void many(int a, int b, int c, int d, int e, int f, int g) { slow(g); }
        ALONE void choose(int a, int b, int c, int d, int e, int k, int flags) {
        if (flags & 1) { fast(k); return; } many(a, b, c, d, e, k, k); puts("many"); }
        ALONE void others(int k) { choose(1, 2, 3, 4, 5, k, has()); }
        OLD void work(int k) { choose(1, 2, 3, 4, 5, k, 0); others(k); }
        """,
    ),
    "address_before_the_test": (
        "runs",
        r"""static volatile unsigned flags; static void (*impl)(int);
        NEW void faster(int k) { LOOP(k + 1); } OLD void slower(int k) { LOOP(k + 2); }
        OLD void learn(void) { unsigned a, b, c, d, all = 1u << 31; __cpuid(1, a, b, c, d);
        if (c & bit_SSE4_2) all |= 8; __cpuid_count(7, 0, a, b, c, d);
        if (b & bit_AVX2) all |= 0x20;
        if (b & bit_BMI2) all |= 0x40; if (c & 1 << 11) all |= 0x200; flags = all; }
        static void (*choose(unsigned of))(int) { if ((of & 0x260) == 0x260) return faster;
        if ((of & 0x60) == 0x60) return fast; if (of & 8) return slow; return slower; }
        OLD void work(int k) { if (!flags) learn(); impl = choose(flags); impl(k); }
        """,
    ),
    "object_handed_on": (
        "runs",
        r"""struct cpu { char avx2, sse42; }; static struct cpu cpu;
        OLD void choose(const struct cpu *by, int k) { if (by->avx2) fast(k); else slow(k); }
        __attribute__((noipa)) void init(void) {
        cpu.avx2 = has() != 0; cpu.sse42 = asked() != 0; }
        OLD void work(int k) { init(); choose(&cpu, k); }
        """,
    ),
    "by_name": (
        "runs",
        r"""static struct { const char *name; int is; } known[] = {{"sse4.2"}, {"avx2"}, {"bmi2"}};
        OLD void learn(void) { unsigned a, b, c, d; __cpuid(1, a, b, c, d);
        known[0].is = (c & bit_SSE4_2) != 0; __cpuid_count(7, 0, a, b, c, d);
        known[1].is = (b & bit_AVX2) != 0; known[2].is = (b & bit_BMI2) != 0; }
        __attribute__((noipa)) int knows(const char *name) { for (int at = 0; at < 3; at++)
        if (!strcmp(known[at].name, name)) return known[at].is; return 0; }
        OLD void work(int k) { learn(); if (knows("avx2")) fast(k); else slow(k); }
        """,
    ),
    "asked_by_name": (
        "runs",
        r"""OLD int knows(const char *name) { if (!strcmp(name, "sse4.2")) return asked();
        return !strcmp(name, "avx2") ? has() : 0; }
        OLD void work(int k) { if (knows("avx2")) fast(k); else slow(k); }
        """,
    ),
    "asked_by_another_name": (
        "dies",
        r"""OLD int knows(const char *name) { if (!strcmp(name, "sse4.2")) return asked();
        return !strcmp(name, "avx2") ? has() : 0; }
        OLD void work(int k) { if (knows("sse4.2")) fast(k); else slow(k); }
        """,
    ),
    "asked_by_leaf_and_bit": (
        "dies",
        r"""OLD int bit(unsigned leaf, int word, int number) { unsigned a[4];
        __cpuid_count(leaf, 0, a[0], a[1], a[2], a[3]); return a[word] >> number & 1; }
        OLD void work(int k) { if (bit(7, 1, 5)) puts("avx2");
        if (bit(1, 2, 20)) fast(k); else slow(k); }
        """,
    ),
    "asked_for_a_bit_of_its_own": (
        "dies",
        r"""static unsigned long mask; __attribute__((constructor)) static void init(void) {
        __builtin_cpu_init();
        mask |= (unsigned long)(asked() != 0) << 33 | (unsigned long)has() << 35; }
        OLD int test(int bit) { return mask >> bit & 1; }
        OLD void work(int k) { if (test(35)) puts("avx2"); if (test(33)) fast(k); else slow(k); }
        """,
    ),
    "told_on_the_stack": (
        "dies",
        r"""struct caps { int old, new; };
        OLD void find(struct caps *caps) { caps->old = asked(); caps->new = has(); }
        OLD void work(int k) { struct caps caps; find(&caps); if (caps.old) fast(k); else slow(k); }
        """,
    ),
    "refused_to_a_caller": (
        "refuses",
        r"""enum { FINE, INVALID, UNSUPPORTED = 38 };
        OLD int check(int k) { if (k < 0) return INVALID; return has() ? FINE : UNSUPPORTED; }
        OLD int start(int k) { int why = check(k); if (why) return why; fast(k); return FINE; }
        int main(int argc, char **argv) { int why = start(argc);
        if (why) fprintf(stderr, "%d\n", why); return why != FINE; }
        """,
    ),
    "refused_at_one_end": (
        "refuses",
        r"""int main(int argc, char **argv) { int value = 1; char *text = malloc(9);
        if (!text) goto out; if (!has()) { fputs("AVX2 is needed\n", stderr); goto out; }
        fast(argc); value = 0; out: free(text); return value; }
        """,
    ),
    "switch": (
        "dies",
        r"""OLD void work(int k) { if (asked()) puts("new"); switch (k) {
        case 0: puts("0"); break; case 1: fast(k); break; case 2: puts("2"); break;
        case 3: slow(3); break; case 4: puts("4"); break; case 5: puts("five"); slow(9); break;
        case 6: slow(7); break; case 8: slow(8); puts("8"); break; } }
        """,
    ),
    "switch_by_level": (
        "runs",
        r"""OLD int level(void) { return has() ? 3 : 1; }
        OLD void work(int k) { switch (level()) {
        case 0: puts("0"); break; case 1: slow(k); break; case 2: puts("2"); break;
        case 3: fast(k); break; case 4: puts("4"); break; case 5: puts("five"); slow(9); break;
        case 6: slow(7); break; case 8: slow(8); puts("8"); break; } }
        """,
    ),
    "switch_before_a_choice_and_behind_it": (
        "runs",
        r"""static int level = 1; OLD void learn(void) { if (has()) level = 3; }
        OLD void copy(int k) { switch (k) {
        case 10: puts("0"); slow(1); break; case 11: slow(k); break; case 12: puts("2"); return;
        case 13: slow(3); puts("a"); break; case 14: puts("4"); break; case 15: slow(9); return; }
        if (level < 3) { slow(k); return; } switch (k) {
        case 0: puts("0"); break; case 1: fast(k); break; case 2: puts("2"); break;
        case 3: slow(3); break; case 4: puts("4"); break; case 5: fast(9); puts("5"); break;
        case 6: slow(7); break; case 8: slow(8); puts("8"); break; } }
        OLD void work(int k) { learn(); copy(k); }
        """,
    ),
    "memory_struct": (
        "runs",
        r"""struct ctx { int pad; char has_avx2; char more; void (*f)(int); };
        static struct ctx *ctx;
        OLD void init(void) { ctx = calloc(1, sizeof *ctx); ctx->has_avx2 = has(); }
        OLD void work(int k) { init(); if (ctx->has_avx2) fast(k); else slow(k); }
        """,
    ),
    "inline": (
        "dies",
        r"""OLD void work(int k) { if (asked()) puts("new");
            __asm__ volatile("vpaddd %%ymm1, %%ymm0, %%ymm0" ::: "xmm0"); }
        """,
    ),
    "thread_guarded": (
        "runs",
        r"""#include <pthread.h>
        NEW void *start(void *p) { LOOP(1); return p; }
        OLD void work(int k) { pthread_t t; if (!has()) return; pthread_create(&t, 0, start,
        0); pthread_join(t, 0); }
        """,
    ),
    "trap": (
        "dies",
        r"""OLD void work(int k) { if (!has()) __builtin_trap(); fast(k); }
        """,
    ),
}
C_ALONE = ("returns", "returns_check", "refused_to_a_caller", "refused_at_one_end")
"""With a main of their own."""

STORED = r"""struct coder { long pad[4]; void (*f)(int), (*g)(int); };
OLD struct coder *made(int k) { struct coder *c = malloc(sizeof *c); if (has()) puts("new");
    c->pad[0] = k; c->f = fast; c->g = slow; return c; }
OLD void work(int k) { struct coder *c = made(k); c->f(k); }
"""
"""What does not move stores a function's address as a number."""
OTHERS = r"""#include <cpuid.h>
int cpu_features;
__attribute__((constructor)) void ask(void) { unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) cpu_features = b >> 5 & 1; }
"""
ASKS_OTHERS = r"""extern int cpu_features;
struct finder { long pad[4]; char kind, size; };
OLD struct finder *made(int k) { struct finder *f = malloc(sizeof *f); f->size = k;
    f->kind = cpu_features ? 3 : k > 9; return f; }
OLD void find(struct finder *f, int k) { switch (f->kind) { case 0: slow(k); break;
    case 1: slow(k + 1); break; case 2: puts("two"); break; case 3: fast(k); break;
    case 4: puts("four"); break; case 5: puts("five"); } }
OLD void work(int k) { find(made(k), k); }
"""
"""A program that looks into a variable of the library OTHERS."""

CXX_ALONE = ("throws_and_fails",)
CXX = {
    "leaves_in_a_list": (
        "runs",
        r"""#include <array>
        #include <vector>
        class Known { std::vector<std::array<int, 4>> leaves; int ebx = 0;
        public: Known() { std::array<int, 4> r; __cpuid(0, r[0], r[1], r[2], r[3]); int last = r[0];
        for (int leaf = 0; leaf <= last; ++leaf) {
        __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]); leaves.push_back(r); }
        if (last >= 7) ebx = leaves[7][1]; } bool avx2() const { return ebx >> 5 & 1; } };
        static const Known known;
        OLD void work(int k) { if (known.avx2()) fast(k); else slow(k); }
        """,
    ),
    "throws_and_fails": (
        "refuses",
        r"""#include <stdexcept>
        struct Engine { Engine() { if (!has()) throw std::runtime_error("AVX2 is needed"); }
        void run(int k) { fast(k); } };
        int main(int argc, char **argv) { try { Engine engine; engine.run(argc); }
        catch (const std::exception &why) { fprintf(stderr, "%s\n", why.what()); return 1; }
        printf("%f\n", a[7]); return 0; }
        """,
    ),
    "only_object_of_another": (
        "dies",
        r"""struct Cpu { bool avx2, sse42;
        Cpu() : avx2(has()), sse42(__builtin_cpu_supports("sse4.2")) {} };
        OLD const Cpu &cpu() { static Cpu only; return only; }
        OLD void work(int k) { if (cpu().sse42) fast(k); else slow(k); }
        """,
    ),
    "made_by_level": (
        "runs",
        r"""#include <memory>
        enum class Level { Base, Sse42, Avx2 };
        struct Base { virtual ~Base() {} virtual void run(int k) { slow(k); } };
        struct Newer : Base { void run(int k) override { fast(k); } };
        OLD Level level() { return has() ? Level::Avx2 : asked() ? Level::Sse42 : Level::Base; }
        OLD std::unique_ptr<Base> make(Level of) { if (of == Level::Avx2)
        return std::make_unique<Newer>(); return std::make_unique<Base>(); }
        OLD void work(int k) { make(level())->run(k); }
        """,
    ),
    "made_by_level_too_low": (
        "dies",
        r"""#include <memory>
        enum class Level { Base, Sse42, Avx2 };
        struct Base { virtual ~Base() {} virtual void run(int k) { slow(k); } };
        struct Newer : Base { void run(int k) override { fast(k); } };
        OLD Level level() { return has() ? Level::Avx2 : asked() ? Level::Sse42 : Level::Base; }
        OLD std::unique_ptr<Base> make(Level of) { if (of == Level::Base)
        return std::make_unique<Base>(); return std::make_unique<Newer>(); }
        OLD void work(int k) { make(level())->run(k); }
        """,
    ),
    "list_with_predicates": (
        "runs",
        r"""#include <vector>
        struct Kernel { const char *name; bool (*ok)(); void (*run)(int); };
        static bool yes() { return true; } static bool newer() { return has(); }
        static const std::vector<Kernel> &kernels() {
        static std::vector<Kernel> all{{"avx2", newer, fast}, {"c", yes, slow}}; return all; }
        OLD void work(int k) {
        for (auto &each : kernels()) if (each.ok()) { each.run(k); return; } }
        """,
    ),
    "objects_that_say_whether": (
        "runs",
        r"""#include <memory>
        #include <vector>
        struct Backend {
        virtual ~Backend() {} virtual bool fits() = 0; virtual void run(int) = 0; };
        struct Fast : Backend { bool fits() override { return __builtin_cpu_supports("avx2"); }
        NEW void run(int k) override { LOOP(k); } };
        struct Slow : Backend { bool fits() override { return true; }
        void run(int k) override { LOOP(k); } };
        OLD void work(int k) { std::vector<std::unique_ptr<Backend>> all;
        all.push_back(std::make_unique<Fast>()); all.push_back(std::make_unique<Slow>());
        for (auto &each : all) if (each->fits()) { each->run(k); break; } }
        """,
    ),
    "function": (
        "dies",
        r"""#include <functional>
        std::function<void(int)> make(int k) { if (k > 50) return slow; return fast; }
        OLD void work(int k) { if (asked()) puts("new"); make(k)(k); }
        """,
    ),
    "function_guarded": (
        "runs",
        r"""#include <functional>
        std::function<void(int)> make() { if (has()) return fast; return slow; }
        OLD void work(int k) { make()(k); }
        """,
    ),
    "virtual": (
        "runs",
        r"""#include <memory>
        struct Impl { virtual void run(int) = 0; virtual ~Impl() {} };
        struct Fast : Impl { NEW void run(int k) override { LOOP(k); } };
        struct Slow : Impl { void run(int k) override { LOOP(k); } };
        std::unique_ptr<Impl> make() { if (has()) return std::make_unique<Fast>();
        return std::make_unique<Slow>(); }
        OLD void work(int k) { make()->run(k); }
        """,
    ),
    "virtual_always": (
        "dies",
        r"""#include <memory>
        struct Impl { virtual void run(int) = 0; virtual ~Impl() {} };
        struct Fast : Impl { NEW void run(int k) override { LOOP(k); } };
        struct Slow : Impl { void run(int k) override { LOOP(k); } };
        OLD std::unique_ptr<Impl> make(int k) { if (k < 100) return std::make_unique<Fast>();
        return std::make_unique<Slow>(); }
        OLD void work(int k) { if (asked()) puts("new"); make(k)->run(k); }
        """,
    ),
    "static_object": (
        "dies",
        r"""struct Table { Table() { fast(3); } }; static Table table; OLD void work(int k) {
        if (asked()) puts("new"); }
        """,
    ),
    "only_object": (
        "runs",
        r"""struct Cpu { bool avx2, older; Cpu() : avx2(has()), older(asked()) {} };
        OLD const Cpu &cpu() { static Cpu only; return only; }
        OLD void work(int k) { if (cpu().avx2) fast(k); else slow(k); }
        """,
    ),
    "static_local": (
        "runs",
        r"""OLD bool ok() { static const bool value = has(); return value; }
        OLD void work(int k) { if (ok()) fast(k); else slow(k); }
        """,
    ),
    "throws": (
        "refuses",
        r"""#include <stdexcept>
        OLD void need() { if (!has()) throw std::runtime_error("needs AVX2"); }
        OLD void work(int k) { need(); fast(k); }
        """,
    ),
    "versions": (
        "runs",
        r"""__attribute__((target("default"), noinline)) void multi(int k) { LOOP(k); }
        __attribute__((target("arch=haswell"), noinline)) void multi(int k) { LOOP(k); }
        OLD void work(int k) { multi(k); }
        """,
    ),
    "variant": (
        "dies",
        r"""#include <variant>
        struct A { int k; }; struct B { int k; }; struct V { void operator()(A x) {
        slow(x.k); } void operator()(B x) { fast(x.k); } };
        OLD std::variant<A, B> make(int k) { if (k < 100) return B{k}; return A{k}; }
        OLD void work(int k) { if (asked()) puts("new"); std::visit(V{}, make(k)); }
        """,
    ),
    "once": (
        "runs",
        r"""#include <mutex>
        static std::once_flag once; static void (*f)(int); OLD void work(int k) {
        std::call_once(once, [] { f = has() ? fast : slow; }); f(k); }
        """,
    ),
}

SHARED = """
template <class T> __attribute__((noinline)) void scale(T *x, int n, T k) {
    for (int i = 0; i < n; i++) x[i] = x[i] * k + x[(i + 7) % n]; }
void other(float *x, int n);
"""
OTHER = """
void other(float *x, int n) { scale(x, n, 3.0f); for (int i = 0; i < n; i++) x[i] += 1; }
"""
"""This is compiled for AVX2, and linked first: its copy of `scale` is the one that is kept."""
COMDAT = {
    "leaked": (
        "dies",
        """#include <stdio.h>
        int main(int c, char **v) { static float x[1000];
            if (__builtin_cpu_supports("avx2")) other(x, 1000);
            scale(x, 1000, 2.0f); printf("%f\\n", x[3]); return 0; }
        """,
    ),
    "own": (
        "runs",
        """#include <stdio.h>
        int main(int c, char **v) { static float x[1000];
            if (__builtin_cpu_supports("avx2")) other(x, 1000); else x[3] = 5;
            printf("%f\\n", x[3]); return 0; }
        """,
    ),
}

RUST_HEAD = """#![allow(dead_code, unused_unsafe, unused_imports)]
use std::sync::atomic::*;
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn fast(a: &mut [f32], k: f32) {
    for i in 0..a.len() { a[i] = a[i].mul_add(k, 1.5); } }
#[inline(never)]
unsafe fn slow(a: &mut [f32], k: f32) { for i in 0..a.len() { a[i] = a[i] * k + 1.5; } }
fn main() {
    let n = std::env::args().count();
    let mut a = vec![1.25f32; 1000];
    work(&mut a, n);
    println!("{}", a[n]);
}
"""
OBJECTS = r"""trait K: Sync { fn ok(&self) -> bool; fn run(&self, a: &mut [f32], k: f32); }
struct A; struct B;
impl K for A { fn ok(&self) -> bool { is_x86_feature_detected!(TEST) }
    fn run(&self, a: &mut [f32], k: f32) { unsafe { fast(a, k) } } }
impl K for B { fn ok(&self) -> bool { true }
    fn run(&self, a: &mut [f32], k: f32) { unsafe { slow(a, k) } } }
static ALL: [&dyn K; 2] = [&A, &B];
#[inline(never)] fn work(a: &mut [f32], n: usize) {
    ALL.iter().find(|k| k.ok()).unwrap().run(a, n as f32) }
"""
BLOCK_ON = r"""use std::{future::Future, pin::Pin, task::*};
fn raw() -> RawWaker { fn c(_: *const ()) -> RawWaker { raw() } fn no(_: *const ()) {}
    static V: RawWakerVTable = RawWakerVTable::new(c, no, no, no);
    RawWaker::new(std::ptr::null(), &V) }
#[inline(never)] fn block_on<F: Future>(mut f: F) -> F::Output {
    let mut f = unsafe { Pin::new_unchecked(&mut f) };
    let w = unsafe { Waker::from_raw(raw()) }; let mut c = Context::from_waker(&w);
    loop { if let Poll::Ready(x) = f.as_mut().poll(&mut c) { return x } } }
struct Later(bool);
impl Future for Later { type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context) -> Poll<()> {
        if self.0 { Poll::Ready(()) } else { self.0 = true; Poll::Pending } } }
async fn job(mut v: Vec<f32>, k: f32) -> Vec<f32> {
    Later(false).await;
    if TEST { unsafe { fast(&mut v, k) } } else { unsafe { slow(&mut v, k) } }
    Later(false).await; v }
#[inline(never)] fn work(a: &mut [f32], n: usize) {
    let v = block_on(job(a.to_vec(), n as f32)); a.copy_from_slice(&v) }
"""
"""Of what is asynchronous a function has a table of jumps for each `match` of where it is."""
RUST = {
    "plain": (
        "dies",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) { for i in 0..a.len() {
        a[i] = a[i].mul_add(n as f32, 1.5); } }
        """,
    ),
    "detected": (
        "runs",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { unsafe {
        fast(a, n as f32) } }
            else { unsafe { slow(a, n as f32) } } }
        """,
    ),
    "unasked": (
        "dies",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) {
        if is_x86_feature_detected!("sse4.2") { println!("new"); } unsafe { fast(a,
        n as f32) } }
        """,
    ),
    "order": (
        "dies",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) {
        if is_x86_feature_detected!("sse4.2") { unsafe { fast(a, n as f32) } } else { unsafe {
            slow(a, n as f32) } } }
        """,
    ),
    "level": (
        "runs",
        r"""#[derive(Clone, Copy)] #[repr(u8)] enum L { A = 1, B, C }
        #[inline(never)] fn level() -> L {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { L::C }
            else if is_x86_feature_detected!("sse4.1") { L::B } else { L::A } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { match level() {
            L::C => unsafe { fast(a, n as f32) }, L::B => unsafe { slow(a, 1.0 + n as f32) },
            L::A => unsafe { slow(a, n as f32) } } }
        """,
    ),
    "indexed": (
        "dies",
        r"""static T: [unsafe fn(&mut [f32], f32); 3] = [slow, fast, slow];
        #[inline(never)] fn work(a: &mut [f32], n: usize) {
            if is_x86_feature_detected!("sse4.2") { println!("new"); }
            unsafe { T[n % 3](a, n as f32) } }
        """,
    ),
    "once": (
        "runs",
        r"""use std::sync::Once; static O: Once = Once::new();
        static mut F: unsafe fn(&mut [f32], f32) = slow;
        #[inline(never)] fn work(a: &mut [f32], n: usize) { unsafe {
            O.call_once(|| if
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { F = fast });
            F(a, n as f32) } }
        """,
    ),
    "once_bool": (
        "runs",
        r"""use std::sync::Once; static O: Once = Once::new(); static mut HAS: bool = false;
        #[inline(never)] fn work(a: &mut [f32], n: usize) { unsafe {
            O.call_once(|| HAS =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
            if HAS { fast(a, n as f32) } else { slow(a, n as f32) } } }
        """,
    ),
    "dyn_always": (
        "dies",
        r"""trait K { fn run(&self, a: &mut [f32], k: f32); } struct A(u8); struct B(u8);
        impl K for A { fn run(&self, a: &mut [f32], k: f32) { unsafe { fast(a,
        k + self.0 as f32) } } } impl K for B { fn run(&self, a: &mut [f32], k: f32) {
        unsafe { slow(a, k + self.0 as f32) } } }
        #[inline(never)] fn make(n: usize) -> Box<dyn K> { if n < 100 {
        Box::new(A(n as u8)) } else { Box::new(B(3)) } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) {
        if is_x86_feature_detected!("sse4.2") { println!("new"); } make(n).run(a, n as f32) }
        """,
    ),
    "indexed_level": (
        "runs",
        r"""static T: [unsafe fn(&mut [f32], f32); 2] = [slow, fast];
        #[inline(never)] fn work(a: &mut [f32], n: usize) {
        let l = (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) as usize;
            unsafe { T[l](a, n as f32) } }
        """,
    ),
    "assert": (
        "refuses",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) {
        assert!(is_x86_feature_detected!("avx2")); unsafe { fast(a, n as f32) } }
        """,
    ),
    "result": (
        "refuses",
        r"""#[inline(never)] fn try_work(a: &mut [f32], n: usize) -> Result<(), String> {
            if !is_x86_feature_detected!("avx2") { return Err("needs AVX2".to_string()); }
            unsafe { fast(a, n as f32) } Ok(()) }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { try_work(a, n).unwrap() }
        """,
    ),
    "result_fallback": (
        "runs",
        r"""#[inline(never)] fn try_work(a: &mut [f32], n: usize) -> Result<(), String> {
            if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
                return Err("needs AVX2".to_string()); }
            unsafe { fast(a, n as f32) } Ok(()) }
        #[inline(never)] fn work(a: &mut [f32], n: usize) {
            if try_work(a, n).is_err() { unsafe { slow(a, n as f32) } } }
        """,
    ),
    "cached": (
        "dies",
        r"""type T = unsafe fn(&mut [f32], f32);
        static F: AtomicPtr<()> = AtomicPtr::new(detect as *mut ());
        unsafe fn detect(a: &mut [f32], k: f32) {
            let f: T = if is_x86_feature_detected!("sse4.2") { fast } else { slow };
            F.store(f as *mut (), Ordering::Relaxed); f(a, k) }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { unsafe {
            std::mem::transmute::<*mut (), T>(F.load(Ordering::Relaxed))(a, n as f32) } }
        """,
    ),
    "cpuid": (
        "runs",
        r"""#[inline(never)] fn has() -> bool { use std::arch::x86_64::*;
        #[allow(unused_unsafe)] unsafe { __cpuid_count(7, 0).ebx >> 5 & 1 != 0 } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { if has() { unsafe { fast(a,
        n as f32) } }
            else { unsafe { slow(a, n as f32) } } }
        """,
    ),
    "thread": (
        "dies",
        r"""#[inline(never)] fn work(a: &mut [f32], n: usize) {
        if is_x86_feature_detected!("sse4.2") { println!("new"); } let mut v = a.to_vec();
        std::thread::spawn(move || unsafe { fast(&mut v, n as f32); v[3] }).join().unwrap(); }
        """,
    ),
    "token": (
        "runs",
        r"""#[derive(Clone, Copy)] struct Avx2(()); impl Avx2 { fn new() -> Option<Self> {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        Some(Avx2(())) } else { None } } fn run(self, a: &mut [f32], k: f32) { unsafe {
        fast(a, k) } } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { match Avx2::new() {
        Some(t) => t.run(a, n as f32), None => unsafe { slow(a, n as f32) } } }
        """,
    ),
    "field_too_low": (
        "dies",
        r"""#[derive(Clone, Copy)] enum Platform { Portable, Sse41, Avx2 }
        impl Platform { fn detect() -> Self {
            if is_x86_feature_detected!("sse4.2") { Platform::Avx2 }
            else if is_x86_feature_detected!("sse4.1") { Platform::Sse41 }
            else { Platform::Portable } } }
        struct Hasher { of: Platform, n: usize }
        impl Hasher {
            #[inline(never)] fn new(n: usize) -> Self { Hasher { of: Platform::detect(), n } }
            #[inline(never)] fn update(&mut self, a: &mut [f32]) { self.n += a.len();
                let k = self.n as f32;
                match self.of { Platform::Portable => unsafe { slow(a, k) },
                    Platform::Sse41 => unsafe { slow(a, k + 1.0) },
                    Platform::Avx2 => unsafe { fast(a, k) } } } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) {
            let mut h = Hasher::new(n); h.update(a); h.update(a) }
        """,
    ),
    "word_too_low": (
        "dies",
        r"""static WORD: AtomicU8 = AtomicU8::new(u8::MAX);
        #[inline(always)] fn asked() { if WORD.load(Ordering::Relaxed) == u8::MAX {
            let c = unsafe { std::arch::x86_64::__cpuid(1).ecx };
            WORD.store((c >> 20 & 1 == 1 && c & (1 << 9) != 0) as u8, Ordering::Relaxed) } }
        #[inline(never)] fn work(a: &mut [f32], n: usize) { asked();
            if WORD.load(Ordering::Relaxed) == 1 { unsafe { fast(a, n as f32) } }
            else { unsafe { slow(a, n as f32) } } }
        """,
    ),
    "objects": ("runs", OBJECTS.replace("TEST", '"avx2") && is_x86_feature_detected!("fma"')),
    "objects_too_low": ("dies", OBJECTS.replace("TEST", '"sse4.2"')),
    "asynchronous": (
        "runs",
        BLOCK_ON.replace(
            "TEST", 'is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")'
        ),
    ),
    "asynchronous_too_low": (
        "dies",
        BLOCK_ON.replace("TEST", 'is_x86_feature_detected!("sse4.2")'),
    ),
}
RUST_FLAGS = {"plain": ("-Ctarget-cpu=haswell",)}
ASSEMBLY = ".text\n.globl kernel\n.p2align 4\nkernel:\n" + "".join(
    f"vmovups {at}(%rdi), %ymm0\nvpaddd %ymm0, %ymm0, %ymm1\nvmovups %ymm1, {at}(%rdi)\n"
    for at in range(0, 640, 32)
)
ASSEMBLY += 'vzeroupper\nret\n.section .note.GNU-stack,"",@progbits\n'
"""A function that nothing tells of in a stripped file, but who calls it."""
CALLS = {
    "called": (
        "dies",
        """void kernel(float *); OLD void work(int k) { if (asked()) puts("new"); kernel(a); }
        """,
    ),
    "chosen": (
        "runs",
        """void kernel(float *); OLD void work(int k) { if (has()) kernel(a); else slow(k); }
        """,
    ),
}

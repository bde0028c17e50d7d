"""Programs that keep what they know of the CPU in objects, tables and lists, and choose wrongly.

As samples.py has them: (what becomes of each on a CPU without AVX2, source). Each was once taken
for guarded, but for those that run.
"""

from __future__ import annotations

C = {
    "heap_flags": (
        "runs",
        r"""struct ctx { int w; unsigned cpu; void (*f)(int); };
        OLD void init(struct ctx *c) { c->f = slow; if (c->cpu & 0x8000) c->f = fast; }
        OLD void work(int k) { struct ctx *c = calloc(1, sizeof *c); c->w = k;
        c->cpu = (asked() ? 0x100 : 0) | (has() ? 0x8000 : 0); init(c); c->f(k); free(c); }
        """,
    ),
    "heap_flags_of_another": (
        "dies",
        r"""struct ctx { int w; unsigned cpu; void (*f)(int); };
        OLD void init(struct ctx *c) { c->f = slow; if (c->cpu & 0x100) c->f = fast; }
        OLD void work(int k) { struct ctx *c = calloc(1, sizeof *c); c->w = k;
        c->cpu = (asked() ? 0x100 : 0) | (has() ? 0x8000 : 0); init(c); c->f(k); free(c); }
        """,
    ),
    "heap_level_inverted": (
        "dies",
        r"""struct ctx { long pad[4]; int level; };
        OLD int level(void) { return has() ? 3 : asked() ? 2 : 1; }
        OLD void run(struct ctx *c, int k) { if (c->level >= 3) slow(k); else fast(k); }
        OLD void work(int k) { struct ctx *c = malloc(sizeof *c); c->level = level();
        run(c, k); free(c); }
        """,
    ),
    "heap_object_of_another": (
        "dies",
        r"""struct ops { void (*f)(int), (*g)(int); }; struct object { const struct ops *ops; };
        static const struct ops old_ops = {slow, slow}, new_ops = {fast, fast};
        OLD struct object *make(void) { struct object *o = malloc(sizeof *o);
        o->ops = asked() ? &new_ops : &old_ops; return o; }
        OLD void work(int k) { struct object *o = make(); o->ops->f(k); free(o); }
        """,
    ),
    "table_by_level": (
        "dies",
        r"""enum { SCALAR, SSE2, AVX2 }; struct kernels { void (*f)(int), (*g)(int); };
        static const struct kernels all[] = {{slow, slow}, {slow, slow}, {fast, fast}};
        static struct kernels chosen;
        OLD void choose(void) { int level = SSE2; if (asked()) level = AVX2;
        chosen = all[level]; }
        OLD void work(int k) { if (!chosen.f) choose(); chosen.f(k); chosen.g(k); }
        """,
    ),
    "leaked_baseline": (  # both sides need AVX
        "dies",
        r"""struct kernels { long unroll; void (*f)(int); };
        NEW void base(int k) { LOOP(k + 1); }
        static struct kernels of_haswell = {64, fast}, of_nehalem = {32, base}, *kernels;
        OLD struct kernels *core(void) { return has() ? &of_haswell : &of_nehalem; }
        OLD void work(int k) { if (!kernels) kernels = core(); kernels->f(k); }
        """,
    ),
    "leaked_baseline_later": (
        "dies",
        r"""struct table { void (*f)(int), (*g)(int); int ready; };
        NEW void base(int k) { LOOP(k + 1); }
        static void first(int k); static struct table table = {first, slow, 0};
        OLD void fill(void) { struct table t; memset(&t, 0, sizeof t); t.f = base; t.g = slow;
        if (has()) t.f = fast; t.ready = 1; table = t; }
        static void first(int k) { fill(); table.f(k); }
        OLD void work(int k) { table.f(k); table.g(k); }
        """,
    ),
    "needs_of_another": (  # as VOLK has them
        "dies",
        r"""struct kernel { const char *name; unsigned needs; void (*f)(int); };
        static const struct kernel all[] = {{"generic", 0, slow}, {"avx2", 2, fast}};
        OLD unsigned cpu(void) { return (asked() ? 2 : 0) | (has() ? 4 : 0); }
        OLD void work(int k) { unsigned have = cpu(); void (*best)(int) = slow;
        for (int i = 0; i < 2; i++) if (!(all[i].needs & ~have)) best = all[i].f; best(k); }
        """,
    ),
    "environment": (
        "runs",
        r"""static int flags; OLD void look(void) { char *set;
        flags = (asked() ? 1 : 0) | (has() ? 2 : 0);
        set = getenv("FORCE_LEVEL"); if (set && *set) flags &= atoi(set); }
        OLD void work(int k) { look(); if (flags & 2) fast(k); else slow(k); }
        """,
    ),
    "list_that_grows_inverted": (
        "dies",
        r"""struct known { const char *name; int has; }; static struct known *all; static int count;
        OLD void add(const char *name, int has) {
        all = realloc(all, (count + 1) * sizeof *all); all[count].name = name;
        all[count++].has = has; }
        OLD int knows(const char *name) { for (int i = 0; i < count; i++)
        if (!strcmp(all[i].name, name)) return all[i].has; return 0; }
        OLD void work(int k) { add("sse4.2", asked()); add("avx2", has());
        if (knows("avx2")) slow(k); else fast(k); }
        """,
    ),
    "memory_by_a_pointer": (
        "dies",
        r"""static void *(*take)(size_t) = malloc; struct state { int newer; };
        OLD struct state *make(void) { struct state *s = take(sizeof *s); if (!s) return 0;
        s->newer = has() | 1; return s; }
        OLD void go(struct state *s, int k) { if (s->newer) fast(k); else slow(k); }
        OLD void work(int k) { struct state *s = make(); if (s) go(s, k); }
        """,
    ),
    "fails_further_down": (
        "refuses",
        r"""OLD int prepare(void) { if (!has()) { fputs("unsupported\n", stderr); return 0; }
        return 1; }
        OLD int tool(int k) { if (!prepare()) return 4; fast(k); return 0; }
        OLD void work(int k) { int result = tool(k); if (result) exit(result); }
        """,
    ),
}

CXX_HEAD = """
#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
"""
CXX = {
    "member_function_inverted": (
        "dies",
        r"""struct all { std::function<void(int)> f; all() { f = slow; if (!has()) f = fast; } };
        OLD all &get() { static all one; return one; }
        OLD void work(int k) { get().f(k); }
        """,
    ),
    "bits_of_another": (
        "dies",
        r"""OLD std::bitset<64> look() { std::bitset<64> r; r[3] = asked(); r[9] = has();
        return r; }
        static const std::bitset<64> bits = look();
        OLD void work(int k) { if (bits[9]) slow(k); else fast(k); }
        """,
    ),
    "implementations_of_another": (  # as simdjson's
        "dies",
        r"""struct impl { uint32_t needs; constexpr impl(uint32_t n) : needs(n) {}
        virtual void run(int) const = 0; };
        struct newer final : impl { constexpr newer() : impl(1) {}
        void run(int k) const override { fast(k); } };
        struct older final : impl { constexpr older() : impl(0) {}
        void run(int k) const override { slow(k); } };
        static const newer one{}; static const older two{};
        OLD uint32_t cpu() { return (asked() ? 1 : 0) | (has() ? 2 : 0); }
        OLD const impl *best() { uint32_t have = cpu();
        static const impl *const all[] = {&one, &two};
        for (auto each : all) if ((each->needs & have) == each->needs) return each;
        return &two; }
        OLD void work(int k) { best()->run(k); }
        """,
    ),
    "shared_inverted": (
        "dies",
        r"""struct state { int width = 0; bool old, newer; };
        OLD std::shared_ptr<state> make() { auto s = std::make_shared<state>();
        s->old = asked(); s->newer = has(); return s; }
        OLD void run(const state &s, int k) { if (s.newer) slow(k); else fast(k); }
        OLD void work(int k) { auto s = make(); run(*s, k); }
        """,
    ),
}

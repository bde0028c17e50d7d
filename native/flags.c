/*
 * The flags of a version of wasmtime: which it knows, and which of them hold here.
 *
 * A flag is true only if its feature is safe and that wasmtime accepts it on this machine: it
 * refuses to start with a flag that its own detector denies.
 */
#include "flags.h"

/* The target is pinned: nothing is then inferred from CPUID. */
#define TARGET "x86_64-unknown-linux-gnu"
#define FIRST_WITH_CODEGEN_OPTIONS 14 /* wasmtime 14 moved Cranelift's settings to -C */

static const struct wasmtime kinds[] = {
#define ROW(count, flags, refuses, simd_floor) {count, flags, refuses, simd_floor},
    EACH_KIND_OF_WASMTIME(ROW)
#undef ROW
};

static const struct {
    uint16_t major;
    uint8_t kind;
} versions[] = {
#define ROW(major, kind) {major, kind},
    EACH_WASMTIME(ROW)
#undef ROW
};

static const struct {
    const char *name;
    int feature; /* -1: not known what it asks for */
} flags[] = {
#define ROW(name, feature) {name, feature},
    EACH_FLAG(ROW)
#undef ROW
};

_Static_assert(sizeof flags / sizeof *flags <= MAXIMUM_FLAGS, "a version has room for all");

struct target
find_wasmtime(uint32_t major)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (major == 0 || versions[i].major == major)
            return (struct target){versions[i].major, &kinds[versions[i].kind]};
    return (struct target){major, NULL};
}

/* The flag of that name that a version knows, or -1. */
int
find_flag(const struct wasmtime *wasmtime, const char *name, size_t length)
{
    for (unsigned int i = 0; i < wasmtime->count; i++) {
        const char *known = flags[wasmtime->flags[i]].name;

        if (text_length(known) == length && bytes_equal(known, name, length))
            return wasmtime->flags[i];
    }
    return -1;
}

/* Why a flag is false, or FLAG_HOLDS. */
enum flag_reason
judge_flag(const struct verdict *verdict, const struct wasmtime *wasmtime, unsigned int flag)
{
    int feature = flags[flag].feature;

    if (feature < 0)
        return FLAG_UNKNOWN;
    if (wasmtime->refuses >> flag & 1)
        return FLAG_NO_HOST;
    if (!has_feature(&verdict->safe, (unsigned int)feature))
        return verdict->state[feature] == STATE_OF_USABLE ? FLAG_BUILDS_ON_UNSAFE : FLAG_UNSAFE;
    return has_feature(&verdict->refused, (unsigned int)feature) ? FLAG_REFUSED : FLAG_HOLDS;
}

/* The feature that a flag asks for, or -1. */
int
flag_feature(unsigned int flag)
{
    return flags[flag].feature;
}

static void
write_json(struct writer *writer, const struct verdict *verdict, const struct wasmtime *wasmtime)
{
    json_open(writer, '{');
    for (unsigned int i = 0; i < wasmtime->count; i++) {
        unsigned int flag = wasmtime->flags[i];
        bool on = judge_flag(verdict, wasmtime, flag) == FLAG_HOLDS;

        json_key(writer, flags[flag].name);
        json_literal(writer, on ? "true" : "false");
    }
    json_close(writer, '}');
}

/* One flag in a dialect that writes them one after the other. */
static void
write_flag(struct writer *writer, uint32_t major, enum flag_format format, const char *name,
           bool on)
{
    if (format == FORMAT_CLI)
        write_words(writer,
                    major >= FIRST_WITH_CODEGEN_OPTIONS ? " -C cranelift-" : " --cranelift-set ");
    if (format == FORMAT_CLIF)
        write_words(writer, " ");
    write_words(writer, name);
    if (format != FORMAT_CLIF)
        write_words(writer, on ? "=true" : "=false");
    else if (!on)
        write_words(writer, "=false");
    if (format == FORMAT_TEXT)
        write_words(writer, "\n");
}

/* Every flag that this wasmtime knows, each with its value, as `cpuprobe flags` writes them. */
void
write_flags(struct writer *writer, const struct verdict *verdict, const struct target *target,
            enum flag_format format)
{
    const struct wasmtime *wasmtime = target->wasmtime;

    if (format == FORMAT_JSON)
        write_json(writer, verdict, wasmtime);
    else if (format == FORMAT_CLI)
        write_words(writer, "--target " TARGET);
    else if (format == FORMAT_CLIF)
        write_words(writer, "target x86_64");
    for (unsigned int i = 0; i < wasmtime->count && format != FORMAT_JSON; i++)
        write_flag(writer, target->major, format, flags[wasmtime->flags[i]].name,
                   judge_flag(verdict, wasmtime, wasmtime->flags[i]) == FLAG_HOLDS);
    if (format != FORMAT_TEXT)
        write_words(writer, "\n");
}

static void
write_name_or_null(struct writer *writer, const char *key, const char *name)
{
    json_key(writer, key);
    if (name == NULL)
        json_literal(writer, "null");
    else
        json_string(writer, name);
}

/* The verdict as a member of the document that holds the observation. */
void
write_verdict(struct writer *writer, const struct verdict *verdict)
{
    static const char *const judgements[] = {
        [JUDGED_CONSISTENT] = "consistent",
        [JUDGED_MISMATCH] = "mismatch",
        [JUDGED_INSUFFICIENT] = "insufficient",
    };
    struct target newest = find_wasmtime(0);

    json_key(writer, "native");
    json_open(writer, '{');
    json_key(writer, "basis");
    json_string(writer, verdict->executed ? "executed" : "cpuid");
    json_key(writer, "verdict");
    json_string(writer, judgements[verdict->judgement]);
    write_name_or_null(writer, "level", verdict->level);
    write_name_or_null(writer, "level_at_least", verdict->level_at_least);
    write_name_or_null(writer, "level_at_most", verdict->level_at_most);
    json_key(writer, "states");
    json_open(writer, '{');
    for (unsigned int i = 0; i < FEATURE_COUNT; i++) {
        json_key(writer, feature_rows[i].name);
        json_string(writer, state_name(verdict->state[i]));
    }
    json_close(writer, '}');
    json_key(writer, "wasmtime");
    json_number(writer, newest.major);
    json_key(writer, "cranelift");
    write_json(writer, verdict, newest.wasmtime);
    json_close(writer, '}');
}

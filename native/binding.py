"""The cffi definition of `cpuprobe._native`: the freestanding core, and the scanner.

Run by setup.py through cffi's setuptools hook (`cffi_modules`).
"""

import os
import platform
from glob import glob

import cffi

MACHINE = os.environ.get("CPUPROBE_ISA", platform.machine())
ISA = f"native/isa/{MACHINE}"
# What judges without Python, for which aarch64 lacks the tables.
UNUSED = {"aarch64": ("native/verdict.c", "native/flags.c", "native/survey.c")}
# Relative to the checkout, where setuptools runs this; the executable's own files are left out.
CORE = sorted(
    {*glob("native/*.c"), *glob(f"{ISA}/*.c"), *glob(f"{ISA}/candidates/*.c")}
    - {
        "native/main.c",
        f"{ISA}/start.c",
        f"{ISA}/screen.c",
        *UNUSED.get(MACHINE, ()),
    }
)
SCANNER = sorted(glob("native/scan/*.c"))
HEADERS = sorted(
    [*glob("native/*.h"), *glob(f"{ISA}/**/*.h", recursive=True), *glob("native/scan/*.h")]
)

# The first version of the architecture and nothing more, whatever CFLAGS this Python was built
# with: the core runs where the CPU lies about everything else. No stack protector: it needs
# thread-local storage that a raw child process need not have. No LTO: it could merge the core with
# code compiled for more.
TARGET = {
    "x86_64": ("-march=x86-64", "-mtune=generic"),
    "aarch64": ("-march=armv8-a", "-mgeneral-regs-only", "-mno-outline-atomics"),
}
CORE_FLAGS = (
    "-std=gnu11",
    "-O2",
    *TARGET[MACHINE],
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-lto",
    "-U_FORTIFY_SOURCE",  # its checked functions are one C library's own
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)

CDEF = """
int cpuprobe_native_observe(const char *root, const char *cpus, int execute, unsigned repeat,
                            int watched,
                            char **text, size_t *length, size_t *capacity, char reason[160]);
void cpuprobe_native_free(char *text, size_t capacity);
size_t cpuprobe_native_flags(unsigned wasmtime_major, char *out, size_t size);
enum error {
    ERROR_NONE, ERROR_INTERRUPTED, ERROR_CPU_LIST, ERROR_CPU_ABSENT, ERROR_ROOT, ...
};

enum { MOST_FEATURES = 160, MOST_PLACES = 8, SOURCES = 4, CLASS_CPUID = 16, CLASS_XGETBV = 32 };
enum { CLASS_QUIET = 1, CLASS_INVALID = 2, CLASS_RARE = 4, CLASS_DATA = 8, CLASS_END = 64,
       CLASS_NEAR = 128 };
enum flow {
    FLOW_NEXT, FLOW_JCC, FLOW_JMP, FLOW_CALL, FLOW_INDIRECT_JMP, FLOW_INDIRECT_CALL, FLOW_RET,
    FLOW_INTERRUPT, FLOW_TRAP, FLOW_INVALID
};
struct scan_range { uint64_t start, end; uint32_t source, lsda; };
struct scan_place { uint64_t address; uint32_t count, range; };
struct scan_use {
    uint64_t instructions[SOURCES]; uint64_t functions; uint32_t places;
    struct scan_place place[MOST_PLACES];
};
struct scan_listed { uint64_t first, last; uint32_t range, feature, count; };
struct scan_tally {
    uint32_t base;
    struct scan_use uses[MOST_FEATURES];
    uint64_t discarded, swept, unknown, steps;
    uint32_t signs, listed, functions;
};
typedef uint64_t scan_mask[2];
struct scan_output {
    scan_mask *pages, *functions; struct scan_listed *listed; scan_mask sought;
};
struct scan_space { ...; };
void cpuprobe_scan(const uint8_t *code, uint64_t size, uint64_t address,
                   const struct scan_range *ranges, uint32_t count, struct scan_tally *tally,
                   const struct scan_output *output, struct scan_space *space);
size_t scan_decode_all(const uint8_t *code, size_t size, uint8_t *lengths, uint8_t *kinds);
struct instruction_class {
    uint8_t flags, flow, group, counted, features[3];
    uint64_t known[2];
};
struct operation {
    uint32_t offset; uint8_t length, class; uint16_t traits; uint8_t count, same;
    uint8_t where[5], registers[5];
    uint8_t has_memory, size, base, index, unscaled, is_static, absolute, framing;
    int64_t displacement; uint64_t immediate;
};
unsigned scan_operation(const uint8_t *code, size_t available, uint64_t address,
                        struct operation *made);
enum { MOST_CALLS = 16384, MAY_ANSWER = 1, IS_FOREIGN = 2, NEVER_RETURNS = 4, CALLS_ARGUMENT = 8,
       LEAVES_ANSWERS = 4096, ANSWERS = 3585 };
enum way { WAY_FOREIGN, WAY_KEPT, WAY_STORED, WAY_CALLED, WAY_TABLE, WAY_TAKEN };
struct ways_set { uint64_t *all; uint32_t count, room; };
struct ways_convention { ...; };
extern const struct ways_convention ways_system_v, ways_windows, ways_go;
struct ways_known {
    const struct ways_convention *convention;
    struct ways_set statics, regions, fields, fillers, questions, foreign, slots;
    const uint64_t *pointers;
    struct ways_set models;
    uint8_t bits[7][32], tiers[160];
};
enum source {
    CPUID_1_ECX, CPUID_7_EBX, CPUID_7_ECX, CPUID_7_EDX, CPUID_EXT_1_ECX, XCR0_EAX, CPU_MODEL, WORDS
};
enum { KEPT_SHIFT = 19 };
struct ways_call { uint64_t target, site; uint32_t unless; uint16_t answers, tiers; };
struct ways_escape { uint64_t address, site; uint32_t unless; uint16_t way, tiers; };
struct ways_need { uint64_t address; uint32_t feature, unless; };
struct ways_summary {
    uint32_t needs, calls, escapes, statics, fields, steps, invokes;
    uint16_t answers, returned; uint8_t is_whole, returns, asks;
    struct ways_need need[...]; struct ways_call call[...]; struct ways_escape escape[...];
    uint64_t static_memory[...], field[...];
    ...;
};
struct ways_space {
    uint32_t targets; uint64_t target[...]; uint32_t answer[...]; struct ways_summary summary; ...;
};
uint32_t ways_begin(struct ways_space *space, const uint8_t *code, uint64_t size, uint64_t address,
                    uint64_t start, uint64_t end);
uint32_t ways_target(struct ways_space *space, uint64_t target);
void ways_finish(struct ways_space *space, struct ways_known *known, uint32_t most_steps,
                 int is_main);
int ways_add(struct ways_set *set, uint64_t address);
int ways_keep(struct ways_set *set, uint64_t word);
enum { MOST_BUCKETS = 32768 };
struct link { uint64_t key, value; };
struct links { struct link *all; uint64_t count, room; };
struct links_bucket { ...; };
struct links_index {
    const uint64_t *all; struct links_bucket *buckets; uint32_t count, shift; ...;
};
struct links_range { uint64_t start, end; };
struct links_known {
    struct links_index functions, slots; const uint64_t *pointers;
    const struct links_range *code; uint32_t ranges, is_fixed;
};
void links_index(struct links_index *index);
void links_search(const uint8_t *code, uint64_t size, uint64_t from, uint64_t to, uint64_t address,
                  const struct links_known *known, struct links *calls, struct links *taken,
                  struct links *asking);
void links_group(const struct links *lists, uint32_t number, uint64_t keys, uint64_t *first,
                 uint64_t *values);
void links_relocations(const uint8_t *table, uint64_t size, const uint8_t *symbols,
                       uint64_t symbols_size, struct links *pointers, struct links *names);
void links_words(const uint8_t *content, uint64_t size, uint64_t address,
                 const struct links_known *known, struct links *pointers);
void links_values(const uint8_t *content, uint64_t size, uint64_t address,
                  const struct links_known *known, struct links *pointers);
void links_sort(struct link *all, struct link *spare, uint64_t count);
void links_part(const struct link *all, uint64_t count, uint64_t *keys, uint64_t *values);
uint64_t links_last(struct link *all, uint64_t count);
void links_turn(const struct links_known *known, struct links *turned);
void links_stubs(const uint8_t *code, uint64_t size, uint64_t address, struct links *stubs);
void links_entered(const struct links_known *known, const struct links *stubs,
                   struct links *entered);
void links_hold(const struct links_known *known, const uint64_t *limits, const uint64_t *pages,
                const uint64_t *masks, uint64_t count, uint64_t *held);
uint32_t links_holding(const uint64_t *held, uint32_t count, uint32_t bit, uint32_t *numbers);
void links_limits(const struct links_known *known, const uint64_t *ends, uint64_t *limits);
struct function {
    uint64_t start, end; uint32_t name, strings, section; uint16_t source, lsda;
};
struct functions { struct function *all; uint64_t count, room; };
struct symbols {
    const uint8_t *rows, *strings; uint64_t size, strings_size; const uint32_t *codes;
    const struct links_range *code; const uint8_t *answers;
    uint32_t sections, answers_size, number; uint8_t is_object;
};
struct symbols_found {
    struct functions functions, objects; struct links undefined, exports, answers; uint64_t ifuncs;
};
void functions_symbols(const struct symbols *symbols, struct symbols_found *found);
uint64_t functions_relocations(const uint8_t *rows, uint64_t size, uint32_t kind, uint64_t low,
                               uint64_t high, struct links *within);
void functions_unwind(const uint8_t *data, uint64_t size, uint64_t address,
                      const struct links_range *code, uint32_t ranges, struct functions *made);
uint64_t functions_settle(struct function *all, struct function *spare, uint64_t count);
void functions_links(const struct function *all, uint64_t count, const struct links *stubs,
                     struct links *made);
struct functions_cut {
    struct scan_range *known, *gaps; uint64_t *known_before, *gaps_before;
    uint64_t knowns, unknowns, work, bytes[SOURCES], padding, data, large;
};
void functions_cut(const struct function *all, uint64_t count, const uint8_t *code, uint64_t size,
                   uint64_t address, const struct links_range *objects, uint64_t objects_count,
                   struct functions_cut *cut);
extern const struct instruction_class scan_classes[];
extern const unsigned scan_features, scan_known_features, scan_classes_number;
extern const char *const scan_feature_names[];

extern "Python" int cpuprobe_native_interrupted(void);
extern "Python" void cpuprobe_native_progress(uint64_t done, uint64_t of);
"""

SOURCE = """
static int cpuprobe_native_interrupted(void);
static void cpuprobe_native_progress(uint64_t done, uint64_t of);
#include <errno.h>
#include <sys/auxv.h>
#include "core.h"
#include "flags.h"
#include "scan/functions.h"
#include "scan/links.h"
#include "scan/scan.h"
#include "scan/ways.h"

static void
read_auxiliary(struct options *options)
{
    static const unsigned long entries[] = {
#define NUMBER(constant, number) number,
        EACH_AUXILIARY(NUMBER)
#undef NUMBER
    };

    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        uint64_t value;

        errno = 0;
        value = getauxval(entries[i]);
        if (errno != ENOENT)
            take_auxiliary(options, entries[i], value);
    }
}

static int
cpuprobe_native_observe(const char *root, const char *cpus, int execute, unsigned repeat,
                        int watched, char **text,
                        size_t *length, size_t *capacity, char reason[160])
{
    struct options options = {.root = root, .cpus = cpus, .execute = execute != 0,
                              .interrupted = cpuprobe_native_interrupted, .repeat = repeat};
    struct writer writer = {0};
    struct reason why;
    enum error error;

    _Static_assert(sizeof why.text == 160, "known to cdef");
    if (watched)
        options.progress = cpuprobe_native_progress;
    read_auxiliary(&options);
    error = cpuprobe_observe(&options, cpuprobe_candidates(), &writer, &why);
    copy_bytes(reason, why.text, sizeof why.text);
    *text = writer.text;
    *length = writer.length;
    *capacity = writer.capacity;
    return (int)error;
}

static void
cpuprobe_native_free(char *text, size_t capacity)
{
    struct writer writer = {.text = text, .capacity = capacity};

    release_writer(&writer);
}

/* The safe flags as name=value lines, and their length. 0 where there is more to say than that:
 * the wasmtime is not known, nothing can be measured, or a flag is off whose feature is no plain
 * absence. */
static size_t
cpuprobe_native_flags(unsigned wasmtime_major, char *out, size_t size)
{
#if ISA_JUDGES
    struct options options = {.root = "", .execute = true, .repeat = 1};
    const struct target target = find_wasmtime(wasmtime_major);
    struct writer writer = {0};
    struct survey survey;
    struct reason why;
    size_t length = 0;

    read_auxiliary(&options);
    if (target.wasmtime == NULL || wasmtime_major == 0 ||
        survey_machine(&options, cpuprobe_candidates(), &survey, &why) != ERROR_NONE)
        return 0;
    release(&survey.measurement);
    for (unsigned int i = 0; i < target.wasmtime->count; i++) {
        const unsigned int flag = target.wasmtime->flags[i];
        const enum flag_reason reason = judge_flag(&survey.verdict, target.wasmtime, flag);

        if (reason != FLAG_HOLDS && reason != FLAG_NO_HOST &&
            (reason != FLAG_UNSAFE || survey.verdict.state[flag_feature(flag)] != STATE_OF_ABSENT))
            return 0;
    }
    write_flags(&writer, &survey.verdict, &target, FORMAT_TEXT);
    if (!writer.failed && writer.length <= size) {
        length = writer.length;
        copy_bytes(out, writer.text, length);
    }
    release_writer(&writer);
    return length;
#else
    (void)wasmtime_major, (void)out, (void)size; /* it is all Python's to say */
    return 0;
#endif
}
"""

builder = cffi.FFI()
builder.cdef(CDEF)
builder.set_source(
    "cpuprobe._native",
    SOURCE,
    sources=[*CORE, *SCANNER],
    depends=HEADERS,
    include_dirs=["native", ISA],
    extra_compile_args=list(CORE_FLAGS),
    # Linked with no C library: the two symbols that it takes of one are those of the running
    # Python, be that glibc's or musl's, and one wheel serves both.
    extra_link_args=["-nostdlib"],
)

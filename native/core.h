/*
 * cpuprobe's core: types and entry points shared by its files.
 *
 * The core is freestanding C11: no libc, no floating point, nothing beyond the instruction set's
 * first version from the compiler. It is compiled into the Python extension `cpuprobe._native`, the
 * static executable `cpuprobe-native` and the library libcpuprobe; all hand out the same JSON
 * document.
 *
 * Files: measure.c is the parent, with cpus.c (which CPUs) and deaths.c (what a child's death
 * means); child.c is the child, with sweep.c (which candidates it runs), guard.c (no fault or hang
 * gets past it) and run.c (is the result right?); system.c, cpuinfo.c and cmdline.c read the
 * kernel's files through files.c; groups.c, verdict.c and flags.c say what it all means, survey.c
 * asks all of them; json.c, text.c and errors.c write; observe.c puts the observation together;
 * main.c is the executable. What only one instruction set has lies in its directory of isa/, which
 * is on the include path: entry and exit of candidates, the CPU's identity, the candidate table,
 * the witnesses of the verdict. words.h and facts.h are generated.
 */
#ifndef CPUPROBE_CORE_H
#define CPUPROBE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "words.h"
#include "isa.h"

/* Outcome of one candidate. */
enum outcome {
    OUTCOME_NOT_RUN, /* only until the child gets there */
#define CONSTANT(constant, name) OUTCOME_##constant,
    EACH_OUTCOME(CONSTANT)
#undef CONSTANT
};

/* What counts as success, beyond not faulting. */
enum check {
    CHECK_VALUE,  /* every result equals the expected bytes */
    CHECK_RUNS,   /* nothing to compare, and the encoding faults where it is missing */
    CHECK_HINT,   /* hint space: runs as a NOP where it is missing, so it is not run at all */
    CHECK_RANDOM, /* several draws into the first general register */
    CHECK_OF_ISA, /* from here on: isa.h names them */
};

struct __attribute__((packed)) result {
    uint8_t location;
    uint16_t index;
    uint8_t size; /* bytes */
};

#define MAXIMUM_RESULTS 4
#define INPUT_VARIANTS 4 /* inputs that the rounds of --repeat take in turn */

#define FEATURE_WORDS 2
#define MAXIMUM_SETS 255

/* A set of features, a bit each: its place in candidates/claims.h. */
struct feature_bits {
    uint64_t word[FEATURE_WORDS];
};

/* What a candidate needs. */
struct feature_set {
    const char *names; /* comma-separated */
    struct feature_bits features;
};

/* Packed, for there are hundreds. */
struct __attribute__((packed, aligned(4))) candidate {
    const char *name; /* mnemonic and operands; behind its NUL the bytes of all results */
    const uint8_t *code;
    uint16_t length;     /* of code */
    uint8_t set;         /* index into the feature sets */
    uint8_t name_length; /* the name is plain ASCII, without quotes or backslashes */
    uint8_t state;       /* enum state_class */
    uint8_t input;       /* index into the input states */
    uint8_t check;       /* enum check */
    uint8_t results;     /* index into the sets of results */
    uint32_t
        variants[INPUT_VARIANTS - 1]; /* checksums of the results for further inputs; 0: none */
};

#define MEMORY_BYTES 256

static inline const uint8_t *
expected_results(const struct candidate *candidate)
{
    return (const uint8_t *)candidate->name + candidate->name_length + 1;
}

struct candidate_table {
    const struct candidate *candidates;
    uint32_t count;
    const struct input *inputs;
    const struct feature_set *sets;
    const struct result (*results)[MAXIMUM_RESULTS];
};

/* The table of this instruction set, built from its candidates/table.h. */
const struct candidate_table *cpuprobe_candidates(void);

#define MAXIMUM_CANDIDATES 1024
#define MAXIMUM_WRONG 64

/* The bytes that a candidate with outcome `wrong` left behind. */
struct wrong_value {
    uint16_t candidate;
    uint8_t size;
    uint8_t bytes[64];
};

/* Why something was left out that says nothing about the CPU. */
enum disturbance {
    DISTURBANCE_NONE,
#define CONSTANT(constant, name) DISTURBANCE_##constant,
    EACH_DISTURBANCE(CONSTANT)
#undef CONSTANT
};

/* Everything measured on one CPU. No bool: in shared memory anything may stand. */
struct cpu_record {
    uint32_t cpu;
    uint8_t measured; /* the child got here; a CPU that went offline is left out */
    uint8_t pinned;   /* it was this CPU from the beginning to the end */
    uint8_t lost;     /* reading its identity is disturbed time and again */
    uint8_t borrowed; /* what died and CPUID denies was taken from a CPU with the same CPUID */
    uint32_t rounds;  /* done, of options->repeat */
    uint32_t wrong_count;
    uint32_t group;  /* by the parent: the first record with the same results */
    uint32_t blocks; /* by the parent: of /proc/cpuinfo that speak of this CPU (bits) */
    struct identity identity;
    uint8_t outcome[MAXIMUM_CANDIDATES];
    uint8_t outcome_before[MAXIMUM_CANDIDATES]; /* of those that need a permission, without it */
    uint8_t disturbance[MAXIMUM_CANDIDATES];
    uint8_t settled[MAXIMUM_CANDIDATES]; /* by the parent: not to be run any more */
    int8_t si_code[MAXIMUM_CANDIDATES];
    uint8_t failed_as[MAXIMUM_CANDIDATES]; /* the outcome of the last such round */
    uint32_t failures[MAXIMUM_CANDIDATES]; /* rounds in which it failed, after it had succeeded */
    int16_t fault_offset[MAXIMUM_CANDIDATES]; /* bytes into the candidate; -1: loading its state */
    struct wrong_value wrong[MAXIMUM_WRONG];
};

enum permission {
#define CONSTANT(constant, name) PERMISSION_##constant,
    EACH_PERMISSION(CONSTANT)
#undef CONSTANT
};

struct measurement {
    struct cpu_record *records;
    uint32_t record_count;
    uint32_t denied;    /* bits by enum call: refused, and done without */
    uint8_t permission; /* enum permission */
    size_t mapped_bytes;
};

/* What the kernel tells a program at its start: constant, number (Linux uapi/linux/auxvec.h). */
#define EACH_AUXILIARY(row)                                                                        \
    row(PAGESZ, 6) row(HWCAP, 16) row(HWCAP2, 26) row(HWCAP3, 29) row(MINSIGSTKSZ, 51)

enum auxiliary {
#define CONSTANT(constant, number) AUXILIARY_##constant,
    EACH_AUXILIARY(CONSTANT)
#undef CONSTANT
        AUXILIARY_COUNT,
};

struct options {
    const char *root; /* prefix of /proc and /sys; "" is this machine */
    const char *cpus; /* "0-3,8" or NULL for every allowed CPU */
    bool execute;
    bool told[AUXILIARY_COUNT];          /* did the kernel say it? */
    uint64_t auxiliary[AUXILIARY_COUNT]; /* 0 where it did not */
    uint32_t repeat;                     /* rounds on every CPU, the first included; 0 is 1 */
    int (*interrupted)(void);            /* asked when a signal has arrived: stop? NULL: never */
    /* Told now and then how many rounds on all CPUs are done; NULL: nobody wants to know. */
    void (*progress)(uint64_t done, uint64_t of);
};

/* The system calls that measuring rests on. */
#define EACH_CALL(row)                                                                             \
    row(MMAP, "mmap") row(SCHED_GETAFFINITY, "sched_getaffinity")                                  \
        row(RT_SIGPROCMASK, "rt_sigprocmask") row(CLONE, "clone") row(WAIT4, "wait4")              \
            row(PRCTL, "prctl") row(GETPPID, "getppid") row(PRLIMIT64, "prlimit64")                \
                row(SIGALTSTACK, "sigaltstack") row(RT_SIGACTION, "rt_sigaction")                  \
                    row(SETITIMER, "setitimer") row(SCHED_SETAFFINITY, "sched_setaffinity")        \
                        row(GETCPU, "getcpu") row(ARCH_PRCTL, "arch_prctl")

enum call {
#define CONSTANT(constant, name) CALL_##constant,
    EACH_CALL(CONSTANT)
#undef CONSTANT
        CALL_END,
};

/* The last of those calls, and the last failure's errno: 0 where none has failed. */
struct trouble {
    volatile uint8_t call;
    volatile int16_t error;
};

enum error {
    ERROR_NONE,
    ERROR_MEMORY,
    ERROR_CALL,   /* a system call failed, or a sandbox kills at it */
    ERROR_GUARD,  /* a fault does not come back as what it is */
    ERROR_KILLED, /* the child is killed again and again */
    ERROR_NO_CPU, /* none of them could be measured */
    ERROR_INTERRUPTED,
    ERROR_CPU_LIST,   /* --cpus does not parse */
    ERROR_CPU_ABSENT, /* --cpus names a CPU that this process may not run on */
    ERROR_ROOT,       /* root holds no proc directory */
};

/* What goes with an error. */
struct reason {
    struct trouble trouble;
    int signal;        /* that ended the last child, 0 if none did */
    uint8_t self_test; /* enum outcome: what the self-test gave */
    char text[160];    /* one line, without its newline */
};

/* guard.c, run.c ----------------------------------------------------------------------------- */

struct guard; /* the child's working memory: guard.h */
struct writer;

struct guard *guard_install(uint64_t minsigstksz, struct trouble *trouble);
enum outcome guard_repeat(struct guard *guard, const struct candidate_table *table, uint32_t index,
                          uint32_t round, struct cpu_record *record);
enum outcome guard_self_test(struct guard *guard);
void guard_new_cpu(void);
enum outcome guard_run(struct guard *guard, const struct candidate_table *table, uint32_t index,
                       struct cpu_record *record);

/* isa/: what each instruction set has to have ------------------------------------------------- */

/* Inputs and results of candidates. `take_result` copies one result into at least 64 bytes and
 * returns its size, 0 past the last; `run_special` judges the checks from CHECK_OF_ISA on. */
void load_input(struct guard *guard, const struct candidate *candidate, const struct input *input);
void load_variant(struct guard *guard, uint32_t number);
size_t take_result(const struct guard *guard, const struct result *result, uint8_t *buffer);
enum outcome run_special(struct guard *guard, const struct candidate *candidate,
                         const struct input *input, uint32_t index, struct cpu_record *record);

/* What a CPU says of itself. The child reads it, and asks `still_identity` where a pin was lost.
 * The parent copies it out of shared memory by `take_identity`, which trusts no number there, and
 * gives up by `settle_identity` where reading it died again and again. `find_denied` sets the
 * features that it says are not there. */
void read_identity(struct guard *guard, struct identity *identity);
bool same_identity(const struct identity *a, const struct identity *b);
bool still_identity(struct guard *guard, const struct identity *identity);
void take_identity(struct identity *to, const struct identity *from);
void settle_identity(struct identity *identity, enum outcome outcome);
void find_denied(const struct identity *identity, struct feature_bits *denied);

/* State that each process has to ask the kernel for: which features need it, whether this CPU has
 * any, and the request, for good; its result is the system call's. */
bool needs_permission(const struct feature_set *set);
bool wants_permission(const struct identity *identity);
long ask_permission(void);

/* The members of a group, and of the observation, that are its own. */
void write_identity(struct writer *writer, const struct identity *identity);
void write_machine(struct writer *writer, const struct options *options,
                   const struct measurement *measurement);

/* cpus.c, child.c, measure.c ------------------------------------------------------------------ */

#define AFFINITY_BYTES 8192u /* 65,536 CPUs: NR_CPUS can be no higher than 8,192 today */

enum error find_cpus(const char *list, void *memory, const uint32_t **cpus, uint32_t *count,
                     struct trouble *trouble);
bool on_cpu(uint32_t cpu);
enum error measure(const struct options *options, const struct candidate_table *table,
                   struct measurement *measurement, struct reason *reason);
void release(struct measurement *measurement);

/* groups.c */
enum error measure_groups(const struct options *options, const struct candidate_table *table,
                          struct measurement *measurement, struct reason *reason);

/* json.c ------------------------------------------------------------------------------------- */

struct writer {
    char *text;
    size_t length, capacity;
    bool failed; /* out of memory: what was written is not complete */
    bool comma;  /* the next value needs one before it */
};

void json_open(struct writer *writer, char bracket);
void json_close(struct writer *writer, char bracket);
void json_key(struct writer *writer, const char *key);
void json_string(struct writer *writer, const char *text);
void json_bytes(struct writer *writer, const char *text, size_t length);
void json_plain(struct writer *writer, const char *text, size_t length);
void json_hex(struct writer *writer, const uint8_t *bytes, size_t length);
void json_number(struct writer *writer, uint64_t value);
void json_literal(struct writer *writer, const char *word);
void write_text(struct writer *writer, const char *text, size_t length);
void write_words(struct writer *writer, const char *text);
void write_number(struct writer *writer, uint64_t value);
void release_writer(struct writer *writer);

/* system.c, cpuinfo.c, cmdline.c -------------------------------------------------------------- */

void take_auxiliary(struct options *options, uint64_t number, uint64_t value);
bool has_proc(const char *root);
struct kernel_told;

void write_system(struct writer *writer, const char *root, struct kernel_told *told);

/* observe.c ---------------------------------------------------------------------------------- */

enum error cpuprobe_observe(const struct options *options, const struct candidate_table *table,
                            struct writer *writer, struct reason *reason);
const char *outcome_name(enum outcome outcome);

/* What a number from shared memory stands for. */
static inline enum outcome
known_outcome(uint8_t number)
{
    return number <= OUTCOME_SKIPPED ? (enum outcome)number : OUTCOME_SKIPPED;
}

/* errors.c ----------------------------------------------------------------------------------- */

const char *call_name(enum call call);
void explain_error(enum error error, struct reason *reason);

/* text.c ------------------------------------------------------------------------------------- */

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
bool text_begins(const char *text, const char *start);
bool listed(const char *list, const char *text, size_t length);
bool is_digit(char c);
bool text_is(const char *text, const char *bytes, size_t length);
void keep_text(char *to, size_t capacity, const char *bytes, size_t length);
bool bytes_equal(const void *a, const void *b, size_t length);
void copy_bytes(void *to, const void *from, size_t length);
void clear_bytes(void *to, size_t length);

#endif

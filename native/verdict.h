/*
 * The verdict without Python: from what was measured and what the kernel says to a state for every
 * feature, the psABI level, and the flags that are safe for a version of wasmtime.
 *
 * It is what cpuprobe/assessment computes, by the same rules from the same tables (facts.h is made
 * from profiles/); tests hold the two together. Nothing here keeps memory or state.
 */
#ifndef CPUPROBE_VERDICT_H
#define CPUPROBE_VERDICT_H

#include "core.h"
#include "facts.h"

/* How facts.h writes what has several numbers. */
#define BITS(low, high)                                                                            \
    {                                                                                              \
        {                                                                                          \
            low, high                                                                              \
        }                                                                                          \
    }
#define RELEASE(...)                                                                               \
    {                                                                                              \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define FLAGS(...)                                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

enum feature {
#define CONSTANT(constant, ...) constant,
    EACH_FEATURE(CONSTANT)
#undef CONSTANT
        FEATURE_COUNT,
};

_Static_assert(FEATURE_COUNT <= 64 * FEATURE_WORDS, "a set of features has room for all");

static inline bool
has_feature(const struct feature_bits *bits, unsigned int feature)
{
    return bits->word[feature / 64] >> feature % 64 & 1;
}

static inline void
add_feature(struct feature_bits *bits, unsigned int feature)
{
    bits->word[feature / 64] |= 1ull << feature % 64;
}

/* Is every feature of `part` in `bits`? */
static inline bool
has_features(const struct feature_bits *bits, const struct feature_bits *part)
{
    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        if (part->word[i] & ~bits->word[i])
            return false;
    return true;
}

static inline bool
shares_feature(const struct feature_bits *a, const struct feature_bits *b)
{
    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        if (a->word[i] & b->word[i])
            return true;
    return false;
}

static inline void
unite_features(struct feature_bits *to, const struct feature_bits *more)
{
    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        to->word[i] |= more->word[i];
}

static inline void
keep_features(struct feature_bits *to, const struct feature_bits *only)
{
    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        to->word[i] &= only->word[i];
}

static inline void
fill_features(struct feature_bits *bits)
{
    for (unsigned int i = 0; i < FEATURE_WORDS; i++)
        bits->word[i] = ~(uint64_t)0;
}

enum state {
#define CONSTANT(constant, name) STATE_OF_##constant,
    EACH_STATE(CONSTANT)
#undef CONSTANT
        STATE_COUNT,
};

/* A Linux release; numbers that are too large for it are its largest. */
struct release {
    uint16_t number[3];
};

enum encoding {
#define CONSTANT(constant, ...) constant,
    EACH_ENCODING(CONSTANT)
#undef CONSTANT
};

/* What gates a feature beside XCR0. */
enum gate { GATE_NONE, GATE_OSXSAVE, GATE_OSPKE, GATE_FSGSBASE };

/* A row of profiles/features.toml. */
struct feature_row {
    const char *name;
    const char *flag;            /* in /proc/cpuinfo; NULL: none */
    struct feature_bits closure; /* all that it builds on */
    struct release since;        /* the first Linux that prints it; 0.0.0: none */
    uint8_t place;               /* in features.toml */
    uint8_t encoding, gate;
    bool privileged, hint;
};

extern const struct feature_row feature_rows[FEATURE_COUNT];

/* The XCR0 bits that have to be set before a feature may be used. */
uint32_t feature_xcr0(unsigned int feature);

/* --- what the kernel says ---------------------------------------------------------------- */

#define MAXIMUM_KINDS 16 /* distinct blocks of /proc/cpuinfo that are kept */
#define VALUE_BYTES 16   /* of a value of /proc/cpuinfo that is compared */

/* Values of /proc/cpuinfo that say which CPU a block is of. */
enum block_value { BLOCK_VENDOR, BLOCK_FAMILY, BLOCK_MODEL, BLOCK_STEPPING, BLOCK_VALUES };

/* One distinct block of /proc/cpuinfo. */
struct listing {
    struct feature_bits named;  /* by the name that features.toml gives first */
    struct feature_bits listed; /* by that or another that says the same */
    bool has_flags;
    bool told[BLOCK_VALUES];
    char value[BLOCK_VALUES][VALUE_BYTES]; /* of one that is longer, a part that equals nothing */
};

/* What the verdict needs of the kernel's files; system.c and cpuinfo.c read them. */
struct kernel_told {
    struct measurement *measurement; /* its records learn which blocks speak of their CPU */
    struct listing listings[MAXIMUM_KINDS];
    uint32_t listing_count;
    bool covered; /* something is mounted over /proc/cpuinfo */
    bool gvisor;
    bool release_told;
    struct release release;
    bool gds_file;     /* the file gather_data_sampling is there */
    bool avx_disabled; /* and says that AVX is */
    char release_text[64];
    char microcode[24];
    char brand[64];
    char words[512]; /* of the command line, those that may explain a missing feature */
};

bool parse_release(const char *text, struct release *release);
int compare_releases(const struct release *a, const struct release *b);
void take_flags(struct listing *listing, const char *line, size_t length);

/* --- what it means ------------------------------------------------------------------------ */

/* CPUs that measured the same and of which the kernel says the same. */
struct part {
    const struct cpu_record *record; /* of one of them */
    uint32_t blocks;                 /* of /proc/cpuinfo that speak of any of them (bits) */
};

#define MAXIMUM_PARTS 64 /* of one group: /proc/cpuinfo has at most MAXIMUM_KINDS blocks */

/* How a group comes apart. */
struct parts {
    uint32_t classes[MAXIMUM_PARTS], blocks[MAXIMUM_PARTS];
    uint32_t count;
};

/* What is the same for all CPUs of a machine. */
struct judged_machine {
    const struct options *options;
    const struct candidate_table *table;
    const struct kernel_told *kernel;
    const struct identity *first; /* of the CPU with the lowest number */
    bool set_aside;               /* the kernel witness is not heard */
    bool avx_disabled;            /* the kernel says so, and it may be believed */
    struct release release;
    uint8_t permission;
};

/* The register state that Rust's std_detect sees: XSAVE in use, and of AVX and AVX-512. */
struct seen_state {
    uint64_t xcr0;
    bool saved, ymm, zmm;
};

/* What is found of a part. */
struct opinion {
    uint8_t state[FEATURE_COUNT];  /* enum state */
    struct feature_bits detected;  /* by Rust's std_detect */
    struct feature_bits wrong;     /* broken by results, not by faults */
    struct feature_bits ran;       /* anything of it ran there */
    struct feature_bits claimed;   /* by CPUID */
    struct feature_bits wanting;   /* claimed, and taken away or broken: an error */
    struct feature_bits gated_off; /* of those: the operating system's leave is missing */
    bool xcr0_known;
    bool avx_off; /* AVX's register state is known to be off */
};

enum judgement {
    JUDGED_CONSISTENT,
    JUDGED_MISMATCH,     /* some finding is an error */
    JUDGED_INSUFFICIENT, /* too little is known to tell the psABI level */
};

struct verdict {
    bool executed;
    uint8_t judgement;             /* enum judgement */
    uint8_t state[FEATURE_COUNT];  /* enum state */
    struct feature_bits safe;      /* usable, and so is all that it builds on */
    struct feature_bits possible;  /* the same, or not known */
    struct feature_bits refused;   /* by the detector that wasmtime checks its flags with */
    struct feature_bits wrong;     /* broken, and by its results alone */
    struct feature_bits claimed;   /* by CPUID, on all CPUs */
    struct feature_bits wanting;   /* claimed, and taken away or broken somewhere */
    struct feature_bits gated_off; /* of those: for want of the operating system's leave */
    const char *level;             /* psABI; NULL: below the first, or not decided */
    const char *level_at_least, *level_at_most;
    bool set_aside, another_cpu, avx_disabled, virtual, gds_affected;
};

/* isa/: states.c, detector.c, machine.c */
void judge_part(const struct judged_machine *machine, const struct part *part,
                struct opinion *opinion);
void detect(const struct judged_machine *machine, const struct feature_bits *claimed,
            const struct seen_state *seen, struct feature_bits *detected);
bool cpuid_vendor(const struct identity *identity, char vendor[13]);
bool cpuid_signature(const struct identity *identity, uint32_t signature[3]);
bool cpuid_hypervisor(const struct identity *identity);
const struct cpuid_leaf *find_leaf(const struct identity *identity, uint32_t leaf,
                                   uint32_t subleaf);
bool machine_vendor(const struct judged_machine *machine, char vendor[VALUE_BYTES]);
bool gds_affected(const struct judged_machine *machine, bool *signature_known);
bool is_another_cpu(const struct judged_machine *machine);

int kernel_feature_number(unsigned int feature);
bool cpuid_brand(const struct identity *identity, char brand[49]);
bool cpuid_hypervisor_name(const struct identity *identity, char name[13]);

/* groups.c */
void find_groups(struct measurement *measurement, uint32_t candidates);
void find_parts(const struct judged_machine *machine, const struct measurement *measurement,
                uint32_t group, struct parts *parts);

/* verdict.c */
void judge(const struct options *options, const struct candidate_table *table,
           const struct measurement *measurement, const struct kernel_told *kernel,
           struct verdict *verdict);
const char *state_name(enum state state);

/* Everything that is found out of this machine. */
struct survey {
    struct measurement measurement;
    struct kernel_told kernel;
    struct verdict verdict;
};

enum error survey_machine(const struct options *options, const struct candidate_table *table,
                          struct survey *survey, struct reason *reason);

#endif

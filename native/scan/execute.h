/* What functions put into static memory, and return, on CPUs of which only CPUID's answers are
 * known.
 *
 * Compilers, libraries and programs make words of their own of CPUID's bits: Rust's standard
 * library a number for each feature, in other places with each release. Such a function is executed
 * on models of CPUs: of each grade one that has all features of its tier and of lower ones, from
 * either of the two vendors whose CPUs are asked for different bits.
 *
 * What is not known (arguments, what other files' functions return) spreads; where a run goes on,
 * and what it writes to, must be known. Operations are as in the SDM, vol. 2. Nothing is allocated:
 * working memory is lent, and no more than that is written to. */
#ifndef CPUPROBE_EXECUTE_H
#define CPUPROBE_EXECUTE_H

#include "links.h"
#include "ways.h"

enum {
    MODELS = 2 * GRADES, /* of each grade, from the lowest, one CPU from each vendor */
    MOST_LEAVES = 32,
    MOST_WRITTEN = 1 << 13,    /* words of 8 bytes that a run may write to */
    MOST_DECODED = 1 << 10,    /* instructions that are kept, by their addresses */
    MOST_FOUND = 256,          /* values in static memory of one function */
    MOST_REMEMBERED = 1 << 10, /* words of static memory that it is known what runs left in */
    MOST_CALLED = 1 << 8,      /* calls with their arguments that are kept */
    MOST_PUT = 16,             /* values that one puts where an argument points to */
    MOST_GIVEN = 6,            /* arguments */
    MOST_IN_VAIN = 200,        /* calls of which nothing became known, until no more are executed */
};

/* What a CPU answers: bits of `known` tell which of EAX, EBX, ECX and EDX are. */
struct execute_leaf {
    uint32_t leaf, subleaf, known, words[4];
};
enum { ANY_SUBLEAF = 0xffffffff };

struct execute_model {
    struct execute_leaf leaves[MOST_LEAVES];
    uint32_t count, xcr0;
};

/* Memory that is only read. */
struct execute_constants {
    const uint8_t *bytes;
    uint64_t address, size;
};

/* What another file's function does, by its name. */
enum foreign {
    FOREIGN_MALLOC,
    FOREIGN_CALLOC,
    FOREIGN_MEMCMP,
    FOREIGN_MEMCPY, /* and memmove */
    FOREIGN_MEMSET,
    FOREIGN_STRCASECMP,
    FOREIGN_STRCMP,
    FOREIGN_STRLEN,
    FOREIGN_STRNCASECMP,
    FOREIGN_STRNCMP,
    FOREIGN_REALLOC,
    FOREIGN_MODELLED, /* so many do what is known; of the others a way knows (explore.h): */
    FOREIGN_ASKS,     /* it may tell of the CPU */
    FOREIGN_CATCHES,  /* signals */
    FOREIGN_ELSE,
    FOREIGN_ENDS,
    FOREIGN_EXITS, /* with what it is handed */
    FOREIGN_THROWS,
    FOREIGN_LATER,   /* calls what it is handed, but not at once */
    FOREIGN_NOTHING, /* is taken to find nothing: what the user sets */
    FOREIGN_PASSIVE, /* calls nothing of what it is handed */
    FOREIGN_GUARDS,  /* __cxa_guard_acquire, __cxa_guard_release */
    FOREIGN_RELEASES,
};

/* A word of memory that a run wrote: which bytes, which of them are known, and where in it a value
 * begins: at each byte its size in four bits. */
struct execute_word {
    uint64_t address, value;
    uint32_t sizes;
    uint8_t written, known, doubtful; /* the latter: they may tell of the CPU */
};

/* What a run left in memory, by hashes of addresses; and in which order. Of all zeros to begin
 * with. */
struct execute_memory {
    struct execute_word words[MOST_WRITTEN];
    uint16_t order[MOST_WRITTEN];
    uint32_t count;
};

/* What static memory holds on each model after some functions were run; and of which bytes that is
 * not the same after each. */
struct execute_remembered {
    uint64_t address, values[MODELS];
    uint8_t known, mixed;
};

/* What is known of a value in static memory, or of what a function returns: what it is on all CPUs,
 * or a fact (ways.h) with the labels of what that tells of. */
struct execute_finding {
    uint64_t address, value;
    uint32_t labels;
    uint16_t fact;
    uint8_t is_known, size;
};

/* A call with some arguments, of those that are `given` as bits: what it returns, and what it puts
 * into static memory, and onto its caller's stack (FRAME). */
struct execute_call {
    uint64_t target, arguments[MOST_GIVEN];
    uint32_t given, epoch, puts, is_known;
    struct execute_finding returned, put[MOST_PUT];
};

struct execute_decoded {
    uint64_t address;
    struct operation operation;
};

/* Working memory, of all zeros to begin with, for one file after another. */
struct execute_space {
    uint32_t is_used;
    struct execute_memory memory[MODELS];
    struct execute_remembered remembered[MOST_REMEMBERED];
    struct execute_decoded decoded[MOST_DECODED];
    struct execute_call called[MOST_CALLED];
};

/* A file whose functions are executed. */
struct executed {
    const struct links_known *links;
    const uint8_t *const *code; /* the bytes of each of the links' ranges */
    const struct ways_convention *convention;
    struct ways_known *known;
    const struct execute_constants *constants;
    uint32_t constants_count, variables_count;
    const struct execute_constants *variables; /* what is in memory that is written to, at first */
    uint32_t remembered;                       /* how many words are */
    struct ways_set foreign; /* slots with other files' functions, and what these do: */
    const uint8_t *does;
    struct ways_set inner; /* functions of its own that do the same, and these: */
    const uint8_t *inner_does;
    struct ways_set chosen; /* slots with functions that choose what is called there */
    struct ways_set zeros;  /* where memory begins and ends that is zero at first */
    struct ways_set clear;  /* addresses of values there that nothing else has written to */
    const struct execute_model *models;
    struct execute_space *space;
    uint64_t left;    /* instructions that may still be executed */
    uint32_t most;    /* of one run */
    uint32_t epoch;   /* how often more became known of memory */
    uint32_t in_vain; /* calls */
    struct execute_finding returned, found[MOST_FOUND];
    uint32_t count; /* of what was found */
};

/* Begins with a file: what libgcc's variable holds on each model is remembered. */
void executed_begin(struct executed *file);

/* Executes a function on each model: what it returns, and leaves in static memory, is in `returned`
 * and `found`; nothing where that is not known. */
void executed_look(struct executed *file, uint64_t start);

/* The tier (ways.h) without which no CPU comes back from a function; TIER_NONE: that is not known.
 */
unsigned executed_refuses(struct executed *file, uint64_t start);

/* A number, if it is known. */
struct number {
    uint64_t value;
    int is_known;
};

/* One run: general registers, and which of their bits are not known; vectors, of which halves are
 * known; flags. */
struct execution {
    struct executed *file;
    struct execute_memory *memory;
    unsigned model;
    uint32_t steps;
    uint64_t general[16], unknown[16], vectors[16][2];
    uint64_t heap,
        zeroed; /* the last memory that it was given; and which of it was zero, as bits */
    uint8_t halves[16];
    unsigned flags_known, flags_set;
    /* Of a way (explore.h): it is one; not all is known of what was written before; what it writes
     * may tell of the CPU, and which registers may, vectors from VECTORS on; it has met answers. */
    uint8_t is_way, is_uncertain, doubts, is_told;
    uint32_t doubtful, flags_doubtful;
};

/* --- between the files of this --- */

enum ended { RUN_GOES, RUN_ENDS, RUN_LOST, RUN_REFUSED };

/* Whether an address is of static memory, not of the stack or of what a run was given. */
enum { STATIC_SHIFT = 45 };
static inline int
is_of_file(uint64_t address)
{
    return !(address >> STATIC_SHIFT);
}

/* Where memory begins that a run is given. */
#define HEAP (1ull << STATIC_SHIFT)

/* Places on the stack of who calls what is run are so many bytes from here on as their number says
 * (slots.h). */
#define FRAME (3ull << STATIC_SHIFT)
static inline int
is_of_frame(uint64_t address)
{
    return address - FRAME < 1ull << 34;
}

/* What a function does that is called with some arguments; NULL: that is not known. */
const struct execute_call *executed_call(struct executed *file, const struct execute_call *wanted);

static const struct number number_unknown = {0, 0};
static inline struct number
number_known(uint64_t value)
{
    return (struct number){value, 1};
}

/* Begins a run on a model; runs a function to its end, or for so many instructions. */
void execution_begin(struct execution *run, struct executed *file, unsigned model,
                     struct execute_memory *memory);
enum ended execute(struct execution *run, uint64_t start, uint32_t most);

/* --- execute.c --- */

/* The instruction at an address; NULL where there is none of this file's. Whether a compiler knows
 * that a call does not come back: UD2 stands behind it. */
const struct operation *execution_operation(const struct executed *file, uint64_t address);
int execution_ends(const struct executed *file, uint64_t next);

/* --- operate.c --- */

/* An instruction that leads to the next one; whether it is known what it writes to. */
int execution_operate(struct execution *run, const struct operation *each);
/* Writes the lowest bytes of a general register; of 32 bits the others become zero. */
void execution_put(struct execution *run, unsigned number, unsigned size, struct number value);
/* The address of memory. What PUSH and POP do. */
struct number execution_address(const struct execution *run, const struct operation *each);
int execution_push(struct execution *run, struct number value);
struct number execution_pop(struct execution *run);
/* What FS counts from. Where others' functions stand, each as far behind as its slot says. */
#define THREAD (5ull << STATIC_SHIFT)
#define ELSEWHERE (7ull << STATIC_SHIFT)

/* --- foreign.c --- */

/* Another file's function is called; whether it is known how that goes on. */
int foreign_call(struct execution *run, enum foreign does);
enum { ROOM = 1 << 16 }; /* bytes that who asks for memory is given */

/* --- memory.c --- */

/* Bytes of memory, eight at most; what is written there, and whether there was room for it. */
struct number memory_load(const struct execution *run, uint64_t address, unsigned size);
int memory_store(struct execution *run, uint64_t address, unsigned size, struct number value);
/* What a run wrote of a word; NULL: nothing. */
const struct execute_word *memory_written(const struct execute_memory *memory, uint64_t address);
/* What is remembered of a word, of which `make` begins to; NULL where that is nothing. */
struct execute_remembered *memory_remembered(const struct executed *file, uint64_t address);
struct execute_remembered *memory_remember(struct executed *file, uint64_t address);
void memory_clear(struct execute_memory *memory);
void memory_copy(struct execute_memory *to, const struct execute_memory *from);
/* Whether bytes may tell of the CPU in a way that is not known. */
int memory_doubts(const struct execution *run, uint64_t address, unsigned size);

/* The lowest bytes of a register. */
static inline struct number
execution_value(const struct execution *run, unsigned number, unsigned size)
{
    uint64_t mask = size < 8 ? (1ull << 8 * size) - 1 : UINT64_MAX;

    return (struct number){run->general[number] & mask, !(run->unknown[number] & mask)};
}

#endif

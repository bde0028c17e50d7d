/* One function -> what it does on every way through it, and what only on a side of a choice.
 *
 * A choice is a branch on what may tell of the CPU. Labels say which values may: they are followed
 * through registers, the stack and static memory. What lies on one side of a choice alone is
 * guarded; where both sides meet again, it goes on. A side from which a run never comes back (it
 * exits, it aborts) makes no choice of it: the file refuses, and does not choose.
 *
 * Features have tiers, and a test vouches for those of its own tier and of lower ones: who has
 * SSE4.2 need not have AVX2. Where CPUID's bits are known themselves (answers.c), or what a program
 * makes of them, it is known too which side CPUs of each grade take, and only the other one is
 * guarded.
 *
 * `ways_begin` cuts a function into blocks and lists what it calls; the caller finds out which of
 * that may answer what the CPU can do, and `ways_finish` goes over the blocks until nothing new
 * comes of it. Nothing is allocated, and no byte outside of the code is read. */
#ifndef CPUPROBE_WAYS_H
#define CPUPROBE_WAYS_H

#include "operands.h"

enum {
    MOST_OPERATIONS = 8000, /* of a function; a larger one is not looked at */
    LARGEST = 1 << 18,      /* bytes: larger ones are made by generators and choose nothing */
    LOWEST = 512,           /* no address of anything is lower: headers stand there */
    MOST_CASES = 512,       /* of all its switches */
    MOST_SWITCHES = 64,
    MOST_PASSES = 2,   /* how often it is gone over, as a choice makes new answers */
    MOST_ROUNDS = 8,   /* how often what its blocks come to is gone over */
    MOST_ITEMS = 64,   /* that all sides of a choice may come to */
    MOST_VISITS = 8,   /* of a block in one pass */
    SLOTS_A_STEP = 16, /* places that are joined in the time that an instruction takes */
    NEAR =
        64, /* bytes behind an address that was handed on which may be part of what it points to */
    MOST_SLOTS = 256, /* places on the stack that are known at once of several ways */
    MOST_LIVE = 2048, /* those that are known on one way */
    MOST_CALLS = 1 << 14,
    MOST_KEPT = 1 << 12, /* answers in static memory, and behind pointers */
    ARENA = 1 << 20,
};

/* Tiers of features: what a CPU of one lacks, one of a lower tier lacks as well. */
enum tier {
    TIER_NONE, /* every x86-64 CPU has it, or it tells of nothing */
    TIER_V2,   /* x86-64-v2 */
    TIER_MORE, /* what is in no level, and needs no AVX: AES, RDRAND */
    TIER_AVX,  /* x86-64-v3 */
    TIER_TOP,  /* AVX-512 and later */
    GIVEN = 8, /* beside it: it is in a level, and what has a higher tier has it */
};

/* Grades of CPUs: one has what is in the levels of all lower tiers, and lacks the tier that comes
 * next. The last one has everything. */
enum { ALL_TIERS = TIER_TOP, GRADES, ALL_GRADES = (1 << GRADES) - 1 };

/* Labels of values. */
enum {
    ANSWER = 1,   /* it may tell what the CPU can do, whatever it is */
    ARGUMENT = 2, /* the function's first argument; the next has twice the number */
    ARGUMENTS = 0x7e,
    FLAG = 1 << 7, /* it is, or was tested as, a flag or a small number in an object: what objects
                      know of the CPU, or of anything else. A test of it is believed only where it
                      leads to a function that is named for CPUs (libm, Arrow's libarrow_acero). */
    WORD = 1 << 8, /* it is 32 bits of an object, or 64 */
    HANDED = 1 << 12,  /* it is a flag or a number that was handed over on the stack: in a file that
                          asks, and not the C library in it, what functions are told of the CPU, as
                          libzstd's are. Or it stands where a pointer points, as some answer does.
                          What is made of it is none to others. */
    TELLS_V2 = 1 << 9, /* it may tell of features of this tier */
    TELLS_MORE = 1 << 10,
    TELLS_AVX = 1 << 11,
    TELLS = TELLS_V2 | TELLS_MORE | TELLS_AVX,
    ANSWERS = ANSWER | TELLS,
    CHOICE = ANSWERS | FLAG | HANDED,
};

/* What is known of a value beside its labels: which number it is on all CPUs, or which of its bits
 * are zero or one on those of each grade. */
enum {
    FACT_BITS = 1 << 14,   /* the number in `known.fact` in bits 11:0 */
    FACT_NUMBER = 1 << 13, /* the number in bits 7:0 */
    MOST_FACTS = 1 << 11,
};

struct bits {
    uint64_t zeros[GRADES], ones[GRADES]; /* both: no CPU of this grade comes there */
    uint16_t soft;                        /* labels of what the others may tell of */
};

/* Words of answers whose bits are known (known.bits). */
enum source {
    CPUID_1_ECX,
    CPUID_1_EDX,
    CPUID_7_EBX,
    CPUID_7_ECX,
    CPUID_7_EDX,
    CPUID_EXT_1_ECX,
    XCR0_EAX,
    CPU_MODEL, /* the first of libgcc's */
    WORDS,
};

/* Of the functions that are called, as far as the caller knows. */
enum {
    MAY_ANSWER = 1, /* and the labels of lower tiers; what is known of the value in bits 31:16 */
    IS_FOREIGN = 2,
    NEVER_RETURNS = 4,
    CALLS_ARGUMENT = 8,       /* it calls its first argument; for the next twice the number */
    LEAVES_ANSWERS = 1 << 12, /* of Go: it leaves answers on the stack, as assembly does, or where
                                 it is told to */
    IS_CPUID = 1 << 13,       /* of Go: leaf and subleaf are on the stack, and the four words */
    CPUID_RESULTS = 8,        /* so many bytes behind them */
};
/* And in words of 64 bits: it keeps its first argument in memory; for the next twice the number. */
#define KEEPS_ARGUMENT (1ull << 32)

/* Addresses in order. */
struct ways_set {
    uint64_t *all;
    uint32_t count, room;
};

/* In which general registers functions are handed their first arguments; which they leave as they
 * were, and in which they may return an answer, as bits. */
struct ways_convention {
    uint8_t arguments[6], number;
    uint16_t kept, results;
    uint8_t is_go;
};

extern const struct ways_convention ways_system_v; /* x86-64 psABI, 3.2 */
extern const struct ways_convention ways_windows;  /* Microsoft, "x64 calling convention" */
extern const struct ways_convention ways_go;       /* Go, src/cmd/compile/abi-internal.md */

/* What is known of the whole file. */
struct ways_known {
    const struct ways_convention *convention;
    struct ways_set statics;   /* static memory that holds an answer, as ways_keep has it */
    struct ways_set regions;   /* likewise, where that begins which was handed to what may answer */
    struct ways_set written;   /* where static memory begins and ends that may be written to */
    struct ways_set fields;    /* likewise, how far behind a pointer answers were put */
    uint32_t behind;           /* labels of answers that are taken to be kept there */
    struct ways_set fillers;   /* likewise, functions that put them there, and tables of them */
    struct ways_set filled;    /* of functions that asked, how far behind what they are handed they
                                  put them: likewise, behind 64 times the function's address */
    struct ways_set arguments; /* of functions, what all callers tell: as statics, by their numbers
                                  behind eight times the function's address */
    struct ways_set questions; /* the name of /proc/cpuinfo */
    struct ways_set foreign;   /* slots with the address of another file's variable that is one */
    struct ways_set slots;     /* static memory that the loader fills with addresses, and these: */
    const uint64_t *pointers;
    struct ways_set models;                        /* libgcc's __cpu_model */
    uint8_t bits[WORDS][32], tiers[MOST_FEATURES]; /* the tiers of bits, and of features */
    struct bits fact[MOST_FACTS];
    uint16_t hashed[2 * MOST_FACTS]; /* 1 + its number, by its hash */
    uint32_t facts;
    uint32_t misses; /* not all functions were looked at that may put answers behind pointers */
    struct executed *executed; /* its functions (execute.h); or NULL */
};

/* A direct call, or a jump to another function, on the way to features of some tiers (as bits). If
 * an argument in `unless` is an answer it is guarded; those in `answers` may be. `passed`: which of
 * its own arguments the caller hands on, six bits for each that it hands. `numbers`: which small
 * numbers it hands, a byte for each argument, and from bit NUMBERED on a bit for each that is one.
 */
struct ways_call {
    uint64_t target, site;
    uint32_t unless;
    uint16_t answers, tiers;
    uint64_t passed, numbers;
};
enum { PASSED = 6, NUMBERED = 48 };

/* How an address leaves a function: to another file's; returned, or to any function; in memory that
 * is not static; it is one of those that may be called, or of the slots that hold them; it is a
 * table of such. Of Go functions all are told that they take, which call what stands there. */
enum way { WAY_FOREIGN, WAY_KEPT, WAY_STORED, WAY_CALLED, WAY_TABLE, WAY_TAKEN };

/* If an argument in `unless` is an answer it is guarded; those in `answers` may be. */
struct ways_escape {
    uint64_t address, site;
    uint32_t unless;
    uint8_t way, answers;
    uint16_t tiers;
};

struct ways_need {
    uint64_t address;
    uint32_t feature, unless;
};

/* What is told of a function; lists that are full miss the rest, and say so. */
struct ways_summary {
    uint32_t needs, calls, escapes, statics, fields, handed;
    uint32_t steps;
    uint32_t invokes; /* labels of arguments that it calls, or hands to other files' functions */
    uint32_t keeps;   /* of those that it stores in memory */
    uint16_t answers, returned; /* labels of what it returns, and what is known of that */
    uint8_t is_whole;
    uint8_t returns; /* a run may come back from it */
    uint8_t asks;    /* it has CPUID or XGETBV itself */
    uint8_t fails;   /* of main: CPUs of these grades are told that it failed */
    uint64_t needed[MOST_FEATURES / 64 + 1];
    struct ways_need need[MOST_FEATURES];
    struct ways_call call[MOST_CALLS];
    struct ways_escape escape[MOST_CALLS];
    uint64_t static_memory[MOST_KEPT], field[MOST_KEPT];
    uint64_t hands[MOST_KEPT]; /* what it tells others, as ways_known's `arguments` have it */
};

struct block {
    uint32_t first, count; /* operations */
    uint32_t ways[2], number;
    uint8_t leaves; /* it may end the function, or go on in another */
    uint8_t alive;  /* from here it may */
    uint8_t queued, visits, reached;
    uint8_t known, taken;  /* of CPUs of which grades it is known where it goes on; that it jumps */
    uint16_t guarded;      /* labels of the choices that guard it */
    uint16_t branches;     /* labels of what it branches on */
    uint32_t leads, falls; /* where it goes on if it jumps, and if not: a block, or: */
    uint32_t meeting;      /* the next block that every way to an end goes through */
};

enum { LEADS_NOWHERE = UINT32_MAX, LEADS_OUT = UINT32_MAX - 1 };

/* What registers and stack hold at one place. */
struct values {
    uint16_t labels[REGISTERS], facts[16];
    uint8_t never;                   /* no CPU of these grades comes here */
    uint32_t flags_known, flags_set; /* bits of enum flag, four for each grade */
    uint64_t points[16];             /* static addresses that general registers hold, or: */
    uint64_t table; /* static memory of which a word was read by its number; or 0 */
    uint32_t pointed, stacked, flags,
        reached;          /* which; and which hold one of a place on the stack */
    uint32_t count, room; /* places on the stack, in order, with their labels */
    uint64_t *slots;
    uint64_t frame[4]; /* those whose address was taken, by their number in the function */
};

/* Working memory, to be cleared once. */
struct ways_space {
    const uint8_t *code;
    uint64_t start, end, low, size; /* `low`: where the code around it begins */
    uint32_t operations, blocks, targets, frames, written, framed;
    uint32_t used;                       /* of the arena */
    uint32_t reads;                      /* it reads /proc/cpuinfo: whatever it calls may answer */
    uint32_t picks;                      /* it calls what a register points to */
    uint32_t cases, case_at[MOST_CASES]; /* of switches that became tables: their offsets */
    uint32_t tabled;                     /* those switches */
    struct switched {
        uint32_t jump, first, count; /* its operation, and its cases */
    } switches[MOST_SWITCHES];
    uint32_t tables;  /* the first of the blocks that lead to cases */
    uint32_t parts;   /* CMOV takes an address on CPUs of some grades */
    uint32_t tells;   /* it may hand answers to a function that it calls */
    uint32_t told;    /* labels of all answers that it has to do with */
    uint32_t given;   /* of arguments of which the numbers are given, and these: */
    uint64_t numbers; /* as ways_call has them */
    struct ways_known *known;
    struct operation operation[MOST_OPERATIONS + 1];
    struct block block[MOST_OPERATIONS + 1];
    struct values entry[MOST_OPERATIONS + 1];
    uint16_t at[LARGEST + 1]; /* by offset: 1 + the number of the operation there */
    uint8_t head[LARGEST + 1];
    uint64_t target[MOST_CALLS]; /* what is called; of a call through memory, less than nothing */
    uint16_t hashed[4 * MOST_CALLS]; /* 1 + its number, by its hash */
    uint32_t hash[MOST_CALLS];
    uint64_t answer[MOST_CALLS];
    uint64_t frame[256], writes[MOST_OPERATIONS + 1];
    uint32_t pending[2 * MOST_OPERATIONS + 2], order[MOST_OPERATIONS + 2];
    uint32_t rank[MOST_OPERATIONS + 2], before[2 * MOST_OPERATIONS + 2];
    uint32_t before_first[MOST_OPERATIONS + 3], cursor[MOST_OPERATIONS + 2];
    uint8_t open[10][MOST_OPERATIONS + 1];
    uint64_t live[MOST_LIVE], merged[MOST_LIVE], arena[ARENA];
    uint64_t own[MOST_OPERATIONS + 1], comes[MOST_OPERATIONS + 1]; /* items, as bits */
    struct ways_summary summary, side;
};

/* Begins with a function: its blocks, and what it calls in `target`. Returns how many blocks there
 * are; none where it is too large, or no code. */
uint32_t ways_begin(struct ways_space *space, struct ways_known *known, const uint8_t *code,
                    uint64_t size, uint64_t address, uint64_t start, uint64_t end);

/* The number of something that is called, which is new at the end; MOST_CALLS where it is full. */
uint32_t ways_target(struct ways_space *space, uint64_t target);

/* Goes over it, once `answer` is filled for each target. Where there are more targets afterwards it
 * is to be done again, with what they are. */
void ways_finish(struct ways_space *space, struct ways_known *known, uint32_t most_steps,
                 unsigned kind);
enum {
    IS_MAIN = 1,      /* what it returns is told to who started the program */
    ONLY_ANSWERS = 2, /* what it needs, calls and hands on is not asked */
};

/* Adds an address; whether it is new. What is full takes no more. */
int ways_add(struct ways_set *set, uint64_t address);

/* Adds static memory that holds an answer; whether that is news. A word has its address, what is
 * known of the value, and its labels. */
int ways_keep(struct ways_known *known, struct ways_set *set, uint64_t word);
enum { KEPT_SHIFT = 19, FILLED_SHIFT = 6 };
#define KEPT_WORD(address, fact, labels)                                                           \
    ((address) << KEPT_SHIFT | (uint64_t)(fact) << 4 | ((labels)&1) | ((labels) >> 8 & 14))
#define KEPT_LABELS(word) (((uint32_t)(word)&1) | ((uint32_t)(word)&14) << 8)
#define KEPT_FACT(word) ((uint16_t)((word) >> 4 & 0x7fff))

/* What stands for what is known of a value, and the labels of what it may tell of. */
uint16_t ways_fact(struct ways_known *known, const struct bits *bits, uint32_t *labels);

uint32_t ways_labels(unsigned tier);

/* --- between the files of this --- */

/* --- blocks.c, cases.c --- */

/* Decodes from an offset on, as far as it is new; returns whether there is room for it. */
int ways_decode(struct ways_space *space, uint32_t offset, uint32_t *pending);
/* Lets a block lead to what begins at an offset. */
void ways_add_way(struct ways_space *space, struct block *block, uint64_t offset);
/* Decodes the cases of switches; lets their jumps lead to them. */
void ways_decode_cases(struct ways_space *space);
void ways_connect_cases(struct ways_space *space);

/* --- open.c: which blocks are reached, on CPUs of a grade; ANY_GRADE: of any, or none --- */

enum { ANY_GRADE = GRADES };
uint32_t ways_onward(const struct ways_space *space, const struct block *block, uint32_t choices,
                     unsigned grade, uint32_t ways[2]);
void ways_open(struct ways_space *space, uint32_t choices, unsigned grade, uint8_t *seen);
void ways_open_for(struct ways_space *space, uint32_t choices, unsigned grades, uint8_t *seen);

/* --- handed.c --- */

/* What the function does with the stack, and whom it asks, before it is gone over. */
void ways_look_over(struct ways_space *space, const struct ways_known *known);
/* What it is told by all that call it, where it begins. */
void ways_hear(const struct ways_space *space, const struct ways_known *known,
               struct values *state);
/* The arguments that are handed on with some labels; the own ones, and numbers, as ways_call has
 * them. */
uint32_t ways_handed(const struct ways_convention *convention, const struct values *state,
                     uint32_t labels);
uint64_t ways_passed(const struct ways_convention *convention, const struct values *state);
uint64_t ways_numbers(const struct ways_convention *convention, const struct values *state);
/* Whether a block may call functions; whether what one is handed tells of the CPU. Takes in all
 * that it is handed; of all functions keeps those that are told of the CPU by its bits. */
int ways_calls(const struct ways_space *space, const struct block *block);
int ways_tells(const struct ways_known *known, const struct values *state);
void ways_hand(struct ways_space *space, struct ways_known *known, struct values *state,
               uint64_t target);
void ways_keep_telling(struct ways_space *space, const struct ways_convention *convention);

/* --- kept.c --- */

/* Whether there is an address from one to another, both included. */
int ways_holds(const struct ways_set *set, uint64_t low, uint64_t high);
/* Whether static memory holds an answer there; the labels of so many bytes of it, and what is known
 * of their value. */
int ways_answers(const struct ways_known *known, uint64_t address);
uint32_t ways_kept_labels(const struct ways_known *known, uint64_t address, unsigned size);
uint16_t ways_kept_fact(struct ways_known *known, uint64_t address);
/* Whether a register holds the address of static memory with answers, as of the only object of a
 * class: what is known of it stands for that then. And points a register there by such a fact. */
int ways_leads(struct ways_known *known, struct values *state, unsigned number);
void ways_point(const struct ways_known *known, struct values *state, unsigned number);
/* The labels of answers that were put so far behind pointers. */
uint32_t ways_field_labels(const struct ways_known *known, uint64_t offset);
/* The labels of what one may answer who is told of an address: of what static memory holds there,
 * or what a function puts where it is told to. */
uint32_t ways_told_labels(const struct ways_known *known, uint64_t address);
/* Whether there is memory that a run may write to; static memory was handed to what may answer, and
 * may fill it. */
int ways_may_fill(const struct ways_known *known, uint64_t address);
void ways_fill(struct ways_known *known, uint64_t address, uint32_t labels);
/* What the loader puts into static memory, if that is known. */
int ways_pointer(const struct ways_known *known, uint64_t address, uint64_t *target);

/* --- meetings.c --- */

/* Which blocks may end it, and where ways meet; whether it comes back. */
int ways_link(struct ways_space *space);

/* --- blocks.c --- */

void ways_sort(uint64_t *all, uint32_t count);
/* Numbers that wait in `order`: takes in one; takes out the least. */
void ways_push(struct ways_space *space, uint32_t *count, uint32_t value);
uint32_t ways_pop(struct ways_space *space, uint32_t *count);
/* Takes out what ends a run: branches to what never returns. */
int ways_end(struct ways_space *space);
/* What a function begins with. */
void ways_enter(struct values *state, const struct ways_convention *convention);
int ways_hands(const struct values *state, unsigned number);
void ways_copy(struct ways_space *space, struct values *to, const struct values *from);
/* Takes in what another way brings, which no CPU of some grades takes; whether that is news. */
int ways_join(struct ways_space *space, struct values *mine, const struct values *theirs,
              unsigned never);
/* One operation that is no branch: its values. */
void ways_step(struct ways_space *space, struct ways_known *known, struct values *state,
               const struct operation *each, uint32_t guarded);
/* Something is called, of which it is known what it may answer, and where it is (or 0). Returns the
 * steps of that. */
uint32_t ways_call(struct ways_space *space, struct ways_known *known, struct values *state,
                   uint64_t answer, uint64_t target);
/* The static memory that an operation names; whether it does. */
int ways_static(const struct ways_space *space, const struct values *state,
                const struct operation *each, uint64_t *address);
/* The labels of what it reads there. */
uint32_t ways_read(const struct ways_space *space, const struct ways_known *known,
                   const struct values *state, const struct operation *each);
/* The address of the table of which an operation reads an entry by its number; or 0. */
uint64_t ways_table(const struct ways_space *space, const struct values *state,
                    const struct operation *each);
uint64_t ways_slot(const struct operation *each); /* a place on the stack as a number */
/* What is known of a value in memory. */
uint16_t ways_memory(const struct ways_space *space, struct ways_known *known,
                     const struct values *state, const struct operation *each);

/* --- answers.c, folds.c --- */

/* A value on a way that no CPU of some grades takes. */
struct told_value {
    uint16_t fact;
    uint32_t labels;
    unsigned never;
};

/* CPUID and XGETBV: what they leave in registers. */
void ways_ask(const struct ways_space *space, struct ways_known *known, struct values *state,
              const struct operation *each);
/* Whether a function of Go's is CPUID, and no more; what a call of it leaves on the stack, if the
 * leaf was put there right before. */
int ways_is_cpuid(const struct ways_space *space);
void ways_ask_on_stack(struct ways_known *known, struct values *state,
                       const struct operation *call);
/* What is known of a word of answers from a bit on, and its labels. */
uint16_t ways_word(struct ways_known *known, enum source source, unsigned shift, uint32_t *labels);
/* What an operation makes of what is known of its operands; `labels` are those of what it reads.
 * Returns those of its value, and what is known of that in `fact`; sets what is of the flags. */
uint32_t ways_fold(const struct ways_space *space, struct ways_known *known, struct values *state,
                   const struct operation *each, uint32_t labels, uint16_t *fact);
/* What is known of what LEA makes of registers: of clang "failed ? 3 : 0" is one. */
uint16_t ways_sum(struct ways_known *known, const struct values *state,
                  const struct operation *each);
/* Of CPUs of which grades it is known whether they take a conditional branch; and those that do. */
unsigned ways_outcome(const struct values *state, const struct operation *each, unsigned *taken);
/* What is known of a value that two ways bring; and its labels: where it is known which CPUs take
 * which way, and what it is there, it tells no more than that. */
uint16_t ways_agree(struct ways_known *known, struct told_value one, struct told_value other);
uint32_t ways_parted(const struct ways_known *known, uint16_t fact, struct told_value one,
                     struct told_value other);
/* What is known of static memory where a value is written to it, behind a choice of which it is
 * `is_doubtful` who takes which side; and where that is read: where no CPU of a grade writes it is
 * what it was at first. */
uint16_t ways_kept(struct ways_known *known, struct told_value value, int is_doubtful);
uint16_t ways_initial(struct ways_known *known, uint16_t fact, uint32_t labels);
/* CPUs of which grades it is not zero on. */
unsigned ways_nonzero(const struct ways_known *known, uint16_t fact);
/* Of CPUs of which grades it is known which operand of CMOVcc they take; and those that take the
 * second. */
unsigned ways_picks(const struct values *state, const struct operation *each, unsigned *second);
uint16_t ways_number(int number);

/* Whether it is known where CPUs of a grade go on after a block; and where that is. */
static inline int
ways_is_known(const struct block *block, unsigned grade)
{
    return block->known >> grade & 1;
}

static inline uint32_t
ways_lead(const struct block *block, unsigned grade)
{
    return block->taken >> grade & 1 ? block->leads : block->falls;
}

/* Whether an address is in the code around the function. */
static inline int
ways_is_code(const struct ways_space *space, uint64_t address)
{
    return address - space->low < space->size;
}

static inline unsigned
flow_of(const struct operation *each)
{
    return scan_classes[each->class].flow;
}

#endif

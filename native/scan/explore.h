/* What CPUs come to that lack it, from where a run begins.
 *
 * A way begins with the file, on the model of a CPU (execute.h): first what every load calls, then
 * what every run does, or whoever uses a library. While it is known what it branches on it goes on
 * as that CPU does, wherever answers are kept: in objects, in tables, behind pointers. Where that
 * is not known it goes both ways, unless it may tell of the CPU: what a CPU does there is not
 * known, and the way ends. A function that is lost (a loop without end, a jump that is not known)
 * is given up: what it returns is not known, nor what it would have written.
 *
 * What is met so is met by some run, as far as what is not known may be anything. What is not met
 * is not known to be guarded. */
#ifndef CPUPROBE_EXPLORE_H
#define CPUPROBE_EXPLORE_H

#include "execute.h"

enum {
    MOST_WAYS = 24,          /* that wait to be followed */
    MOST_DEEP = 48,          /* functions that call each other */
    MOST_BRANCHES = 1 << 12, /* of which it is known how often each side was taken */
    MOST_TAKEN = 2,          /* so often both are, where it is not known which */
    MOST_OF_CALL = 60000,    /* instructions of one, with what it calls */
    MOST_OF_WAY = 150000,
};

/* A call on the way: where it comes back to, and what the caller has in registers. */
struct explore_call {
    uint64_t back, stack, general[16], unknown[16];
    uint32_t doubtful, began;
    uint8_t asks, chooses; /* it asks the CPU; what it returns is called then */
};

struct explore_way {
    struct execution run;
    struct execute_memory memory;
    struct explore_call call[MOST_DEEP];
    uint32_t depth, first;     /* of what is called first, how many were */
    uint8_t catches, doubts;   /* SIGILL; whatever is not known may tell of the CPU */
    uint8_t is_library, fails; /* who started the program is told that it failed */
    uint64_t address, root;
};

struct explore_branch {
    uint64_t address;
    uint8_t taken[2];
};

/* Working memory, of all zeros to begin with. */
struct explore_space {
    struct explore_way way[MOST_WAYS + 1];
    struct explore_branch branch[MOST_BRANCHES];
    struct execute_memory first; /* what is in memory when what is called first was */
    uint64_t heap, zeroed;       /* and of what it was given */
    uint32_t ways, is_first_done;
};

/* An exploration: of which file, from where, for what; and what was met, which `feature` needs. */
struct explored {
    struct executed *file;
    struct explore_space *space;
    const uint64_t *first, *roots;
    uint32_t firsts, count;
    unsigned model;
    uint32_t is_library, is_met, feature;
    uint32_t failed, others;  /* ways of main that ended so, and those that did not */
    uint64_t wanted[2], left; /* features, as bits; instructions */
    uint64_t main;
    uint64_t address, root;
};

/* Looks for an instruction that the model lacks. */
void explore(struct explored *all);

/* --- between the files of this --- */

/* Whether what a register holds is made of what may tell of the CPU; and takes note of it. */
static inline int
holds_doubt(const struct execution *run, unsigned number)
{
    return number < VECTORS + 16 && run->doubtful >> number & 1;
}

static inline void
mark(struct execution *run, unsigned number, int doubts)
{
    if (number < VECTORS + 16)
        run->doubtful = (run->doubtful & ~(1u << number)) | (uint32_t)doubts << number;
}

/* --- explore_step.c --- */

/* An instruction that leads to the next one. */
void explore_operate(struct explore_way *way, const struct operation *each, uint64_t address);

/* --- explore_calls.c: of what tells, whether the way goes on --- */

/* Nothing is known any more of what a call need not keep; it may tell of the CPU. */
void explore_leave(struct execution *run, int doubts);
/* Gives up what was called last. */
int explore_give_up(struct explore_way *way);
/* Comes back to an address, from all calls whose part of the stack is gone. */
int explore_come_back(struct explore_way *way, struct number to);
/* Goes to a function that is called, and comes back to `next`; or where a jump leads. */
int explore_go(struct explore_way *way, struct number to, int is_call, uint64_t next);
/* Likewise through a register or memory. */
int explore_go_indirectly(struct explore_way *way, const struct operation *each, int is_call,
                          uint64_t next);

#endif

/* What one function is gone over with, between ways.c, which finds out what is known in each of its
 * blocks, and telling.c, which tells what it does there. */
#ifndef CPUPROBE_TELLING_H
#define CPUPROBE_TELLING_H

#include "ways.h"

/* A function that is gone over. */
struct gone_over {
    struct ways_space *space;
    struct ways_known *known;
    struct ways_summary *made;
    struct values live;
    uint32_t steps, most_steps;
    uint32_t answers, choices; /* labels: of what it returns; of what makes a branch a choice */
    unsigned tiers;            /* of the features that are sought, as bits */
    unsigned grades, here;     /* of CPUs that lack it; of those that come to a block; as bits */
    int hands;                 /* what it hands to others is asked */
};

static inline int
is_outside(const struct ways_space *space, uint64_t address)
{
    return address < space->start || address >= space->end;
}

/* What is known of something that is called. */
static inline uint64_t
answer_of(struct ways_space *space, uint64_t target)
{
    uint32_t number = ways_target(space, target);

    return number < MOST_CALLS ? space->answer[number] : 0;
}

/* Whether an operation calls or jumps through static memory, and through which. */
static inline int
is_memory_call(const struct gone_over *f, const struct operation *each, uint64_t *address)
{
    return each->where[0] == OPERAND_RM && each->registers[0] == NO_REGISTER &&
           ways_static(f->space, &f->live, each, address);
}

/* --- ways.c --- */

/* Begins at a block: what is known there is live; one operation of it; all of them. */
void ways_set_out(struct gone_over *f, uint32_t number);
void ways_over(struct gone_over *f, const struct operation *each, struct block *block,
               uint32_t guarded);
void ways_go_over(struct gone_over *f, uint32_t number);

/* --- sides.c --- */

/* Takes in what every side of a choice comes to: the choice does not guard that. */
void sides_tell(struct gone_over *f);

/* --- telling.c --- */

/* Takes in an address that leaves the function, what it calls, a feature that it needs; what a
 * block does. */
void telling_escape(struct gone_over *f, uint64_t address, enum way way, uint32_t unless,
                    uint64_t site);
void telling_call(struct gone_over *f, struct ways_call call);
void telling_need(struct gone_over *f, unsigned feature, uint64_t address, uint32_t unless);
void telling_block(struct gone_over *f, uint32_t number, uint32_t unless);
void telling_clear(struct ways_summary *made);
void ways_tell_all(struct gone_over *f);

#endif

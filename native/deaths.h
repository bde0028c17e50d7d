/*
 * Between measure.c and deaths.c: how the parent remembers the deaths of its children.
 */
#ifndef CPUPROBE_DEATHS_H
#define CPUPROBE_DEATHS_H

#include "session.h"

#define OWN_DEATHS 2     /* of one candidate, before it is believed */
#define FOREIGN_DEATHS 3 /* under one candidate, before it is left out */

enum death {
    DEATH_NONE, /* the child came to its end */
    DEATH_OWN,  /* of a fault, or by leaving: what was under way may have done it */
    DEATH_HUNG, /* what was under way used up its time */
    DEATH_BLOCKED,
    DEATH_FOREIGN, /* by somebody else */
};

/* How often a child has died under one item of one record. */
struct tally {
    uint8_t own, foreign;
};

struct parent {
    struct session session;
    struct tally *tallies; /* table->count + 1 a record */
    struct position start; /* where the last child started */
    uint64_t deaths_left;  /* more mean that there is no progress */
    uint32_t foreign_left;
};

enum death death_of(const struct shared *shared, int status);
enum error error_of_start(const struct shared *shared, enum death death, struct reason *reason);
bool can_do_without(struct shared *shared);
void note_death(struct parent *parent, enum death death);

#endif

/*
 * Between the parent (measure.c) and its child (child.c): the memory they share.
 *
 * The child writes what it finds as it goes, so nothing is lost when it dies. The parent believes
 * nothing that stands here before it has looked at it: a candidate may have written anything.
 */
#ifndef CPUPROBE_SESSION_H
#define CPUPROBE_SESSION_H

#include "core.h"

/* Where the child is. Item 0 of a record is the CPU's identity, item i + 1 is candidate i. */
struct position {
    uint32_t record, item;
};

enum phase {
    PHASE_SETUP,     /* system calls that prepare the child */
    PHASE_SELF_TEST, /* does a fault come back as what it is? */
    PHASE_WORK,
    PHASE_END,
};

/* Exit codes of the child. While a candidate runs, any other is the candidate's doing. */
#define EXIT_END 0
#define EXIT_SETUP 81   /* a system call failed: see trouble */
#define EXIT_GUARD 82   /* the self-test failed: see self_test */
#define EXIT_HUNG 83    /* code under test used up its CPU time */
#define EXIT_BLOCKED 84 /* code under test waits in the kernel, using none */
#define EXIT_ORPHAN 85  /* the parent is gone */

struct shared {
    volatile struct position position;
    volatile uint8_t phase;      /* enum phase */
    volatile uint8_t running;    /* what stands at the position has been started */
    volatile uint8_t self_test;  /* enum outcome */
    volatile uint8_t permission; /* enum permission */
    volatile uint32_t asked_at;  /* the record in which the permission was asked for */
    struct trouble trouble;
    volatile uint32_t denied; /* bits by enum call: refused, and done without */
    struct cpu_record records[];
};

struct session {
    const struct options *options;
    const struct candidate_table *table;
    struct shared *shared;
    const uint32_t *cpus; /* their numbers, a record each */
    uint32_t record_count;
    long parent; /* process ID, 0 where it is not known */
};

/* child.c: does the work from the shared position on, and ends the process. */
_Noreturn void child(const struct session *session);
void pin_again(uint32_t cpu);
/* sweep.c */
void run_candidates(const struct session *session, struct guard *guard, struct cpu_record *record,
                    bool permitted, bool again);
void repeat_candidates(const struct session *session, struct guard *guard,
                       struct cpu_record *record);
/* Ends this process, even where a sandbox denies the usual way. */
_Noreturn void leave(int code);

#endif

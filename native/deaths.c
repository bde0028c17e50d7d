/*
 * What the child's deaths mean: see measure.c.
 */
#include "deaths.h"
#include "syscalls.h"

#include <linux/signal.h>

enum death
death_of(const struct shared *shared, int status)
{
    if (shared->phase == PHASE_END && !shared->running)
        return DEATH_NONE; /* even if a sandbox made leaving difficult */
    switch (status & 0x7f) {
    case 0:
        break;
    case SIGILL:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGTRAP:
        return DEATH_OWN;
    default: /* SIGKILL, SIGSYS, SIGXCPU, SIGTERM: nothing that runs unprivileged code raises */
        return DEATH_FOREIGN;
    }
    switch (status >> 8 & 0xff) {
    case EXIT_HUNG:
        return DEATH_HUNG;
    case EXIT_BLOCKED:
        return DEATH_BLOCKED;
    case EXIT_ORPHAN:
        return DEATH_FOREIGN;
    default:
        return DEATH_OWN;
    }
}

/* What a death before the first candidate tells; ERROR_NONE if a fresh child may do better. */
enum error
error_of_start(const struct shared *shared, enum death death, struct reason *reason)
{
    if (death == DEATH_FOREIGN && reason->signal != SIGSYS)
        return ERROR_NONE;
    reason->trouble.call = shared->trouble.call;
    reason->trouble.error = shared->trouble.error;
    reason->self_test = known_outcome(shared->self_test);
    return shared->phase == PHASE_SETUP ? ERROR_CALL : ERROR_GUARD;
}

/* Writes what became of the item at a position, so that no further child tries it. */
static void
settle(struct session *session, const struct position *position, enum death death)
{
    struct cpu_record *record = &session->shared->records[position->record];
    enum outcome outcome = OUTCOME_SKIPPED;
    uint32_t candidate = position->item - 1;

    if (session->shared->running && death == DEATH_OWN)
        outcome = OUTCOME_KILLED;
    else if (session->shared->running && death == DEATH_HUNG)
        outcome = OUTCOME_TIMEOUT;
    if (position->item == 0) {
        record->lost = outcome == OUTCOME_SKIPPED;
        settle_identity(&record->identity, outcome);
        return;
    }
    record->outcome[candidate] = (uint8_t)outcome;
    record->settled[candidate] = true;
    if (outcome == OUTCOME_SKIPPED)
        record->disturbance[candidate] =
            death == DEATH_BLOCKED ? DISTURBANCE_BLOCKED : DISTURBANCE_KILLED;
}

/* Notes a death while CPUs were measured, and sets where the next child starts. */
void
note_death(struct parent *parent, enum death death)
{
    struct session *session = &parent->session;
    volatile struct position *shared = &session->shared->position;
    struct position position = {shared->record, shared->item};
    bool foreign = death == DEATH_FOREIGN || death == DEATH_BLOCKED;

    if (position.record < session->record_count && position.item <= session->table->count) {
        struct tally *tally =
            &parent->tallies[(size_t)position.record * (session->table->count + 1) + position.item];

        tally->own += !foreign;
        tally->foreign += foreign;
        if (tally->own >= OWN_DEATHS || tally->foreign >= FOREIGN_DEATHS) {
            settle(session, &position, death);
            *tally = (struct tally){0, 0};
        }
        parent->start = position;
    }
    /* The record from its beginning: nobody knows where the dead child ran last. */
    shared->record = parent->start.record;
    shared->item = 0;
    session->shared->running = false;
}

/* A sandbox ended the child at a system call of its own: can the next one do without it? */
bool
can_do_without(struct shared *shared)
{
    static const uint32_t dispensable = 1u << CALL_PRCTL | 1u << CALL_GETPPID |
                                        1u << CALL_PRLIMIT64 | 1u << CALL_SCHED_SETAFFINITY |
                                        1u << CALL_GETCPU | 1u << CALL_ARCH_PRCTL;
    uint32_t bit = shared->trouble.call < CALL_END ? 1u << shared->trouble.call : 0;

    if (shared->running || !(dispensable & bit) || shared->denied & bit)
        return false;
    shared->denied |= bit;
    shared->position.item = 0;
    return true;
}

/*
 * The child: pins itself to each CPU in turn, reads what the CPU says of itself and runs the
 * candidates under the guard.
 */
#include "session.h"
#include "syscalls.h"

#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/signal.h>

#define PIN_ATTEMPTS 3

enum pin {
    PIN_DONE,
    PIN_ABSENT, /* gone offline since it was listed, or taken out of the cpuset */
    PIN_DENIED,
};

static struct shared *shared;
static bool permitted; /* this process may run what needs a permission */

void
leave(int code)
{
    syscall1(__NR_exit_group, code);
    syscall1(__NR_exit, code);
    for (;;)
        __builtin_trap();
}

/*
 * Makes a system call that can be done without. It is not made where it was refused before, or has
 * ended the last child.
 */
#define DISPENSABLE(call, expression)                                                              \
    (shared->denied >> (call)&1                                                                    \
         ? -ERRNO_EPERM                                                                            \
         : note_denial((call), NOTED(&shared->trouble, (call), (expression))))

static long
note_denial(enum call call, long result)
{
    if (result == -ERRNO_EPERM || result == -ERRNO_EACCES || result == -ERRNO_ENOSYS)
        shared->denied |= 1u << call;
    return result;
}

/* Pins this process to one CPU. */
static enum pin
pin(uint32_t cpu)
{
    static uint8_t mask[AFFINITY_BYTES]; /* zero but for the bit that is set and cleared here */
    long result;

    mask[cpu / 8] = (uint8_t)(1u << (cpu % 8));
    result = DISPENSABLE(CALL_SCHED_SETAFFINITY,
                         syscall3(__NR_sched_setaffinity, 0, cpu / 64 * 8 + 8, mask));
    mask[cpu / 8] = 0;
    if (!failed(result))
        return PIN_DONE;
    return result == -ERRNO_EINVAL ? PIN_ABSENT : PIN_DENIED;
}

/* Is this process on that CPU? Where nobody tells, it is if it may be on no other. */
bool
on_cpu(uint32_t cpu)
{
    static uint64_t mask[AFFINITY_BYTES / 8];
    uint64_t others;
    uint32_t now;
    long bytes;

    if (!failed(DISPENSABLE(CALL_GETCPU, syscall3(__NR_getcpu, &now, NULL, NULL))))
        return now == cpu;
    bytes = syscall3(__NR_sched_getaffinity, 0, sizeof mask, mask);
    if (failed(bytes) || cpu / 8 >= (size_t)bytes)
        return false;
    others = mask[cpu / 64] ^ 1ull << (cpu % 64);
    for (long word = 0; word < bytes / 8; word++)
        if (word != cpu / 64)
            others |= mask[word];
    return others == 0;
}

/* Back to the CPU that this process was moved away from. */
void
pin_again(uint32_t cpu)
{
    pin(cpu);
}

/* Can this process be pinned to any of the CPUs that are to be measured? */
static bool
any_pinned(const struct session *session)
{
    for (uint32_t i = 0; i < session->record_count; i++)
        if (pin(session->cpus[i]) == PIN_DONE)
            return true;
    return false;
}

/* Asks for what this process has to ask for, once a CPU has it. */
static bool
get_permission(const struct cpu_record *record)
{
    shared->asked_at = (uint32_t)(record - shared->records);
    permitted = !failed(DISPENSABLE(CALL_ARCH_PRCTL, ask_permission()));
    shared->permission = permitted ? PERMISSION_GRANTED : PERMISSION_REFUSED;
    return permitted;
}

/* Everything of one CPU. */
static void
run_items(const struct session *session, struct guard *guard, struct cpu_record *record)
{
    shared->position.item = 0;
    record->wrong_count = 0;
    record->borrowed = false;
    guard_new_cpu();
    if (!record->identity.settled) {
        shared->running = true;
        read_identity(guard, &record->identity);
        shared->running = false;
    }
    if (!session->options->execute)
        return;
    run_candidates(session, guard, record, permitted, false);
    if (!permitted && shared->permission != PERMISSION_REFUSED &&
        wants_permission(&record->identity) && get_permission(record))
        run_candidates(session, guard, record, true, true);
    if (record->rounds == 0)
        record->rounds = 1;
    repeat_candidates(session, guard, record);
}

/*
 * Measures one CPU. Whoever is moved away on the way starts over; whoever cannot stay there tells
 * of some CPU, if what it runs on at the end says of itself what it said at the beginning.
 */
static void
measure_cpu(const struct session *session, struct guard *guard)
{
    uint32_t index = shared->position.record, cpu = session->cpus[index];
    struct cpu_record *record = &shared->records[index];

    record->cpu = cpu;
    record->measured = false;
    for (int attempt = 0; attempt < PIN_ATTEMPTS && !record->lost; attempt++) {
        enum pin pinned = pin(cpu);

        /* A sandbox that forbids pinning leaves one CPU to see: the one we happen to be on. */
        if (pinned != PIN_DONE && (index != 0 || any_pinned(session)))
            return;
        record->pinned = pinned == PIN_DONE && on_cpu(cpu);
        run_items(session, guard, record);
        record->pinned = record->pinned && on_cpu(cpu);
        if (record->pinned || pinned != PIN_DONE) {
            record->measured = true;
            return;
        }
    }
    record->measured =
        !record->lost && (record->identity.settled || still_identity(guard, &record->identity));
}

/* The system calls that prepare this process. Each failure ends it, or is noted and lived with. */
static struct guard *
set_up(const struct session *session)
{
    static const uint64_t no_core[2] = {0, 0}; /* struct rlimit64: soft, hard */
    struct guard *guard;
    long parent;

    /* A parent that was killed before this call sends no signal: hence the look at who it is. */
    DISPENSABLE(CALL_PRCTL, syscall2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL));
    parent = DISPENSABLE(CALL_GETPPID, syscall0(__NR_getppid));
    if (session->parent > 0 && parent >= 0 && parent != session->parent)
        leave(EXIT_ORPHAN);
    /* RLIMIT_CORE alone does not stop a core_pattern that is a pipe. */
    DISPENSABLE(CALL_PRCTL, syscall2(__NR_prctl, PR_SET_DUMPABLE, 0));
    DISPENSABLE(CALL_PRLIMIT64, syscall4(__NR_prlimit64, 0, RLIMIT_CORE, no_core, NULL));
    guard = guard_install(session->options->auxiliary[AUXILIARY_MINSIGSTKSZ], &shared->trouble);
    if (guard == NULL)
        leave(EXIT_SETUP);
    return guard;
}

void
child(const struct session *session)
{
    struct guard *guard;

    shared = session->shared;
    shared->phase = PHASE_SETUP;
    guard = set_up(session);
    shared->phase = PHASE_SELF_TEST;
    shared->self_test = (uint8_t)guard_self_test(guard);
    if (shared->self_test != OUTCOME_OK)
        leave(EXIT_GUARD);
    shared->phase = PHASE_WORK;
    /* A permission is the process's own: a child that follows a dead one has to ask again. */
    if (shared->permission == PERMISSION_GRANTED && shared->position.record > shared->asked_at)
        permitted = !failed(DISPENSABLE(CALL_ARCH_PRCTL, ask_permission()));
    for (; shared->position.record < session->record_count; shared->position.record++)
        measure_cpu(session, guard);
    shared->phase = PHASE_END;
    leave(EXIT_END);
}

/*
 * Measures every CPU from a child process, and decides what its deaths mean.
 *
 * The child does all that is dangerous (child.c) and writes what it finds into shared memory. The
 * caller's signal handlers, mask, affinity, alternate stack and FPU state stay untouched, because
 * only the child changes its own.
 *
 * An outcome speaks about the CPU only if nothing else can explain it. So a candidate under which
 * the child died is run again in a fresh child, and only a repeat counts. A death that others can
 * cause (the OOM killer, a sandbox, an operator, a limit on CPU time) is never the candidate's
 * doing, and neither is a wait in the kernel: what stays undone for their sake is `skipped`.
 */
#include "deaths.h"
#include "syscalls.h"

#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/time.h>
#include <linux/wait.h>

#define PROGRESS_NANOSECONDS 50000000
#define MAXIMUM_FOREIGN 1000 /* in all: a child that is killed more often is not wanted here */

/*
 * Forks without telling the caller's SIGCHLD handler: a child made with exit signal 0 is reaped
 * only by those who ask for it (__WALL). qemu-user knows no such children, hence the second try.
 */
static long
fork_quietly(struct trouble *trouble)
{
    uint64_t all = ~(uint64_t)0, before = 0;
    long result, pid;

    /* No handler of the caller's may run in the child before it has set its own mask. */
    result = NOTED(trouble, CALL_RT_SIGPROCMASK,
                   syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all));
    if (failed(result))
        return result;
    pid = NOTED(trouble, CALL_CLONE, syscall5(__NR_clone, 0, 0, NULL, NULL, 0));
    if (pid == -ERRNO_EINVAL)
        pid = NOTED(trouble, CALL_CLONE, syscall5(__NR_clone, SIGCHLD, 0, NULL, NULL, 0));
    if (pid != 0)
        syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return pid;
}

/* Tells how far the child is, and sleeps for a while; false where it may not sleep. */
static bool
watch(const struct session *session)
{
    const struct __kernel_timespec while_ = {0, PROGRESS_NANOSECONDS};
    uint64_t rounds = session->options->repeat, done = 0;

    for (uint32_t i = 0; i < session->record_count; i++) {
        uint32_t of_cpu = *(volatile uint32_t *)&session->shared->records[i].rounds;

        done += of_cpu < rounds ? of_cpu : rounds;
    }
    session->options->progress(done, rounds * session->record_count);
    return syscall2(__NR_nanosleep, &while_, NULL) != -ERRNO_EPERM;
}

/* Waits for the child's end. The status is 0 where the caller ignores SIGCHLD and it is lost. */
static enum error
wait_for(const struct session *session, long pid, int *status, struct trouble *trouble)
{
    const struct options *options = session->options;
    bool watched = options->progress != NULL && options->repeat > 1;
    long result;

    *status = 0;
    for (;;) {
        result = NOTED(trouble, CALL_WAIT4,
                       syscall4(__NR_wait4, pid, status, __WALL | (watched ? WNOHANG : 0), NULL));
        if (result == 0)
            watched = watch(session);
        else if (result != -ERRNO_EINTR)
            break;
        if (options->interrupted != NULL && options->interrupted()) {
            syscall2(__NR_kill, pid, SIGKILL);
            while (syscall4(__NR_wait4, pid, status, __WALL, NULL) == -ERRNO_EINTR)
                ;
            return ERROR_INTERRUPTED;
        }
    }
    if (!failed(result) || result == -ERRNO_ECHILD)
        return ERROR_NONE;
    syscall2(__NR_kill, pid, SIGKILL);
    return ERROR_CALL;
}

static enum error
run_children(struct parent *parent, struct reason *reason)
{
    struct session *session = &parent->session;

    for (;;) {
        enum error error;
        enum death death;
        int status;
        long pid = fork_quietly(&reason->trouble);

        if (failed(pid))
            return ERROR_CALL;
        if (pid == 0)
            child(session);
        error = wait_for(session, pid, &status, &reason->trouble);
        if (error != ERROR_NONE)
            return error;
        death = death_of(session->shared, status);
        if (death == DEATH_NONE)
            return ERROR_NONE;
        reason->signal = status & 0x7f;
        if (reason->signal == SIGSYS && can_do_without(session->shared))
            continue;
        if (parent->deaths_left-- == 0 || (death == DEATH_FOREIGN && parent->foreign_left-- == 0))
            return ERROR_KILLED;
        if (session->shared->phase < PHASE_WORK) {
            error = error_of_start(session->shared, death, reason);
            if (error != ERROR_NONE)
                return error;
        } else
            note_death(parent, death);
    }
}

/* Copies what the child wrote about one CPU, each number only as far as it can be true. */
static void
take_record(struct cpu_record *to, const struct cpu_record *from, uint32_t cpu,
            const struct candidate_table *table)
{
    to->cpu = cpu;
    to->measured = from->measured == 1;
    to->pinned = from->pinned == 1;
    to->borrowed = from->borrowed == 1;
    to->rounds = from->rounds;
    take_identity(&to->identity, &from->identity);
    for (uint32_t i = 0; i < table->count; i++) {
        int16_t offset = from->fault_offset[i];

        to->outcome[i] = known_outcome(from->outcome[i]);
        to->outcome_before[i] = known_outcome(from->outcome_before[i]);
        to->disturbance[i] =
            from->disturbance[i] <= DISTURBANCE_MOVED ? from->disturbance[i] : DISTURBANCE_NONE;
        to->failures[i] = from->failures[i] <= from->rounds ? from->failures[i] : 0;
        to->si_code[i] = from->si_code[i];
        to->fault_offset[i] =
            offset >= 0 && offset < table->candidates[i].length + JUMP_BYTES ? offset : -1;
    }
    for (uint32_t i = 0; i < from->wrong_count && i < MAXIMUM_WRONG; i++) {
        struct wrong_value *wrong = &to->wrong[to->wrong_count];

        *wrong = from->wrong[i];
        if (wrong->candidate < table->count && wrong->size <= sizeof wrong->bytes)
            to->wrong_count++;
    }
}

static void *
map_memory(size_t bytes, int sharing, struct trouble *trouble)
{
    long result = NOTED(trouble, CALL_MMAP,
                        syscall6(__NR_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
                                 sharing | MAP_ANONYMOUS, -1, 0));

    return failed(result) ? NULL : (void *)result;
}

static bool
any_measured(const struct measurement *measurement)
{
    for (uint32_t i = 0; i < measurement->record_count; i++)
        if (measurement->records[i].measured)
            return true;
    return false;
}

/* Measures the CPUs that are found, with all memory at hand. */
static enum error
measure_found(struct parent *parent, struct measurement *measurement, struct reason *reason)
{
    struct session *session = &parent->session;
    uint32_t count = session->record_count;
    size_t shared_bytes = sizeof *session->shared + count * sizeof(struct cpu_record);
    size_t tally_bytes = (size_t)count * (session->table->count + 1) * sizeof *parent->tallies;
    enum error error;

    measurement->record_count = count;
    measurement->mapped_bytes = count * sizeof(struct cpu_record) + tally_bytes;
    measurement->records = map_memory(measurement->mapped_bytes, MAP_PRIVATE, &reason->trouble);
    session->shared = map_memory(shared_bytes, MAP_SHARED, &reason->trouble);
    if (measurement->records == NULL || session->shared == NULL)
        error = ERROR_CALL;
    else {
        parent->tallies = (struct tally *)(measurement->records + count);
        parent->deaths_left =
            (uint64_t)count * (session->table->count + 1) * (OWN_DEATHS + FOREIGN_DEATHS);
        parent->foreign_left = MAXIMUM_FOREIGN;
        session->parent = syscall0(__NR_getpid);
        error = run_children(parent, reason);
    }
    if (error == ERROR_NONE) {
        for (uint32_t i = 0; i < count; i++)
            take_record(&measurement->records[i], &session->shared->records[i], session->cpus[i],
                        session->table);
        measurement->permission = session->shared->permission <= PERMISSION_REFUSED
                                      ? session->shared->permission
                                      : PERMISSION_NOT_ASKED;
        measurement->denied = session->shared->denied;
        if (!any_measured(measurement))
            error = reason->signal != 0 ? ERROR_KILLED : ERROR_NO_CPU;
    }
    if (session->shared != NULL)
        syscall2(__NR_munmap, session->shared, shared_bytes);
    return error;
}

/*
 * Measures the allowed CPUs, or those of options->cpus.
 *
 * On success the measurement holds one record a CPU, in CPU order, and release() frees it; on an
 * error the reason says more.
 */
enum error
measure(const struct options *options, const struct candidate_table *table,
        struct measurement *measurement, struct reason *reason)
{
    const size_t list_bytes = AFFINITY_BYTES * 2 + AFFINITY_BYTES * 8 * sizeof(uint32_t);
    struct parent parent = {.session = {.options = options, .table = table}};
    enum error error;
    void *list;

    *measurement = (struct measurement){0};
    *reason = (struct reason){0};
    if (table->count > MAXIMUM_CANDIDATES)
        return ERROR_MEMORY;
    list = map_memory(list_bytes, MAP_PRIVATE, &reason->trouble);
    if (list == NULL)
        return ERROR_CALL;
    error = find_cpus(options->cpus, list, &parent.session.cpus, &parent.session.record_count,
                      &reason->trouble);
    if (error == ERROR_NONE)
        error = measure_found(&parent, measurement, reason);
    syscall2(__NR_munmap, list, list_bytes);
    if (error != ERROR_NONE)
        release(measurement);
    return error;
}

void
release(struct measurement *measurement)
{
    if (measurement->records != NULL)
        syscall2(__NR_munmap, measurement->records, measurement->mapped_bytes);
    *measurement = (struct measurement){0};
}

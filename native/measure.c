/*
 * Measures every CPU from one child process.
 *
 * The child pins itself to each CPU in turn and writes what it finds into memory shared with the
 * parent as it goes, so nothing is lost when a candidate kills it: the parent notes `killed` or
 * `timeout` for the candidate that was under way and forks a new child for the rest. The caller's
 * signal handlers, mask, affinity, alternate stack and FPU state stay untouched, because only the
 * child changes its own.
 */
#include "core.h"
#include "syscalls.h"

#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/wait.h>

#define AFFINITY_BYTES 8192u /* 65,536 CPUs: NR_CPUS can be no higher than 8,192 today */
#define ERRNO_EINTR 4
#define ERRNO_ECHILD 10
#define ERRNO_EINVAL 22

/* The child goes over all CPUs once in each pass. */
enum pass {
    PASS_ALL,       /* identity, and every candidate, before any permission */
    PASS_PERMITTED, /* those that need a permission again, after asking for it */
    PASS_END,
};

/* Where the child is. Written by the child, read by the parent after the child's death. */
struct position {
    volatile uint32_t pass;
    volatile uint32_t record;
    volatile uint32_t candidate;
    volatile bool identity_read;
    volatile bool running; /* the candidate at this position has been started */
    volatile uint8_t permission;
};

struct session {
    const struct options *options;
    const struct candidate_table *table;
    struct position *position;
    struct cpu_record *records;
    uint32_t record_count;
};

static bool
failed(long result)
{
    return result < 0 && result > -4096;
}

/* Child: pins this process to the record's CPU. A CPU may have gone offline since it was listed. */
static bool
pin(const struct cpu_record *record)
{
    static uint8_t mask[AFFINITY_BYTES]; /* zero but for the bit that is set and cleared here */
    uint32_t byte = record->cpu / 8;
    long result;

    mask[byte] = (uint8_t)(1u << (record->cpu % 8));
    result = syscall3(__NR_sched_setaffinity, 0, sizeof mask, mask);
    mask[byte] = 0;
    return !failed(result);
}

/* Child: can it be pinned to any of the CPUs that are to be measured? */
static bool
any_pinned(const struct session *session)
{
    for (uint32_t i = 0; i < session->record_count; i++)
        if (pin(&session->records[i]))
            return true;
    return false;
}

/*
 * Feature sets that have died of #UD at the first byte on this CPU. Their other candidates would
 * die likewise and prove nothing more, and under some hypervisors each #UD costs as much as forty
 * good candidates. Sets are told apart by address: compilers merge equal literals, and where one
 * does not the only harm is one more fault.
 */
struct dead_sets {
    const char *features[128];
    uint32_t count;
};

static bool
is_dead(const struct dead_sets *dead, const struct candidate *candidate)
{
    for (uint32_t i = 0; i < dead->count; i++)
        if (dead->features[i] == candidate->features)
            return true;
    return false;
}

static void
run_candidates(struct session *session, struct guard *guard, struct cpu_record *record,
               enum pass pass)
{
    struct position *position = session->position;
    struct dead_sets dead = {.count = 0};

    for (uint32_t i = position->candidate; i < session->table->count; i++) {
        const struct candidate *candidate = &session->table->candidates[i];

        if (pass == PASS_PERMITTED) {
            if (!needs_permission(candidate))
                continue;
            if (record->outcome_before[i] == OUTCOME_NOT_RUN)
                record->outcome_before[i] = record->outcome[i];
        }
        if (is_dead(&dead, candidate)) {
            record->outcome[i] = OUTCOME_SKIPPED;
            continue;
        }
        position->candidate = i;
        position->running = true;
        record->outcome[i] = (uint8_t)guard_run(guard, session->table, i, record);
        position->running = false;
        position->candidate = i + 1;
        if (record->outcome[i] == OUTCOME_SIGILL && record->fault_offset[i] == 0 &&
            dead.count < sizeof dead.features / sizeof *dead.features)
            dead.features[dead.count++] = candidate->features;
    }
    position->candidate = 0;
}

static bool
any_wants_permission(const struct session *session)
{
    for (uint32_t i = 0; i < session->record_count; i++)
        if (wants_permission(&session->records[i].identity))
            return true;
    return false;
}

/* Child: does the work from the recorded position on, and ends. */
static _Noreturn void
child(struct session *session)
{
    struct rlimit64 {
        uint64_t soft, hard;
    } no_core = {0, 0};
    struct position *position = session->position;
    struct guard *guard;

    syscall2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
    syscall4(__NR_prlimit64, 0, RLIMIT_CORE, &no_core, NULL);
    guard = guard_install(session->options->minsigstksz);
    if (guard == NULL)
        syscall1(__NR_exit_group, 1);
    while (position->pass < PASS_END) {
        if (position->pass == PASS_PERMITTED) {
            if (!session->options->execute || !any_wants_permission(session)) {
                position->pass = PASS_END;
                break;
            }
            /* Once for the process; a child that follows a dead one has to ask again. */
            position->permission = ask_permission() ? PERMISSION_GRANTED : PERMISSION_REFUSED;
            if (position->permission == PERMISSION_REFUSED) {
                position->pass = PASS_END;
                break;
            }
        }
        while (position->record < session->record_count) {
            struct cpu_record *record = &session->records[position->record];

            guard_watch();
            record->pinned = pin(record);
            /* A sandbox that forbids pinning leaves one CPU to see: the one we happen to be on. */
            record->measured = record->pinned || (position->record == 0 && !any_pinned(session));
            if (record->measured && position->pass == PASS_ALL && !position->identity_read) {
                read_identity(guard, &record->identity);
                position->identity_read = true;
            }
            if (record->measured && session->options->execute)
                run_candidates(session, guard, record, position->pass);
            position->identity_read = false;
            position->record++;
        }
        position->record = 0;
        position->pass++;
    }
    syscall1(__NR_exit_group, 0);
    __builtin_unreachable();
}

/*
 * Forks without telling the caller's SIGCHLD handler: a child made with exit signal 0 is reaped
 * only by those who ask for it (__WALL). qemu-user knows no such children, hence the second try.
 */
static long
fork_quietly(void)
{
    uint64_t all = ~(uint64_t)0, before = 0;
    long pid;

    /* No handler of the caller's may run in the child before it has set its own mask. */
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    pid = syscall5(__NR_clone, 0, 0, NULL, NULL, 0);
    if (pid == -ERRNO_EINVAL)
        pid = syscall5(__NR_clone, SIGCHLD, 0, NULL, NULL, 0);
    if (pid != 0)
        syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return pid;
}

/* Notes what became of the candidate that was under way when the child died, and steps past it. */
static void
note_death(struct session *session, int status)
{
    struct position *position = session->position;
    struct cpu_record *record = &session->records[position->record];
    int signal = status & 0x7f;
    uint8_t outcome = signal == SIGALRM ? OUTCOME_TIMEOUT : OUTCOME_KILLED;

    if (position->running) {
        record->outcome[position->candidate] = outcome;
        position->candidate++;
    } else if (position->pass == PASS_ALL && !position->identity_read) {
        record->identity.cpuid_outcome = outcome;
        position->identity_read = true;
    } else {
        position->candidate++; /* died between two candidates: never come back here */
    }
    position->running = false;
}

static enum error
run_children(struct session *session)
{
    /* A child may die once for every candidate on every CPU, and each death moves the position on:
     * more deaths mean that it makes no progress. */
    uint64_t deaths_left = (uint64_t)session->record_count * (session->table->count + 2) * 2;

    while (session->position->pass < PASS_END) {
        int status = 0;
        long result;
        long pid = fork_quietly();

        if (failed(pid))
            return ERROR_FORK;
        if (pid == 0)
            child(session);
        do
            result = syscall4(__NR_wait4, pid, &status, __WALL, NULL);
        while (result == -ERRNO_EINTR);
        /* A caller that ignores SIGCHLD has its children reaped for it: the status is then unknown.
         */
        if (failed(result) && result != -ERRNO_ECHILD)
            return ERROR_FORK;
        if (session->position->pass >= PASS_END)
            break;
        /* Exit status 1: no memory for the guard. While a candidate runs, the exit was its own. */
        if ((status == 0x100 && !session->position->running) || deaths_left-- == 0)
            return ERROR_MEMORY;
        if (session->position->record >= session->record_count)
            return ERROR_FORK; /* died between passes: nothing to step past */
        note_death(session, status);
    }
    return ERROR_NONE;
}

/* Clears the CPUs that the list ("0-3,8") does not name. */
static enum error
restrict_to(uint8_t *mask, const char *list)
{
    uint8_t wanted[AFFINITY_BYTES];
    const char *at = list;

    for (size_t i = 0; i < AFFINITY_BYTES; i++)
        wanted[i] = 0;
    for (;;) {
        uint32_t range[2];

        for (int end = 0; end < 2; end++) {
            uint32_t value = 0;

            if (*at < '0' || *at > '9')
                return ERROR_CPU_LIST;
            for (; *at >= '0' && *at <= '9'; at++) {
                value = value * 10 + (uint32_t)(*at - '0');
                if (value >= AFFINITY_BYTES * 8)
                    return ERROR_CPU_ABSENT;
            }
            range[end] = value;
            if (end == 0 && *at == '-')
                at++;
            else if (end == 0) {
                range[1] = value;
                break;
            }
        }
        if (range[1] < range[0])
            return ERROR_CPU_LIST;
        for (uint32_t cpu = range[0]; cpu <= range[1]; cpu++) {
            if (!(mask[cpu / 8] >> (cpu % 8) & 1))
                return ERROR_CPU_ABSENT;
            wanted[cpu / 8] |= (uint8_t)(1u << (cpu % 8));
        }
        if (*at == '\0')
            break;
        if (*at++ != ',')
            return ERROR_CPU_LIST;
    }
    copy_bytes(mask, wanted, AFFINITY_BYTES);
    return ERROR_NONE;
}

/*
 * Measures the allowed CPUs, or those of options->cpus.
 *
 * On success the measurement holds one record a CPU, in CPU order; release() frees it.
 */
enum error
measure(const struct options *options, const struct candidate_table *table,
        struct measurement *measurement)
{
    uint8_t mask[AFFINITY_BYTES] = {0};
    struct session session = {.options = options, .table = table};
    enum error error;
    size_t bytes;
    long result;

    *measurement = (struct measurement){0};
    if (table->count > MAXIMUM_CANDIDATES)
        return ERROR_MEMORY;
    if (failed(syscall3(__NR_sched_getaffinity, 0, sizeof mask, mask)))
        return ERROR_AFFINITY;
    if (options->cpus != NULL) {
        error = restrict_to(mask, options->cpus);
        if (error != ERROR_NONE)
            return error;
    }
    for (uint32_t cpu = 0; cpu < AFFINITY_BYTES * 8; cpu++)
        session.record_count += mask[cpu / 8] >> (cpu % 8) & 1;
    bytes = sizeof(struct position) + 64 + session.record_count * sizeof(struct cpu_record);
    result = syscall6(__NR_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
    if (failed(result))
        return ERROR_MEMORY;
    session.records = (struct cpu_record *)result;
    session.position = (struct position *)(session.records + session.record_count);
    for (uint32_t cpu = 0, next = 0; cpu < AFFINITY_BYTES * 8; cpu++)
        if (mask[cpu / 8] >> (cpu % 8) & 1)
            session.records[next++].cpu = cpu;

    measurement->records = session.records;
    measurement->record_count = session.record_count;
    measurement->mapped_bytes = bytes;
    error = run_children(&session);
    measurement->permission = session.position->permission;
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

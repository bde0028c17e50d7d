/*
 * The calling process notices nothing: its signals, mask, affinity, FPU state, timers, files,
 * memory and children are the same bytes after an observation as before.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALS 64

/* As the kernel has it: libc's sigaction() hides the restorer and the whole mask. */
struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

struct snapshot {
    struct kernel_action actions[SIGNALS + 1];
    stack_t stack;
    uint64_t blocked, pending;
    uint8_t affinity[1024];
    struct rlimit limits[RLIM_NLIMITS];
    struct timeval intervals[3];
    bool armed[3];
    unsigned long fs, gs;
    int death_signal, dumpable, subreaper;
    int descriptors;
    uint32_t mxcsr;
    uint8_t x87[28]; /* FNSTENV */
};

static volatile sig_atomic_t delivered;

static void
count_signal(int signal)
{
    (void)signal;
    delivered++;
}

static int
open_descriptors(void)
{
    int count = 0;

    for (int i = 0; i < 1024; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

static void
take_snapshot(struct snapshot *snapshot)
{
    static const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

    memset(snapshot, 0, sizeof *snapshot);
    for (int i = 1; i <= SIGNALS; i++)
        syscall(SYS_rt_sigaction, i, NULL, &snapshot->actions[i], 8);
    sigaltstack(NULL, &snapshot->stack);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &snapshot->blocked, 8);
    syscall(SYS_rt_sigpending, &snapshot->pending, 8);
    syscall(SYS_sched_getaffinity, 0, sizeof snapshot->affinity, snapshot->affinity);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &snapshot->limits[i]);
    for (int i = 0; i < 3; i++) {
        struct itimerval value;

        getitimer((__itimer_which_t)timers[i], &value);
        snapshot->intervals[i] = value.it_interval;
        snapshot->armed[i] = value.it_value.tv_sec > 0;
    }
    syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &snapshot->fs);
    syscall(SYS_arch_prctl, 0x1004 /* ARCH_GET_GS */, &snapshot->gs);
    prctl(PR_GET_PDEATHSIG, &snapshot->death_signal);
    prctl(PR_GET_CHILD_SUBREAPER, &snapshot->subreaper);
    snapshot->dumpable = prctl(PR_GET_DUMPABLE);
    snapshot->descriptors = open_descriptors();
    __asm__ volatile("stmxcsr %0" : "=m"(snapshot->mxcsr));
    /* FNSTENV masks all exceptions, FLDENV puts back what was there. */
    __asm__ volatile("fnstenv %0\n fldenv %0" : "+m"(snapshot->x87));
}

/* Observes with a few candidates that fault and one that dies. Returns the document's length, 0 on error. */
static size_t
observe_once(void)
{
    struct fake rows[24];
    struct candidate candidates[24];
    struct candidate_table table;
    struct options options = {.root = "", .execute = true};
    struct writer writer = {0};
    struct reason reason;
    uint32_t count = 0;
    size_t length;

    for (uint32_t i = 0; i < misbehaving_count && count < 24; i++)
        /* no_stack needs an alternate stack of our own, which called_on_a_signal_stack rules out. */
        if ((misbehaving[i].fault != NULL && strcmp(misbehaving[i].name, "no_stack") != 0) ||
            strcmp(misbehaving[i].name, "kill") == 0)
            rows[count++] = misbehaving[i];
    table = table_of(rows, count, candidates);
    if (cpuprobe_observe(&options, &table, &writer, &reason) != ERROR_NONE)
        return 0;
    length = writer.length;
    release_writer(&writer);
    return length;
}

static bool
no_child_left(void)
{
    return waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD;
}

static volatile int spinning;

static void *
spin(void *nothing)
{
    while (spinning)
        ;
    return nothing;
}

void
caller_untouched(void)
{
    static const int handled[] = {SIGILL,  SIGSEGV, SIGBUS,  SIGFPE,  SIGTRAP, SIGCHLD, SIGPROF,
                                  SIGALRM, SIGUSR1, SIGTERM, SIGPIPE, SIGABRT, SIGWINCH};
    static char stack_memory[1 << 16];
    static struct snapshot before, after;
    const struct itimerval later = {{77, 5}, {1000, 0}}, never = {0};
    const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    struct sigaction old[SIGNALS + 1], action = {.sa_handler = count_signal};
    stack_t stack = {.ss_sp = stack_memory, .ss_size = sizeof stack_memory}, old_stack;
    struct rlimit core, old_core;
    cpu_set_t allowed, one;
    sigset_t all, old_mask;
    pthread_t threads[2];
    uint32_t mxcsr, odd_mxcsr = 0xdfc0; /* FTZ, round towards zero, exceptions masked, DAZ */
    uint16_t control = 0x0b7f;          /* round up, double precision */
    size_t length;
    int last = 0;

    /* Set up an unusual caller. */
    sigfillset(&action.sa_mask);
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaction(handled[i], &action, &old[handled[i]]);
    sigaltstack(&stack, &old_stack);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed))
            last = i;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    getrlimit(RLIMIT_CORE, &old_core);
    core = old_core;
    core.rlim_cur = core.rlim_max < 12345678 ? core.rlim_max : 12345678;
    setrlimit(RLIMIT_CORE, &core);
    for (int i = 0; i < 3; i++)
        setitimer((__itimer_which_t)timers[i], &later, NULL);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    spinning = 1;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, spin, NULL);
    sched_setaffinity(0, sizeof one, &one);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old_mask);
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(odd_mxcsr), "m"(control));

    delivered = 0;
    take_snapshot(&before);
    length = observe_once();
    take_snapshot(&after);

    /* Undo all of it before the first CHECK, which may leave. */
    __asm__ volatile("ldmxcsr %0\n fninit" : : "m"(mxcsr));
    spinning = 0;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        setitimer((__itimer_which_t)timers[i], &never, NULL);
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL); /* whatever is pending arrives now */
    sched_setaffinity(0, sizeof allowed, &allowed);
    sigaltstack(&old_stack, NULL);
    setrlimit(RLIMIT_CORE, &old_core);
    prctl(PR_SET_PDEATHSIG, 0);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaction(handled[i], &old[handled[i]], NULL);

    CHECK(length > 0);
    for (int i = 1; i <= SIGNALS; i++)
        CHECK(memcmp(&before.actions[i], &after.actions[i], sizeof before.actions[i]) == 0,
              "the action of signal %d", i);
    CHECK(memcmp(&before.stack, &after.stack, sizeof before.stack) == 0);
    CHECK(before.stack.ss_sp == stack_memory); /* the set-up worked, so the comparison means something */
    CHECK(before.blocked == after.blocked && after.blocked != 0);
    CHECK(after.pending == before.pending || emulated, "pending: %llx",
          (unsigned long long)after.pending);
    CHECK(delivered == 0 || emulated, "%d signals arrived", (int)delivered);
    CHECK(memcmp(before.affinity, after.affinity, sizeof before.affinity) == 0);
    CHECK(after.affinity[last / 8] == 1u << last % 8);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        CHECK(memcmp(&before.limits[i], &after.limits[i], sizeof before.limits[i]) == 0,
              "resource limit %d", i);
    CHECK(memcmp(before.intervals, after.intervals, sizeof before.intervals) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(before.armed[i] && after.armed[i], "interval timer %d", i);
    CHECK(before.fs == after.fs && before.gs == after.gs);
    CHECK(before.death_signal == after.death_signal && before.death_signal == SIGUSR2);
    CHECK(before.dumpable == after.dumpable && before.subreaper == after.subreaper);
    CHECK(before.descriptors == after.descriptors, "%d, then %d", before.descriptors,
          after.descriptors);
    CHECK(before.mxcsr == after.mxcsr && after.mxcsr == odd_mxcsr, "MXCSR %x", after.mxcsr);
    CHECK(memcmp(before.x87, after.x87, sizeof before.x87) == 0);
    CHECK((after.x87[0] | after.x87[1] << 8) == control);
    CHECK(no_child_left());
}

/* The document of the machine we run on, without the kernel's files (the root has none). */
static char *
document(const char *root)
{
    struct fake rows[64];
    struct candidate candidates[64];
    struct candidate_table table;
    struct options options = {.root = root, .execute = true};
    struct writer writer = {0};
    struct reason reason;
    uint32_t count = 0;
    char *text;

    for (uint32_t i = 0; i < misbehaving_count && count < 64; i++)
        if (strncmp(misbehaving[i].name, "random", 6) != 0 &&
            misbehaving[i].outcome != OUTCOME_TIMEOUT && strcmp(misbehaving[i].name, "pause") != 0)
            rows[count++] = misbehaving[i];
    table = table_of(rows, count, candidates);
    if (cpuprobe_observe(&options, &table, &writer, &reason) != ERROR_NONE)
        return NULL;
    text = strndup(writer.text, writer.length);
    release_writer(&writer);
    return text;
}

void
results_do_not_depend_on_the_caller(void)
{
    uint32_t mxcsr, odd_mxcsr = 0xdfc0;
    uint16_t control = 0x0b7f; /* round up: FISTP of pi would give 4 */
    sigset_t all, old_mask;
    char root[] = "/tmp/cpuprobe-test-XXXXXX", proc[64], *plain, *odd;
    bool same;

    CHECK(mkdtemp(root) != NULL);
    snprintf(proc, sizeof proc, "%s/proc", root);
    close(open(proc, O_CREAT | O_WRONLY, 0600));
    plain = document(root);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old_mask);
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(odd_mxcsr), "m"(control));
    odd = document(root);
    __asm__ volatile("ldmxcsr %0\n fninit" : : "m"(mxcsr));
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
    unlink(proc);
    rmdir(root);
    same = plain != NULL && odd != NULL && strcmp(plain, odd) == 0;
    free(plain);
    free(odd);
    CHECK(same);
}

void
sigchld_ignored(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old, after;
    size_t length;

    sigaction(SIGCHLD, &ignore, &old);
    length = observe_once();
    sigaction(SIGCHLD, &old, &after);
    CHECK(length > 0);
    CHECK(after.sa_handler == SIG_IGN);
    CHECK(no_child_left());
}

void
sigchld_blocked_is_not_pending(void)
{
    sigset_t child, old_mask, pending;
    size_t length;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &child, &old_mask);
    length = observe_once();
    sigpending(&pending);
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
    CHECK(length > 0);
    CHECK(!sigismember(&pending, SIGCHLD));
}

/* A child of the caller's own that has ended keeps its status for the caller. */
void
own_children_stay(void)
{
    int status = 0;
    siginfo_t info;
    pid_t pid = fork();
    size_t length;

    if (pid == 0)
        _exit(42);
    CHECK(pid > 0);
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0); /* a zombie by now */
    length = observe_once();
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(length > 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

extern const uint8_t signal_itself[], signal_itself_end[];
__asm__(".pushsection .text.candidates, \"ax\", @progbits\n"
        ".globl signal_itself, signal_itself_end\n"
        "signal_itself:\n"
        "mov $39, %eax\n" /* getpid */
        "syscall\n"
        "mov %eax, %edi\n"
        "mov $10, %esi\n" /* SIGUSR1 */
        "mov $62, %eax\n" /* kill */
        "syscall\n"
        "signal_itself_end:\n"
        "jmp candidate_return\n"
        ".popsection\n");

static volatile int *handled; /* shared with the child, which would count here too */

static void
count_shared(int signal)
{
    (void)signal;
    ++*handled;
}

/* The caller's handlers run in the caller alone: the child blocks every signal but its own. */
void
handlers_do_not_run_in_the_child(void)
{
    const struct fake rows[] = {
        {.name = "kill", signal_itself, signal_itself_end, NULL, STATE_GPR, CHECK_RUNS, OUTCOME_OK},
        good,
    };
    struct options options = {.root = "", .execute = true};
    struct candidate candidates[2];
    struct candidate_table table = table_of(rows, 2, candidates);
    struct sigaction counting = {.sa_handler = count_shared}, before;
    struct measurement measurement;
    struct reason reason;

    handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(handled != MAP_FAILED);
    CHECK(sigaction(SIGUSR1, &counting, &before) == 0);
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE);
    for (int row = 0; row < 2; row++)
        CHECK(measurement.records[0].outcome[row] == OUTCOME_OK, "row %d: outcome %d", row,
              measurement.records[0].outcome[row]);
    CHECK(*handled == 0, "%d times", *handled);
    release(&measurement);
    sigaction(SIGUSR1, &before, NULL);
}

static void *
reap_everything(void *stolen)
{
    while (spinning)
        if (waitpid(-1, NULL, WNOHANG) > 0)
            ++*(int *)stolen;
    return NULL;
}

/* Process supervisors and some runtimes wait for any child in a thread of their own. */
void
another_thread_may_wait(void)
{
    pthread_t thread;
    int stolen = 0;
    size_t length;

    spinning = 1;
    pthread_create(&thread, NULL, reap_everything, &stolen);
    length = observe_once();
    spinning = 0;
    pthread_join(thread, NULL);
    CHECK(length > 0);
    CHECK(stolen == 0);
}

/* Counts mappings without allocating memory. */
static int
mappings(void)
{
    static char buffer[1 << 16];
    int descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), lines = 0;
    ssize_t got;

    while ((got = read(descriptor, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++)
            lines += buffer[i] == '\n';
    close(descriptor);
    return lines;
}

void
nothing_leaks(void)
{
    int descriptors, maps;

    CHECK(observe_once() > 0);
    descriptors = open_descriptors();
    maps = mappings();
    for (int i = 0; i < 20; i++)
        CHECK(observe_once() > 0);
    CHECK(open_descriptors() == descriptors);
    CHECK(mappings() == maps, "%d, then %d", maps, mappings());
    CHECK(no_child_left());
}

static void *
observe_in_thread(void *lengths)
{
    for (int i = 0; i < 4; i++)
        ((size_t *)lengths)[i] = observe_once();
    return NULL;
}

void
many_callers_at_once(void)
{
    pthread_t threads[4];
    size_t lengths[4][4];

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, observe_in_thread, lengths[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 16; i++)
        CHECK(lengths[i / 4][i % 4] == lengths[0][0] && lengths[0][0] > 0);
    CHECK(no_child_left());
}

static volatile size_t handler_length;

static void
observe_in_handler(int signal)
{
    (void)signal;
    handler_length = observe_once();
}

/* A process may not change its alternate stack while it runs on it, and a forked child still does. */
void
called_on_a_signal_stack(void)
{
    static char memory[1 << 18];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, old_stack;
    struct sigaction action = {.sa_handler = observe_in_handler, .sa_flags = SA_ONSTACK}, old;

    handler_length = 0;
    sigaltstack(&stack, &old_stack);
    sigaction(SIGUSR1, &action, &old);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &old, NULL);
    sigaltstack(&old_stack, NULL);
    CHECK(handler_length > 0);
    CHECK(handler_length == observe_once());
}

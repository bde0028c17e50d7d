/*
 * The guard: runs one candidate at a time so that no fault, hang or wild jump gets past it.
 *
 * It only ever works in a child process of its own (measure.c), so it may set signal handlers.
 * The rules that make it safe:
 *   - A fault belongs to us only if the program counter lies inside the armed candidate or inside
 *     the code that loads and stores its registers. Anything else gets the default action: return,
 *     fault again, die honestly; the parent then decides what that means (measure.c).
 *   - The handler acts once per candidate. It disarms before it sends the program counter to the
 *     recovery point, so a fault in the recovery path cannot loop.
 *   - It runs on an alternate stack of its own, because a candidate may have damaged nothing but
 *     the kernel still has to push up to AT_MINSIGSTKSZ bytes of register state (AMX: 11 KiB).
 *   - A tick of CPU time notices a candidate that is still running two ticks later. CPU time, not
 *     wall time: a child that a busy machine or a SIGSTOP leaves waiting has not hung. A slow tick
 *     of wall time notices one that uses no CPU time at all: it waits in the kernel. Both end the
 *     child, and again the parent decides.
 *   - A signal that somebody sent is no fault: only what the kernel itself raised counts.
 */
#include "guard.h"
#include "session.h"
#include "syscalls.h"

#include <linux/signal.h>
#include <linux/mman.h>
#include <linux/time.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define SIGNAL_STACK_BYTES (64u * 1024)
#define TICK_MICROSECONDS 100000
#ifndef WALL_TICK_MICROSECONDS
#define WALL_TICK_MICROSECONDS 2000000
#endif
#define NO_CPU_TIME 1000000 /* ns: less than this between two ticks is a wait */

/* What the handler may touch. Written by the child's only thread and by its own handler. */
static struct {
    const uint8_t *volatile begin, *volatile end; /* armed while begin is not NULL */
    volatile uint32_t serial;                     /* one more for every run */
    volatile uint32_t serial_at_tick, serial_at_wall_tick;
    volatile uint64_t used_at_wall_tick; /* ns of CPU time */
    volatile int signal, code;
    volatile int32_t offset;
    volatile bool loading; /* the fault came while registers were being loaded */
} armed;

static void
take_fault(int signal, int code, const uint8_t *ip, struct ucontext *uc)
{
    const uint8_t *begin = armed.begin;

    armed.signal = signal;
    armed.code = code;
    armed.offset = ip >= begin && ip < armed.end ? (int32_t)(ip - begin) : -1;
    armed.loading = ip >= state_code_begin && ip < candidate_return;
    armed.begin = NULL;
    context_redirect(uc, candidate_recovery);
}

static bool
is_ours(const uint8_t *ip)
{
    if (armed.begin == NULL)
        return false;
    return (ip >= armed.begin && ip < armed.end) || (ip >= state_code_begin && ip < state_code_end);
}

static long set_handler(int signal, void *handler, unsigned long restorer);

static SIGNAL_HANDLER void
on_fault(int signal, siginfo_t *info, void *context)
{
    struct ucontext *uc = context;
    const uint8_t *ip = context_counter(uc);

    if (info->si_code <= 0)
        return;
    if (!is_ours(ip)) {
        set_handler(signal, (void *)SIG_DFL, 0);
        return;
    }
    take_fault(signal, info->si_code, ip, uc);
}

static SIGNAL_HANDLER void
on_tick(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    if (info->si_code <= 0)
        return;
    if (armed.serial == armed.serial_at_tick)
        leave(EXIT_HUNG);
    armed.serial_at_tick = armed.serial;
}

static SIGNAL_HANDLER void
on_wall_tick(int signal, siginfo_t *info, void *context)
{
    struct __kernel_timespec time = {0, 0};
    uint64_t used;

    (void)signal;
    (void)context;
    if (info->si_code <= 0)
        return;
    syscall2(__NR_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &time);
    used = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
    if (armed.serial == armed.serial_at_wall_tick && used - armed.used_at_wall_tick < NO_CPU_TIME)
        leave(EXIT_BLOCKED);
    armed.serial_at_wall_tick = armed.serial;
    armed.used_at_wall_tick = used;
}

static long
set_handler(int signal, void *handler, unsigned long restorer)
{
    struct {
        void *handler;
        unsigned long flags;
        unsigned long restorer;
        uint64_t mask;
    } action = {handler, 0, restorer, 0};

    if (restorer != 0)
        /* SA_NODEFER: recovery leaves the handler by sigreturn, which restores the mask anyway,
         * but a fault inside the handler itself must kill the child and not hang it. */
        action.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER;
    return syscall4(__NR_rt_sigaction, signal, &action, NULL, sizeof action.mask);
}

static void *
map_memory(size_t bytes, struct trouble *trouble)
{
    long address = NOTED(trouble, CALL_MMAP,
                         syscall6(__NR_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

    return failed(address) ? NULL : (void *)address;
}

/* Sets the handlers, and the mask in which they come through. */
static bool
install_handlers(struct trouble *trouble)
{
    static const struct {
        int signal;
        void (*handler)(int, siginfo_t *, void *);
    } rows[] = {{SIGILL, on_fault},     {SIGSEGV, on_fault}, {SIGBUS, on_fault},
                {SIGFPE, on_fault},     {SIGTRAP, on_fault}, {SIGPROF, on_tick},
                {SIGALRM, on_wall_tick}};
    uint64_t blocked = ~(uint64_t)0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (failed(NOTED(trouble, CALL_RT_SIGACTION,
                         set_handler(rows[i].signal, (void *)rows[i].handler,
                                     (unsigned long)signal_return))))
            return false;
        blocked &= ~(1ull << (rows[i].signal - 1));
    }
    /* Ours have to come through: a blocked synchronous signal kills. All others stay blocked, for
     * their handlers are the caller's and must not run twice, here and there. */
    return !failed(
        NOTED(trouble, CALL_RT_SIGPROCMASK,
              syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked)));
}

/*
 * Gives handlers a stack of their own. A caller that is in a handler itself is on such a stack
 * already, which may not be changed then, and serves as well.
 */
static bool
install_stack(uint64_t minsigstksz, struct trouble *trouble)
{
    stack_t stack = {0}, callers = {0};

    stack.ss_size = SIGNAL_STACK_BYTES + (minsigstksz < (1u << 20) ? 2 * minsigstksz : 0);
    stack.ss_sp = map_memory(stack.ss_size, trouble);
    if (stack.ss_sp == NULL)
        return false;
    if (!failed(NOTED(trouble, CALL_SIGALTSTACK, syscall2(__NR_sigaltstack, &stack, NULL))))
        return true;
    return !failed(syscall2(__NR_sigaltstack, NULL, &callers)) && callers.ss_flags & SS_ONSTACK;
}

/*
 * Prepares this process, which must be the child: signal stack, handlers, timers, mask.
 *
 * minsigstksz: AT_MINSIGSTKSZ, or 0. Returns NULL if a system call fails: see trouble.
 */
struct guard *
guard_install(uint64_t minsigstksz, struct trouble *trouble)
{
    static const struct itimerval tick = {{0, TICK_MICROSECONDS}, {0, TICK_MICROSECONDS}};
    static const struct timeval wall = {WALL_TICK_MICROSECONDS / 1000000,
                                        WALL_TICK_MICROSECONDS % 1000000};
    struct itimerval wall_tick = {wall, wall};
    struct guard *guard = NULL;

    if (install_stack(minsigstksz, trouble) && install_handlers(trouble))
        guard = map_memory(sizeof *guard, trouble);
    if (guard == NULL ||
        failed(
            NOTED(trouble, CALL_SETITIMER, syscall3(__NR_setitimer, ITIMER_PROF, &tick, NULL))) ||
        failed(NOTED(trouble, CALL_SETITIMER,
                     syscall3(__NR_setitimer, ITIMER_REAL, &wall_tick, NULL))))
        return NULL;
    return guard;
}

static enum outcome
outcome_of_signal(int signal)
{
    switch (signal) {
    case SIGILL:
        return OUTCOME_SIGILL;
    case SIGSEGV:
        return OUTCOME_SIGSEGV;
    case SIGBUS:
        return OUTCOME_SIGBUS;
    case SIGFPE:
        return OUTCOME_SIGFPE;
    case SIGTRAP:
        return OUTCOME_SIGTRAP;
    default:
        return OUTCOME_TIMEOUT;
    }
}

enum outcome
run_once(struct guard *guard, const uint8_t *code, size_t length, unsigned int class)
{
    armed.serial++;
    armed.end = code + length + JUMP_BYTES;
    armed.begin = code;
    guard->fault = (struct fault){0, 0, false};
    if (enter_candidate(&guard->state, code, class) == 0) {
        armed.begin = NULL;
        return OUTCOME_OK;
    }
    guard->fault = (struct fault){armed.code, armed.offset, armed.loading};
    return outcome_of_signal(armed.signal);
}

/* Does an undefined instruction come back as SIGILL at its address? OUTCOME_OK, or what it did. */
enum outcome
guard_self_test(struct guard *guard)
{
    enum outcome outcome = run_once(guard, undefined_instruction, 0, 0);

    if (outcome == OUTCOME_SIGILL && guard->fault.offset == 0)
        return OUTCOME_OK;
    return outcome == OUTCOME_OK || outcome == OUTCOME_SIGILL ? OUTCOME_WRONG : outcome;
}

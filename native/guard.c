/*
 * The guard: runs one candidate at a time so that no fault, hang or wild jump gets past it.
 *
 * It only ever works in a child process of its own (measure.c), so it may set signal handlers.
 * The rules that make it safe:
 *   - A fault belongs to us only if the program counter lies inside the armed candidate or inside
 *     the code that loads and stores its registers. Anything else gets the default action: return,
 * fault again, die honestly; the parent notes `killed` and goes on with the next candidate in a new
 * child.
 *   - The handler acts once per candidate. It disarms before it sends the program counter to the
 *     recovery point, so a fault in the recovery path cannot loop.
 *   - It runs on an alternate stack of its own, because a candidate may have damaged nothing but
 *     the kernel still has to push up to AT_MINSIGSTKSZ bytes of register state (AMX: 11 KiB).
 *   - A CPU-time tick notices a candidate that is still running two ticks later. CPU time, not wall
 *     time: a child that a busy machine leaves waiting has not hung. A wall-clock alarm with the
 *     default action ends the child if everything else fails.
 */
#include "guard.h"
#include "syscalls.h"

#include <linux/signal.h>
#include <linux/mman.h>
#include <linux/time.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define SIGNAL_STACK_BYTES (64u * 1024)
#define TICK_MICROSECONDS 100000
#define CPU_SECONDS 20

/* What the handler may touch. Written by the child's only thread and by its own handler. */
static struct {
    const uint8_t *volatile begin, *volatile end; /* armed while begin is not NULL */
    volatile uint32_t serial;                     /* one more for every run */
    volatile uint32_t serial_at_tick;
    volatile int signal, code;
    volatile int32_t offset;
} armed;

static void
take_fault(int signal, int code, const uint8_t *ip, struct ucontext *uc)
{
    const uint8_t *begin = armed.begin;

    armed.signal = signal;
    armed.code = code;
    armed.offset = ip >= begin && ip < armed.end ? (int32_t)(ip - begin) : -1;
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

static void set_handler(int signal, void *handler, unsigned long restorer);

static void
on_fault(int signal, siginfo_t *info, void *context)
{
    struct ucontext *uc = context;
    const uint8_t *ip = context_counter(uc);

    if (!is_ours(ip)) {
        set_handler(signal, (void *)SIG_DFL, 0);
        return;
    }
    take_fault(signal, info->si_code, ip, uc);
}

static void
on_tick(int signal, siginfo_t *info, void *context)
{
    struct ucontext *uc = context;
    const uint8_t *ip = context_counter(uc);

    if (armed.serial == armed.serial_at_tick && is_ours(ip))
        take_fault(signal, info->si_code, ip, uc);
    armed.serial_at_tick = armed.serial;
}

static void
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
    syscall4(__NR_rt_sigaction, signal, &action, NULL, sizeof action.mask);
}

static void *
map_memory(size_t bytes)
{
    long address = syscall6(__NR_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return address < 0 && address > -4096 ? NULL : (void *)address;
}

/*
 * Prepares this process, which must be the child: signal stack, handlers, timers, mask.
 *
 * minsigstksz: AT_MINSIGSTKSZ, or 0. Returns NULL if memory is refused.
 */
struct guard *
guard_install(uint64_t minsigstksz)
{
    static const int faults[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP};
    struct itimerval tick = {{0, TICK_MICROSECONDS}, {0, TICK_MICROSECONDS}};
    uint64_t blocked = ~(uint64_t)0;
    size_t stack_bytes = SIGNAL_STACK_BYTES;
    stack_t stack = {0};
    struct guard *guard;

    if (minsigstksz < (1u << 20))
        stack_bytes += 2 * minsigstksz;
    stack.ss_sp = map_memory(stack_bytes);
    stack.ss_size = stack_bytes;
    guard = map_memory(sizeof *guard);
    if (stack.ss_sp == NULL || guard == NULL)
        return NULL;
    syscall2(__NR_sigaltstack, &stack, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        set_handler(faults[i], (void *)on_fault, (unsigned long)signal_return);
        blocked &= ~(1ull << (faults[i] - 1));
    }
    set_handler(SIGPROF, (void *)on_tick, (unsigned long)signal_return);
    set_handler(SIGALRM, (void *)SIG_DFL, 0);
    blocked &= ~(1ull << (SIGPROF - 1) | 1ull << (SIGALRM - 1));
    /* Ours have to come through: a blocked synchronous signal kills. All others stay blocked, for
     * their handlers are the caller's and must not run twice, here and there. */
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked);
    syscall3(__NR_setitimer, ITIMER_PROF, &tick, NULL);
    return guard;
}

/* Gives the child CPU_SECONDS more before the alarm ends it; called for each CPU. */
void
guard_watch(void)
{
    struct itimerval limit = {{0, 0}, {CPU_SECONDS, 0}};

    syscall3(__NR_setitimer, ITIMER_REAL, &limit, NULL);
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
    if (enter_candidate(&guard->state, code, class) == 0) {
        armed.begin = NULL;
        return OUTCOME_OK;
    }
    return outcome_of_signal(armed.signal);
}

enum outcome
compare_results(const struct guard *guard, const struct candidate *candidate, uint32_t index,
                struct cpu_record *record)
{
    const uint8_t *expected = candidate->expected;

    for (size_t i = 0; i < MAXIMUM_RESULTS; i++) {
        uint8_t got[64];
        size_t size = take_result(guard, &candidate->results[i], got);

        if (size == 0)
            break;
        if (!bytes_equal(got, expected, size)) {
            if (record->wrong_count < MAXIMUM_WRONG) {
                struct wrong_value *wrong = &record->wrong[record->wrong_count++];

                wrong->candidate = (uint16_t)index;
                wrong->size = (uint8_t)size;
                copy_bytes(wrong->bytes, got, size);
            }
            return OUTCOME_WRONG;
        }
        expected += size;
    }
    return OUTCOME_OK;
}

/*
 * Loads the input and runs a candidate.
 *
 * Where the registers of its class cannot be loaded, it is run once more with fewer of them: a
 * fault then still is evidence, but a clean end is not (`skipped`), as its input was unknown.
 */
enum outcome
run_loaded(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    unsigned int class = candidate->state;
    enum outcome outcome;

    load_input(guard, input);
    outcome = run_once(guard, candidate->code, candidate->length, class);
    while (outcome != OUTCOME_OK && armed.offset < 0 && class -- > 0) {
        load_input(guard, input);
        outcome = run_once(guard, candidate->code, candidate->length, class);
        if (outcome == OUTCOME_OK)
            return OUTCOME_SKIPPED;
    }
    return outcome;
}

/* Runs one candidate and judges its result. Fault details go into the record. */
enum outcome
guard_run(struct guard *guard, const struct candidate_table *table, uint32_t index,
          struct cpu_record *record)
{
    const struct candidate *candidate = &table->candidates[index];
    const struct input *input = &table->inputs[candidate->input];
    enum outcome outcome;

    armed.offset = 0;
    armed.code = 0;
    if (candidate->check == CHECK_HINT)
        return OUTCOME_SKIPPED;
    if (candidate->check >= CHECK_OF_ISA)
        outcome = run_special(guard, candidate, input, record);
    else {
        outcome = run_loaded(guard, candidate, input);
        if (outcome == OUTCOME_OK && candidate->check == CHECK_VALUE)
            outcome = compare_results(guard, candidate, index, record);
    }
    record->si_code[index] = (int8_t)armed.code;
    record->fault_offset[index] = (int16_t)armed.offset;
    return outcome;
}

/*
 * The guard: runs one candidate at a time so that no fault, hang or wild jump gets past it.
 *
 * It only ever works in a child process of its own (measure.c), so it may set signal handlers.
 * The rules that make it safe:
 *   - A fault belongs to us only if RIP lies inside the armed candidate or inside the code that
 *     loads and stores its registers. Anything else gets the default action: return, fault again,
 *     die honestly; the parent notes `killed` and goes on with the next candidate in a new child.
 *   - The handler acts once per candidate. It disarms before it moves RIP to the recovery point,
 *     so a fault in the recovery path cannot loop.
 *   - It runs on an alternate stack of its own, because a candidate may have damaged nothing but
 *     the kernel still has to push up to AT_MINSIGSTKSZ bytes of register state (AMX: 11 KiB).
 *   - A CPU-time tick notices a candidate that is still running two ticks later. CPU time, not wall
 *     time: a child that a busy machine leaves waiting has not hung. A wall-clock alarm with the
 *     default action ends the child if everything else fails.
 *
 * Registers: enter_candidate loads the state class of the candidate, jumps to its bytes, and every
 * candidate ends in a direct jump to candidate_return, which stores the state again. No call and
 * no return, so a shadow stack has nothing to compare. r12-r15, rbp and rsp are ours; candidates
 * use none of them.
 */
#include "core.h"
#include "syscalls.h"

#include <linux/signal.h>
#include <linux/mman.h>
#include <linux/time.h>
#include <asm/prctl.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>

#define SIGNAL_STACK_BYTES (64u * 1024)
#define AREA_BYTES 4096u
#define TICK_MICROSECONDS 100000
#define CPU_SECONDS 20
#define TRANSACTION_ATTEMPTS 200
#define RANDOM_DRAWS 8
#define RANDOM_ATTEMPTS 1000
#define CARRY_FLAG 1u
#define FLAGS_AT_ENTRY 0x202u
#define MXCSR_DEFAULT 0x1f80u

/* Offsets are known to the assembly below. */
struct machine_state {
    uint64_t gpr[16];      /* 0 */
    uint64_t rflags;       /* 128 */
    uint64_t mask[8];      /* 136 */
    uint32_t mxcsr;        /* 200 */
    uint8_t reserved[52];  /* 204 */
    uint8_t vector[8][64]; /* 256 */
};

_Static_assert(offsetof(struct machine_state, rflags) == 128, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, mask) == 136, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, mxcsr) == 200, "known to enter_candidate");
_Static_assert(offsetof(struct machine_state, vector) == 256, "known to enter_candidate");

struct guard {
    struct machine_state state;
    uint8_t input_area[AREA_BYTES];  /* [rsi]; a whole page: a misdecoded store stays in it */
    uint8_t output_area[AREA_BYTES]; /* [rdi] */
};

_Static_assert(offsetof(struct guard, input_area) % 64 == 0, "candidates need 64-byte alignment");

/* Returns 0 when the candidate came to its end, 1 when the handler sent it to recovery. */
__attribute__((visibility("hidden"))) int enter_candidate(struct machine_state *state,
                                                          const uint8_t *code, unsigned int class);
extern __attribute__((visibility("hidden"))) const uint8_t state_code_begin[], state_code_end[];
extern __attribute__((visibility("hidden"))) const uint8_t candidate_recovery[];
extern __attribute__((visibility("hidden"))) const uint8_t guarded_cpuid[], guarded_xgetbv[];

#define EACH_VECTOR(move, register_name)                                                           \
    move("0", register_name) move("1", register_name) move("2", register_name)                     \
        move("3", register_name) move("4", register_name) move("5", register_name)                 \
            move("6", register_name) move("7", register_name)
#define LOAD_SSE(n, r) "movups 256+64*" n "(%r12), %" r n "\n"
#define STORE_SSE(n, r) "movups %" r n ", 256+64*" n "(%r12)\n"
#define LOAD_AVX(n, r) "vmovups 256+64*" n "(%r12), %" r n "\n"
#define STORE_AVX(n, r) "vmovups %" r n ", 256+64*" n "(%r12)\n"
#define LOAD_MASK(n, r) "kmovw 136+8*" n "(%r12), %" r n "\n"
#define STORE_MASK(n, r) "kmovw %" r n ", 136+8*" n "(%r12)\n"

/* clang-format off */
__asm__(
    ".pushsection .text, \"ax\", @progbits\n"
    ".globl enter_candidate\n"
    ".hidden enter_candidate\n"
    ".type enter_candidate, @function\n"
    "enter_candidate:\n"
    "push %rbx\n"
    "push %rbp\n"
    "push %r12\n"
    "push %r13\n"
    "push %r14\n"
    "push %r15\n"
    "mov %rsp, guard_saved_stack(%rip)\n"
    "fninit\n" /* neither the caller's x87 control word nor the last candidate's MMX state */
    "mov %rdi, %r12\n"
    "mov %rsi, %r13\n"
    "mov %edx, %r14d\n"
    ".globl state_code_begin\n"
    ".hidden state_code_begin\n"
    "state_code_begin:\n"
    "cmp $1, %r14d\n"
    "jb 1f\n"
    "ldmxcsr 200(%r12)\n"
    "ja 2f\n" /* LDMXCSR leaves the flags of the comparison alone */
    EACH_VECTOR(LOAD_SSE, "xmm")
    "jmp 1f\n"
    "2:\n"
    "cmp $2, %r14d\n"
    "ja 3f\n"
    EACH_VECTOR(LOAD_AVX, "ymm")
    "jmp 1f\n"
    "3:\n"
    EACH_VECTOR(LOAD_AVX, "zmm")
    EACH_VECTOR(LOAD_MASK, "k")
    "1:\n"
    "push 128(%r12)\n"
    "popf\n"
    "mov 0(%r12), %rax\n"
    "mov 8(%r12), %rcx\n"
    "mov 16(%r12), %rdx\n"
    "mov 24(%r12), %rbx\n"
    "mov 48(%r12), %rsi\n"
    "mov 56(%r12), %rdi\n"
    "mov 64(%r12), %r8\n"
    "mov 72(%r12), %r9\n"
    "mov 80(%r12), %r10\n"
    "mov 88(%r12), %r11\n"
    "jmp *%r13\n"
    ".globl candidate_return\n"
    ".hidden candidate_return\n"
    "candidate_return:\n"
    "mov %rax, 0(%r12)\n"
    "mov %rcx, 8(%r12)\n"
    "mov %rdx, 16(%r12)\n"
    "mov %rbx, 24(%r12)\n"
    "mov %rsi, 48(%r12)\n"
    "mov %rdi, 56(%r12)\n"
    "mov %r8, 64(%r12)\n"
    "mov %r9, 72(%r12)\n"
    "mov %r10, 80(%r12)\n"
    "mov %r11, 88(%r12)\n"
    "pushf\n"
    "pop 128(%r12)\n"
    "push $0x202\n" /* FLAGS_AT_ENTRY: no DF, AC or TF of the candidate's in our own code */
    "popf\n"
    "cmp $1, %r14d\n"
    "jb 1f\n"
    "ja 2f\n"
    EACH_VECTOR(STORE_SSE, "xmm")
    "jmp 1f\n"
    "2:\n"
    "cmp $2, %r14d\n"
    "ja 3f\n"
    EACH_VECTOR(STORE_AVX, "ymm")
    "vzeroupper\n"
    "jmp 1f\n"
    "3:\n"
    EACH_VECTOR(STORE_AVX, "zmm")
    EACH_VECTOR(STORE_MASK, "k")
    "vzeroupper\n"
    "1:\n"
    ".globl state_code_end\n"
    ".hidden state_code_end\n"
    "state_code_end:\n"
    "xor %eax, %eax\n"
    "4:\n"
    "pop %r15\n"
    "pop %r14\n"
    "pop %r13\n"
    "pop %r12\n"
    "pop %rbp\n"
    "pop %rbx\n"
    "ret\n"
    ".globl candidate_recovery\n"
    ".hidden candidate_recovery\n"
    "candidate_recovery:\n"
    "mov guard_saved_stack(%rip), %rsp\n"
    "cld\n"
    "fninit\n" /* a sequence may have died between MMX code and its EMMS */
    "mov $1, %eax\n"
    "jmp 4b\n"
    ".size enter_candidate, . - enter_candidate\n"
    /* CPUID and XGETBV run like candidates: both can fault (CPUID faulting, no OSXSAVE). */
    ".globl guarded_cpuid\n"
    ".hidden guarded_cpuid\n"
    "guarded_cpuid:\n"
    "cpuid\n"
    "jmp candidate_return\n"
    ".globl guarded_xgetbv\n"
    ".hidden guarded_xgetbv\n"
    "guarded_xgetbv:\n"
    ".byte 0x0f, 0x01, 0xd0\n" /* XGETBV, for assemblers that want -mxsave */
    "jmp candidate_return\n"
    ".popsection\n"
    ".local guard_saved_stack\n"
    ".comm guard_saved_stack, 8, 8\n"
);
/* clang-format on */

#define JUMP_BYTES 5 /* at most, from a candidate back to candidate_return */

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
    uc->uc_mcontext.rip = (unsigned long)candidate_recovery;
    /* TF would trap in the recovery path, AC would trap anywhere later. */
    uc->uc_mcontext.eflags = FLAGS_AT_ENTRY;
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
    const uint8_t *ip = (const uint8_t *)uc->uc_mcontext.rip;

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
    const uint8_t *ip = (const uint8_t *)uc->uc_mcontext.rip;

    if (armed.serial == armed.serial_at_tick && is_ours(ip))
        take_fault(signal, info->si_code, ip, uc);
    armed.serial_at_tick = armed.serial;
}

/* The kernel demands SA_RESTORER on x86-64. */
__attribute__((visibility("hidden"))) void signal_return(void);
__asm__(".pushsection .text, \"ax\", @progbits\n"
        ".globl signal_return\n"
        ".hidden signal_return\n"
        ".type signal_return, @function\n"
        "signal_return:\n"
        "mov $15, %eax\n" /* __NR_rt_sigreturn */
        "syscall\n"
        ".size signal_return, . - signal_return\n"
        ".popsection\n");

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

/* Enters the code once, with the state as it lies in the guard. */
static enum outcome
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

static void
load_input(struct guard *guard, const struct input *input)
{
    copy_bytes(guard->state.gpr, input->gpr, sizeof guard->state.gpr);
    copy_bytes(guard->state.mask, input->mask, sizeof guard->state.mask);
    copy_bytes(guard->state.vector, input->vector, sizeof guard->state.vector);
    copy_bytes(guard->input_area, input->memory, MEMORY_BYTES);
    copy_bytes(guard->output_area, input->memory, MEMORY_BYTES);
    clear_bytes(guard->input_area + MEMORY_BYTES, AREA_BYTES - MEMORY_BYTES);
    clear_bytes(guard->output_area + MEMORY_BYTES, AREA_BYTES - MEMORY_BYTES);
    guard->state.gpr[6] = (uint64_t)(uintptr_t)guard->input_area;
    guard->state.gpr[7] = (uint64_t)(uintptr_t)guard->output_area;
    guard->state.rflags = FLAGS_AT_ENTRY;
    guard->state.mxcsr = MXCSR_DEFAULT;
}

/* Copies one result into buffer (at least 64 bytes) and returns its size, 0 past the last one. */
static size_t
take_result(const struct guard *guard, const struct result *result, uint8_t *buffer)
{
    const uint8_t *from;
    uint16_t flags;

    switch (result->location) {
    case LOCATION_GPR:
        from = (const uint8_t *)&guard->state.gpr[result->index & 15];
        break;
    case LOCATION_VECTOR:
        from = guard->state.vector[result->index & 7];
        break;
    case LOCATION_MASK:
        from = (const uint8_t *)&guard->state.mask[result->index & 7];
        break;
    case LOCATION_FLAGS:
        flags = (uint16_t)(guard->state.rflags & result->index);
        from = (const uint8_t *)&flags;
        break;
    case LOCATION_MEMORY:
        from = guard->output_area + result->index % (AREA_BYTES - 64);
        break;
    default:
        return 0;
    }
    copy_bytes(buffer, from, result->size);
    return result->size;
}

static enum outcome
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
 * RDRAND and RDSEED. A draw may fail (CF clear) when the source runs dry, so failed draws are
 * repeated; but a source that always fails, sticks, or says all-ones is broken: AMD family 15h and
 * 16h fail after suspend, some Ryzen firmware returned all-ones with CF set (systemd issue 11810).
 */
static enum outcome
run_random(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    uint64_t first = 0;
    bool differ = false;
    int draws = 0;

    for (int attempt = 0; attempt < RANDOM_ATTEMPTS && draws < RANDOM_DRAWS; attempt++) {
        enum outcome outcome;

        load_input(guard, input);
        outcome = run_once(guard, candidate->code, candidate->length, candidate->state);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (!(guard->state.rflags & CARRY_FLAG))
            continue;
        if (guard->state.gpr[0] == ~(uint64_t)0)
            return OUTCOME_WRONG;
        if (draws++ == 0)
            first = guard->state.gpr[0];
        else if (guard->state.gpr[0] != first)
            differ = true;
    }
    return draws == RANDOM_DRAWS && differ ? OUTCOME_OK : OUTCOME_WRONG;
}

/* A transaction may abort for good (RTM_ALWAYS_ABORT) without any fault; only a commit proves RTM.
 */
static enum outcome
run_transaction(struct guard *guard, const struct candidate *candidate, const struct input *input,
                struct cpu_record *scratch)
{
    for (int attempt = 0; attempt < TRANSACTION_ATTEMPTS; attempt++) {
        uint32_t wrong_count = scratch->wrong_count;
        enum outcome outcome;

        load_input(guard, input);
        outcome = run_once(guard, candidate->code, candidate->length, candidate->state);
        if (outcome != OUTCOME_OK)
            return outcome;
        outcome = compare_results(guard, candidate, 0, scratch);
        scratch->wrong_count = wrong_count; /* an abort is not a wrong value */
        if (outcome == OUTCOME_OK)
            return OUTCOME_OK;
    }
    return OUTCOME_SKIPPED;
}

/*
 * RDPID and RDTSCP return TSC_AUX, where Linux keeps node << 12 | CPU. An emulator that leaves it
 * at zero (qemu-user) executes them rightly all the same.
 */
static enum outcome
compare_cpu(uint64_t tsc_aux, uint32_t cpu)
{
    return tsc_aux == 0 || (tsc_aux & 0xfff) == (cpu & 0xfff) ? OUTCOME_OK : OUTCOME_WRONG;
}

static enum outcome
compare_base(const struct guard *guard, long code)
{
    uint64_t base = 0;

    if (syscall2(__NR_arch_prctl, code, &base) != 0)
        return OUTCOME_SKIPPED;
    return guard->state.gpr[0] == base ? OUTCOME_OK : OUTCOME_WRONG;
}

/*
 * Runs one candidate and judges its result.
 *
 * Where the registers of its class cannot be loaded, it is run once more with fewer of them: a
 * fault then still is evidence, but a clean end is not (`skipped`), as its input was unknown.
 * Fault details go into the record.
 */
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
    if (candidate->check == CHECK_RANDOM)
        outcome = run_random(guard, candidate, input);
    else if (candidate->check == CHECK_TRANSACTION)
        outcome = run_transaction(guard, candidate, input, record);
    else {
        load_input(guard, input);
        outcome = run_once(guard, candidate->code, candidate->length, candidate->state);
        for (unsigned int class = candidate->state; outcome != OUTCOME_OK && armed.offset < 0;) {
            if (class == STATE_GPR)
                break;
            load_input(guard, input);
            outcome = run_once(guard, candidate->code, candidate->length, --class);
            if (outcome == OUTCOME_OK)
                return OUTCOME_SKIPPED;
        }
        if (outcome == OUTCOME_OK && candidate->check == CHECK_VALUE)
            outcome = compare_results(guard, candidate, index, record);
        else if (outcome == OUTCOME_OK && candidate->check == CHECK_CPU)
            outcome = compare_cpu(guard->state.gpr[candidate->results[0].index & 15], record->cpu);
        else if (outcome == OUTCOME_OK && candidate->check == CHECK_FSBASE)
            outcome = compare_base(guard, ARCH_GET_FS);
        else if (outcome == OUTCOME_OK && candidate->check == CHECK_GSBASE)
            outcome = compare_base(guard, ARCH_GET_GS);
    }
    record->si_code[index] = (int8_t)armed.code;
    record->fault_offset[index] = (int16_t)armed.offset;
    return outcome;
}

/* Executes CPUID. On a fault `out` holds the leaf and subleaf and zeros. */
enum outcome
guard_cpuid(struct guard *guard, uint32_t leaf, uint32_t subleaf, struct cpuid_leaf *out)
{
    enum outcome outcome;

    *out = (struct cpuid_leaf){.leaf = leaf, .subleaf = subleaf};
    guard->state.gpr[0] = leaf;
    guard->state.gpr[1] = subleaf;
    guard->state.rflags = FLAGS_AT_ENTRY;
    outcome = run_once(guard, guarded_cpuid, 2, STATE_GPR);
    if (outcome == OUTCOME_OK) {
        out->eax = (uint32_t)guard->state.gpr[0];
        out->ebx = (uint32_t)guard->state.gpr[3];
        out->ecx = (uint32_t)guard->state.gpr[1];
        out->edx = (uint32_t)guard->state.gpr[2];
    }
    return outcome;
}

/* Executes XGETBV with ECX = index. */
enum outcome
guard_xgetbv(struct guard *guard, uint32_t index, uint64_t *value)
{
    enum outcome outcome;

    guard->state.gpr[1] = index;
    guard->state.rflags = FLAGS_AT_ENTRY;
    outcome = run_once(guard, guarded_xgetbv, 3, STATE_GPR);
    *value =
        outcome == OUTCOME_OK ? (guard->state.gpr[2] << 32) | (uint32_t)guard->state.gpr[0] : 0;
    return outcome;
}

/*
 * Candidates that misbehave in one known way each, and what the guard must say of them.
 *
 * Instructions here are baseline x86-64, so every expected outcome follows from the manual (SDM
 * vol. 2, the exceptions of each instruction; vol. 3A, chapter 6) and from Linux' mapping of
 * vectors to signals (arch/x86/kernel/traps.c), not from a run.
 */
#include "test.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* The second part of the code starts where RIP is reported: at a fault, after a trap. */
#define CODE(id, before, after)                                                                    \
    __asm__(".pushsection .text.candidates, \"ax\", @progbits\n"                                   \
            "fake_" #id ":\n" before "\n"                                                          \
            "fake_" #id "_fault:\n" after "\n"                                                     \
            "fake_" #id "_end:\n"                                                                  \
            "jmp candidate_return\n"                                                               \
            ".globl fake_" #id ", fake_" #id "_fault, fake_" #id "_end\n"                          \
            ".hidden fake_" #id ", fake_" #id "_fault, fake_" #id "_end\n"                         \
            ".popsection\n");                                                                      \
    extern __attribute__((visibility("hidden"))) const uint8_t fake_##id[], fake_##id##_fault[],   \
        fake_##id##_end[];

#define SET_FLAG(bit) "pushf\n orl $" bit ", (%rsp)\n popf"
#define ALIGNMENT_CHECK "0x40000"
#define TRAP_FLAG "0x100"
#define SYSTEM_CALL(number) "mov $" number ", %eax\n syscall"

CODE(good, "lea 1(%rax,%rcx), %rdx", "")
CODE(nothing, "nop", "")
CODE(store, "movl $0x11223344, 8(%rdi)", "")
CODE(load, "mov (%rsi), %rax", "")
CODE(carry, "stc", "")
CODE(add_vectors, "paddd %xmm1, %xmm0", "")
CODE(ud2, "", "ud2")
CODE(second, "nop", "ud2")
CODE(hlt, "", "hlt")
CODE(int3, "int3", "nop")
CODE(divide, "xor %ecx, %ecx", "div %ecx")
CODE(null, "xor %eax, %eax", "mov (%rax), %rax")
CODE(read_only, "lea fake_nothing(%rip), %rax", "movb $0, (%rax)")
CODE(noncanonical, "mov $1, %eax\n shl $63, %rax", "mov (%rax), %rax")
CODE(misaligned, "", "movaps %xmm0, 1(%rdi)")
CODE(alignment_check, SET_FLAG(ALIGNMENT_CHECK), "mov 1(%rsi), %rax")
CODE(alignment_left_on, SET_FLAG(ALIGNMENT_CHECK), "")
CODE(alignment_ud2, SET_FLAG(ALIGNMENT_CHECK), "ud2")
CODE(direction_ud2, "std", "ud2")
CODE(direction_left_on, "std", "")
CODE(single_step, SET_FLAG(TRAP_FLAG) "\n nop", "nop")
CODE(no_stack, "xor %esp, %esp", "ud2")
CODE(lost_state, "xor %r12d, %r12d", "")
CODE(loop, "jmp .", "")
CODE(wild_jump, "mov $16, %eax\n jmp *%rax", "")
CODE(elsewhere, "lea stray_ud2(%rip), %rax\n jmp *%rax", "")
CODE(kill, SYSTEM_CALL("39") "\n mov %eax, %edi\n mov $9, %esi\n" SYSTEM_CALL("62"), "")
CODE(exit_0, "xor %edi, %edi\n" SYSTEM_CALL("231"), "")
CODE(exit_1, "mov $1, %edi\n" SYSTEM_CALL("231"), "")
CODE(exit_7, "mov $7, %edi\n" SYSTEM_CALL("231"), "")
/* Waits for a signal without using CPU time, and again. */
CODE(pause, "1:" SYSTEM_CALL("34") "\n jmp 1b", "")
CODE(mmx_ud2, "movd %eax, %mm0", "ud2")
CODE(mmx_left_on, "movd %eax, %mm0", "")
CODE(x87, "fldpi\n fistpl (%rdi)", "")
CODE(random_ones, "mov $-1, %rax\n stc", "")
CODE(random_constant, "mov $0x1234, %eax\n stc", "")
CODE(random_never, "rdtsc\n clc", "")
CODE(random_clock, "rdtsc\n stc", "")
CODE(random_rare, "incl draws(%rip)\n mov draws(%rip), %eax\n bt $3, %eax", "")
CODE(commit, "mov $1, %eax", "")
CODE(abort, "xor %eax, %eax", "")
CODE(commit_late, "incl attempts(%rip)\n xor %eax, %eax\n cmpl $100, attempts(%rip)\n setae %al", "")
/* Segment 0x7b is Linux' per-CPU segment; its limit is node << 12 | CPU (asm/segment.h). */
CODE(cpu_number, "mov $0x7b, %eax\n lsl %eax, %eax", "")
CODE(cpu_wrong, "mov $0xabc, %eax", "")
CODE(fs_base, "mov %fs:0, %rax", "") /* ELF TLS variant II: the first word points to itself */
CODE(zero, "xor %eax, %eax", "")
CODE(one, "mov $1, %eax", "")

__asm__(".pushsection .text, \"ax\", @progbits\n"
        "stray_ud2: ud2\n"
        ".popsection\n"
        ".pushsection .data\n"
        ".balign 4\n"
        ".globl attempts, draws\n.hidden attempts, draws\n"
        "attempts: .long 0\n"
        "draws: .long 0\n"
        ".popsection\n");

#define RAX 0
#define RDX 2
#define RESULT(kind, at, bytes) {{LOCATION_##kind, at, bytes}}
#define CLEAN(id, check, ...) {.name = #id, fake_##id, fake_##id##_end, NULL, STATE_GPR, check, __VA_ARGS__}
#define FAULTS(id, class, expected)                                                                \
    {.name = #id, fake_##id, fake_##id##_end, fake_##id##_fault, class, CHECK_RUNS, OUTCOME_##expected}

/* Inputs: rax = 0x1000, rcx = 0x0200, memory and vectors count upwards from 0. */
#define GOOD_ANSWER "\x01\x12\0\0\0\0\0\0"

const struct fake good = CLEAN(good, CHECK_VALUE, OUTCOME_OK, GOOD_ANSWER, RESULT(GPR, RDX, 8));

const struct fake misbehaving[] = {
    /* First, before anything has faulted: recovery initialises the x87 state, and this must not rest on it. */
    CLEAN(x87, CHECK_VALUE, OUTCOME_OK, "\3\0\0\0", RESULT(MEMORY, 0, 4)),
    CLEAN(nothing, CHECK_RUNS, OUTCOME_OK),
    CLEAN(store, CHECK_VALUE, OUTCOME_OK, "\x44\x33\x22\x11\x0c", RESULT(MEMORY, 8, 5)),
    CLEAN(load, CHECK_VALUE, OUTCOME_OK, "\0\1\2\3\4\5\6\7", RESULT(GPR, RAX, 8)),
    CLEAN(carry, CHECK_VALUE, OUTCOME_OK, "\1\0", RESULT(FLAGS, 0x41, 2)),
    CLEAN(good, CHECK_VALUE, OUTCOME_WRONG, "\x01\x12\0\0\0\0\0\1", RESULT(GPR, RDX, 8)),
    {.name = "second result is wrong", fake_good, fake_good_end, NULL, STATE_GPR, CHECK_VALUE,
     OUTCOME_WRONG, "\0\x10\x02\x12", {{LOCATION_GPR, RAX, 2}, {LOCATION_GPR, RDX, 2}}},
    {.name = "paddd xmm0, xmm1", fake_add_vectors, fake_add_vectors_end, NULL, STATE_SSE, CHECK_VALUE,
     OUTCOME_OK, "\x40\x42\x44\x46\x48\x4a\x4c\x4e\x50\x52\x54\x56\x58\x5a\x5c\x5e",
     RESULT(VECTOR, 0, 16)},
    FAULTS(ud2, STATE_GPR, SIGILL),
    FAULTS(ud2, STATE_SSE, SIGILL),
    FAULTS(ud2, STATE_AVX, SIGILL),    /* where there is no AVX: found with fewer registers */
    FAULTS(ud2, STATE_AVX512, SIGILL), /* likewise */
    FAULTS(second, STATE_GPR, SIGILL),
    FAULTS(hlt, STATE_GPR, SIGSEGV),
    FAULTS(int3, STATE_GPR, SIGTRAP),
    FAULTS(divide, STATE_GPR, SIGFPE),
    FAULTS(null, STATE_GPR, SIGSEGV),
    FAULTS(read_only, STATE_GPR, SIGSEGV),
    FAULTS(noncanonical, STATE_GPR, SIGSEGV),
    {.name = "misaligned", fake_misaligned, fake_misaligned_end, fake_misaligned_fault, STATE_SSE,
     CHECK_RUNS, OUTCOME_SIGSEGV, .native_only = true},
    {.name = "alignment_check", fake_alignment_check, fake_alignment_check_end,
     fake_alignment_check_fault, STATE_GPR, CHECK_RUNS, OUTCOME_SIGBUS, .native_only = true},
    CLEAN(alignment_left_on, CHECK_RUNS, OUTCOME_OK),
    FAULTS(alignment_ud2, STATE_GPR, SIGILL),
    FAULTS(direction_ud2, STATE_GPR, SIGILL),
    CLEAN(direction_left_on, CHECK_RUNS, OUTCOME_OK),
    FAULTS(single_step, STATE_GPR, SIGTRAP),
    FAULTS(no_stack, STATE_GPR, SIGILL),
    CLEAN(loop, CHECK_RUNS, OUTCOME_TIMEOUT),
    CLEAN(wild_jump, CHECK_RUNS, OUTCOME_KILLED),
    CLEAN(elsewhere, CHECK_RUNS, OUTCOME_KILLED),
    CLEAN(kill, CHECK_RUNS, OUTCOME_SKIPPED), /* anybody can send SIGKILL: it proves nothing */
    CLEAN(exit_0, CHECK_RUNS, OUTCOME_KILLED),
    CLEAN(exit_1, CHECK_RUNS, OUTCOME_KILLED),
    CLEAN(exit_7, CHECK_RUNS, OUTCOME_KILLED),
    CLEAN(pause, CHECK_RUNS, OUTCOME_SKIPPED), /* a wait in the kernel is not the CPU's either */
    FAULTS(mmx_ud2, STATE_GPR, SIGILL),
    /* pi in the default rounding mode; an x87 stack left in MMX mode stores the indefinite value */
    CLEAN(x87, CHECK_VALUE, OUTCOME_OK, "\3\0\0\0", RESULT(MEMORY, 0, 4)),
    CLEAN(mmx_left_on, CHECK_RUNS, OUTCOME_OK),
    CLEAN(x87, CHECK_VALUE, OUTCOME_OK, "\3\0\0\0", RESULT(MEMORY, 0, 4)),
    CLEAN(ud2, CHECK_HINT, OUTCOME_SKIPPED), /* never run, or it would be sigill */
    CLEAN(random_ones, CHECK_RANDOM, OUTCOME_WRONG),
    CLEAN(random_constant, CHECK_RANDOM, OUTCOME_WRONG),
    CLEAN(random_never, CHECK_RANDOM, OUTCOME_WRONG),
    CLEAN(random_clock, CHECK_RANDOM, OUTCOME_OK),
    CLEAN(random_rare, CHECK_RANDOM, OUTCOME_OK),
    {.name = "no rdrand", fake_ud2, fake_ud2_end, fake_ud2_fault, STATE_GPR, CHECK_RANDOM, OUTCOME_SIGILL},
    CLEAN(commit, CHECK_TRANSACTION, OUTCOME_OK, "\1\0\0\0", RESULT(GPR, RAX, 4)),
    CLEAN(abort, CHECK_TRANSACTION, OUTCOME_SKIPPED, "\1\0\0\0", RESULT(GPR, RAX, 4)),
    CLEAN(commit_late, CHECK_TRANSACTION, OUTCOME_OK, "\1\0\0\0", RESULT(GPR, RAX, 4)),
    {.name = "no rtm", fake_ud2, fake_ud2_end, fake_ud2_fault, STATE_GPR, CHECK_TRANSACTION,
     OUTCOME_SIGILL, "\1\0\0\0", RESULT(GPR, RAX, 4)},
    {.name = "cpu_number", fake_cpu_number, fake_cpu_number_end, NULL, STATE_GPR, CHECK_CPU,
     OUTCOME_OK, NULL, RESULT(GPR, RAX, 8), .native_only = true},
    CLEAN(cpu_wrong, CHECK_CPU, OUTCOME_WRONG, NULL, RESULT(GPR, RAX, 8)),
    CLEAN(fs_base, CHECK_FSBASE, OUTCOME_OK),
    CLEAN(zero, CHECK_FSBASE, OUTCOME_WRONG),
    CLEAN(zero, CHECK_GSBASE, OUTCOME_OK), /* glibc leaves GS alone */
    CLEAN(one, CHECK_GSBASE, OUTCOME_WRONG),
};
const uint32_t misbehaving_count = sizeof misbehaving / sizeof *misbehaving;

static const uint8_t *
counting_bytes(void)
{
    static uint8_t bytes[8 * 64];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    return bytes;
}

#define MAXIMUM_ROWS 160

struct candidate_table
table_of(const struct fake *fakes, uint32_t count, struct candidate *candidates)
{
    static struct input input = {.gpr = {0x1000, 0x200}, .varies = true};
    static struct feature_set sets[MAXIMUM_ROWS]; /* one a row: none is skipped for another's death */
    static __thread char texts[8][MAXIMUM_ROWS][256]; /* names and results, of the last tables */
    static __thread struct result results[8][MAXIMUM_ROWS][MAXIMUM_RESULTS];
    static __thread unsigned int tables;
    unsigned int place = tables++ % 8;
    char(*text)[256] = texts[place];

    input.mask[1] = 0xa5c3;
    input.vector = input.memory = counting_bytes();
    for (uint32_t i = 0; i < count; i++) {
        candidates[i] = (struct candidate){
            .name = text[i],
            .set = (uint8_t)i,
            .name_length = (uint8_t)strlen(fakes[i].name),
            .code = fakes[i].code,
            .length = (uint16_t)(fakes[i].end - fakes[i].code),
            .state = fakes[i].state,
            .check = fakes[i].check,
        };
        sets[i].names = "fake";
        candidates[i].results = (uint8_t)i;
        memcpy(results[place][i], fakes[i].results, sizeof results[place][i]);
        strcpy(text[i], fakes[i].name);
        for (size_t result = 0, size = 0; fakes[i].expected != NULL && result < MAXIMUM_RESULTS;
             size += fakes[i].results[result++].size)
            memcpy(text[i] + strlen(fakes[i].name) + 1 + size,
                   (const uint8_t *)fakes[i].expected + size, fakes[i].results[result].size);
    }
    return (struct candidate_table){candidates, count, &input, sets, results[place]};
}

const char *
one_cpu(void)
{
    static char list[16];
    cpu_set_t allowed;
    int cpu = 0;

    sched_getaffinity(0, sizeof allowed, &allowed);
    while (!CPU_ISSET(cpu, &allowed))
        cpu++;
    snprintf(list, sizeof list, "%d", cpu);
    return list;
}

/* Each fake is followed by a good one: nothing a candidate does may harm the next. */
void
every_outcome(void)
{
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    struct fake rows[MAXIMUM_ROWS];
    struct candidate candidates[MAXIMUM_ROWS];
    struct candidate_table table;
    struct measurement measurement;
    struct reason reason;
    const struct cpu_record *record;
    uint32_t count = 0;

    for (uint32_t i = 0; i < misbehaving_count; i++) {
        CHECK(count + 2 <= MAXIMUM_ROWS);
        rows[count++] = misbehaving[i];
        /* What MMX leaves behind only an x87 candidate sees, so nothing comes between those two. */
        if (strncmp(misbehaving[i].name, "mmx", 3) != 0)
            rows[count++] = good;
    }
    table = table_of(rows, count, candidates);
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE);
    CHECK(measurement.record_count == 1);
    record = &measurement.records[0];
    for (uint32_t i = 0; i < count; i++) {
        long offset = rows[i].fault == NULL ? 0 : rows[i].fault - rows[i].code;

        if (emulated && rows[i].native_only)
            continue;
        EXPECT(record->outcome[i] == rows[i].outcome, "%s (row %u): outcome %d, expected %d",
               rows[i].name, i, record->outcome[i], rows[i].outcome);
        /* qemu-user reports traps and single steps its own way. */
        if (rows[i].fault != NULL && !(emulated && rows[i].outcome == OUTCOME_SIGTRAP))
            EXPECT(record->fault_offset[i] == offset, "%s: offset %d, expected %ld", rows[i].name,
                  record->fault_offset[i], offset);
        if (rows[i].outcome == OUTCOME_SIGILL)
            EXPECT(record->si_code[i] == 2, "%s: si_code %d, not ILL_ILLOPN", rows[i].name,
                  record->si_code[i]);
    }
    release(&measurement);
}

/* Measures a few fakes on one CPU; a failed measurement has record_count 0. */
static struct measurement
measure_few(const struct fake *fakes, uint32_t count)
{
    static struct candidate candidates[8];
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    struct candidate_table table = table_of(fakes, count, candidates);
    struct measurement measurement;
    struct reason reason;

    if (measure(&options, &table, &measurement, &reason) != ERROR_NONE)
        measurement.record_count = 0;
    return measurement;
}

void
wrong_value_is_kept(void)
{
    struct fake rows[] = {good, good, good};
    struct measurement measurement;
    const struct wrong_value *wrong;

    rows[1].expected = "\x01\x12\0\0\0\0\0\x80";
    measurement = measure_few(rows, 3);
    CHECK(measurement.record_count == 1);
    CHECK(measurement.records[0].wrong_count == 1);
    wrong = &measurement.records[0].wrong[0];
    CHECK(wrong->candidate == 1);
    CHECK(wrong->size == 8);
    CHECK(memcmp(wrong->bytes, GOOD_ANSWER, 8) == 0);
    release(&measurement);
}

/* A candidate that clobbers what the guard needs to store registers fails, and only that one. */
void
registers_reach_the_candidate(void)
{
    const struct fake rows[] = {
        good,
        {.name = "lost r12", fake_lost_state, fake_lost_state_end, NULL, STATE_GPR, CHECK_RUNS,
         OUTCOME_SIGSEGV},
        good,
        /* Dying while registers are stored says nothing of whether they can be loaded. */
        {.name = "lost r12", fake_lost_state, fake_lost_state_end, NULL, STATE_SSE, CHECK_RUNS,
         OUTCOME_SIGSEGV},
        {.name = "paddd xmm0, xmm1", fake_add_vectors, fake_add_vectors_end, NULL, STATE_SSE,
         CHECK_RUNS, OUTCOME_OK},
    };
    struct measurement measurement = measure_few(rows, 5);

    CHECK(measurement.record_count == 1);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_OK);
    CHECK(measurement.records[0].outcome[1] == OUTCOME_SIGSEGV);
    CHECK(measurement.records[0].fault_offset[1] == -1);
    CHECK(measurement.records[0].outcome[2] == OUTCOME_OK);
    CHECK(measurement.records[0].outcome[3] == OUTCOME_SIGSEGV);
    CHECK(measurement.records[0].outcome[4] == OUTCOME_OK);
    release(&measurement);
}

void
avx512_state(void)
{
    static uint8_t expected[64 + 2];
    struct fake rows[] = {
        {.name = "nothing in zmm", fake_nothing, fake_nothing_end, NULL, STATE_AVX512, CHECK_VALUE,
         OUTCOME_OK, expected, {{LOCATION_VECTOR, 3, 64}, {LOCATION_MASK, 1, 2}}},
        {.name = "nothing in ymm", fake_nothing, fake_nothing_end, NULL, STATE_AVX, CHECK_VALUE, OUTCOME_OK,
         expected, {{LOCATION_VECTOR, 3, 32}}},
        good,
    };
    struct measurement measurement;

    memcpy(expected, counting_bytes() + 3 * 64, 64);
    expected[64] = 0xc3;
    expected[65] = 0xa5;
    /* Without the registers the input is unknown, so a clean end is no evidence. */
    if (!__builtin_cpu_supports("avx512f"))
        rows[0].outcome = OUTCOME_SKIPPED;
    if (!__builtin_cpu_supports("avx"))
        rows[1].outcome = OUTCOME_SKIPPED;
    measurement = measure_few(rows, 3);
    CHECK(measurement.record_count == 1);
    for (int i = 0; i < 3; i++)
        CHECK(measurement.records[0].outcome[i] == rows[i].outcome, "%s: outcome %d", rows[i].name,
              measurement.records[0].outcome[i]);
    release(&measurement);
}

void
every_cpu_is_measured(void)
{
    const struct fake rows[] = {
        good,
        {.name = "exit_1", fake_exit_1, fake_exit_1_end, NULL, STATE_GPR, CHECK_RUNS, OUTCOME_KILLED},
        good,
        {.name = "ud2", fake_ud2, fake_ud2_end, NULL, STATE_GPR, CHECK_RUNS, OUTCOME_SIGILL},
        {.name = "cpu", fake_cpu_number, fake_cpu_number_end, NULL, STATE_GPR, CHECK_CPU, OUTCOME_OK, NULL,
         RESULT(GPR, RAX, 8), .native_only = true},
        /* Last, so that it could reach the next CPU's identity. */
        CLEAN(alignment_left_on, CHECK_RUNS, OUTCOME_OK),
    };
    struct options options = {.root = "", .execute = true};
    struct candidate candidates[6];
    struct candidate_table table = table_of(rows, 6, candidates);
    struct measurement measurement;
    struct reason reason;
    cpu_set_t allowed;
    int expected = 0;

    CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE);
    CHECK((int)measurement.record_count == CPU_COUNT(&allowed));
    for (uint32_t i = 0; i < measurement.record_count; i++) {
        const struct cpu_record *record = &measurement.records[i];

        while (!CPU_ISSET(expected, &allowed))
            expected++;
        CHECK((int)record->cpu == expected++);
        CHECK(record->pinned);
        CHECK(record->identity.cpuid_outcome == OUTCOME_OK);
        CHECK(record->identity.leaf_count > 2 && record->identity.leaves[1].leaf == 1);
        for (int row = 0; row < 6; row++)
            CHECK(record->outcome[row] == rows[row].outcome || (emulated && rows[row].native_only),
                  "cpu %u, %s: outcome %d", record->cpu, rows[row].name, record->outcome[row]);
    }
    release(&measurement);
}

/* A feature set that died of #UD is not tried again on that CPU; other sets are. */
void
dead_sets_are_left_alone(void)
{
    struct options options = {.root = "", .cpus = one_cpu(), .execute = true};
    struct fake ud2 = {0};
    struct candidate candidates[4];
    struct candidate_table table;
    struct measurement measurement;
    struct reason reason;
    const uint8_t *outcome;

    for (uint32_t i = 0; i < misbehaving_count; i++)
        if (strcmp(misbehaving[i].name, "ud2") == 0 && misbehaving[i].outcome == OUTCOME_SIGILL)
            ud2 = misbehaving[i];
    CHECK(ud2.name != NULL);
    table = table_of((struct fake[]){ud2, ud2, good, good}, 4, candidates);
    candidates[1].set = candidates[2].set = candidates[0].set;
    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE);
    outcome = measurement.records[0].outcome;
    CHECK(outcome[0] == OUTCOME_SIGILL, "%d", outcome[0]);
    CHECK(outcome[1] == OUTCOME_SKIPPED, "%d", outcome[1]);
    CHECK(outcome[2] == OUTCOME_SKIPPED, "%d", outcome[2]);
    CHECK(outcome[3] == OUTCOME_OK, "%d", outcome[3]);
    release(&measurement);
}

void
no_execution(void)
{
    struct options options = {.root = "", .execute = false};
    struct candidate candidates[1];
    struct candidate_table table = table_of(&good, 1, candidates);
    struct measurement measurement;
    struct reason reason;

    CHECK(measure(&options, &table, &measurement, &reason) == ERROR_NONE);
    CHECK(measurement.record_count >= 1);
    CHECK(measurement.records[0].identity.leaf_count > 2);
    CHECK(measurement.records[0].outcome[0] == OUTCOME_NOT_RUN);
    CHECK(measurement.permission == PERMISSION_NOT_ASKED);
    release(&measurement);
}

/*
 * The registers of a candidate on x86-64: what goes in, what comes out, and the instructions whose
 * result is no fixed value.
 */
#include "../../guard.h"
#include "../../syscalls.h"

#include <asm/prctl.h>

#define TRANSACTION_ATTEMPTS 200
#define PLACE_ATTEMPTS 3
#define FLAG_ZERO 0x40u
#define MXCSR_DEFAULT 0x1f80u

/* Does a candidate's result reach beyond what every input fills? */
static bool
reaches_far(const struct result *results)
{
    for (size_t i = 0; i < MAXIMUM_RESULTS; i++)
        if (results[i].location == LOCATION_MEMORY &&
            results[i].index + results[i].size > MEMORY_BYTES)
            return true;
    return false;
}

/* Only what the candidate's class loads is set: the rest is neither loaded nor compared. */
void
load_input(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    copy_bytes(guard->state.gpr, input->gpr, sizeof guard->state.gpr);
    if (candidate->state >= STATE_SSE)
        copy_bytes(guard->state.vector, input->vector, sizeof guard->state.vector);
    if (candidate->state >= STATE_AVX512)
        copy_bytes(guard->state.mask, input->mask, sizeof guard->state.mask);
    copy_bytes(guard->input_area, input->memory, MEMORY_BYTES);
    copy_bytes(guard->output_area, input->memory, MEMORY_BYTES);
    if (reaches_far(results_of(guard, candidate)))
        clear_bytes(guard->output_area + MEMORY_BYTES, AREA_BYTES - MEMORY_BYTES);
    guard->state.gpr[6] = (uint64_t)(uintptr_t)guard->input_area;
    guard->state.gpr[7] = (uint64_t)(uintptr_t)guard->output_area;
    guard->state.rflags = FLAGS_AT_ENTRY;
    guard->state.mxcsr = MXCSR_DEFAULT;
}

/* Rotates 64 bytes by as many quadwords, so that lanes stay together. */
static void
rotate_block(uint8_t *block, uint32_t number)
{
    uint8_t head[64];

    copy_bytes(head, block, 8 * number);
    copy_bytes(block, block + 8 * number, 64 - 8 * number);
    copy_bytes(block + 64 - 8 * number, head, 8 * number);
}

/*
 * Makes another input of the one that is loaded; number: 1 to INPUT_VARIANTS - 1. The model in
 * tests/golden does the same (Input.variant) and knows the results.
 */
void
load_variant(struct guard *guard, uint32_t number)
{
    for (int i = 0; i < 16; i++)
        if (i != 6 && i != 7)
            guard->state.gpr[i] =
                guard->state.gpr[i] << 8 * number | guard->state.gpr[i] >> (64 - 8 * number);
    for (int i = 0; i < 8; i++) {
        uint64_t mask = guard->state.mask[i] & 0xffff;

        guard->state.mask[i] = (mask << 4 * number | mask >> (16 - 4 * number)) & 0xffff;
        rotate_block(guard->state.vector[i], number);
    }
    for (uint32_t at = 0; at < MEMORY_BYTES; at += 64) {
        rotate_block(guard->input_area + at, number);
        rotate_block(guard->output_area + at, number);
    }
}

/* Copies one result into buffer (at least 64 bytes) and returns its size, 0 past the last one. */
size_t
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

/* A transaction may abort, by an interrupt or for good (RTM_ALWAYS_ABORT), and XTEST then leaves ZF
 * set; only a commit proves RTM. */
static enum outcome
run_transaction(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    for (int attempt = 0; attempt < TRANSACTION_ATTEMPTS; attempt++) {
        enum outcome outcome = run_loaded(guard, candidate, input);

        if (outcome != OUTCOME_OK || !(guard->state.rflags & FLAG_ZERO))
            return outcome;
    }
    return OUTCOME_SKIPPED;
}

/*
 * RDPID and RDTSCP return TSC_AUX, where Linux keeps node << 12 | CPU. An emulator that leaves it
 * at zero (qemu-user) executes them rightly all the same. Another number is wrong only if we are
 * still where we were: whoever is moved between the two is no witness.
 */
static enum outcome
run_cpu_number(struct guard *guard, const struct candidate *candidate, const struct input *input,
               uint32_t index, struct cpu_record *record)
{
    for (int attempt = 0; record->pinned && attempt < PLACE_ATTEMPTS; attempt++) {
        enum outcome outcome = run_loaded(guard, candidate, input);
        uint64_t tsc_aux = guard->state.gpr[results_of(guard, candidate)[0].index & 15];

        if (outcome != OUTCOME_OK)
            return outcome;
        if (tsc_aux == 0 || (tsc_aux & 0xfff) == (record->cpu & 0xfff))
            return OUTCOME_OK;
        record->pinned = on_cpu(record->cpu);
        if (record->pinned && attempt == PLACE_ATTEMPTS - 1)
            return OUTCOME_WRONG;
    }
    record->disturbance[index] = DISTURBANCE_MOVED;
    return OUTCOME_SKIPPED;
}

static enum outcome
compare_base(const struct guard *guard, long code)
{
    uint64_t base = 0;

    if (syscall2(__NR_arch_prctl, code, &base) != 0)
        return OUTCOME_SKIPPED;
    return guard->state.gpr[0] == base ? OUTCOME_OK : OUTCOME_WRONG;
}

/* Success, or an error: a sandbox may deny the call, and SYSCALL works all the same. */
static bool
is_kernel_answer(uint64_t rax)
{
    return rax == 0 || rax > ~(uint64_t)0 - 4095;
}

/* Runs and judges a candidate whose check is this instruction set's own. */
enum outcome
run_special(struct guard *guard, const struct candidate *candidate, const struct input *input,
            uint32_t index, struct cpu_record *record)
{
    enum outcome outcome;

    if (candidate->check == CHECK_TRANSACTION)
        return run_transaction(guard, candidate, input);
    if (candidate->check == CHECK_CPU)
        return run_cpu_number(guard, candidate, input, index, record);
    outcome = run_loaded(guard, candidate, input);
    if (outcome != OUTCOME_OK)
        return outcome;
    switch (candidate->check) {
    case CHECK_SYSCALL:
        return is_kernel_answer(guard->state.gpr[0]) ? OUTCOME_OK : OUTCOME_WRONG;
    case CHECK_FSBASE:
        return compare_base(guard, ARCH_GET_FS);
    default:
        return compare_base(guard, ARCH_GET_GS);
    }
}

/*
 * The registers of a candidate on aarch64: what goes in, what comes out, and the instructions whose
 * result is no fixed value.
 */
#include "../../guard.h"
#include "../../syscalls.h"

#include <linux/prctl.h>

extern HIDDEN const uint8_t streaming_multiply[]; /* entry.c */

#define SIGNATURES 8
#define INPUT_BYTES 64 /* of a vector, repeated as far as vectors reach */
#define UNIT 16        /* bytes that stay together: the shortest vector */

/* Repeats the first bytes of a block as far as it reaches. */
static void
repeat(uint8_t *block, size_t given, size_t length)
{
    for (size_t at = given; at < length; at += given)
        copy_bytes(block + at, block, given);
}

static void
load_registers(struct machine_state *state, const struct input *input, unsigned int class)
{
    for (int i = 0; i < 8; i++) {
        copy_bytes(state->vector[i], input->vector + INPUT_BYTES * i, INPUT_BYTES);
        if (class >= STATE_SVE)
            repeat(state->vector[i], INPUT_BYTES, VECTOR_BYTES);
    }
    for (int i = 0; i < 4; i++) {
        copy_bytes(state->predicate[i], &input->predicate[i], 8);
        repeat(state->predicate[i], 8, sizeof state->predicate[i]);
    }
}

void
load_input(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    struct machine_state *state = &guard->state;

    copy_bytes(state->gpr, input->gpr, sizeof state->gpr);
    if (candidate->state >= STATE_FP)
        load_registers(state, input, candidate->state);
    copy_bytes(guard->input_area, input->memory, MEMORY_BYTES);
    copy_bytes(guard->output_area, input->memory, MEMORY_BYTES);
    state->gpr[INPUT_AREA_REGISTER] = (uint64_t)(uintptr_t)guard->input_area;
    state->gpr[OUTPUT_AREA_REGISTER] = (uint64_t)(uintptr_t)guard->output_area;
    state->nzcv = state->fpcr = state->fpsr = 0;
}

/* Rotates 64 bytes by as many units. */
static void
rotate_block(uint8_t *block, uint32_t number)
{
    uint8_t head[INPUT_BYTES];

    copy_bytes(head, block, UNIT * number);
    copy_bytes(block, block + UNIT * number, INPUT_BYTES - UNIT * number);
    copy_bytes(block + INPUT_BYTES - UNIT * number, head, UNIT * number);
}

/*
 * Makes another input of the one that is loaded; number: 1 to INPUT_VARIANTS - 1. The model in
 * tests/golden/aarch64 does the same (Input.variant) and knows the results.
 */
void
load_variant(struct guard *guard, uint32_t number)
{
    struct machine_state *state = &guard->state;

    for (int i = 0; i < 16; i++)
        if (i != INPUT_AREA_REGISTER && i != OUTPUT_AREA_REGISTER)
            state->gpr[i] = state->gpr[i] << 8 * number | state->gpr[i] >> (64 - 8 * number);
    for (int i = 0; i < 8; i++) {
        rotate_block(state->vector[i], number);
        repeat(state->vector[i], INPUT_BYTES, VECTOR_BYTES);
    }
    for (int i = 0; i < 4; i++) {
        uint64_t bits;

        copy_bytes(&bits, state->predicate[i], sizeof bits);
        bits = bits >> UNIT * number | bits << (64 - UNIT * number);
        copy_bytes(state->predicate[i], &bits, sizeof bits);
        repeat(state->predicate[i], sizeof bits, sizeof state->predicate[i]);
    }
    for (uint32_t at = 0; at < MEMORY_BYTES; at += INPUT_BYTES) {
        rotate_block(guard->input_area + at, number);
        rotate_block(guard->output_area + at, number);
    }
}

/* Copies one result into buffer (at least 64 bytes) and returns its size, 0 past the last one. */
size_t
take_result(const struct guard *guard, const struct result *result, uint8_t *buffer)
{
    const struct machine_state *state = &guard->state;
    const uint8_t *from;
    uint8_t flags;

    switch (result->location) {
    case LOCATION_GPR:
        from = (const uint8_t *)&state->gpr[result->index & 15];
        break;
    case LOCATION_VECTOR:
        from = state->vector[result->index & 7];
        break;
    case LOCATION_PREDICATE:
        from = state->predicate[result->index & 3];
        break;
    case LOCATION_FLAGS:
        flags = (uint8_t)(state->nzcv >> 28 & result->index);
        from = &flags;
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

/*
 * PACIA and its like: nobody knows the key, so no value can be expected, but the signature depends
 * on the modifier. Where the CPU lacks it or the kernel has not turned the key on, an instruction
 * of the hint space leaves the pointer as it was, whatever the modifier is.
 */
static enum outcome
run_signed(struct guard *guard, const struct candidate *candidate, const struct input *input,
           uint32_t index, struct cpu_record *record)
{
    struct input other = *input;
    uint64_t first = 0;
    bool differ = false;

    for (unsigned int i = 0; i < SIGNATURES; i++) {
        enum outcome outcome;

        other.gpr[1] = input->gpr[1] + i * 0x9e3779b97f4a7c15u;
        outcome = run_loaded(guard, candidate, &other);
        if (outcome == OUTCOME_OK)
            outcome = compare_results(guard, candidate, index, record);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (i == 0)
            first = guard->state.gpr[0];
        differ |= guard->state.gpr[0] != first;
    }
    return differ ? OUTCOME_OK : OUTCOME_WRONG;
}

/* Are vectors as long as some instructions want them? */
static bool
is_wide(void)
{
    long length = syscall2(__NR_prctl, PR_SVE_GET_VL, 0);

    return !failed(length) && (length & PR_SVE_VL_LEN_MASK) >= 32;
}

/*
 * What streaming mode has by a feature of its own. Where all of A64 works there (FEAT_SME_FA64), so
 * does this without that feature, and nothing is learnt.
 */
static enum outcome
run_streaming(struct guard *guard, const struct candidate *candidate, const struct input *input,
              uint32_t index, struct cpu_record *record)
{
    enum outcome outcome = run_loaded(guard, candidate, input);

    if (outcome == OUTCOME_OK)
        outcome = compare_results(guard, candidate, index, record);
    if (outcome == OUTCOME_OK && run_once(guard, streaming_multiply, 4, STATE_SME) == OUTCOME_OK)
        return OUTCOME_SKIPPED;
    return outcome;
}

/* Runs and judges a candidate whose check is this instruction set's own. */
enum outcome
run_special(struct guard *guard, const struct candidate *candidate, const struct input *input,
            uint32_t index, struct cpu_record *record)
{
    enum outcome outcome;

    if (candidate->check == CHECK_SIGNED)
        return run_signed(guard, candidate, input, index, record);
    if (candidate->check == CHECK_STREAMING)
        return run_streaming(guard, candidate, input, index, record);
    outcome = run_loaded(guard, candidate, input);
    if (outcome == OUTCOME_OK)
        return is_wide() ? compare_results(guard, candidate, index, record) : OUTCOME_SKIPPED;
    return outcome == OUTCOME_SIGILL && !is_wide() ? OUTCOME_SKIPPED : outcome;
}

/* Nothing here has to be asked for: SVE and SME are turned on at their first use. */
bool
needs_permission(const struct feature_set *set)
{
    (void)set;
    return false;
}

bool
wants_permission(const struct identity *identity)
{
    (void)identity;
    return false;
}

long
ask_permission(void)
{
    return -ERRNO_EINVAL;
}

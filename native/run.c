/*
 * Runs candidates under the guard and judges what they leave behind.
 */
#include "guard.h"

#define RANDOM_DRAWS 8
#define RANDOM_ATTEMPTS 1000

/* Keeps what a candidate left behind; a second try replaces the first. */
static void
keep_wrong(struct cpu_record *record, uint32_t index, const uint8_t *bytes, size_t size)
{
    uint32_t at = 0;

    while (at < MAXIMUM_WRONG && at < record->wrong_count && record->wrong[at].candidate != index)
        at++;
    if (at == MAXIMUM_WRONG)
        return;
    if (at == record->wrong_count)
        record->wrong_count++;
    record->wrong[at].candidate = (uint16_t)index;
    record->wrong[at].size = (uint8_t)size;
    copy_bytes(record->wrong[at].bytes, bytes, size);
}

enum outcome
compare_results(const struct guard *guard, const struct candidate *candidate, uint32_t index,
                struct cpu_record *record)
{
    const uint8_t *expected = expected_results(candidate);

    for (size_t i = 0; i < MAXIMUM_RESULTS; i++) {
        uint8_t got[64];
        size_t size = take_result(guard, &results_of(guard, candidate)[i], got);

        if (size == 0)
            break;
        if (!bytes_equal(got, expected, size)) {
            keep_wrong(record, index, got, size);
            return OUTCOME_WRONG;
        }
        expected += size;
    }
    return OUTCOME_OK;
}

static unsigned int lost_classes; /* those whose registers cannot be loaded (bits) */

/* Forgets what is known of this CPU's registers: we are about to run on another. */
void
guard_new_cpu(void)
{
    lost_classes = 0;
}

/*
 * Loads the input and runs a candidate.
 *
 * Where the registers of its class cannot be loaded, it is run once more with fewer of them: a
 * fault then still is evidence, but a clean end is not (`skipped`), as its input was unknown. A
 * class may be lost and one above it not: SVE is, on a CPU that has SME alone.
 */
enum outcome
run_loaded(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    unsigned int class = candidate->state;

    for (;; class --) {
        enum outcome outcome;

        if (lost_classes >> class & 1)
            continue;
        load_input(guard, candidate, input);
        outcome = run_once(guard, candidate->code, candidate->length, class);
        if (outcome == OUTCOME_OK)
            return class == candidate->state ? OUTCOME_OK : OUTCOME_SKIPPED;
        if (!guard->fault.loading || class == 0)
            return outcome;
        lost_classes |= 1u << class;
    }
}

/*
 * Random numbers. A draw may fail when the source runs dry, so failed draws are repeated; but a
 * source that always fails, sticks, or says all-ones is broken: AMD family 15h and 16h fail after
 * suspend, some Ryzen firmware returned all-ones with CF set (systemd issue 11810).
 */
static enum outcome
run_random(struct guard *guard, const struct candidate *candidate, const struct input *input)
{
    uint64_t first = 0;
    bool differ = false;
    int draws = 0;

    for (int attempt = 0; attempt < RANDOM_ATTEMPTS && draws < RANDOM_DRAWS; attempt++) {
        enum outcome outcome = run_loaded(guard, candidate, input);

        if (outcome != OUTCOME_OK)
            return outcome;
        if (drew_nothing(&guard->state))
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

/* Runs and judges a candidate that has no expected value of its own. */
static enum outcome
run_unvalued(struct guard *guard, const struct candidate *candidate, const struct input *input,
             uint32_t index, struct cpu_record *record)
{
    return candidate->check == CHECK_RANDOM ? run_random(guard, candidate, input)
                                            : run_special(guard, candidate, input, index, record);
}

/* Runs one candidate and judges its result. Fault details go into the record. */
enum outcome
guard_run(struct guard *guard, const struct candidate_table *table, uint32_t index,
          struct cpu_record *record)
{
    const struct candidate *candidate = &table->candidates[index];
    const struct input *input = &table->inputs[candidate->input];
    enum outcome outcome;

    guard->results = table->results;
    if (candidate->check == CHECK_HINT)
        return OUTCOME_SKIPPED;
    if (candidate->check >= CHECK_RANDOM)
        outcome = run_unvalued(guard, candidate, input, index, record);
    else {
        outcome = run_loaded(guard, candidate, input);
        if (outcome == OUTCOME_OK && candidate->check == CHECK_VALUE)
            outcome = compare_results(guard, candidate, index, record);
    }
    record->si_code[index] = (int8_t)guard->fault.code;
    record->fault_offset[index] = (int16_t)guard->fault.offset;
    return outcome;
}

/* FNV-1a of 32 bits over all results, as the generator has it. */
static uint32_t
checksum_results(const struct guard *guard, const struct candidate *candidate)
{
    uint32_t value = 0x811c9dc5;

    for (size_t i = 0; i < MAXIMUM_RESULTS; i++) {
        uint8_t got[64];
        size_t size = take_result(guard, &results_of(guard, candidate)[i], got);

        if (size == 0)
            break;
        for (size_t at = 0; at < size; at++)
            value = (value ^ got[at]) * 0x01000193;
    }
    return value;
}

/*
 * Runs a candidate that has succeeded before once more, with the input of that round.
 *
 * What the first run left in the record stays as it is, but for the bytes of a wrong result.
 */
enum outcome
guard_repeat(struct guard *guard, const struct candidate_table *table, uint32_t index,
             uint32_t round, struct cpu_record *record)
{
    const struct candidate *candidate = &table->candidates[index];
    const struct input *input = &table->inputs[candidate->input];
    uint32_t number = round % INPUT_VARIANTS,
             wanted = number == 0 ? 0 : candidate->variants[number - 1];
    enum outcome outcome;

    guard->results = table->results;
    if (candidate->check >= CHECK_RANDOM)
        return run_unvalued(guard, candidate, input, index, record);
    load_input(guard, candidate, input);
    if (wanted != 0)
        load_variant(guard, number);
    outcome = run_once(guard, candidate->code, candidate->length, candidate->state);
    if (outcome != OUTCOME_OK || candidate->check != CHECK_VALUE)
        return outcome;
    if (wanted == 0)
        return compare_results(guard, candidate, index, record);
    return checksum_results(guard, candidate) == wanted ? OUTCOME_OK : OUTCOME_WRONG;
}

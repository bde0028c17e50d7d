/*
 * Hands machines that were built in Python to the core's verdict: tests/native/bridge.py.
 */
#include "../../native/flags.h"

#include <stdlib.h>
#include <string.h>

struct bridge_cpu {
    uint32_t cpu, group; /* the place of the first CPU of its group */
    uint32_t leaf_count;
    const uint32_t *leaves; /* six numbers each */
    int xcr0_known;
    uint64_t xcr0;
    const uint8_t *outcomes, *before; /* enum outcome, one a candidate */
};

struct bridge_block {
    uint32_t cpu_count;
    const uint32_t *cpus;
    const char *flags;              /* NULL: none */
    const char *value[BLOCK_VALUES]; /* NULL: none */
};

struct bridge_machine {
    int execute, hwcap2_known;
    uint64_t hwcap2;
    uint32_t candidate_count, set_count;
    const uint8_t *sets_of_candidates;
    const uint64_t *sets; /* FEATURE_WORDS each */
    uint32_t cpu_count, block_count;
    const struct bridge_cpu *cpus;
    const struct bridge_block *blocks;
    const char *release; /* NULL: none */
    int covered, gvisor, gds_file, avx_disabled;
};

struct bridge_verdict {
    struct verdict verdict;
};

__attribute__((visibility("default"))) struct bridge_verdict *
bridge_judge(const struct bridge_machine *machine)
{
    struct options options = {.root = "",
                              .execute = machine->execute,
                              .told[AUXILIARY_HWCAP2] = machine->hwcap2_known,
                              .auxiliary[AUXILIARY_HWCAP2] = machine->hwcap2};
    struct bridge_verdict *judged = calloc(1, sizeof *judged);
    struct candidate *candidates = calloc(machine->candidate_count + 1, sizeof *candidates);
    struct feature_set *sets = calloc(machine->set_count + 1, sizeof *sets);
    struct cpu_record *records = calloc(machine->cpu_count, sizeof *records);
    struct measurement measurement = {.records = records, .record_count = machine->cpu_count};
    struct kernel_told *kernel = calloc(1, sizeof *kernel);
    struct candidate_table table = {candidates, machine->candidate_count, NULL, sets, NULL};

    for (uint32_t i = 0; i < machine->candidate_count; i++)
        candidates[i].set = machine->sets_of_candidates[i];
    for (uint32_t i = 0; i < machine->set_count; i++)
        memcpy(&sets[i].features, machine->sets + i * FEATURE_WORDS, sizeof sets[i].features);
    for (uint32_t i = 0; i < machine->cpu_count; i++) {
        const struct bridge_cpu *cpu = &machine->cpus[i];

        records[i].cpu = cpu->cpu;
        records[i].group = cpu->group;
        records[i].measured = records[i].pinned = 1;
        records[i].identity.cpuid_outcome = OUTCOME_OK;
        records[i].identity.xgetbv_outcome = cpu->xcr0_known ? OUTCOME_OK : OUTCOME_SKIPPED;
        records[i].identity.xcr0 = cpu->xcr0;
        records[i].identity.leaf_count = cpu->leaf_count;
        memcpy(records[i].identity.leaves, cpu->leaves,
               cpu->leaf_count * sizeof(struct cpuid_leaf));
        memcpy(records[i].outcome, cpu->outcomes, machine->candidate_count);
        memcpy(records[i].outcome_before, cpu->before, machine->candidate_count);
    }
    kernel->measurement = &measurement;
    for (uint32_t i = 0; i < machine->block_count; i++) {
        const struct bridge_block *block = &machine->blocks[i];
        struct listing *listing = &kernel->listings[kernel->listing_count++];

        listing->has_flags = block->flags != NULL;
        if (block->flags != NULL)
            take_flags(listing, block->flags, strlen(block->flags));
        for (uint32_t value = 0; value < BLOCK_VALUES; value++)
            if (block->value[value] != NULL) {
                listing->told[value] = true;
                keep_text(listing->value[value], VALUE_BYTES, block->value[value],
                          strlen(block->value[value]));
            }
        for (uint32_t cpu = 0; cpu < block->cpu_count; cpu++)
            for (uint32_t record = 0; record < machine->cpu_count; record++)
                if (records[record].cpu == block->cpus[cpu])
                    records[record].blocks |= 1u << i;
    }
    if (machine->release != NULL)
        keep_text(kernel->release_text, sizeof kernel->release_text, machine->release,
                  strlen(machine->release));
    kernel->release_told =
        machine->release != NULL && parse_release(machine->release, &kernel->release);
    kernel->covered = machine->covered;
    kernel->gvisor = machine->gvisor;
    kernel->gds_file = machine->gds_file;
    kernel->avx_disabled = machine->avx_disabled;
    judge(&options, &table, &measurement, kernel, &judged->verdict);
    free(candidates);
    free(sets);
    free(records);
    free(kernel);
    return judged;
}

/* level, level_at_least, level_at_most; NULL: none */
__attribute__((visibility("default"))) const char *
bridge_level(const struct bridge_verdict *judged, int which)
{
    const struct verdict *verdict = &judged->verdict;
    const char *const levels[] = {verdict->level, verdict->level_at_least, verdict->level_at_most};

    return levels[which];
}

__attribute__((visibility("default"))) int
bridge_judgement(const struct bridge_verdict *judged)
{
    return judged->verdict.judgement;
}

/* The state of a feature by its place in claims.h; NULL past the last. */
__attribute__((visibility("default"))) const char *
bridge_state(const struct bridge_verdict *judged, unsigned int feature, const char **name,
             int *safe)
{
    if (feature >= FEATURE_COUNT)
        return NULL;
    *name = feature_rows[feature].name;
    *safe = has_feature(&judged->verdict.safe, feature);
    return state_name(judged->verdict.state[feature]);
}

/* The flags of a version in a format, as malloc'd text; NULL where it was never measured. */
__attribute__((visibility("default"))) char *
bridge_flags(const struct bridge_verdict *judged, uint32_t major, int format)
{
    struct target target = find_wasmtime(major);
    struct writer writer = {0};
    char *text;

    if (target.wasmtime == NULL)
        return NULL;
    write_flags(&writer, &judged->verdict, &target, (enum flag_format)format);
    text = calloc(1, writer.length + 1);
    memcpy(text, writer.text, writer.length);
    release_writer(&writer);
    return text;
}

__attribute__((visibility("default"))) void
bridge_free(void *what)
{
    free(what);
}

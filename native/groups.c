/*
 * CPUs that are alike: groups, which measured the same, and the parts of a group, of which the
 * kernel says the same.
 */
#include "verdict.h"

/* Do two CPUs show the same? The bytes of wrong values are not compared: they may be random. */
static bool
same_results(const struct cpu_record *a, const struct cpu_record *b, uint32_t count)
{
    return same_identity(&a->identity, &b->identity) &&
           bytes_equal(a->outcome, b->outcome, count) &&
           bytes_equal(a->outcome_before, b->outcome_before, count) &&
           bytes_equal(a->disturbance, b->disturbance, count) && a->pinned == b->pinned &&
           a->rounds == b->rounds &&
           bytes_equal(a->failures, b->failures, count * sizeof *a->failures);
}

/* Gives every measured CPU the number of the first record with the same results. */
void
find_groups(struct measurement *measurement, uint32_t candidates)
{
    struct cpu_record *records = measurement->records;

    for (uint32_t i = 0; i < measurement->record_count; i++) {
        records[i].group = i;
        for (uint32_t j = 0; j < i && records[i].measured; j++)
            if (records[j].measured && records[j].group == j &&
                same_results(&records[j], &records[i], candidates)) {
                records[i].group = j;
                break;
            }
    }
}

/* Measures, and finds which CPUs measured the same. */
enum error
measure_groups(const struct options *options, const struct candidate_table *table,
               struct measurement *measurement, struct reason *reason)
{
    enum error error = ERROR_ROOT;

    if (options->root[0] == '\0' || has_proc(options->root))
        error = measure(options, table, measurement, reason);
    if (error == ERROR_NONE)
        find_groups(measurement, table->count);
    else
        explain_error(error, reason);
    return error;
}

/* The first block that names the same features. */
static uint32_t
class_of(const struct kernel_told *kernel, uint32_t block)
{
    for (uint32_t i = 0; i < block; i++)
        if (bytes_equal(&kernel->listings[i].named, &kernel->listings[block].named,
                        sizeof kernel->listings[i].named))
            return i;
    return block;
}

static uint32_t
classes_of(const struct kernel_told *kernel, uint32_t blocks)
{
    uint32_t classes = 0;

    for (uint32_t i = 0; i < kernel->listing_count; i++)
        if (blocks >> i & 1)
            classes |= 1u << class_of(kernel, i);
    return classes;
}

/* A group apart by what the kernel lists for its CPUs; those without a block stay with the first.
 */
void
find_parts(const struct judged_machine *machine, const struct measurement *measurement,
           uint32_t group, struct parts *parts)
{
    uint32_t without_block = 0;

    parts->count = 0;
    for (uint32_t i = group; i < measurement->record_count; i++) {
        const struct cpu_record *record = &measurement->records[i];
        uint32_t blocks = machine->set_aside ? 0 : record->blocks, classes, at = 0;

        if (!record->measured || record->group != group)
            continue;
        if (blocks == 0) {
            without_block++;
            continue;
        }
        classes = classes_of(machine->kernel, blocks);
        while (at < parts->count && parts->classes[at] != classes)
            at++;
        if (at == MAXIMUM_PARTS)
            at--;
        else if (at == parts->count) {
            parts->classes[parts->count] = classes;
            parts->blocks[parts->count++] = 0;
        }
        parts->blocks[at] |= blocks;
    }
    if (parts->count == 0 && without_block > 0)
        parts->blocks[parts->count++] = 0;
}

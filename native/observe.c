/*
 * Puts the observation together: what measure.c found on the CPUs and what system.c read, as one
 * JSON document in the shape of docs/report-format.md. CPUs with identical results are one group.
 */
#include "flags.h"

const char *
outcome_name(enum outcome outcome)
{
    static const char *const names[] = {
        "skipped", /* not reached: the child never ran on this CPU, and the record is left out */
#define NAME(constant, name) name,
        EACH_OUTCOME(NAME)
#undef NAME
    };

    return names[outcome];
}

static const char *
disturbance_name(enum disturbance disturbance)
{
    static const char *const names[] = {"none",
#define NAME(constant, name) name,
                                        EACH_DISTURBANCE(NAME)
#undef NAME
    };

    return names[disturbance];
}

static void
write_features(struct writer *writer, const char *features)
{
    json_open(writer, '[');
    while (*features != '\0') {
        size_t length = 0;

        while (features[length] != '\0' && features[length] != ',')
            length++;
        json_plain(writer, features, length);
        features += length + (features[length] == ',');
    }
    json_close(writer, ']');
}

static void
write_candidates(struct writer *writer, const struct candidate_table *table)
{
    json_key(writer, "candidates");
    json_open(writer, '[');
    for (uint32_t i = 0; i < table->count; i++) {
        json_open(writer, '[');
        json_plain(writer, table->candidates[i].name, table->candidates[i].name_length);
        write_features(writer, table->sets[table->candidates[i].set].names);
        json_close(writer, ']');
    }
    json_close(writer, ']');
}

/* Only what is out of the ordinary: a fault elsewhere than at the first byte, or not that of an
 * undefined instruction. */
static void
write_faults(struct writer *writer, const struct cpu_record *record,
             const struct candidate_table *table)
{
    json_key(writer, "faults");
    json_open(writer, '{');
    for (uint32_t i = 0; i < table->count; i++) {
        bool plain = is_plain_code(record->si_code[i]) && record->fault_offset[i] == 0;

        if (plain || record->outcome[i] < OUTCOME_SIGILL || record->outcome[i] > OUTCOME_SIGTRAP)
            continue;
        json_key(writer, table->candidates[i].name);
        json_open(writer, '{');
        json_key(writer, "offset");
        if (record->fault_offset[i] < 0)
            json_literal(writer, "-1");
        else
            json_number(writer, (uint64_t)record->fault_offset[i]);
        json_key(writer, "si_code");
        if (record->si_code[i] < 0)
            json_literal(writer, "null");
        else
            json_number(writer, (uint64_t)record->si_code[i]);
        json_close(writer, '}');
    }
    json_close(writer, '}');
    json_key(writer, "wrong");
    json_open(writer, '{');
    for (uint32_t i = 0; i < record->wrong_count; i++) {
        const struct wrong_value *wrong = &record->wrong[i];

        if (wrong->candidate >= table->count || record->outcome[wrong->candidate] != OUTCOME_WRONG)
            continue;
        json_key(writer, table->candidates[wrong->candidate].name);
        json_hex(writer, wrong->bytes, wrong->size);
    }
    json_close(writer, '}');
}

/* What was left out for a reason that is not the CPU's; nothing is written where nothing was. */
static void
write_disturbances(struct writer *writer, const struct cpu_record *record,
                   const struct candidate_table *table)
{
    bool any = false;

    for (uint32_t i = 0; i < table->count; i++) {
        if (record->disturbance[i] == DISTURBANCE_NONE)
            continue;
        if (!any) {
            json_key(writer, "disturbed");
            json_open(writer, '{');
            any = true;
        }
        json_key(writer, table->candidates[i].name);
        json_string(writer, disturbance_name((enum disturbance)record->disturbance[i]));
    }
    if (any)
        json_close(writer, '}');
}

/* How often every candidate was run, and which of them failed after they had succeeded. */
static void
write_rounds(struct writer *writer, const struct cpu_record *record,
             const struct candidate_table *table)
{
    json_key(writer, "repeated");
    json_open(writer, '{');
    json_key(writer, "rounds");
    json_number(writer, record->rounds);
    json_key(writer, "failed");
    json_open(writer, '{');
    for (uint32_t i = 0; i < table->count; i++)
        if (record->failures[i] > 0) {
            json_key(writer, table->candidates[i].name);
            json_number(writer, record->failures[i]);
        }
    json_close(writer, '}');
    json_close(writer, '}');
}

static void
write_group(struct writer *writer, const struct measurement *measurement, uint32_t first,
            const bool execute, const struct candidate_table *table)
{
    const struct cpu_record *record = &measurement->records[first];
    bool tiles = false, borrowed = false;

    json_open(writer, '{');
    json_key(writer, "cpus");
    json_open(writer, '[');
    for (uint32_t i = first; i < measurement->record_count; i++)
        if (measurement->records[i].measured && measurement->records[i].group == first) {
            json_number(writer, measurement->records[i].cpu);
            borrowed |= measurement->records[i].borrowed;
        }
    json_close(writer, ']');
    if (!record->pinned) {
        json_key(writer, "pinned");
        json_literal(writer, "false");
    }
    write_identity(writer, &record->identity);
    if (borrowed) {
        json_key(writer, "asked_once");
        json_literal(writer, "true");
    }
    if (execute) {
        json_key(writer, "ran");
        json_open(writer, '[');
        for (uint32_t i = 0; i < table->count; i++) {
            json_plain(writer, outcome_name(record->outcome[i]),
                       text_length(outcome_name(record->outcome[i])));
            tiles |= record->outcome_before[i] != OUTCOME_NOT_RUN;
        }
        json_close(writer, ']');
        if (tiles) {
            json_key(writer, "ran_before_permission");
            json_open(writer, '{');
            for (uint32_t i = 0; i < table->count; i++)
                if (record->outcome_before[i] != OUTCOME_NOT_RUN) {
                    json_key(writer, table->candidates[i].name);
                    json_string(writer, outcome_name(record->outcome_before[i]));
                }
            json_close(writer, '}');
        }
        write_faults(writer, record, table);
        write_disturbances(writer, record, table);
        if (record->rounds > 1)
            write_rounds(writer, record, table);
    }
    json_close(writer, '}');
}

static void
write_groups(struct writer *writer, const struct measurement *measurement, bool execute,
             const struct candidate_table *table)
{
    json_key(writer, "groups");
    json_open(writer, '[');
    for (uint32_t i = 0; i < measurement->record_count; i++)
        if (measurement->records[i].measured && measurement->records[i].group == i)
            write_group(writer, measurement, i, execute, table);
    json_close(writer, ']');
    json_key(writer, "unmeasured_cpus");
    json_open(writer, '[');
    for (uint32_t i = 0; i < measurement->record_count; i++)
        if (!measurement->records[i].measured)
            json_number(writer, measurement->records[i].cpu);
    json_close(writer, ']');
}

/* System calls that were refused to the probe, and that it could do without. */
static void
write_denied(struct writer *writer, uint32_t denied)
{
    if (denied == 0)
        return;
    json_key(writer, "denied");
    json_open(writer, '[');
    for (enum call call = 0; call < CALL_END; call++)
        if (denied >> call & 1)
            json_string(writer, call_name(call));
    json_close(writer, ']');
}

/*
 * Measures this machine and writes the whole document.
 *
 * Returns ERROR_NONE, or what went wrong; then the writer holds nothing of use, and the reason says
 * it in words.
 */
enum error
cpuprobe_observe(const struct options *options, const struct candidate_table *table,
                 struct writer *writer, struct reason *reason)
{
    struct measurement measurement;
    struct kernel_told kernel = {.measurement = &measurement};
    enum error error;

    error = measure_groups(options, table, &measurement, reason);
    if (error != ERROR_NONE)
        return error;
    json_open(writer, '{');
    json_key(writer, "schema");
    json_string(writer, "cpuprobe.report/1");
    json_key(writer, "cpuprobe");
    json_string(writer, CPUPROBE_VERSION);
    json_key(writer, "observation");
    json_open(writer, '{');
    json_key(writer, "source");
    json_string(writer, "probe");
    json_key(writer, "executed");
    json_literal(writer, options->execute ? "true" : "false");
    write_denied(writer, measurement.denied);
    write_system(writer, options->root, &kernel);
    write_machine(writer, options, &measurement);
    if (options->execute)
        write_candidates(writer, table);
    write_groups(writer, &measurement, options->execute, table);
    json_close(writer, '}');
#if ISA_JUDGES
    struct verdict verdict;

    judge(options, table, &measurement, &kernel, &verdict);
    write_verdict(writer, &verdict);
#endif
    json_close(writer, '}');
    write_text(writer, "\n", 1);
    release(&measurement);
    if (!writer->failed)
        return ERROR_NONE;
    explain_error(ERROR_MEMORY, reason);
    return ERROR_MEMORY;
}

/*
 * Everything about this machine at once: measured, read, judged.
 */
#include "verdict.h"

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

/*
 * Measures this machine, reads what its kernel says, and judges both, without a document.
 *
 * Returns ERROR_NONE, and the caller releases survey->measurement; or what went wrong, and the
 * reason says it in words.
 */
enum error
survey_machine(const struct options *options, const struct candidate_table *table,
               struct survey *survey, struct reason *reason)
{
    struct writer unread = {0};
    enum error error;

    survey->kernel = (struct kernel_told){.measurement = &survey->measurement};
    error = measure_groups(options, table, &survey->measurement, reason);
    if (error != ERROR_NONE)
        return error;
    write_system(&unread, options->root, &survey->kernel);
    release_writer(&unread);
    judge(options, table, &survey->measurement, &survey->kernel, &survey->verdict);
    return ERROR_NONE;
}

/*
 * Everything about this machine at once: measured, read, judged.
 */
#include "verdict.h"

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

/*
 * `cpuprobe-native flags` and `level`.
 */
#include "command.h"

int
command_flags(const struct request *request)
{
    struct survey survey;
    struct writer writer = {0};
    int code = survey_or_complain(request, &survey);

    if (code != EXIT_GOOD)
        return code;
    write_flags(&writer, &survey.verdict, &request->target, request->format);
    release(&survey.measurement);
    return print_written(&writer);
}

int
command_level(const struct request *request)
{
    struct survey survey;
    struct writer writer = {0};
    int code = survey_or_complain(request, &survey);
    const struct verdict *verdict = &survey.verdict;

    if (code != EXIT_GOOD)
        return code;
    release(&survey.measurement);
    if (verdict->judgement == JUDGED_INSUFFICIENT) {
        complain("the level cannot be told; it is at most", verdict->level_at_most);
        return EXIT_CANNOT_MEASURE;
    }
    write_words(&writer, verdict->level == NULL ? "none" : verdict->level);
    write_words(&writer, "\n");
    return print_written(&writer);
}

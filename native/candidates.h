/*
 * The end of an instruction set's candidates.c: its table, of results.h, table.h and sets.h.
 *
 * Before it stand what its own words for places of results mean, its inputs, the code of its
 * candidates, and BYTES_OF: the length of code from how it is written.
 */
#define VARIANTS(...)                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define RESULT_SET(...) {__VA_ARGS__},
static const struct result results[][MAXIMUM_RESULTS] = {
#include "candidates/results.h"
};

#define CANDIDATE(id, name, set, code, state, input, check, results, expected, variants)           \
    {name "\0" expected, cpuprobe_candidate_##id, BYTES_OF(code), set,     sizeof name - 1,        \
     STATE_##state,      INPUT_##input,           CHECK_##check,  results, variants},
static const struct candidate candidates[] = {
#include "candidates/table.h"
};

#define SET(names, features0, features1) {names, {{features0, features1}}},
static const struct feature_set sets[] = {
#include "candidates/sets.h"
};

const struct candidate_table *
cpuprobe_candidates(void)
{
    static const struct candidate_table table = {candidates, sizeof candidates / sizeof *candidates,
                                                 inputs, sets, results};

    return &table;
}

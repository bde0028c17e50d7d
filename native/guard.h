/*
 * Between guard.c and an instruction set's own files: the child's working memory, and the assembly
 * that enters a candidate and leaves it.
 */
#ifndef CPUPROBE_GUARD_H
#define CPUPROBE_GUARD_H

#include "core.h"

#define AREA_BYTES 4096u

/* How the last run ended, where it did not end well. */
struct fault {
    int code;       /* si_code */
    int32_t offset; /* bytes into the candidate; -1: outside of it */
    bool loading;   /* while registers were being loaded */
};

struct guard {
    struct machine_state state;
    uint8_t input_area[AREA_BYTES];  /* [rsi]; a whole page: a misdecoded store stays in it */
    uint8_t output_area[AREA_BYTES]; /* [rdi] */
    struct fault fault;
    const struct result (*results)[MAXIMUM_RESULTS]; /* of the table that is being run */
};

/* What a candidate leaves behind. */
static inline const struct result *
results_of(const struct guard *guard, const struct candidate *candidate)
{
    return guard->results[candidate->results];
}

_Static_assert(offsetof(struct guard, input_area) % 64 == 0, "candidates need 64-byte alignment");

#define HIDDEN __attribute__((visibility("hidden")))

/* Returns 0 when the candidate came to its end, 1 when the handler sent it to recovery. */
HIDDEN int enter_candidate(struct machine_state *state, const uint8_t *code, unsigned int class);
extern HIDDEN const uint8_t state_code_begin[], state_code_end[], candidate_recovery[];
extern HIDDEN const uint8_t candidate_return[], undefined_instruction[];
HIDDEN void signal_return(void); /* what a handler returns to */

/* guard.c: enters the code once, with the state as it lies in the guard. */
enum outcome run_once(struct guard *guard, const uint8_t *code, size_t length, unsigned int class);
enum outcome run_loaded(struct guard *guard, const struct candidate *candidate,
                        const struct input *input);
enum outcome compare_results(const struct guard *guard, const struct candidate *candidate,
                             uint32_t index, struct cpu_record *record);

#endif

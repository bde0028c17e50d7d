/*
 * Shared by the parts of the core's test program: the assertion, and the ways to run candidates.
 *
 * A test is a function that takes nothing; it fails with a CHECK or EXPECT, and ends at a CHECK. test_core.c holds the
 * list of all tests and prints TAP.
 */
#ifndef CPUPROBE_TEST_H
#define CPUPROBE_TEST_H

#include "../../native/core.h"

/* Ends the running test, as failed, unless the condition holds. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                           \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Like CHECK, but the test goes on: a table's rows are all reported. */
#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                          \
    } while (0)

__attribute__((format(printf, 4, 5))) void test_failed(const char *file, int line,
                                                       const char *condition, const char *format,
                                                       ...);

/* This is qemu-user: its children report by SIGCHLD, and it has neither #AC nor Linux' CPU segment. */
extern bool emulated;

/* One row of fakes.c: code that is known to do one thing, and what the guard has to say of it. */
struct fake {
    const char *name;
    const uint8_t *code, *end; /* the bytes, without the jump to candidate_return */
    const uint8_t *fault;      /* where RIP is when the fault is reported; NULL: no fault */
    uint8_t state;
    uint8_t check;
    uint8_t outcome; /* expected */
    const void *expected;
    struct result results[MAXIMUM_RESULTS];
    bool native_only; /* says nothing under qemu-user */
};

/* Turns rows into a table the core takes. Rows stay owned by the caller. */
struct candidate_table table_of(const struct fake *fakes, uint32_t count,
                                struct candidate *candidates);

extern const struct fake misbehaving[];
extern const uint32_t misbehaving_count;
/* A list that names one CPU we may run on. */
const char *one_cpu(void);

extern const struct fake good; /* ends as it should; run after each of the others */

/* fakes.c: every kind of candidate. */
void every_outcome(void);
void wrong_value_is_kept(void);
void registers_reach_the_candidate(void);
void avx512_state(void);
void every_cpu_is_measured(void);
void dead_sets_are_left_alone(void);
void no_execution(void);

/* beliefs.c: what a death is believed to mean. */
void only_a_repeat_is_believed(void);
void a_moved_child_tells_of_some_cpu(void);
void nonsense_in_shared_memory(void);
void the_child_leaves_nothing_behind(void);
void an_orphan_ends(void);
void one_error_names_its_cpu(void);
void inputs_change_from_round_to_round(void);
void a_later_round_may_kill(void);
void progress_is_told(void);
void what_is_denied_dies_once(void);
void what_is_claimed_is_tried_everywhere(void);
void an_interruption_ends_both(void);

/* caller.c: the calling process notices nothing. */
void caller_untouched(void);
void results_do_not_depend_on_the_caller(void);
void sigchld_ignored(void);
void sigchld_blocked_is_not_pending(void);
void own_children_stay(void);
void handlers_do_not_run_in_the_child(void);
void another_thread_may_wait(void);
void nothing_leaks(void);
void many_callers_at_once(void);
void called_on_a_signal_stack(void);

/* identity.c: which CPUID leaves are read. */
void leaves_end_at_the_maximum(void);
void serial_number_is_never_read(void);
void topology_is_cleared(void);
void absent_range_is_dropped(void);
void nonsensical_maximum_is_bounded(void);
void endless_subleaves_are_bounded(void);
void leaves_are_read_with_their_bit(void);
void descriptor_announces_a_leaf(void);
void denied_features_are_found(void);
void xgetbv_needs_osxsave(void);
void cpuid_fault_is_reported(void);

/* groups.c: what observe.c writes of several CPUs, and of their lists. */
void equal_cpus_are_one_group(void);
void a_borrowed_fault_is_told_of(void);
void any_difference_splits_a_group(void);
void wrong_bytes_do_not_split_a_group(void);
void cpu_lists(void);
void json_escapes(void);
void json_numbers(void);
void json_grows(void);

/* flag_files.c: sets of flags from anybody. */
void files_of_flags_are_read(void);
void damaged_files_of_flags_are_bounded(void);

#endif

/*
 * Tests of the freestanding core, without Python.
 *
 *   test_core                     run every quick test; TAP, then "N passed, M failed"
 *   test_core --emulated          say that this is qemu-user, where some questions have no answer
 *   test_core observe ROOT CPUS   print the observation, "-" being every CPU; exits with the enum
 *                                 error's number
 */
#include "test.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool emulated;

static int failures; /* of the running test */

void
test_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    const char *slash = strrchr(file, '/');
    va_list arguments;

    failures++;
    printf("# %s:%d: %s;", slash == NULL ? file : slash + 1, line, condition);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

#define TEST(function) {#function, function, false}
#define NATIVE_TEST(function) {#function, function, true}

static const struct {
    const char *name;
    void (*run)(void);
    bool native_only; /* says nothing under qemu-user, whose children report by SIGCHLD */
} tests[] = {
    TEST(every_outcome),
    TEST(wrong_value_is_kept),
    TEST(registers_reach_the_candidate),
    TEST(avx512_state),
    TEST(every_cpu_is_measured),
    TEST(dead_sets_are_left_alone),
    TEST(no_execution),
    TEST(only_a_repeat_is_believed),
    NATIVE_TEST(a_moved_child_tells_of_some_cpu),
    NATIVE_TEST(nonsense_in_shared_memory),
    NATIVE_TEST(the_child_leaves_nothing_behind),
    NATIVE_TEST(an_orphan_ends),
    TEST(an_interruption_ends_both),
    TEST(one_error_names_its_cpu),
    TEST(inputs_change_from_round_to_round),
    TEST(a_later_round_may_kill),
    TEST(progress_is_told),
    TEST(what_is_denied_dies_once),
    TEST(what_is_claimed_is_tried_everywhere),
    TEST(caller_untouched),
    TEST(results_do_not_depend_on_the_caller),
    NATIVE_TEST(sigchld_ignored),
    NATIVE_TEST(sigchld_blocked_is_not_pending),
    TEST(own_children_stay),
    TEST(handlers_do_not_run_in_the_child),
    NATIVE_TEST(another_thread_may_wait),
    TEST(nothing_leaks),
    TEST(many_callers_at_once),
    NATIVE_TEST(called_on_a_signal_stack), /* SIGSEGV under qemu-user 7.2; cause not known */
    TEST(leaves_end_at_the_maximum),
    TEST(serial_number_is_never_read),
    TEST(topology_is_cleared),
    TEST(absent_range_is_dropped),
    TEST(nonsensical_maximum_is_bounded),
    TEST(endless_subleaves_are_bounded),
    TEST(leaves_are_read_with_their_bit),
    TEST(descriptor_announces_a_leaf),
    TEST(denied_features_are_found),
    TEST(xgetbv_needs_osxsave),
    TEST(cpuid_fault_is_reported),
    TEST(equal_cpus_are_one_group),
    TEST(a_borrowed_fault_is_told_of),
    TEST(any_difference_splits_a_group),
    TEST(wrong_bytes_do_not_split_a_group),
    TEST(cpu_lists),
    TEST(json_escapes),
    TEST(json_numbers),
    TEST(json_grows),
    TEST(files_of_flags_are_read),
    TEST(damaged_files_of_flags_are_bounded),
};

static int
observe(const char *root, const char *cpus)
{
    struct candidate candidates[2];
    struct fake rows[] = {good, good};
    struct candidate_table table;
    struct options options = {
        .root = root, .cpus = strcmp(cpus, "-") == 0 ? NULL : cpus, .execute = true};
    struct writer writer = {0};
    struct reason reason;
    enum error error;

    rows[1].name = "second";
    table = table_of(rows, 2, candidates);
    error = cpuprobe_observe(&options, &table, &writer, &reason);
    if (error == ERROR_NONE)
        fwrite(writer.text, 1, writer.length, stdout);
    else
        fprintf(stderr, "%s\n", reason.text);
    release_writer(&writer);
    return (int)error;
}

int
main(int count, char **arguments)
{
    int passed = 0, failed = 0;

    if (count == 4 && strcmp(arguments[1], "observe") == 0)
        return observe(arguments[2], arguments[3]);
    for (int i = 1; i < count; i++)
        emulated |= strcmp(arguments[i], "--emulated") == 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (emulated && tests[i].native_only)
            continue;
        failures = 0;
        tests[i].run();
        passed += failures == 0;
        failed += failures != 0;
        printf("%sok %d - %s\n", failures == 0 ? "" : "not ", passed + failed, tests[i].name);
        fflush(stdout);
    }
    printf("1..%d\n%d passed, %d failed\n", passed + failed, passed, failed);
    return failed != 0;
}

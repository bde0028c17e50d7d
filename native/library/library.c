/*
 * The functions of cpuprobe.h: the core for a program that has it in its own process.
 */
#include "library.h"
#include "../syscalls.h"

#include <linux/auxvec.h>
#include <linux/fcntl.h>

#define MOST_ENTRIES 64

_Static_assert(MAXIMUM_FLAGS * 28 < CPUPROBE_FLAGS_BYTES, "the flags of any version fit");

/* What the kernel told this process at its start; where it cannot be read, less is known. */
static void
read_auxiliary(struct options *options)
{
    uint64_t entries[MOST_ENTRIES][2] = {0};
    long descriptor = syscall4(__NR_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC, 0);

    if (failed(descriptor))
        return;
    syscall3(__NR_read, descriptor, entries, sizeof entries);
    syscall1(__NR_close, descriptor);
    for (size_t i = 0; i < MOST_ENTRIES && entries[i][0] != AT_NULL; i++)
        take_auxiliary(options, entries[i][0], entries[i][1]);
}

long
error_number(enum error error)
{
    switch (error) {
    case ERROR_NONE:
        return 0;
    case ERROR_MEMORY:
        return CPUPROBE_NO_MEMORY;
    case ERROR_CPU_LIST:
    case ERROR_CPU_ABSENT:
    case ERROR_ROOT:
        return CPUPROBE_BAD_ARGUMENT;
    default:
        return CPUPROBE_CANNOT_MEASURE;
    }
}

/* Measures and judges; 0 or a negative error. */
long
survey_here(const struct options *wanted, struct verdict *verdict)
{
    struct options options = *wanted;
    struct survey survey;
    struct reason reason;
    enum error error;

    read_auxiliary(&options);
    error = survey_machine(&options, cpuprobe_candidates(), &survey, &reason);
    if (error != ERROR_NONE)
        return error_number(error);
    *verdict = survey.verdict;
    release(&survey.measurement);
    return 0;
}

/* Copies what was written to a caller's buffer, with a NUL, and gives its memory back. */
static long
hand_out(struct writer *writer, char *out, size_t size)
{
    long result = CPUPROBE_TOO_SMALL;

    if (writer->failed)
        result = CPUPROBE_NO_MEMORY;
    else if (writer->length < size) {
        copy_bytes(out, writer->text, writer->length);
        out[writer->length] = '\0';
        result = (long)writer->length;
    }
    release_writer(writer);
    return result;
}

long
hand_out_flags(const struct verdict *verdict, const struct target *target, char *out, size_t size)
{
    struct writer writer = {0};

    write_flags(&writer, verdict, target, FORMAT_TEXT);
    return hand_out(&writer, out, size);
}

PUBLIC long
cpuprobe_safe_flags(unsigned int wasmtime_major, char *out, size_t size)
{
    static const struct options options = {.root = "", .execute = true};
    struct target target = find_wasmtime(wasmtime_major);
    struct verdict verdict;
    long error;

    if (out == NULL)
        return CPUPROBE_BAD_ARGUMENT;
    if (target.wasmtime == NULL)
        return CPUPROBE_UNKNOWN_WASMTIME;
    error = survey_here(&options, &verdict);
    return error != 0 ? error : hand_out_flags(&verdict, &target, out, size);
}

/* 1 to 4; 0 below the first level or where there is none. */
int
level_number(const char *level)
{
    return level == NULL ? 0 : level[text_length(level) - 1] - '0';
}

PUBLIC long
cpuprobe_level(void)
{
    static const struct options options = {.root = "", .execute = true};
    struct verdict verdict;
    long error = survey_here(&options, &verdict);

    return error != 0 ? error : level_number(verdict.level);
}

PUBLIC long
cpuprobe_observe_json(char *out, size_t size)
{
    struct options options = {.root = "", .execute = true};
    struct writer writer = {0};
    struct reason reason;
    enum error error;

    if (out == NULL)
        return CPUPROBE_BAD_ARGUMENT;
    read_auxiliary(&options);
    error = cpuprobe_observe(&options, cpuprobe_candidates(), &writer, &reason);
    if (error == ERROR_NONE)
        return hand_out(&writer, out, size);
    release_writer(&writer);
    return error_number(error);
}

/* Takes the options of a program that may know fewer of them than this library, or more: what it
 * knows beyond has to be zero. */
static bool
take_options(const struct cpuprobe_options *given, struct cpuprobe_options *options)
{
    const uint8_t *bytes = (const uint8_t *)given;

    *options = (struct cpuprobe_options){.size = sizeof *options};
    if (given == NULL)
        return true;
    if (given->size < sizeof given->size)
        return false;
    for (size_t at = sizeof *options; at < given->size; at++)
        if (bytes[at] != 0)
            return false;
    copy_bytes(options, given, given->size < sizeof *options ? given->size : sizeof *options);
    return true;
}

PUBLIC long
cpuprobe_judge(const struct cpuprobe_options *given, struct cpuprobe_verdict *out)
{
    struct cpuprobe_options wanted;
    struct options options = {.root = "", .execute = true};
    struct cpuprobe_verdict made = {0};
    struct target target;
    struct verdict verdict;
    long error;

    if (out == NULL || out->size < sizeof out->size || !take_options(given, &wanted))
        return CPUPROBE_BAD_ARGUMENT;
    target = find_wasmtime(wanted.wasmtime);
    if (target.wasmtime == NULL)
        return CPUPROBE_UNKNOWN_WASMTIME;
    options.cpus = wanted.cpus;
    options.root = wanted.root == NULL ? "" : wanted.root;
    options.execute = !wanted.no_exec;
    error = survey_here(&options, &verdict);
    if (error != 0)
        return error;
    made.size = out->size;
    made.level = verdict.judgement == JUDGED_INSUFFICIENT ? -1 : level_number(verdict.level);
    made.mismatch = verdict.judgement == JUDGED_MISMATCH;
    made.wasmtime = target.major;
    error = hand_out_flags(&verdict, &target, made.flags, sizeof made.flags);
    if (error < 0)
        return error;
    copy_bytes(out, &made, out->size < sizeof made ? out->size : sizeof made);
    return 0;
}

PUBLIC const char *
cpuprobe_error_text(long error)
{
    switch (error) {
    case CPUPROBE_CANNOT_MEASURE:
        return "cannot measure here: a sandbox or a limit on processes denies a system call, or "
               "the child is killed";
    case CPUPROBE_NO_MEMORY:
        return "out of memory";
    case CPUPROBE_TOO_SMALL:
        return "the buffer is too small";
    case CPUPROBE_UNKNOWN_WASMTIME:
        return "this version of wasmtime was never measured";
    case CPUPROBE_BAD_ARGUMENT:
        return "a wrong argument: no buffer, no such CPU, no such root, or a size that cannot be";
    default:
        return error < 0 ? "an error that this library does not know" : "no error";
    }
}

PUBLIC const char *
cpuprobe_version(void)
{
    return CPUPROBE_VERSION;
}

/*
 * cpuprobe-native: the probe as a static executable, without libc.
 *
 * It still answers where an ordinary program cannot start, and `cpuprobe inspect` reads its output
 * on another machine.
 */
#include "session.h"
#include "syscalls.h"

#include <linux/auxvec.h>
#include <asm/termbits.h>
#include <asm/ioctls.h>

#define AT_HWCAP2_ENTRY 26
#define AT_MINSIGSTKSZ_ENTRY 51

enum { EXIT_USAGE = 2, EXIT_CANNOT_MEASURE = 3 };

static const char help[] =
    "usage: cpuprobe-native [--cpus LIST] [--no-exec] [--root DIR] [--repeat N]\n"
    "       cpuprobe-native --list | --version | --help\n"
    "\n"
    "Executes every candidate instruction on every allowed CPU and prints the\n"
    "observation as JSON, for `cpuprobe inspect` to assess on any machine.\n"
    "\n"
    "  --cpus LIST  only these CPUs, e.g. 0-3,8\n"
    "  --no-exec    read CPUID and XCR0 only\n"
    "  --root DIR   take /proc and /sys from below DIR\n"
    "  --repeat N   run every candidate N times on every CPU, with several inputs\n"
    "  --list       print the candidates: name, features, code in hex\n"
    "\n"
    "example: cpuprobe-native > machine.json && cpuprobe inspect machine.json\n";

static void complain(const char *subject, const char *what);

static void
print(int descriptor, const char *text, size_t length)
{
    while (length > 0) {
        long written = syscall3(__NR_write, descriptor, text, length);

        if (written <= 0) {
            if (written == -4) /* EINTR */
                continue;
            if (descriptor == 1)
                complain("standard output", "cannot be written");
            leave(EXIT_CANNOT_MEASURE);
        }
        text += written;
        length -= (size_t)written;
    }
}

static void
complain(const char *subject, const char *what)
{
    print(2, "cpuprobe-native: ", 17);
    print(2, subject, text_length(subject));
    print(2, what[0] == '\0' ? "" : ": ", what[0] == '\0' ? 0 : 2);
    print(2, what, text_length(what));
    print(2, "\n", 1);
}

static int
list_candidates(const struct candidate_table *table)
{
    static const char digits[] = "0123456789abcdef";
    struct writer writer = {0};

    for (uint32_t i = 0; i < table->count; i++) {
        const struct candidate *candidate = &table->candidates[i];

        write_text(&writer, candidate->name, text_length(candidate->name));
        write_text(&writer, "\t", 1);
        write_text(&writer, table->sets[candidate->set].names,
                   text_length(table->sets[candidate->set].names));
        write_text(&writer, "\t", 1);
        for (size_t at = 0; at < candidate->length; at++) {
            char pair[2] = {digits[candidate->code[at] >> 4], digits[candidate->code[at] & 15]};

            write_text(&writer, pair, sizeof pair);
        }
        write_text(&writer, "\n", 1);
    }
    if (writer.failed)
        return EXIT_CANNOT_MEASURE;
    print(1, writer.text, writer.length);
    return 0;
}

/* 1 to 1,000,000,000; 0 where the text is no such number. */
static uint32_t
take_count(const char *text)
{
    uint32_t value = 0;

    for (; *text >= '0' && *text <= '9' && value <= 100000000; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    return *text == '\0' && value <= 1000000000 ? value : 0;
}

/* One line on the terminal, written over again and again. */
static void
show_progress(uint64_t done, uint64_t of)
{
    char line[] = "\rcpuprobe-native: 100% ";
    unsigned int percent = (unsigned int)(done * 100 / of);

    line[18] = percent == 100 ? '1' : ' ';
    line[19] = percent >= 10 ? (char)('0' + percent / 10 % 10) : ' ';
    line[20] = (char)('0' + percent % 10);
    syscall3(__NR_write, 2, line, sizeof line - 1);
}

static bool
is_terminal(int descriptor)
{
    struct termios settings;

    return syscall3(__NR_ioctl, descriptor, TCGETS, &settings) == 0;
}

static int
run(int count, const char *const *arguments, const uint64_t *auxiliary)
{
    struct options options = {.root = "", .execute = true};
    struct writer writer = {0};
    struct reason reason;
    enum error error;

    for (; auxiliary[0] != AT_NULL; auxiliary += 2) {
        if (auxiliary[0] == AT_HWCAP2_ENTRY) {
            options.hwcap2 = auxiliary[1];
            options.hwcap2_known = true;
        } else if (auxiliary[0] == AT_MINSIGSTKSZ_ENTRY)
            options.minsigstksz = auxiliary[1];
    }
    for (int i = 1; i < count; i++) {
        if (text_equal(arguments[i], "--help") || text_equal(arguments[i], "-h")) {
            print(1, help, sizeof help - 1);
            return 0;
        }
        if (text_equal(arguments[i], "--version")) {
            print(1, "cpuprobe-native " CPUPROBE_VERSION "\n",
                  sizeof "cpuprobe-native " CPUPROBE_VERSION "\n" - 1);
            return 0;
        }
        if (text_equal(arguments[i], "--list"))
            return list_candidates(cpuprobe_candidates());
        if (text_equal(arguments[i], "--no-exec"))
            options.execute = false;
        else if (text_equal(arguments[i], "--cpus") && i + 1 < count)
            options.cpus = arguments[++i];
        else if (text_equal(arguments[i], "--repeat") && i + 1 < count) {
            options.repeat = take_count(arguments[++i]);
            if (options.repeat == 0) {
                complain("--repeat", "not a number from 1 to 1000000000");
                return EXIT_USAGE;
            }
        } else if (text_equal(arguments[i], "--root") && i + 1 < count)
            options.root = arguments[++i];
        else {
            complain(arguments[i], "unknown option, or its value is missing; see --help");
            return EXIT_USAGE;
        }
    }
    if (options.repeat > 1 && is_terminal(2))
        options.progress = show_progress;
    error = cpuprobe_observe(&options, cpuprobe_candidates(), &writer, &reason);
    if (options.progress != NULL)
        print(2, "\r\x1b[K", 4);
    switch (error) {
    case ERROR_NONE:
        print(1, writer.text, writer.length);
        return 0;
    case ERROR_CPU_LIST:
    case ERROR_CPU_ABSENT:
        complain("--cpus", reason.text);
        return EXIT_USAGE;
    case ERROR_ROOT:
        complain(options.root, reason.text);
        return EXIT_CANNOT_MEASURE;
    default:
        complain(reason.text, "");
        return EXIT_CANNOT_MEASURE;
    }
}

/* The initial stack: argc, argv, NULL, envp, NULL, auxiliary vector (psABI, "Process
 * Initialization"). */
__attribute__((used, visibility("hidden"))) _Noreturn void
start(const uint64_t *stack)
{
    int count = (int)stack[0];
    const char *const *arguments = (const char *const *)(stack + 1);
    const uint64_t *auxiliary = stack + 1 + count + 1;

    while (*auxiliary++ != 0)
        ;
    leave(run(count, arguments, auxiliary));
}

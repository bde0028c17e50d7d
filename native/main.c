/*
 * cpuprobe-native: the probe as a static executable, without libc.
 *
 * It still answers where an ordinary program cannot start, and `cpuprobe inspect` reads its output
 * on another machine. On a terminal it says in words what it found.
 */
#include "command/command.h"
#include "session.h"
#include "syscalls.h"

#include <linux/auxvec.h>
#include <linux/signal.h>
#include <asm/termbits.h>
#include <asm/ioctls.h>

static const char help[] =
    "usage: cpuprobe-native [OPTIONS] [--json]\n"
#if ISA_JUDGES
    "       cpuprobe-native [OPTIONS] flags [--wasmtime V] [--format FORMAT]\n"
    "       cpuprobe-native [OPTIONS] check-flags [--wasmtime V] FILE\n"
    "       cpuprobe-native [OPTIONS] level\n"
#endif
    "       cpuprobe-native --list | --version | --help\n"
    "\n"
    "Executes every candidate instruction on every allowed CPU. On a terminal it says\n"
    "what works here; else it prints the observation as JSON, for `cpuprobe inspect`\n"
    "to assess on any machine.\n"
    "\n"
#if ISA_JUDGES
    "  flags        the flags that are safe for wasmtime here\n"
    "  check-flags  does a set of flags hold here? FILE is JSON or name=value lines,\n"
    "               - is standard input\n"
    "  level        the psABI level of what is safe here\n"
    "\n"
#endif
    "  --json         print JSON on a terminal too\n"
#if ISA_JUDGES
    "  --wasmtime V   the version that the flags are for; the newest known if not given\n"
    "  --format F     text, json, cli (wasmtime's options) or clif\n"
#endif
    "  --cpus LIST    only these CPUs, e.g. 0-3,8\n"
    "  --no-exec      read " IDENTITY_IN_WORDS " only\n"
    "  --root DIR     take /proc and /sys from below DIR\n"
    "  --repeat N     run every candidate N times on every CPU, with several inputs\n"
    "  --list         print the candidates: name, features, code in hex\n"
    "\n"
#if ISA_JUDGES
    "Exit codes: 0 done; 1 a flag does not hold; 2 usage; 3 cannot measure here;\n"
    "4 unreadable input.\n"
#else
    "Exit codes: 0 done; 2 usage; 3 cannot measure here.\n"
#endif
    "\n"
    "Examples:\n"
    "  cpuprobe-native > machine.json && cpuprobe inspect machine.json\n"
#if ISA_JUDGES
    "  wasmtime run $(cpuprobe-native flags --format cli) module.wasm\n"
    "  cpuprobe-native check-flags flags.json\n"
#endif
    ;

void
print(int descriptor, const char *text, size_t length)
{
    while (length > 0) {
        long written = syscall3(__NR_write, descriptor, text, length);

        if (written <= 0) {
            if (written == -ERRNO_EINTR)
                continue;
            if (descriptor == 1 && written == -ERRNO_EPIPE)
                leave(EXIT_GOOD); /* who read it has seen enough */
            if (descriptor == 1)
                complain("standard output", "cannot be written");
            leave(EXIT_CANNOT_MEASURE);
        }
        text += written;
        length -= (size_t)written;
    }
}

void
complain(const char *subject, const char *what)
{
    print(2, "cpuprobe-native: ", 17);
    print(2, subject, text_length(subject));
    print(2, what[0] == '\0' ? "" : ": ", what[0] == '\0' ? 0 : 2);
    print(2, what, text_length(what));
    print(2, "\n", 1);
}

/* Prints what was written, and gives its memory back. */
int
print_written(struct writer *writer)
{
    if (writer->failed) {
        complain("out of memory", "");
        return EXIT_CANNOT_MEASURE;
    }
    print(1, writer->text, writer->length);
    release_writer(writer);
    return EXIT_GOOD;
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
    return print_written(&writer);
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

#if ISA_JUDGES

/* The major version of `50`, `50.0.1` or `v50`; one that is unknown where the text is none. */
static uint32_t
take_major(const char *text)
{
    uint32_t value = 0;
    size_t at = text[0] == 'v', first = at;

    for (; is_digit(text[at]) && value < 100000; at++)
        value = value * 10 + (uint32_t)(text[at] - '0');
    return at == first || value == 0 || (text[at] != '\0' && text[at] != '.') ? UINT32_MAX : value;
}

#endif

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

/* Says why it could not be measured. */
static int
complain_of(const struct options *options, enum error error, const struct reason *reason)
{
    switch (error) {
    case ERROR_CPU_LIST:
    case ERROR_CPU_ABSENT:
        complain("--cpus", reason->text);
        return EXIT_USAGE;
    case ERROR_ROOT:
        complain(options->root, reason->text);
        return EXIT_CANNOT_MEASURE;
    default:
        complain(reason->text, "");
        return EXIT_CANNOT_MEASURE;
    }
}

#if ISA_JUDGES

/* Measures and judges this machine; the caller releases the measurement after EXIT_GOOD. */
int
survey_or_complain(const struct request *request, struct survey *survey)
{
    struct reason reason;
    enum error error = survey_machine(&request->options, cpuprobe_candidates(), survey, &reason);

    return error == ERROR_NONE ? EXIT_GOOD : complain_of(&request->options, error, &reason);
}

#endif

static int
command_observe(const struct request *request)
{
    struct options options = request->options;
    struct writer writer = {0};
    struct reason reason;
    enum error error;

    if (options.repeat > 1 && is_terminal(2))
        options.progress = show_progress;
    error = cpuprobe_observe(&options, cpuprobe_candidates(), &writer, &reason);
    if (options.progress != NULL)
        print(2, "\r\x1b[K", 4);
    return error == ERROR_NONE ? print_written(&writer) : complain_of(&options, error, &reason);
}

/* What can be asked for by a word, and what it takes; a row without a name ends it. */
static const struct command {
    const char *name;
    int (*run)(const struct request *request);
    bool takes_file, takes_version, takes_format;
} commands[] = {
#if ISA_JUDGES
    {"flags", command_flags, false, true, true},
    {"check-flags", command_check, true, true, false},
    {"level", command_level, false, false, false},
#endif
    {NULL, NULL, false, false, false},
};

/* The options with a value: false where the word is none of them. */
static bool
take_value(struct request *request, const char *name, const char *value, const char **wrong)
{
#if ISA_JUDGES
    static const char *const formats[] = {
        [FORMAT_TEXT] = "text",
        [FORMAT_JSON] = "json",
        [FORMAT_CLI] = "cli",
        [FORMAT_CLIF] = "clif",
    };
#endif

    if (text_equal(name, "--cpus"))
        request->options.cpus = value;
    else if (text_equal(name, "--root"))
        request->options.root = value;
    else if (text_equal(name, "--repeat")) {
        request->options.repeat = take_count(value);
        if (request->options.repeat == 0)
            *wrong = "not a number from 1 to 1000000000";
    }
#if ISA_JUDGES
    else if (text_equal(name, "--wasmtime")) {
        request->target = find_wasmtime(take_major(value));
        if (request->target.wasmtime == NULL)
            *wrong = "this version was never measured; 3 to 50 are known, but 26";
    } else if (text_equal(name, "--format")) {
        unsigned int at = 0;

        while (at < sizeof formats / sizeof *formats && !text_equal(value, formats[at]))
            at++;
        if (at == sizeof formats / sizeof *formats)
            *wrong = "not one of text, json, cli, clif";
        request->format = (enum flag_format)at;
    }
#endif
    else
        return false;
    return true;
}

static int
usage(const char *subject, const char *what)
{
    complain(subject, what);
    return EXIT_USAGE;
}

/* Reads the command line and does what it says. */
static int
obey(int count, const char *const *arguments, struct request *request)
{
    const struct command *command = NULL;
    const char *version = NULL, *format = NULL; /* these options, where they are given */
    bool json = false;

    for (int i = 1; i < count; i++) {
        const char *word = arguments[i], *wrong = NULL;
        bool dashed = word[0] == '-' && word[1] != '\0';

        if (text_equal(word, "--help") || text_equal(word, "-h")) {
            print(1, help, sizeof help - 1);
            return EXIT_GOOD;
        }
        if (text_equal(word, "--version")) {
            static const char version[] = "cpuprobe-native " CPUPROBE_VERSION "\n";

            print(1, version, sizeof version - 1);
            return EXIT_GOOD;
        }
        if (text_equal(word, "--list"))
            return list_candidates(cpuprobe_candidates());
        if (text_equal(word, "--json"))
            json = true;
        else if (text_equal(word, "--no-exec"))
            request->options.execute = false;
        else if (dashed && i + 1 < count && take_value(request, word, arguments[i + 1], &wrong)) {
            if (wrong != NULL)
                return usage(word, wrong);
            version = text_equal(word, "--wasmtime") ? word : version;
            format = text_equal(word, "--format") ? word : format;
            i++;
        } else if (!dashed && command == NULL) {
            command = commands;
            while (command->name != NULL && !text_equal(word, command->name))
                command++;
            if (command->name == NULL)
                return usage(word, "no such command; see --help");
        } else if (!dashed && command->takes_file && request->file == NULL)
            request->file = word;
        else
            return usage(word, "unknown option, or its value is missing; see --help");
    }
    if (json && command != NULL)
        format = "--json";
    if (version != NULL && (command == NULL || !command->takes_version))
        return usage(version, "not an option of this command; see --help");
    if (format != NULL && (command == NULL || !command->takes_format))
        return usage(format, "not an option of this command; see --help");
    if (command == NULL)
        return json || !is_terminal(1) ? command_observe(request) : command_screen(request);
    if (command->takes_file && request->file == NULL)
        return usage(command->name, "which FILE? see --help");
    if (json)
        request->format = FORMAT_JSON;
    return command->run(request);
}

static int
run(int count, const char *const *arguments, const uint64_t *auxiliary)
{
    static const uint64_t pipe = 1ull << (SIGPIPE - 1);
    struct request request = {.options = {.root = "", .execute = true}};

    /* A reader that has gone is told of by what the call returns, see `print`. */
    syscall4(__NR_rt_sigprocmask, SIG_BLOCK, &pipe, NULL, sizeof pipe);
    for (; auxiliary[0] != AT_NULL; auxiliary += 2)
        take_auxiliary(&request.options, auxiliary[0], auxiliary[1]);
#if ISA_JUDGES
    request.target = find_wasmtime(0);
#endif
    return obey(count, arguments, &request);
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

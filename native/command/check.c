/*
 * `cpuprobe-native check-flags FILE`: does a set of flags hold on this machine?
 *
 * The file is whoever's: a JSON object of names and booleans, or lines `name=true`. It is read up
 * to a limit, and what is not one of the two to its last byte is refused with the line's number.
 */
#include "command.h"
#include "../syscalls.h"

#include <linux/fcntl.h>

#define MAXIMUM_INPUT 65536
#define MAXIMUM_NAME 63

/* A file's bytes, and how far they are read. */
struct source {
    const char *text;
    size_t length, at;
    uint32_t line;
};

/* A flag of the file. */
struct setting {
    const char *name;
    size_t length;
    bool on;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void
skip_blanks(struct source *input, bool lines)
{
    while (input->at < input->length &&
           (is_blank(input->text[input->at]) || (lines && input->text[input->at] == '\n')))
        input->line += input->text[input->at++] == '\n';
}

/* Takes the character if it is the next one. */
static bool
take(struct source *input, char wanted)
{
    if (input->at == input->length || input->text[input->at] != wanted)
        return false;
    input->at++;
    return true;
}

static bool
take_word(struct source *input, const char *word)
{
    size_t length = text_length(word);

    if (input->length - input->at < length || !bytes_equal(input->text + input->at, word, length))
        return false;
    input->at += length;
    return true;
}

/* A name of a flag: letters, digits and underscores; anything else is none. */
static bool
take_name(struct source *input, struct setting *setting)
{
    setting->name = input->text + input->at;
    setting->length = 0;
    while (input->at < input->length && setting->length <= MAXIMUM_NAME) {
        char c = input->text[input->at];

        if (!is_digit(c) && c != '_' && (c < 'a' || c > 'z'))
            break;
        input->at++;
        setting->length++;
    }
    return setting->length > 0 && setting->length <= MAXIMUM_NAME;
}

static bool
take_boolean(struct source *input, struct setting *setting)
{
    setting->on = take_word(input, "true");
    return setting->on || take_word(input, "false");
}

/* The next `name=value`; false at the end and, with `wrong`, where there is something else. */
static bool
next_line(struct source *input, struct setting *setting, bool *wrong)
{
    skip_blanks(input, true);
    while (take(input, '#')) {
        while (input->at < input->length && input->text[input->at] != '\n')
            input->at++;
        skip_blanks(input, true);
    }
    if (input->at == input->length)
        return false;
    *wrong = !take_name(input, setting) || !take(input, '=') || !take_boolean(input, setting);
    if (*wrong)
        return false;
    skip_blanks(input, false);
    *wrong = input->at < input->length && input->text[input->at] != '\n';
    return !*wrong;
}

/* The next member of the object, whose bracket is past. */
static bool
next_member(struct source *input, struct setting *setting, bool first, bool *wrong)
{
    skip_blanks(input, true);
    if (first && take(input, '}'))
        goto end;
    if (!first && !take(input, ',')) {
        *wrong = !take(input, '}');
        goto end;
    }
    skip_blanks(input, true);
    *wrong = !take(input, '"') || !take_name(input, setting) || !take(input, '"');
    skip_blanks(input, true);
    *wrong = *wrong || !take(input, ':');
    skip_blanks(input, true);
    *wrong = *wrong || !take_boolean(input, setting);
    return !*wrong;
end:
    skip_blanks(input, true);
    *wrong = *wrong || input->at < input->length;
    return false;
}

/* Reads all of it; -1 where it cannot be read or is too long. */
static long
read_input(const char *file, char *buffer)
{
    long descriptor = 0, got = 1;
    size_t length = 0;

    if (!text_equal(file, "-"))
        descriptor =
            syscall4(__NR_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (failed(descriptor))
        return -1;
    while (length <= MAXIMUM_INPUT && got != 0) {
        got = syscall3(__NR_read, descriptor, buffer + length, MAXIMUM_INPUT + 1 - length);
        if (got == -ERRNO_EINTR)
            continue;
        if (failed(got))
            return -1;
        length += (size_t)got;
    }
    if (descriptor != 0)
        syscall1(__NR_close, descriptor);
    return length > MAXIMUM_INPUT ? -1 : (long)length;
}

/* Why a flag that is on does not hold here. */
static void
write_reason(struct writer *writer, const struct verdict *verdict, int flag,
             enum flag_reason reason)
{
    if (reason == FLAG_NO_HOST)
        write_words(writer, "this wasmtime accepts it on no host");
    else if (reason == FLAG_REFUSED)
        write_words(writer, "wasmtime's own detector refuses it here");
    else {
        int feature = flag_feature((unsigned int)flag);

        write_words(writer, feature_rows[feature].name);
        if (reason == FLAG_BUILDS_ON_UNSAFE)
            write_words(writer, " builds on what is not safe here");
        else {
            write_words(writer, " is ");
            write_words(writer, state_name((enum state)verdict->state[feature]));
        }
    }
}

/* Writes a line if the setting does not hold. */
static void
check_setting(struct writer *writer, const struct request *request, const struct verdict *verdict,
              const struct setting *setting)
{
    int flag = find_flag(request->target.wasmtime, setting->name, setting->length);
    enum flag_reason reason = FLAG_HOLDS;

    if (flag >= 0) {
        reason = judge_flag(verdict, request->target.wasmtime, (unsigned int)flag);
        if (!setting->on || reason == FLAG_HOLDS)
            return;
    }
    write_text(writer, setting->name, setting->length);
    write_words(writer, setting->on ? "=true: " : "=false: ");
    if (flag < 0) {
        write_words(writer, "wasmtime ");
        write_number(writer, request->target.major);
        write_words(writer, " knows no such flag, and setting it fails");
    } else
        write_reason(writer, verdict, flag, reason);
    write_words(writer, "\n");
}

/* Runs over all settings; with a verdict each is checked. Returns how many, or -1 where it is no
 * set of flags. */
static long
walk(struct source input, struct writer *writer, const struct request *request,
     const struct verdict *verdict, uint32_t *line)
{
    struct setting setting;
    bool wrong = false, json;
    long count = 0;

    skip_blanks(&input, true);
    json = take(&input, '{');
    while (json ? next_member(&input, &setting, count == 0, &wrong)
                : next_line(&input, &setting, &wrong)) {
        count++;
        if (verdict != NULL)
            check_setting(writer, request, verdict, &setting);
    }
    *line = input.line;
    return wrong ? -1 : count;
}

static int
unreadable(const char *file, const char *what, uint32_t line)
{
    struct writer writer = {0};

    write_words(&writer, what);
    if (line > 0)
        write_number(&writer, line);
    write_text(&writer, "", 1);
    complain(file, writer.failed ? what : writer.text);
    release_writer(&writer);
    return EXIT_UNREADABLE;
}

int
command_check(const struct request *request)
{
    static char buffer[MAXIMUM_INPUT + 1];
    struct source input = {.text = buffer, .line = 1};
    struct survey survey;
    struct writer writer = {0};
    long length = read_input(request->file, buffer), count;
    uint32_t line;
    int code;

    if (length < 0)
        return unreadable(request->file, "cannot be read, or is longer than 64 KiB", 0);
    input.length = (size_t)length;
    count = walk(input, NULL, request, NULL, &line);
    if (count < 0)
        return unreadable(request->file, "no JSON object of flags and no name=value at line ",
                          line);
    if (count == 0)
        return unreadable(request->file, "holds no flag", 0);
    code = survey_or_complain(request, &survey);
    if (code != EXIT_GOOD)
        return code;
    release(&survey.measurement);
    walk(input, &writer, request, &survey.verdict, &line);
    if (writer.length > 0)
        return print_written(&writer) == EXIT_GOOD ? EXIT_FINDING : EXIT_CANNOT_MEASURE;
    write_words(&writer, count == 1 ? "the flag holds here\n" : "all flags hold here\n");
    return print_written(&writer);
}

/*
 * Errors in words: what could not be done, and who is in the way.
 */
#include "session.h"
#include "syscalls.h"

#include <linux/signal.h>

const char *
call_name(enum call call)
{
    static const char *const names[] = {
#define NAME(constant, name) name,
        EACH_CALL(NAME)
#undef NAME
    };

    return call < CALL_END ? names[call] : "a system call";
}

/* A line of text that is being put together; what does not fit is left out. */
struct line {
    char *text;
    size_t length, capacity;
};

static void
add_words(struct line *line, const char *text)
{
    for (; *text != '\0' && line->length + 1 < line->capacity; text++)
        line->text[line->length++] = *text;
    line->text[line->length] = '\0';
}

static void
add_number(struct line *line, unsigned int value)
{
    char digits[12];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    add_words(line, digits + at);
}

static void
write_signal(struct line *line, int signal)
{
    add_words(line, "signal ");
    add_number(line, (unsigned int)signal);
    if (signal == SIGSYS)
        add_words(line, " (a sandbox?)");
}

static void
write_errno(struct line *line, int number)
{
    switch (number) {
    case ERRNO_EPERM:
    case ERRNO_EACCES:
        add_words(line, "not permitted (a sandbox?)");
        return;
    case ERRNO_ENOSYS:
        add_words(line, "not there (a sandbox or an old kernel?)");
        return;
    case ERRNO_ENOMEM:
        add_words(line, "out of memory");
        return;
    case ERRNO_EAGAIN:
        add_words(line, "a limit on processes or memory is reached");
        return;
    default:
        add_words(line, "errno ");
        add_number(line, (unsigned int)number);
    }
}

/* The self-test failed: its outcome, or the signal that ended the child in it. */
static void
write_guard_error(struct line *line, const struct reason *reason)
{
    add_words(line, "cannot measure here: an undefined instruction ");
    if (reason->signal != 0) {
        add_words(line, "ends the process with ");
        write_signal(line, reason->signal);
    } else if (reason->self_test == OUTCOME_NOT_RUN)
        add_words(line, "cannot be recovered from (a sandbox that denies rt_sigreturn?)");
    else if (reason->self_test == OUTCOME_WRONG)
        add_words(line, "does not fault where it stands");
    else {
        add_words(line, "came back as ");
        add_words(line, outcome_name(known_outcome(reason->self_test)));
        add_words(line, ", not as sigill");
    }
}

static void
write_reason(struct line *line, enum error error, const struct reason *reason)
{
    switch (error) {
    case ERROR_NONE:
        break;
    case ERROR_MEMORY:
        add_words(line, "out of memory");
        break;
    case ERROR_CALL:
        add_words(line, "cannot measure here: ");
        add_words(line, call_name((enum call)reason->trouble.call));
        add_words(line, ": ");
        if (reason->signal == 0)
            write_errno(line, reason->trouble.error);
        else {
            add_words(line, "the process is ended by ");
            write_signal(line, reason->signal);
        }
        break;
    case ERROR_GUARD:
        write_guard_error(line, reason);
        break;
    case ERROR_KILLED:
        add_words(line, "cannot measure here: the measuring process is killed again and again");
        if (reason->signal != 0) {
            add_words(line, ", by ");
            write_signal(line, reason->signal);
        }
        break;
    case ERROR_NO_CPU:
        add_words(line, "cannot measure here: no CPU could be reached");
        break;
    case ERROR_INTERRUPTED:
        add_words(line, "interrupted");
        break;
    case ERROR_CPU_LIST:
        add_words(line, "not a CPU list (expected numbers and ranges such as 0-3,8)");
        break;
    case ERROR_CPU_ABSENT:
        add_words(line, "names a CPU that this process may not run on");
        break;
    case ERROR_ROOT:
        add_words(line, "holds no proc directory");
        break;
    }
}

/* Puts the error into words: reason->text. */
void
explain_error(enum error error, struct reason *reason)
{
    struct line line = {reason->text, 0, sizeof reason->text};

    reason->text[0] = '\0';
    write_reason(&line, error, reason);
}

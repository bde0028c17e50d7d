/*
 * /proc/cmdline: of the kernel's command line the words that are on the allow-list, with what is
 * allowed of their values.
 */
#include "files.h"
#include "verdict.h"

#define MAXIMUM_WORD 256
#define MAXIMUM_DIGITS 6

/* A word of the command line, and what its value may be made of: see profiles/kernel.toml. */
static const struct kernel_word {
    const char *name, *values;
    bool numbers, features;
} kernel_words[] = {
#define WORD(name, values, numbers, features) {name, values, numbers, features},
    EACH_KERNEL_WORD(WORD)
#undef WORD
};

static bool
is_number(const char *text, size_t length)
{
    if (length == 0 || length > MAXIMUM_DIGITS)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_digit(text[i]))
            return false;
    return true;
}

/* Is it a name that the kernel has for a feature? */
static bool
is_feature_flag(const char *text, size_t length)
{
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (feature_rows[i].flag != NULL && text_is(feature_rows[i].flag, text, length))
            return true;
    return false;
}

/* Keeps a word that may explain a missing feature. */
static void
keep_word(struct kernel_told *told, const char *word, size_t length)
{
    size_t used = text_length(told->words);

    if (used + 1 + length >= sizeof told->words)
        return;
    if (used > 0)
        told->words[used++] = ' ';
    keep_text(told->words + used, sizeof told->words - used, word, length);
}

/* Writes a word of the command line if it is known, with what is known of its value. */
static void
write_word(struct writer *writer, const char *text, size_t length, struct kernel_told *told)
{
    char kept[MAXIMUM_WORD];
    size_t name = 0, used;

    while (name < length && text[name] != '=')
        name++;
    for (size_t i = 0; i < sizeof kernel_words / sizeof *kernel_words; i++) {
        const struct kernel_word *word = &kernel_words[i];

        if (name != text_length(word->name) || !bytes_equal(text, word->name, name))
            continue;
        copy_bytes(kept, text, name);
        used = name;
        for (size_t at = name; at < length;) {
            size_t end = ++at; /* past the = or the comma */

            while (end < length && text[end] != ',')
                end++;
            if (used + 1 + end - at <= sizeof kept &&
                (listed(word->values, text + at, end - at) ||
                 (word->numbers && is_number(text + at, end - at)) ||
                 (word->features && is_feature_flag(text + at, end - at)))) {
                kept[used] = used == name ? '=' : ',';
                copy_bytes(kept + used + 1, text + at, end - at);
                used += 1 + end - at;
            }
            at = end;
        }
        if (used > name || name == length) {
            json_bytes(writer, kept, used);
            keep_word(told, kept, used);
        }
        return;
    }
}

/* Writes the words, and keeps them. */
void
write_command_line(struct writer *writer, const char *root, struct kernel_told *told)
{
    struct file file;
    char line[LINE_BYTES];
    size_t taken = 0, at = 0;
    long length;

    if (!open_file(&file, root, "/proc/cmdline"))
        return;
    length = read_line(&file, line, sizeof line, &taken);
    close_file(&file);
    json_key(writer, "cmdline");
    json_open(writer, '[');
    while ((long)at < length) {
        size_t end = at;

        while ((long)end < length && line[end] != ' ' && line[end] != '\t')
            end++;
        if (end > at)
            write_word(writer, line + at, end - at, told);
        at = end + 1;
    }
    json_close(writer, ']');
}

/*
 * What the kernel says: a fixed list of files below root, and of each only what is on an
 * allow-list. Whatever is not named here never leaves the machine: no serial numbers, no APIC ids,
 * no host name, no unknown word of the command line.
 */
#include "files.h"
#include "verdict.h"

#define MAXIMUM_DATE 8
#define LINE_KEPT 512
#define AVX_DISABLED "AVX disabled" /* Linux arch/x86/kernel/cpu/bugs.c, gds_strings */

/* Keeps an entry of the auxiliary vector, if it is one that is asked for. */
void
take_auxiliary(struct options *options, uint64_t number, uint64_t value)
{
    static const uint8_t numbers[] = {
#define NUMBER(constant, number) number,
        EACH_AUXILIARY(NUMBER)
#undef NUMBER
    };

    for (size_t i = 0; i < AUXILIARY_COUNT; i++)
        if (numbers[i] == number) {
            options->told[i] = true;
            options->auxiliary[i] = value;
        }
}

/* Is there a proc directory below root? */
bool
has_proc(const char *root)
{
    struct file file;

    if (!open_file(&file, root, "/proc"))
        return false;
    close_file(&file);
    return true;
}

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* May a word of `uname -v` leave the machine? See profiles/kernel.toml. */
static bool
is_version_word(const char *word, size_t length)
{
    for (size_t at = 0, end; at < length; at = end) {
        end = at + 1;
        if (is_letter(word[at])) {
            while (end < length && is_letter(word[end]))
                end++;
            if (!listed(KERNEL_VERSION_WORDS, word + at, end - at))
                return false;
        } else if (is_digit(word[at])) {
            while (end < length && is_digit(word[end]))
                end++;
            if (end - at > MAXIMUM_DATE)
                return false;
        } else if (!listed("#,.,:,+,~,-,(,)", word + at, 1))
            return false;
    }
    return true;
}

/* Returns whether it is gVisor's fixed one. */
static bool
write_version(struct writer *writer, const char *root)
{
    char line[256], kept[256];
    size_t length = line_of(root, "/proc/sys/kernel/version", line, sizeof line), used = 0;

    for (size_t at = 0, end; at < length; at = end + 1) {
        for (end = at; end < length && line[end] != ' ';)
            end++;
        if (end == at || !is_version_word(line + at, end - at))
            continue;
        if (used > 0)
            kept[used++] = ' ';
        copy_bytes(kept + used, line + at, end - at);
        used += end - at;
    }
    if (used == 0)
        return false;
    json_key(writer, "version");
    json_bytes(writer, kept, used);
    return text_is(GVISOR_VERSION, kept, used);
}

/* The line is left in `line`; returns its length. */
static size_t
write_line_of(struct writer *writer, const char *key, const char *root, const char *path,
              char line[LINE_KEPT])
{
    size_t length = line_of(root, path, line, LINE_KEPT);

    if (length == 0)
        return 0;
    json_key(writer, key);
    json_bytes(writer, line, length);
    return length;
}

/* --- is /proc/cpuinfo the kernel's own? --------------------------------------------------- */

/* Where something is mounted over /proc/cpuinfo (lxcfs does), names its filesystem type and returns
 * true. Asked only where it may be: in a container this file can be long. */
static bool
write_cpuinfo_mount(struct writer *writer, const char *root)
{
    static const char place[] = " /proc/cpuinfo ", mark[] = " - ";
    struct file file;
    char line[LINE_BYTES];
    size_t taken = 0;
    long length;
    bool covered = false;

    if (!open_file(&file, root, "/proc/self/mountinfo"))
        return false;
    while (!covered && taken <= MAXIMUM_FILE &&
           (length = read_line(&file, line, sizeof line, &taken)) >= 0) {
        bool found = false;
        size_t type = 0, end;

        for (size_t i = 0; i + sizeof mark - 1 <= (size_t)length; i++) {
            if (i + sizeof place - 1 <= (size_t)length &&
                bytes_equal(line + i, place, sizeof place - 1))
                found = true;
            if (bytes_equal(line + i, mark, sizeof mark - 1)) {
                type = i + sizeof mark - 1;
                break;
            }
        }
        if (!found || type == 0)
            continue;
        for (end = type; end < (size_t)length && line[end] != ' ';)
            end++;
        json_key(writer, "cpuinfo_mount");
        json_bytes(writer, line + type, end - type);
        covered = true;
    }
    close_file(&file);
    return covered;
}

/* Up to nine digits; returns how many there are. */
static size_t
take_digits(const char *text, uint16_t *number)
{
    uint32_t value = 0;
    size_t length = 0;

    for (; length < 9 && is_digit(text[length]); length++)
        value = value * 10 + (uint32_t)(text[length] - '0');
    *number = value < UINT16_MAX ? (uint16_t)value : UINT16_MAX;
    return length;
}

/* `6.1.0-49-amd64` as 6, 1, 0; false if it does not begin like a Linux release. */
bool
parse_release(const char *text, struct release *release)
{
    size_t at = take_digits(text, &release->number[0]), digits;

    if (at == 0 || text[at] != '.')
        return false;
    digits = take_digits(text + ++at, &release->number[1]);
    if (digits == 0)
        return false;
    at += digits;
    release->number[2] = 0;
    if (text[at] == '.')
        take_digits(text + at + 1, &release->number[2]);
    return true;
}

/* Below, equal to or above zero as strcmp() has it. */
int
compare_releases(const struct release *a, const struct release *b)
{
    for (size_t i = 0; i < 3; i++)
        if (a->number[i] != b->number[i])
            return a->number[i] < b->number[i] ? -1 : 1;
    return 0;
}

static bool
holds(const char *text, size_t length, const char *part)
{
    size_t wanted = text_length(part);

    for (size_t at = 0; at + wanted <= length; at++)
        if (bytes_equal(text + at, part, wanted))
            return true;
    return false;
}

/* Writes the members that come from the kernel's files, and keeps what a verdict needs of them. A
 * file that is not there has no member. */
void
write_system(struct writer *writer, const char *root, struct kernel_told *told)
{
    char line[LINE_KEPT];
    size_t length;

    json_key(writer, "kernel");
    json_open(writer, '{');
    length = write_line_of(writer, "release", root, "/proc/sys/kernel/osrelease", line);
    keep_text(told->release_text, sizeof told->release_text, line, length);
    told->release_told = parse_release(told->release_text, &told->release);
    told->gvisor = write_version(writer, root);
    json_close(writer, '}');
    if (!write_cpuinfo(writer, root, told))
        told->covered = write_cpuinfo_mount(writer, root);
    write_command_line(writer, root, told);
    json_key(writer, "vulnerabilities");
    json_open(writer, '{');
    length = write_line_of(writer, "gather_data_sampling", root,
                           "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling", line);
    told->gds_file = length > 0;
    told->avx_disabled = holds(line, length, AVX_DISABLED);
    json_close(writer, '}');
}

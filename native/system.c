/*
 * What the kernel says: a fixed list of files below root, and of each only what is on an
 * allow-list. Whatever is not named here never leaves the machine: no serial numbers, no APIC ids,
 * no host name, no unknown word of the command line.
 */
#include "core.h"
#include "syscalls.h"

#include <linux/fcntl.h>
#include <linux/magic.h>
#include <asm/statfs.h>

#define PATH_BYTES 512
#define LINE_BYTES 8192
#define MAXIMUM_KINDS 16            /* distinct /proc/cpuinfo blocks that are kept */
#define MAXIMUM_CPUINFO (64u << 20) /* bytes read of it: 8,192 CPUs need about 16 MiB */
#define MAXIMUM_WORD 256
#define MAXIMUM_DIGITS 6
#define MAXIMUM_DATE 8

static const char *const cpuinfo_keys[] = {
#define KEY(key) key,
    EACH_CPUINFO_KEY(KEY)
#undef KEY
};

/* A word of the command line, and what its value may be made of: see profiles/kernel.toml. */
static const struct kernel_word {
    const char *name, *values;
    bool numbers, features;
} kernel_words[] = {
#define WORD(name, values, numbers, features) {name, values, numbers, features},
    EACH_KERNEL_WORD(WORD)
#undef WORD
};

struct file {
    long descriptor;
    size_t length, at;
    char buffer[4096];
};

static bool
open_file(struct file *file, const char *root, const char *path)
{
    char full[PATH_BYTES];
    size_t root_length = text_length(root), path_length = text_length(path);

    if (root_length + path_length >= sizeof full)
        return false;
    copy_bytes(full, root, root_length);
    copy_bytes(full + root_length, path, path_length + 1);
    file->length = file->at = 0;
    /* O_NONBLOCK: a FIFO planted below --root must not hang us. */
    file->descriptor =
        syscall4(__NR_openat, AT_FDCWD, full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    return file->descriptor >= 0;
}

static void
close_file(struct file *file)
{
    syscall1(__NR_close, file->descriptor);
}

/* Reads on where the buffer is used up; false at the end of the file and on any error. */
static bool
fill(struct file *file)
{
    long got;

    if (file->at < file->length)
        return true;
    got = syscall3(__NR_read, file->descriptor, file->buffer, sizeof file->buffer);
    file->at = 0;
    file->length = got > 0 ? (size_t)got : 0;
    return got > 0;
}

/*
 * Reads a line without its newline; what does not fit is dropped.
 * Returns its length, or -1 at the end of the file. `taken` counts the bytes read.
 */
static long
read_line(struct file *file, char *line, size_t capacity, size_t *taken)
{
    size_t length = 0;
    bool ended = false;

    if (!fill(file))
        return -1;
    while (!ended && *taken <= MAXIMUM_CPUINFO && fill(file)) {
        const char *from = file->buffer + file->at;
        size_t run = 0, rest = file->length - file->at, room = capacity - 1 - length;

        while (run < rest && from[run] != '\n')
            run++;
        ended = run < rest;
        copy_bytes(line + length, from, run < room ? run : room);
        length += run < room ? run : room;
        file->at += run + ended;
        *taken += run + ended;
    }
    line[length] = '\0';
    return (long)length;
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

/* Is the text one of a list with commas between? */
static bool
listed(const char *list, const char *text, size_t length)
{
    while (*list != '\0') {
        size_t end = 0;

        while (list[end] != '\0' && list[end] != ',')
            end++;
        if (end == length && bytes_equal(list, text, length))
            return true;
        list += end + (list[end] == ',');
    }
    return false;
}

/* The first line of a file, without its newline; 0 where there is none. */
static size_t
line_of(const char *root, const char *path, char *line, size_t capacity)
{
    struct file file;
    size_t taken = 0;
    long length;

    if (!open_file(&file, root, path))
        return 0;
    length = read_line(&file, line, capacity, &taken);
    close_file(&file);
    return length < 0 ? 0 : (size_t)length;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
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

static void
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
        return;
    json_key(writer, "version");
    json_bytes(writer, kept, used);
}

static void
write_line_of(struct writer *writer, const char *key, const char *root, const char *path)
{
    char line[512];
    size_t length = line_of(root, path, line, sizeof line);

    if (length == 0)
        return;
    json_key(writer, key);
    json_bytes(writer, line, length);
}

/* --- /proc/cpuinfo ------------------------------------------------------------------------ */

/* One distinct block: its allowed lines as JSON members, and the CPUs that share it. */
struct cpuinfo_kind {
    struct writer fields, cpus;
};

struct cpuinfo_reader {
    struct cpuinfo_kind kinds[MAXIMUM_KINDS];
    uint32_t count;
    struct writer block; /* the block being read */
    uint32_t seen;       /* keys that the block already has, by their place in cpuinfo_keys */
    uint32_t processor;
};

/* The place of a key in cpuinfo_keys, or -1. */
static int
allowed_key(const char *line, size_t length)
{
    for (size_t i = 0; i < sizeof cpuinfo_keys / sizeof *cpuinfo_keys; i++)
        if (length == text_length(cpuinfo_keys[i]) && bytes_equal(line, cpuinfo_keys[i], length))
            return (int)i;
    return -1;
}

static uint32_t
parse_number(const char *text)
{
    uint32_t value = 0;

    for (; *text >= '0' && *text <= '9' && value < 100000000; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    return value;
}

static void
end_block(struct cpuinfo_reader *reader)
{
    struct cpuinfo_kind *kind = NULL;

    if (reader->block.length == 0)
        return;
    for (uint32_t i = 0; i < reader->count && kind == NULL; i++)
        if (reader->kinds[i].fields.length == reader->block.length &&
            bytes_equal(reader->kinds[i].fields.text, reader->block.text, reader->block.length))
            kind = &reader->kinds[i];
    if (kind == NULL && reader->count < MAXIMUM_KINDS) {
        kind = &reader->kinds[reader->count++];
        write_text(&kind->fields, reader->block.text, reader->block.length);
    }
    if (kind != NULL)
        json_number(&kind->cpus, reader->processor);
    reader->block.length = 0;
    reader->block.comma = false;
    reader->seen = 0;
}

static void
take_line(struct cpuinfo_reader *reader, const char *line, size_t length)
{
    size_t key_length = 0, value = 0;
    int key;

    while (value < length && line[value] != ':')
        value++;
    if (value == length)
        return;
    key_length = value++;
    while (key_length > 0 && (line[key_length - 1] == ' ' || line[key_length - 1] == '\t'))
        key_length--;
    while (value < length && line[value] == ' ')
        value++;
    if (key_length == 9 && bytes_equal(line, "processor", 9)) {
        end_block(reader);
        reader->processor = parse_number(line + value);
        return;
    }
    key = allowed_key(line, key_length);
    if (key < 0 || reader->seen >> key & 1) /* of a key given twice the first counts */
        return;
    reader->seen |= 1u << key;
    json_key(&reader->block, cpuinfo_keys[key]);
    json_bytes(&reader->block, line + value, length - value);
}

/* Is a file the kernel's own, of a proc file system? */
static bool
is_procfs(const struct file *file)
{
    struct statfs about = {0};

    return !failed(syscall2(__NR_fstatfs, file->descriptor, &about)) &&
           about.f_type == PROC_SUPER_MAGIC;
}

/* Returns whether the file is there and certainly the kernel's own. */
static bool
write_cpuinfo(struct writer *writer, const char *root)
{
    struct cpuinfo_reader reader = {.count = 0};
    struct file file;
    bool genuine;
    char line[LINE_BYTES];
    size_t taken = 0;
    long length;

    if (!open_file(&file, root, "/proc/cpuinfo"))
        return false;
    genuine = is_procfs(&file);
    while (taken <= MAXIMUM_CPUINFO && (length = read_line(&file, line, sizeof line, &taken)) >= 0)
        take_line(&reader, line, (size_t)length);
    end_block(&reader);
    close_file(&file);

    json_key(writer, "cpuinfo");
    json_open(writer, '[');
    for (uint32_t i = 0; i < reader.count; i++) {
        json_open(writer, '{');
        json_key(writer, "cpus");
        json_open(writer, '[');
        write_text(writer, reader.kinds[i].cpus.text, reader.kinds[i].cpus.length);
        json_close(writer, ']');
        json_key(writer, "fields");
        json_open(writer, '{');
        write_text(writer, reader.kinds[i].fields.text, reader.kinds[i].fields.length);
        json_close(writer, '}');
        json_close(writer, '}');
        writer->failed |= reader.kinds[i].fields.failed || reader.kinds[i].cpus.failed;
        release_writer(&reader.kinds[i].fields);
        release_writer(&reader.kinds[i].cpus);
    }
    json_close(writer, ']');
    writer->failed |= reader.block.failed;
    release_writer(&reader.block);
    return genuine;
}

/* --- /proc/cmdline ------------------------------------------------------------------------ */

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

/* Writes a word of the command line if it is known, with what is known of its value. */
static void
write_word(struct writer *writer, const char *text, size_t length)
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
                 (word->features && listed(KERNEL_FEATURES, text + at, end - at)))) {
                kept[used] = used == name ? '=' : ',';
                copy_bytes(kept + used + 1, text + at, end - at);
                used += 1 + end - at;
            }
            at = end;
        }
        if (used > name || name == length)
            json_bytes(writer, kept, used);
        return;
    }
}

static void
write_command_line(struct writer *writer, const char *root)
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
            write_word(writer, line + at, end - at);
        at = end + 1;
    }
    json_close(writer, ']');
}

/* --- is /proc/cpuinfo the kernel's own? --------------------------------------------------- */

/* Where something is mounted over /proc/cpuinfo (lxcfs does), names its filesystem type. Asked only
 * where it may be: in a container this file can be long. */
static void
write_cpuinfo_mount(struct writer *writer, const char *root)
{
    static const char place[] = " /proc/cpuinfo ", mark[] = " - ";
    struct file file;
    char line[LINE_BYTES];
    size_t taken = 0;
    long length;

    if (!open_file(&file, root, "/proc/self/mountinfo"))
        return;
    while (taken <= MAXIMUM_CPUINFO &&
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
        break;
    }
    close_file(&file);
}

/* Writes the members that come from the kernel's files. A file that is not there has no member. */
void
write_system(struct writer *writer, const char *root)
{
    json_key(writer, "kernel");
    json_open(writer, '{');
    write_line_of(writer, "release", root, "/proc/sys/kernel/osrelease");
    write_version(writer, root);
    json_close(writer, '}');
    if (!write_cpuinfo(writer, root))
        write_cpuinfo_mount(writer, root);
    write_command_line(writer, root);
    json_key(writer, "vulnerabilities");
    json_open(writer, '{');
    write_line_of(writer, "gather_data_sampling", root,
                  "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling");
    json_close(writer, '}');
}

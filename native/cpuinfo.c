/*
 * /proc/cpuinfo: of each block the lines whose key is on the allow-list; equal blocks are one kind.
 */
#include "files.h"
#include "verdict.h"
#include "syscalls.h"

#include <linux/magic.h>
#include <asm/statfs.h>

static const char *const cpuinfo_keys[] = {
#define KEY(key) key,
    EACH_CPUINFO_KEY(KEY)
#undef KEY
};

/* One distinct block: its allowed lines as JSON members, and the CPUs that share it. */
struct cpuinfo_kind {
    struct writer fields, cpus;
};

struct cpuinfo_reader {
    struct cpuinfo_kind kinds[MAXIMUM_KINDS];
    uint32_t count;
    struct writer block;    /* the block being read */
    struct listing told;    /* what a verdict needs of it */
    char flags[LINE_BYTES]; /* its list */
    size_t flags_length;
    uint32_t seen; /* keys that the block already has, by their place in cpuinfo_keys */
    uint32_t processor;
    struct kernel_told *kernel;
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

/* Is the byte one at which Python's str.split() divides a list? */
static bool
is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || (byte >= 0x1c && byte <= 0x1f) ||
           byte == 0x85 || byte == 0xa0;
}

/* Adds the features that a list of /proc/cpuinfo names. */
void
take_flags(struct listing *listing, const char *line, size_t length)
{
    static const struct {
        unsigned int feature;
        const char *flag;
    } others[] = {
#define ROW(feature, flag) {feature, flag},
        EACH_OTHER_FLAG(ROW)
#undef ROW
            {FEATURE_COUNT, NULL},
    };

    for (size_t at = 0, end; at < length; at = end + 1) {
        for (end = at; end < length && !is_blank((uint8_t)line[end]);)
            end++;
        for (unsigned int i = 0; i < FEATURE_COUNT && end > at; i++) {
            const char *flag = feature_rows[i].flag;

            if (flag != NULL && text_is(flag, line + at, end - at)) {
                add_feature(&listing->named, i);
                add_feature(&listing->listed, i);
            }
        }
        for (size_t i = 0; others[i].flag != NULL && end > at; i++)
            if (text_is(others[i].flag, line + at, end - at))
                add_feature(&listing->listed, others[i].feature);
    }
}

/* A block of that kind speaks of that CPU. */
static void
note_cpu(struct measurement *measurement, uint32_t cpu, uint32_t kind)
{
    uint32_t low = 0, high = measurement->record_count;

    while (low < high) { /* records are in CPU order */
        uint32_t middle = low + (high - low) / 2;

        if (measurement->records[middle].cpu < cpu)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < measurement->record_count && measurement->records[low].cpu == cpu)
        measurement->records[low].blocks |= 1u << kind;
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
        take_flags(&reader->told, reader->flags, reader->flags_length);
        reader->kernel->listings[reader->kernel->listing_count++] = reader->told;
    }
    if (kind != NULL) {
        json_number(&kind->cpus, reader->processor);
        note_cpu(reader->kernel->measurement, reader->processor, (uint32_t)(kind - reader->kinds));
    }
    reader->block.length = 0;
    reader->block.comma = false;
    reader->seen = 0;
    reader->told = (struct listing){.has_flags = false};
    reader->flags_length = 0;
}

/* Keeps what a verdict needs of a line. */
static void
keep_value(struct cpuinfo_reader *reader, const char *key, const char *value, size_t length)
{
    static const char *const keys[] = {
        [BLOCK_VENDOR] = "vendor_id",
        [BLOCK_FAMILY] = "cpu family",
        [BLOCK_MODEL] = "model",
        [BLOCK_STEPPING] = "stepping",
    };
    struct kernel_told *kernel = reader->kernel;

    for (uint32_t i = 0; i < BLOCK_VALUES; i++)
        if (text_equal(key, keys[i])) {
            reader->told.told[i] = true;
            keep_text(reader->told.value[i], VALUE_BYTES, value, length);
            if (length >= VALUE_BYTES)
                reader->told.value[i][0] = '\x7f'; /* what is cut equals nothing */
        }
    if (text_equal(key, FEATURE_LIST)) {
        reader->told.has_flags = true;
        copy_bytes(reader->flags, value, length);
        reader->flags_length = length;
    } else if (text_equal(key, "microcode") && reader->count == 0)
        keep_text(kernel->microcode, sizeof kernel->microcode, value, length);
    else if (text_equal(key, "model name") && reader->count == 0)
        keep_text(kernel->brand, sizeof kernel->brand, value, length);
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
    keep_value(reader, cpuinfo_keys[key], line + value, length - value);
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
bool
write_cpuinfo(struct writer *writer, const char *root, struct kernel_told *kernel)
{
    struct cpuinfo_reader reader = {.kernel = kernel};
    struct file file;
    bool genuine;
    char line[LINE_BYTES];
    size_t taken = 0;
    long length;

    if (!open_file(&file, root, "/proc/cpuinfo"))
        return false;
    genuine = is_procfs(&file);
    while (taken <= MAXIMUM_FILE && (length = read_line(&file, line, sizeof line, &taken)) >= 0)
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

/*
 * A JSON writer into a growing buffer.
 *
 * Bytes outside ASCII are written as \u00XX: whatever a fake or broken /proc holds, the document
 * stays valid.
 */
#include "core.h"
#include "syscalls.h"

#include <linux/mman.h>

#define FIRST_CAPACITY ((size_t)1 << 18) /* pages that are not written cost nothing */
#define LARGEST_CAPACITY ((size_t)1 << 28)

static bool
reserve(struct writer *writer, size_t more)
{
    size_t capacity = writer->capacity;
    long address;

    if (writer->failed)
        return false;
    if (writer->length + more <= capacity)
        return true;
    if (capacity == 0)
        capacity = FIRST_CAPACITY;
    while (capacity < writer->length + more)
        capacity *= 2;
    address = capacity > LARGEST_CAPACITY
                  ? -1
                  : syscall6(__NR_mmap, 0, (long)capacity, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (failed(address)) {
        writer->failed = true;
        return false;
    }
    if (writer->text != NULL) {
        copy_bytes((char *)address, writer->text, writer->length);
        syscall2(__NR_munmap, writer->text, writer->capacity);
    }
    writer->text = (char *)address;
    writer->capacity = capacity;
    return true;
}

void
write_text(struct writer *writer, const char *text, size_t length)
{
    if (!reserve(writer, length))
        return;
    copy_bytes(writer->text + writer->length, text, length);
    writer->length += length;
}

/* One character; most of a document is written by one. */
static void
write_character(struct writer *writer, char character)
{
    if (writer->length == writer->capacity && !reserve(writer, 1))
        return;
    if (!writer->failed)
        writer->text[writer->length++] = character;
}

void
release_writer(struct writer *writer)
{
    if (writer->text != NULL)
        syscall2(__NR_munmap, writer->text, writer->capacity);
    *writer = (struct writer){0};
}

static void
separate(struct writer *writer)
{
    if (writer->comma)
        write_character(writer, ',');
    writer->comma = true;
}

void
json_open(struct writer *writer, char bracket)
{
    separate(writer);
    write_character(writer, bracket);
    writer->comma = false;
}

void
json_close(struct writer *writer, char bracket)
{
    write_character(writer, bracket);
    writer->comma = true;
}

/* May a byte stand in a string as it is? */
static bool
is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

void
json_bytes(struct writer *writer, const char *text, size_t length)
{
    static const char digits[] = "0123456789abcdef";

    separate(writer);
    write_character(writer, '"');
    for (size_t at = 0; at < length; at++) {
        size_t run = at;
        uint8_t byte;

        while (run < length && is_plain((uint8_t)text[run]))
            run++;
        write_text(writer, text + at, run - at);
        at = run;
        if (at == length)
            break;
        byte = (uint8_t)text[at];
        if (byte == '"' || byte == '\\') {
            char escaped[2] = {'\\', (char)byte};

            write_text(writer, escaped, sizeof escaped);
        } else {
            char escaped[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};

            write_text(writer, escaped, sizeof escaped);
        }
    }
    write_character(writer, '"');
}

/* A string of which it is known that every byte may stand as it is. */
void
json_plain(struct writer *writer, const char *text, size_t length)
{
    separate(writer);
    write_character(writer, '"');
    write_text(writer, text, length);
    write_character(writer, '"');
}

void
json_string(struct writer *writer, const char *text)
{
    json_bytes(writer, text, text_length(text));
}

void
json_key(struct writer *writer, const char *key)
{
    json_string(writer, key);
    write_character(writer, ':');
    writer->comma = false;
}

void
json_hex(struct writer *writer, const uint8_t *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";

    separate(writer);
    write_character(writer, '"');
    for (size_t i = 0; i < length; i++) {
        char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};

        write_text(writer, pair, sizeof pair);
    }
    write_character(writer, '"');
}

/* A number in decimal digits. */
void
write_number(struct writer *writer, uint64_t value)
{
    char text[20];
    size_t at = sizeof text;

    do
        text[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    write_text(writer, text + at, sizeof text - at);
}

void
write_words(struct writer *writer, const char *text)
{
    write_text(writer, text, text_length(text));
}

void
json_number(struct writer *writer, uint64_t value)
{
    separate(writer);
    write_number(writer, value);
}

void
json_literal(struct writer *writer, const char *word)
{
    separate(writer);
    write_words(writer, word);
}

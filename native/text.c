/*
 * The few string functions that the core needs: it has no libc.
 */
#include "core.h"

size_t
text_length(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0')
        length++;
    return length;
}

bool
bytes_equal(const void *a, const void *b, size_t length)
{
    const uint8_t *left = a, *right = b;

    for (size_t i = 0; i < length; i++)
        if (left[i] != right[i])
            return false;
    return true;
}

bool
text_equal(const char *a, const char *b)
{
    size_t length = text_length(a);

    return length == text_length(b) && bytes_equal(a, b, length);
}

/* Is the text made of exactly these bytes? */
bool
text_is(const char *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0' || text[i] != bytes[i])
            return false;
    return text[length] == '\0';
}

/* Does the text begin with that one? */
bool
text_begins(const char *text, const char *start)
{
    for (; *start != '\0'; start++, text++)
        if (*text != *start)
            return false;
    return true;
}

/* Copies bytes as a text, as many as fit. */
void
keep_text(char *to, size_t capacity, const char *bytes, size_t length)
{
    if (length >= capacity)
        length = capacity - 1;
    copy_bytes(to, bytes, length);
    to[length] = '\0';
}

/* Is the text one of a list with commas between? */
bool
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

bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void
copy_bytes(void *to, const void *from, size_t length)
{
    /* Not a loop in C: compilers turn such a loop into a call of libc's memcpy. */
    move_bytes(to, from, length);
}

void
clear_bytes(void *to, size_t length)
{
    fill_bytes(to, 0, length);
}

#ifndef CPUPROBE_HOSTED
/*
 * Compilers call these by themselves, freestanding or not. They are hidden, so that inside the
 * Python extension too the core never reaches libc's, which pick their code by CPUID.
 */
__attribute__((visibility("hidden"))) void *memset(void *to, int value, size_t length);
__attribute__((visibility("hidden"))) void *memcpy(void *to, const void *from, size_t length);

void *
memset(void *to, int value, size_t length)
{
    fill_bytes(to, value, length);
    return to;
}

void *
memcpy(void *to, const void *from, size_t length)
{
    copy_bytes(to, from, length);
    return to;
}
#endif

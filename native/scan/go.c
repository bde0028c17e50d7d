#include "functions.h"

static uint64_t
number_at(const uint8_t *at, unsigned size)
{
    uint64_t number = 0;

    __builtin_memcpy(&number, at, size);
    return number;
}

int
functions_go(struct go_table *go, struct functions *made)
{
    unsigned half = go->width / 2;
    const uint8_t *row = go->table + go->rows;
    struct function function = {.strings = go->number, .source = BY_SYMBOL};
    uint32_t range = 0;

    go->start = function.end = go->base + number_at(row, half);
    go->end = go->base + number_at(row + go->count * go->width, half);
    if (!go->start || go->end < go->base)
        return 0;
    for (uint64_t at = 0; at < go->count; at++, row += go->width) {
        uint64_t entry = go->entries + number_at(row + half, half), name = go->size;

        function.start = function.end;
        function.end = go->base + number_at(row + go->width, half);
        if (function.end < function.start)
            return 0;
        while (range < go->ranges && go->code[range].end <= function.start)
            range++;
        if (range == go->ranges || function.start < go->code[range].start)
            continue;
        if (entry >= go->entries && entry < go->size && go->size - entry >= half + 4)
            name = go->names + number_at(go->table + entry + half, 4);
        function.name = (uint32_t)(name < go->size && name >= go->names ? name : go->size);
        function.section = range;
        add_function(made, &function);
    }
    return 1;
}

enum { LONGEST_NAME = 300 }; /* of a name no more is looked at (code/elf.py) */

/* What leads on to the next letters of words, and which of these end one (Baeza-Yates and Gonnet,
 * "A new approach to text searching", 1992). */
struct words {
    uint64_t letters[256], first, last;
};

static void
read_words(struct words *made, const uint8_t *words, uint32_t size)
{
    unsigned bit = 0;
    int is_first = 1;

    *made = (struct words){.first = 0};
    for (uint32_t at = 0; at < size; at++) {
        if (!words[at]) {
            made->last |= 1ull << (bit - 1);
            is_first = 1;
            continue;
        }
        made->letters[words[at]] |= 1ull << bit;
        if (words[at] >= 'a' && words[at] <= 'z')
            made->letters[words[at] - 'a' + 'A'] |= 1ull << bit;
        made->first |= (uint64_t)is_first << bit++;
        is_first = 0;
    }
}

/* A bit for each word, of the bits of their last letters. */
static uint64_t
words_of(const struct words *words, uint64_t ended)
{
    uint64_t found = 0, last = words->last;

    for (unsigned word = 0; last; last &= last - 1, word++)
        found |= (uint64_t)((ended & last & -last) != 0) << word;
    return found;
}

void
functions_named(const struct function *all, uint64_t count, const uint8_t *strings, uint64_t size,
                uint32_t number, const uint8_t *words, uint32_t words_size, struct links *named)
{
    struct words sought;

    read_words(&sought, words, words_size);
    for (uint64_t at = 0; at < count; at++) {
        uint64_t state = 0, ended = 0, end = all[at].name + (uint64_t)LONGEST_NAME;

        end = end < size ? end : size;
        if (all[at].strings != number)
            continue;
        for (uint64_t place = all[at].name; place < end && strings[place]; place++) {
            state = (state << 1 | sought.first) & sought.letters[strings[place]];
            ended |= state;
        }
        ended &= sought.last;
        if (ended)
            add_link(named, all[at].start, words_of(&sought, ended));
    }
}

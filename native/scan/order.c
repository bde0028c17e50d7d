/* Links in order. */
#include "links.h"

enum { DIGIT = 13 }; /* bits of a key that are sorted by at once: as many counters fit in a cache */

/* Sorts lists, one behind another, by one digit of their keys. */
static void
sort_by(const struct links *lists, uint32_t number, unsigned shift, struct link *to)
{
    const uint64_t mask = (1 << DIGIT) - 1;
    uint64_t first[(1 << DIGIT) + 1] = {0};

    for (uint32_t each = 0; each < number; each++)
        for (uint64_t at = 0; at < lists[each].count; at++)
            first[(lists[each].all[at].key >> shift & mask) + 1]++;
    for (unsigned at = 1; at <= mask; at++)
        first[at] += first[at - 1];
    for (uint32_t each = 0; each < number; each++)
        for (uint64_t at = 0; at < lists[each].count; at++)
            to[first[lists[each].all[at].key >> shift & mask]++] = lists[each].all[at];
}

void
links_sort(const struct links *lists, uint32_t number, struct link *all, struct link *spare)
{
    struct links one = {0};
    struct link *to = all;
    uint64_t differ = 0, key = 0;
    unsigned left = 0;

    for (uint32_t each = 0; each < number; one.count += lists[each++].count)
        for (uint64_t at = 0; at < lists[each].count; at++) {
            key = one.count + at ? key : lists[each].all[at].key;
            differ |= lists[each].all[at].key ^ key;
        }
    for (unsigned shift = 0; shift < 64; shift += DIGIT)
        left += (differ >> shift & ((1 << DIGIT) - 1)) != 0;
    if (!left)
        sort_by(lists, number, 0, all);
    for (unsigned shift = 0; left; shift += DIGIT) {
        if (!(differ >> shift & ((1 << DIGIT) - 1)))
            continue;
        to = left-- % 2 ? all : spare;
        sort_by(lists, number, shift, to);
        one.all = to;
        lists = &one;
        number = 1;
    }
}

void
links_group(const struct links *lists, uint32_t number, uint64_t keys, uint64_t *first,
            uint64_t *values)
{
    __builtin_memset(first, 0, (keys + 2) * sizeof *first);
    for (uint32_t each = 0; each < number; each++)
        for (uint64_t at = 0; at < lists[each].count; at++)
            first[lists[each].all[at].key + 2]++;
    for (uint64_t key = 2; key < keys + 2; key++)
        first[key] += first[key - 1];
    for (uint32_t each = 0; each < number; each++)
        for (uint64_t at = 0; at < lists[each].count; at++)
            values[first[lists[each].all[at].key + 1]++] = lists[each].all[at].value;
}

void
links_part(const struct link *all, uint64_t count, uint64_t *keys, uint64_t *values)
{
    for (uint64_t at = 0; at < count; at++) {
        keys[at] = all[at].key;
        values[at] = all[at].value;
    }
}

uint64_t
links_last(struct link *all, uint64_t count)
{
    uint64_t left = 0;

    for (uint64_t at = 0; at < count; at++)
        if (at + 1 == count || all[at + 1].key != all[at].key)
            all[left++] = all[at];
    return left;
}

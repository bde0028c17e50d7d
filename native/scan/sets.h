/* Numbers in order. */
#ifndef CPUPROBE_SETS_H
#define CPUPROBE_SETS_H

#include <stdint.h>

/* Where a number is, or would be. */
static inline uint32_t
place_of(const uint64_t *all, uint32_t count, uint64_t wanted)
{
    uint32_t low = 0;

    while (count) {
        uint32_t half = count / 2;

        if (all[low + half] < wanted) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

static inline void
insert(uint64_t *all, uint32_t *count, uint32_t at, uint64_t value)
{
    for (uint32_t each = (*count)++; each > at; each--)
        all[each] = all[each - 1];
    all[at] = value;
}

#endif

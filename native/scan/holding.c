#include "links.h"

uint64_t
links_hold(const struct links_known *known, const uint64_t *limits, const uint64_t *pages,
           const uint64_t *masks, uint64_t count, uint64_t *held)
{
    const struct links_index *functions = &known->functions;
    uint64_t bytes = 0;
    uint32_t first = 0;

    __builtin_memset(held, 0, functions->count * 2 * sizeof *held);
    for (uint64_t page = 0; page < count; page++) {
        uint64_t low = pages[page] << 12, last = low | 0xfff;

        while (first + 1 < functions->count && functions->all[first + 1] <= low)
            first++;
        for (uint32_t at = first; at < functions->count && functions->all[at] <= last; at++) {
            uint64_t start = functions->all[at];

            if (limits[at] <= (low > start ? low : start))
                continue;
            bytes += held[2 * at] | held[2 * at + 1] ? 0 : limits[at] - start;
            held[2 * at] |= masks[2 * page];
            held[2 * at + 1] |= masks[2 * page + 1];
        }
    }
    return bytes;
}

uint32_t
links_holding(const uint64_t *held, uint32_t count, uint32_t bit, uint32_t *numbers)
{
    uint32_t found = 0;

    for (uint32_t at = count; at--;) {
        numbers[found] = at;
        found += held[2 * at + bit / 64] >> bit % 64 & 1;
    }
    return found;
}

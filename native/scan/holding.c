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

/* How many bits the size of a function has. */
static unsigned
magnitude(const struct links_known *known, const uint64_t *limits, uint32_t at)
{
    uint64_t size = limits[at] - known->functions.all[at];

    return size ? 64 - (unsigned)__builtin_clzll(size) : 0;
}

uint32_t
links_held(const struct links_known *known, const uint64_t *limits, const uint64_t *held,
           uint32_t *numbers)
{
    uint32_t count = (uint32_t)known->functions.count, *every = numbers + count, found = 0;
    uint32_t first[66] = {0};

    for (uint32_t at = count; at--;) {
        every[found] = at;
        found += (held[2 * at] | held[2 * at + 1]) != 0;
    }
    for (uint32_t at = 0; at < found; at++)
        first[magnitude(known, limits, every[at]) + 1]++;
    for (unsigned at = 1; at < 66; at++)
        first[at] += first[at - 1];
    for (uint32_t at = 0; at < found; at++)
        numbers[first[magnitude(known, limits, every[at])]++] = every[at];
    return found;
}

uint32_t
links_holding(const uint64_t *held, const uint32_t *every, uint32_t count, uint32_t bit,
              uint32_t *numbers)
{
    uint32_t found = 0;

    for (uint32_t at = 0; at < count; at++) {
        numbers[found] = every[at];
        found += held[2 * every[at] + bit / 64] >> bit % 64 & 1;
    }
    return found;
}

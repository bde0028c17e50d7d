#include "functions.h"

/* --- order --------------------------------------------------------------------------------------
 */

enum { DIGIT = 13 }; /* bits that are sorted by at once: most code needs two rounds */

/* Sorts by some bits of the address, or of the number of the range of code: those that are alike
 * stay in the order in which they were found. */
static void
sort_by(const struct function *from, struct function *to, uint64_t count, int by_section,
        uint64_t low, unsigned shift)
{
    uint64_t first[(1 << DIGIT) + 1] = {0};

    for (uint64_t at = 0; at < count; at++) {
        uint64_t key = by_section ? from[at].section : from[at].start - low;

        first[(key >> shift & ((1 << DIGIT) - 1)) + 1]++;
    }
    for (unsigned at = 1; at < 1 << DIGIT; at++)
        first[at] += first[at - 1];
    for (uint64_t at = 0; at < count; at++) {
        uint64_t key = by_section ? from[at].section : from[at].start - low;

        to[first[key >> shift & ((1 << DIGIT) - 1)]++] = from[at];
    }
}

static int
is_in_order(const struct function *all, uint64_t count)
{
    for (uint64_t at = 1; at < count; at++)
        if (all[at].section < all[at - 1].section)
            return 0;
    return 1;
}

static void
sort(struct function *all, struct function *spare, uint64_t count)
{
    uint64_t low = UINT64_MAX, high = 0;
    struct function *from = all, *to = spare, *other;

    for (uint64_t at = 0; at < count; at++) {
        low = all[at].start < low ? all[at].start : low;
        high = all[at].start > high ? all[at].start : high;
    }
    for (unsigned shift = 0; shift < 64 && count && (high - low) >> shift; shift += DIGIT) {
        sort_by(from, to, count, 0, low, shift);
        other = from, from = to, to = other;
    }
    /* Ranges of code are numbered by their addresses, unless they overlap. */
    for (unsigned shift = 0; shift < 32 && !is_in_order(from, count); shift += DIGIT) {
        sort_by(from, to, count, 1, 0, shift);
        other = from, from = to, to = other;
    }
    if (from != all)
        __builtin_memcpy(all, from, count * sizeof *all);
}

/* Takes in what else is told of a function. */
static void
join(struct function *known, const struct function *further)
{
    if (further->source == BY_SYMBOL) {
        if (further->end && !known->end)
            *known = *further;
    } else if (further->lsda || !known->end) {
        if (!known->end)
            known->end = further->end;
        known->lsda = further->lsda;
    }
}

/* Whether an unwind entry is of a part of a function whose end a symbol tells of: some compilers
 * make several of one, or begin behind its first instruction. */
static int
is_within(const struct function *known, const struct function *further)
{
    return known->source == BY_SYMBOL && further->source == BY_UNWIND &&
           known->section == further->section && further->start < known->end;
}

uint64_t
functions_settle(struct function *all, struct function *spare, uint64_t count)
{
    uint64_t left = 0;

    sort(all, spare, count);
    for (uint64_t at = 0; at < count; at++) {
        struct function *last = &all[left - (left > 0)];

        if (left && last->start == all[at].start && last->section == all[at].section)
            join(last, &all[at]);
        else if (left && is_within(last, &all[at]))
            last->lsda |= all[at].lsda;
        else
            all[left++] = all[at];
    }
    return left;
}

void
functions_links(const struct function *all, uint64_t count, const struct links *stubs,
                struct links *made)
{
    for (uint64_t at = 0; at < stubs->count && at < stubs->room; at++)
        add_link(made, stubs->all[at].key, 0);
    for (uint64_t at = 0; at < count; at++)
        add_link(made, all[at].start, all[at].end);
}

/* --- cutting ------------------------------------------------------------------------------------
 */

/* How long the first of some NOPs, zeros or INT3 is; 0 where there is something else (SDM vol. 2B,
 * NOP, "Recommended Multi-Byte Sequence of NOP Instruction"; all prefixes 66 and 2E). */
static uint64_t
padding_at(const uint8_t *bytes, uint64_t left)
{
    static const uint8_t behind[256] = {[0x00] = 1, [0x40] = 2, [0x44] = 3, [0x80] = 5, [0x84] = 6};
    uint64_t at = 0;
    unsigned more;
    int is_plain = 1;

    if (bytes[0] == 0x00 || bytes[0] == 0x90 || bytes[0] == 0xcc)
        return 1;
    for (; at < left && (bytes[at] == 0x66 || bytes[at] == 0x2e); at++)
        is_plain &= bytes[at] == 0x66;
    if (at < left && bytes[at] == 0x90 && is_plain)
        return at + 1;
    if (left - at < 3 || bytes[at] != 0x0f || bytes[at + 1] != 0x1f)
        return 0;
    more = behind[bytes[at + 2]];
    if (!more || left - at - 2 < more)
        return 0;
    for (unsigned zero = 1; zero < more; zero++)
        if (bytes[at + 2 + zero])
            return 0;
    return at + 2 + more;
}

static int
is_padding(const uint8_t *bytes, uint64_t size)
{
    uint64_t at = 0, length;

    if (size > LONGEST_PADDING)
        return 0;
    for (; at < size; at += length)
        if (!(length = padding_at(bytes + at, size - at)))
            return 0;
    return 1;
}

/* What is cut, and the first range of data that is not behind. */
struct state {
    const uint8_t *code;
    uint64_t address;
    const struct links_range *objects;
    uint64_t next, objects_count;
    struct functions_cut *cut;
};

static void
add_unknown(struct state *state, uint64_t start, uint64_t end)
{
    struct functions_cut *cut = state->cut;

    if (is_padding(state->code + (start - state->address), end - start)) {
        cut->padding += end - start;
        return;
    }
    cut->gaps[cut->unknowns++] = (struct scan_range){start, end, NO_FUNCTION, 0};
}

/* Bytes of no function, without what is data. */
static void
add_gap(struct state *state, uint64_t start, uint64_t end)
{
    uint64_t at = start;

    while (state->next < state->objects_count && state->objects[state->next].end <= start)
        state->next++;
    for (uint64_t number = state->next; number < state->objects_count; number++) {
        const struct links_range *data = &state->objects[number];
        uint64_t first = data->start > at ? data->start : at;
        uint64_t last = data->end < end ? data->end : end;

        if (data->start >= end)
            break;
        if (first >= last)
            continue;
        state->cut->data += last - first;
        if (first > at)
            add_unknown(state, at, first);
        at = last;
    }
    if (at < end)
        add_unknown(state, at, end);
}

static void
add_known(struct functions_cut *cut, const struct function *function, uint64_t end)
{
    uint64_t size = end - function->start;

    cut->known[cut->knowns] =
        (struct scan_range){function->start, end, function->source, function->lsda};
    cut->known_before[cut->knowns++] = cut->work;
    cut->work += size;
    cut->bytes[function->source % SOURCES] += size;
    cut->large += size >= LARGE;
}

static void
cut_functions(const struct function *all, uint64_t count, uint64_t stop,
              const struct links_range *objects, uint64_t objects_count, struct functions_cut *cut)
{
    uint64_t next = 0;

    for (uint64_t at = 0; at < count; at++) {
        uint64_t start = all[at].start, end = all[at].end;
        uint64_t following = at + 1 < count ? all[at + 1].start : stop;

        if (!end || end > following)
            end = following;
        while (next < objects_count && objects[next].end <= start)
            next++;
        if (next < objects_count) {
            if (objects[next].start <= start)
                continue;
            if (objects[next].start < end)
                end = objects[next].start;
        }
        if (end > start)
            add_known(cut, &all[at], end);
    }
}

void
functions_cut(const struct function *all, uint64_t count, const uint8_t *code, uint64_t size,
              uint64_t address, const struct links_range *objects, uint64_t objects_count,
              struct functions_cut *cut)
{
    struct state state = {code, address, objects, 0, objects_count, cut};
    uint64_t at = address, stop = address + size;

    cut->knowns = cut->unknowns = 0;
    while (count && all[0].start < address)
        all++, count--;
    while (count && all[count - 1].start >= stop)
        count--;
    cut_functions(all, count, stop, objects, objects_count, cut);
    for (uint64_t number = 0; number < cut->knowns; at = cut->known[number++].end) {
        uint64_t start = cut->known[number].start;

        if (start == at)
            continue;
        if (is_padding(code + (at - address), start - at))
            cut->padding += start - at;
        else
            add_gap(&state, at, start);
    }
    if (stop > at)
        add_gap(&state, at, stop);
    for (uint64_t number = 0; number < cut->unknowns; number++) {
        cut->gaps_before[number] = cut->work;
        cut->work += cut->gaps[number].end - cut->gaps[number].start;
    }
}

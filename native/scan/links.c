#include "links.h"

/* ELF: the x86-64 psABI, table 4.9. */
enum { R_64 = 1, R_GLOB_DAT = 6, R_JUMP_SLOT = 7, R_RELATIVE = 8, R_IRELATIVE = 37 };
enum { RELA = 24, SYMBOL = 24 };

static uint64_t
word_at(const uint8_t *at)
{
    uint64_t word;

    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

static int64_t
distance_at(const uint8_t *at)
{
    int32_t distance;

    __builtin_memcpy(&distance, at, sizeof distance);
    return distance;
}

static inline void
add(struct links *links, uint64_t key, uint64_t value)
{
    if (links->count < links->room)
        links->all[links->count] = (struct link){key, value};
    links->count++;
}

/* --- finding addresses ---------------------------------------------------------------------------
 */

void
links_index(struct links_index *index)
{
    uint64_t low = index->count ? index->all[0] : 0, bucket = 0;
    uint64_t span = index->count ? index->all[index->count - 1] - low : 0;

    for (index->shift = 5; span >> index->shift >= MOST_BUCKETS;)
        index->shift++;
    for (uint32_t at = 0; at < index->count; at++)
        for (; bucket <= (index->all[at] - low) >> index->shift; bucket++)
            index->below[bucket] = at;
    index->below[bucket] = index->count;
}

/* The number of an address; `count` where it is none of these. */
static inline uint32_t
number_of(const struct links_index *index, uint64_t address)
{
    uint32_t at, end;
    uint64_t bucket;

    if (!index->count || address < index->all[0] || address > index->all[index->count - 1])
        return index->count;
    bucket = (address - index->all[0]) >> index->shift;
    for (at = index->below[bucket], end = index->below[bucket + 1]; end - at > 8;) {
        uint32_t middle = at + (end - at) / 2;

        if (index->all[middle] <= address)
            at = middle;
        else
            end = middle;
    }
    for (; at < end; at++)
        if (index->all[at] == address)
            return at;
    return index->count;
}

static int
is_code(const struct links_known *known, uint64_t address)
{
    uint32_t low = 0, high = known->ranges;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (known->code[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address < known->code[low - 1].end;
}

/* --- searching code ------------------------------------------------------------------------------
 */

/* What a byte may be: of a CALL or JMP, of what begins with 0F; the second or third of LEA or MOV
 * with an address relative to the next instruction; of MOV with an immediate. */
enum { OF_CALL = 1, OF_ESCAPE = 2, OF_RELATIVE = 4, OF_IMMEDIATE = 8 };

static const uint8_t kinds[256] = {
    [0xe8] = OF_CALL,      [0xe9] = OF_CALL,      [0x0f] = OF_ESCAPE,    [0x8b] = OF_RELATIVE,
    [0x8d] = OF_RELATIVE,  [0xb8] = OF_IMMEDIATE, [0xb9] = OF_IMMEDIATE, [0xba] = OF_IMMEDIATE,
    [0xbb] = OF_IMMEDIATE, [0xbc] = OF_IMMEDIATE, [0xbd] = OF_IMMEDIATE, [0xbe] = OF_IMMEDIATE,
    [0xbf] = OF_IMMEDIATE, [0xc7] = OF_IMMEDIATE,
};

static void
add_call(const struct links_known *known, struct links *calls, uint64_t site, uint64_t target)
{
    if (number_of(&known->functions, target) < known->functions.count)
        add(calls, target, site);
}

static void
search_escape(const uint8_t *code, uint64_t left, uint64_t site, const struct links_known *known,
              struct links *calls, struct links *asking)
{
    if (left >= 6 && (code[1] & 0xf0) == 0x80)
        add_call(known, calls, site, site + 6 + (uint64_t)distance_at(code + 2));
    else if ((left >= 2 && code[1] == 0xa2) || (left >= 3 && code[1] == 0x01 && code[2] == 0xd0))
        add(asking, 0, site);
}

static void
search_relative(const uint8_t *code, uint64_t site, const struct links_known *known,
                struct links *taken)
{
    uint64_t target = site + 7 + (uint64_t)distance_at(code + 3);

    if (code[1] == 0x8b) { /* what the slot holds */
        uint32_t slot = number_of(&known->slots, target);

        if (slot == known->slots.count)
            return;
        target = known->pointers[slot];
    }
    add(taken, target, site);
}

static void
search_immediate(const uint8_t *code, uint64_t site, const struct links_known *known,
                 struct links *taken)
{
    uint64_t target = (uint32_t)distance_at(code);
    int is_one = number_of(&known->functions, target) < known->functions.count;

    for (unsigned at = 0; at < 4 && !is_one; at++)
        is_one = number_of(&known->slots, target + 8 * at) < known->slots.count;
    if (is_one)
        add(taken, target, site);
}

/* How far behind C7 its immediate stands, by ModRM; 0 where that is no MOV. */
static unsigned
moved_at(unsigned modrm)
{
    static const uint8_t displacements[4] = {0, 1, 4, 0};
    unsigned mod = modrm >> 6, rm = modrm & 7;

    if (modrm & 0x38)
        return 0;
    if (mod == 0 && rm == 5)
        return 6;
    return 2 + displacements[mod] + (mod < 3 && rm == 4);
}

void
links_search(const uint8_t *code, uint64_t size, uint64_t address, const struct links_known *known,
             struct links *calls, struct links *taken, struct links *asking)
{
    unsigned wanted = OF_CALL | OF_ESCAPE | OF_RELATIVE | (known->is_fixed ? OF_IMMEDIATE : 0);

    for (uint64_t at = 0; at < size; at++) {
        uint64_t left = size - at, site = address + at;
        const uint8_t *here = code + at;
        unsigned kind = kinds[*here] & wanted;

        if (__builtin_expect(!kind, 1))
            continue;
        if (kind == OF_CALL && left >= 5) {
            add_call(known, calls, site, site + 5 + (uint64_t)distance_at(here + 1));
        } else if (kind == OF_ESCAPE) {
            search_escape(here, left, site, known, calls, asking);
        } else if (kind == OF_RELATIVE && left >= 6 && at && (here[1] & 0xc7) == 5 &&
                   (here[-1] & 0xfb) == 0x48) {
            search_relative(here - 1, site - 1, known, taken);
        } else if (kind == OF_IMMEDIATE) {
            unsigned head = *here != 0xc7 ? 1 : left > 1 ? moved_at(here[1]) : 0;

            if (head && left >= head + 4)
                search_immediate(here + head, site, known, taken);
        }
    }
}

/* --- static memory -------------------------------------------------------------------------------
 */

void
links_relocations(const uint8_t *table, uint64_t size, const uint8_t *symbols,
                  uint64_t symbols_size, struct links *pointers, struct links *names)
{
    for (uint64_t at = 0; at + RELA <= size; at += RELA) {
        uint64_t place = word_at(table + at), info = word_at(table + at + 8);
        uint64_t addend = word_at(table + at + 16), number = info >> 32;
        uint32_t kind = (uint32_t)info;

        if (kind == R_RELATIVE || kind == R_IRELATIVE) {
            add(pointers, place, addend);
        } else if ((kind == R_64 || kind == R_GLOB_DAT || kind == R_JUMP_SLOT) &&
                   number < symbols_size / SYMBOL) {
            uint64_t head = word_at(symbols + number * SYMBOL);

            if (head >> 48) /* its section: it is this file's */
                add(pointers, place,
                    word_at(symbols + number * SYMBOL + 8) + (kind == R_64 ? addend : 0));
            else
                add(names, place, head & 0xffffffff);
        }
    }
}

void
links_words(const uint8_t *content, uint64_t size, uint64_t address,
            const struct links_known *known, struct links *pointers)
{
    for (uint64_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word = word_at(content + at);

        if (word && is_code(known, word))
            add(pointers, address + at, word);
    }
}

/* --- order ---------------------------------------------------------------------------------------
 */

void
links_sort(struct link *all, struct link *spare, uint64_t count)
{
    uint64_t differ = 0;
    struct link *from = all, *to = spare;

    for (uint64_t at = 1; at < count; at++)
        differ |= all[at].key ^ all[0].key;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t first[257] = {0};
        struct link *other = from;

        if (!(differ >> shift & 0xff))
            continue;
        for (uint64_t at = 0; at < count; at++)
            first[(from[at].key >> shift & 0xff) + 1]++;
        for (unsigned at = 1; at < 257; at++)
            first[at] += first[at - 1];
        for (uint64_t at = 0; at < count; at++)
            to[first[from[at].key >> shift & 0xff]++] = from[at];
        from = to;
        to = other;
    }
    if (from != all)
        __builtin_memcpy(all, from, count * sizeof *all);
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

void
links_turn(const struct links_known *known, struct links *turned)
{
    for (uint32_t at = 0; at < known->slots.count; at++)
        add(turned, known->pointers[at], known->slots.all[at]);
}

void
links_limits(const struct links_known *known, const uint64_t *ends, uint64_t *limits)
{
    const struct links_index *functions = &known->functions;
    uint32_t range = 0;

    for (uint32_t at = 0; at < functions->count; at++) {
        uint64_t start = functions->all[at], limit;

        limits[at] = 0;
        while (range < known->ranges && known->code[range].end <= start)
            range++;
        if (range == known->ranges || start < known->code[range].start)
            continue;
        limit = known->code[range].end;
        if (at + 1 < functions->count && functions->all[at + 1] < limit)
            limit = functions->all[at + 1];
        limits[at] = ends[at] && ends[at] < limit ? ends[at] : limit;
    }
}

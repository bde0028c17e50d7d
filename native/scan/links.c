#include "links.h"
#include "decode.h"
#include "sets.h"

/* ELF: the x86-64 psABI, table 4.9. */
enum {
    R_64 = 1,
    R_GLOB_DAT = 6,
    R_JUMP_SLOT = 7,
    R_RELATIVE = 8,
    R_IRELATIVE = 37,
    STT_GNU_IFUNC = 10
};
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

enum { GRANULES = 64 };

void
links_index(struct links_index *index)
{
    uint64_t low = index->count ? index->all[0] : 0, next = 0;
    uint64_t span = index->count ? index->all[index->count - 1] - low : 0;

    for (index->shift = 3; span >> index->shift >= (uint64_t)MOST_BUCKETS * GRANULES;)
        index->shift++;
    for (uint32_t at = 0; at < index->count; at++) {
        uint64_t granule = (index->all[at] - low) >> index->shift;

        if (granule > span >> index->shift) /* out of order */
            continue;
        for (; next <= granule / GRANULES; next++)
            index->buckets[next] = (struct links_bucket){0, at};
        index->buckets[granule / GRANULES].held |= 1ull << granule % GRANULES;
    }
    index->buckets[next] = index->buckets[next + 1] = (struct links_bucket){0, index->count};
    index->low = low;
    index->beyond = (uint32_t)next;
}

/* The bucket of an address, and its granule's bit: none for what is before or behind all of them.
 */
static inline const struct links_bucket *
bucket_of(const struct links_index *index, uint64_t address, uint64_t *bit)
{
    uint64_t granule = (address - index->low) >> index->shift, bucket = granule / GRANULES;

    bucket = bucket < index->beyond ? bucket : index->beyond;
    *bit = index->buckets[bucket].held & 1ull << granule % GRANULES;
    return index->buckets + bucket;
}

static inline uint32_t
ones(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555;
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
    return (uint32_t)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

/* The number of an address whose bucket and bit are known; `count` where it is none of these. */
static inline uint32_t
number_in(const struct links_index *index, const struct links_bucket *bucket, uint64_t bit,
          uint64_t address)
{
    /* Or behind that, where granules hold more than one. */
    uint32_t at = bucket[0].below + ones(bucket->held & (bit - 1)), end = bucket[1].below;

    if (at < end && index->all[at] == address)
        return at;
    while (end - at > 8) {
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

static uint32_t
number_of(const struct links_index *index, uint64_t address)
{
    uint64_t bit;
    const struct links_bucket *bucket = bucket_of(index, address, &bit);

    return bit ? number_in(index, bucket, bit, address) : index->count;
}

uint32_t
links_range_of(const struct links_known *known, uint64_t address)
{
    uint32_t low = 0, high = known->ranges;

    if (!high || address < known->code[0].start || address >= known->code[high - 1].end)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (known->code[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address < known->code[low - 1].end ? low - 1 : known->ranges;
}

static int
is_code(const struct links_known *known, uint64_t address)
{
    return links_range_of(known, address) < known->ranges;
}

/* --- searching code ------------------------------------------------------------------------------
 */

enum {
    BLOCK = 64,  /* bytes of code that are looked at together */
    BEHIND = 16, /* bytes after them that are read */
};

/* Of a block, a bit for each byte that may begin a CALL, JMP, JCC, CPUID or XGETBV; that may be the
 * opcode of LEA, MOV, CALL or JMP relative to the next instruction; that may begin a MOV of an
 * immediate. */
struct marks {
    uint64_t branches, relative, immediate;
};

/* Marks sixteen bytes. Not all that is known of them is asked: what is left is so rare that it
 * costs less to look at it one by one. */
#ifdef __SSE2__
typedef uint8_t bytes __attribute__((vector_size(16)));
typedef char signed_bytes __attribute__((vector_size(16)));

static inline bytes
load(const uint8_t *at)
{
    bytes loaded;

    __builtin_memcpy(&loaded, at, sizeof loaded);
    return loaded;
}

static inline bytes
equal(bytes some, uint8_t mask, uint8_t value)
{
    return (bytes)((some & mask) == value);
}

static inline uint64_t
bits_of(bytes marked)
{
    return (uint32_t)__builtin_ia32_pmovmskb128((signed_bytes)marked);
}

static inline void
mark(struct marks *marks, const uint8_t *code, unsigned at, int is_fixed)
{
    bytes first = load(code + at), second = load(code + at + 1);
    bytes escapes =
        equal(first, 0xff, 0x0f) &
        (equal(second, 0xf0, 0x80) | equal(second, 0xff, 0xa2) | equal(second, 0xff, 0x01));

    marks->branches |= bits_of(equal(first, 0xfc, 0xe8) | escapes) << at;
    marks->relative |= bits_of((equal(first, 0xf9, 0x89) & equal(second, 0xc7, 0x05)) |
                               (equal(first, 0xff, 0xff) & equal(second, 0xcf, 0x05)))
                       << at;
    if (is_fixed)
        marks->immediate |= bits_of(equal(first, 0xf8, 0xb8) | equal(first, 0xff, 0xc7)) << at;
}
#else
static inline void
mark(struct marks *marks, const uint8_t *code, unsigned at, int is_fixed)
{
    for (unsigned end = at + 16; at < end; at++) {
        uint8_t first = code[at], second = code[at + 1];
        int escapes =
            first == 0x0f && ((second & 0xf0) == 0x80 || second == 0xa2 || second == 0x01);

        marks->branches |= (uint64_t)((first & 0xfc) == 0xe8 || escapes) << at;
        marks->relative |= (uint64_t)(((first & 0xf9) == 0x89 && (second & 0xc7) == 0x05) ||
                                      (first == 0xff && (second & 0xcf) == 0x05))
                           << at;
        marks->immediate |= (uint64_t)(is_fixed && ((first & 0xf8) == 0xb8 || first == 0xc7)) << at;
    }
}
#endif

static inline struct marks
marks_of(const uint8_t *code, int is_fixed)
{
    struct marks marks = {0};

    mark(&marks, code, 0, is_fixed);
    mark(&marks, code, 16, is_fixed);
    mark(&marks, code, 32, is_fixed);
    mark(&marks, code, 48, is_fixed);
    return marks;
}

/* Calls, jumps and branches, and what asks. Which of them lead to a function cannot be guessed, so
 * nothing branches on whether there is one near the target. */
static inline void
search_branches(const uint8_t *code, uint64_t left, uint64_t site, uint64_t marks,
                const struct links_index *functions, struct links *calls, struct links *asking)
{
    struct {
        const struct links_bucket *bucket;
        uint64_t bit, target, site;
    } near[BLOCK];
    unsigned found = 0;

    for (; marks; marks &= marks - 1) {
        unsigned at = (unsigned)__builtin_ctzll(marks), is_long = code[at] == 0x0f;
        unsigned length = code[at] == 0xeb ? 2 : 5 + is_long;
        int64_t distance =
            code[at] == 0xeb ? (int8_t)code[at + 1] : distance_at(code + at + 1 + is_long);
        uint64_t target = site + at + length + (uint64_t)distance;

        if (is_long && (code[at + 1] & 0xf0) != 0x80) {
            if (code[at + 1] == 0xa2 || code[at + 2] == 0xd0)
                add(asking, 0, site + at);
            continue;
        }
        if (code[at] == 0xea) /* marked with the others, and no instruction */
            continue;
        near[found].bucket = bucket_of(functions, target, &near[found].bit);
        near[found].target = target;
        near[found].site = site + at;
        found += near[found].bit && at + length <= left;
    }
    for (unsigned at = 0; at < found; at++) {
        uint32_t number = number_in(functions, near[at].bucket, near[at].bit, near[at].target);

        if (number < functions->count)
            add(calls, number, near[at].site);
    }
}

/* LEA, MOV, CALL or JMP: `code` and `site` are of the byte before, the first two's REX with W. */
static void
search_relative(const uint8_t *code, uint64_t site, const struct links_known *known,
                struct links *calls, struct links *taken)
{
    uint64_t target = site + 7 + (uint64_t)distance_at(code + 3);

    if (code[1] == 0xff) { /* a call or a jump through a slot */
        uint32_t slot = number_of(&known->slots, target), function;

        if (slot == known->slots.count || (code[2] != 0x15 && code[2] != 0x25))
            return;
        function = number_of(&known->functions, known->pointers[slot]);
        if (function < known->functions.count)
            add(calls, function, site + 1);
        return;
    }
    if ((code[0] & 0xfb) != 0x48)
        return;
    if (code[1] == 0x8b) { /* what the slot holds */
        uint32_t slot = number_of(&known->slots, target);

        if (slot == known->slots.count)
            return;
        target = known->pointers[slot];
    } else if (code[1] != 0x8d) {
        return;
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

static inline void
search_taken(const uint8_t *code, uint64_t left, uint64_t site, const struct marks *marks,
             const struct links_known *known, struct links *calls, struct links *taken)
{
    for (uint64_t some = marks->relative | marks->immediate; some; some &= some - 1) {
        unsigned at = (unsigned)__builtin_ctzll(some), head;

        if (marks->relative >> at & 1) {
            if (at + 6 <= left)
                search_relative(code + at - 1, site + at - 1, known, calls, taken);
            continue;
        }
        head = code[at] != 0xc7 ? 1 : moved_at(code[at + 1]);
        if (head && at + head + 4 <= left)
            search_immediate(code + at + head, site + at, known, taken);
    }
}

/* Keeps, of bytes that may be CPUID or XGETBV, those that one comes to who reads the instructions
 * of their function one after another; and all behind bytes that are none. */
static void
keep_asking(const uint8_t *code, uint64_t size, uint64_t address, const struct links_index *all,
            struct links *asking, uint64_t kept)
{
    uint64_t start = UINT64_MAX, at = 0;
    int asks = 1, is_lost = 1;

    for (uint64_t each = kept; each < asking->count; each++) {
        uint64_t site = asking->all[each].value;
        uint32_t behind = place_of(all->all, all->count, site + 1);
        uint64_t begins = behind ? all->all[behind - 1] : start;

        if (begins >= address && begins != start) {
            start = begins;
            at = start - address;
            is_lost = 0;
        }
        while (!is_lost && at <= site - address) {
            uint32_t leaf = scan_decode_last(code + at, size - at);
            unsigned flags = scan_classes[LEAF_CLASS(leaf)].flags;

            at += leaf & LEAF_LENGTH;
            asks = (flags & (CLASS_CPUID | CLASS_XGETBV)) != 0;
            is_lost = (flags & CLASS_INVALID) != 0;
        }
        if (asks || is_lost)
            asking->all[kept++] = asking->all[each];
    }
    asking->count = kept;
}

void
links_search(const uint8_t *code, uint64_t size, uint64_t from, uint64_t to, uint64_t address,
             const struct links_known *known, struct links *calls, struct links *taken,
             struct links *asking)
{
    uint8_t last[1 + BLOCK + BEHIND];
    uint64_t before = asking->count;

    for (uint64_t at = from; at < to; at += BLOCK) {
        uint64_t left = size - at, site = address + at;
        const uint8_t *here = code + at;
        struct marks marks;

        if (!at || left < BLOCK + BEHIND) { /* zeros are nothing that is sought */
            __builtin_memset(last, 0, sizeof last);
            last[0] = at ? here[-1] : 0;
            __builtin_memcpy(last + 1, here, left < BLOCK + BEHIND ? left : BLOCK + BEHIND);
            here = last + 1;
        }
        marks = known->is_fixed ? marks_of(here, 1) : marks_of(here, 0);
        search_branches(here, left, site, marks.branches, &known->functions, calls, asking);
        search_taken(here, left, site, &marks, known, calls, taken);
    }
    if (asking->count <= asking->room)
        keep_asking(code, size, address, &known->functions, asking, before);
}

/* --- static memory -------------------------------------------------------------------------------
 */

void
links_relocations(const uint8_t *table, uint64_t size, const uint8_t *symbols,
                  uint64_t symbols_size, struct links *pointers, struct links *names,
                  struct links *chosen)
{
    for (uint64_t at = 0; at + RELA <= size; at += RELA) {
        uint64_t place = word_at(table + at), info = word_at(table + at + 8);
        uint64_t addend = word_at(table + at + 16), number = info >> 32;
        uint32_t kind = (uint32_t)info;

        if (kind == R_RELATIVE || kind == R_IRELATIVE) {
            add(pointers, place, addend);
            if (kind == R_IRELATIVE)
                add(chosen, place, addend);
        } else if ((kind == R_64 || kind == R_GLOB_DAT || kind == R_JUMP_SLOT) &&
                   number < symbols_size / SYMBOL) {
            uint64_t head = word_at(symbols + number * SYMBOL);

            if (!(head >> 48)) { /* its section: it is another file's */
                add(names, place, head & 0xffffffff);
                continue;
            }
            addend = word_at(symbols + number * SYMBOL + 8) + (kind == R_64 ? addend : 0);
            add(pointers, place, addend);
            if ((head >> 32 & 0xf) == STT_GNU_IFUNC)
                add(chosen, place, addend);
        }
    }
}

void
links_words(const uint8_t *content, uint64_t size, uint64_t address, int is_table,
            const struct links_known *known, struct links *pointers)
{
    for (uint64_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word = word_at(content + at);

        if (word && (is_table || is_code(known, word)))
            add(pointers, address + at, word);
    }
}

void
links_values(const uint8_t *content, uint64_t size, uint64_t address,
             const struct links_known *known, uint32_t before, struct links *pointers)
{
    const struct links_index *slots = &known->slots;
    uint64_t low = slots->count ? slots->all[0] - 8 * 31 : 0;
    uint64_t span = slots->count ? slots->all[slots->count - 1] - low + 1 : 0;

    for (uint64_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word = word_at(content + at);
        int leads = 0;

        for (uint32_t left = word && word - low < span ? before : 0; left && !leads;
             left &= left - 1)
            leads = number_of(slots, word + 8 * (uint64_t)__builtin_ctz(left)) < slots->count;
        if (leads)
            add(pointers, address + at, word);
    }
}

void
links_turn(const struct links_known *known, struct links *turned)
{
    for (uint32_t at = 0; at < known->slots.count; at++)
        add(turned, known->pointers[at], known->slots.all[at]);
}

unsigned
links_stub(const uint8_t *code, uint64_t left)
{
    unsigned at = left >= 4 && (uint32_t)distance_at(code) == 0xfa1e0ff3 ? 4 : 0; /* ENDBR64 */

    at += at < left && code[at] == 0xf2; /* BND */
    return left - at >= 6 && code[at] == 0xff && code[at + 1] == 0x25 ? at + 6 : 0;
}

void
links_stubs(const uint8_t *code, uint64_t size, uint64_t address, struct links *stubs)
{
    unsigned length;

    for (uint64_t at = 0; at < size; at += length ? length : 1) {
        length = links_stub(code + at, size - at);
        if (length)
            add(stubs, address + at,
                address + at + length + (uint64_t)distance_at(code + at + length - 4));
    }
}

void
links_entered(const struct links_known *known, const struct links *stubs, struct links *entered)
{
    for (uint64_t at = 0; at < stubs->count && at < stubs->room; at++) {
        uint32_t slot = number_of(&known->slots, stubs->all[at].value);

        if (slot < known->slots.count &&
            number_of(&known->functions, known->pointers[slot]) < known->functions.count)
            add(entered, known->pointers[slot], stubs->all[at].key);
    }
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

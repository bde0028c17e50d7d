/* Where static memory holds an answer, and what is known of it. */
#include "answers.h"
#include "sets.h"

/* Whether there is an address from one to another, both included. */
int
ways_holds(const struct ways_set *set, uint64_t low, uint64_t high)
{
    uint32_t at = place_of(set->all, set->count, low);

    return at < set->count && set->all[at] <= high;
}

int
ways_add(struct ways_set *set, uint64_t address)
{
    uint32_t at = place_of(set->all, set->count, address);

    if ((at < set->count && set->all[at] == address) || set->count == set->room)
        return 0;
    insert(set->all, &set->count, at, address);
    return 1;
}

int
ways_keep(struct ways_known *known, struct ways_set *set, uint64_t word)
{
    uint64_t address = word >> KEPT_SHIFT, *old;
    uint32_t at = place_of(set->all, set->count, address << KEPT_SHIFT);
    uint16_t fact;

    if (at == set->count || set->all[at] >> KEPT_SHIFT != address)
        return ways_add(set, word);
    old = &set->all[at];
    fact = ways_agree(known, (struct told_value){KEPT_FACT(word), KEPT_LABELS(word), 0},
                      (struct told_value){KEPT_FACT(*old), KEPT_LABELS(*old), 0});
    word = KEPT_WORD(address, fact, KEPT_LABELS(word | *old));
    if (word == *old)
        return 0;
    *old = word;
    return 1;
}

/* The labels of answers that are kept between two addresses, both included. */
static uint32_t
kept_labels(const struct ways_set *set, uint64_t low, uint64_t high)
{
    uint32_t labels = 0, at = place_of(set->all, set->count, low << KEPT_SHIFT);

    for (; at < set->count && set->all[at] >> KEPT_SHIFT <= high; at++)
        labels |= KEPT_LABELS(set->all[at]);
    return labels;
}

/* Likewise of what is kept without its bits. Where not all was looked at that may put answers there
 * they may tell of anything, as FLAC's do, which stand in an object. */
static uint32_t
kept_label(const struct ways_known *known, const struct ways_set *set, uint64_t low, uint64_t high)
{
    uint32_t labels = kept_labels(set, low, high);

    return labels && known->misses ? ANSWER : labels;
}

/* libgcc's __cpu_model (gcc/common/config/i386/cpuinfo.h): who made it, type, subtype, and the
 * first word of features. */
enum { MODEL_SUBTYPE = 8, MODEL_WORD = 12, MODEL_SIZE = 16 };

/* How far behind the beginning of a __cpu_model an address is; MODEL_SIZE where it is in none. */
static uint64_t
in_model(const struct ways_known *known, uint64_t address)
{
    uint32_t at = place_of(known->models.all, known->models.count, address + 1);

    if (!at || address - known->models.all[at - 1] > MODEL_SIZE)
        return MODEL_SIZE;
    return address - known->models.all[at - 1];
}

/* The labels of what static memory holds. */
uint32_t
ways_kept_labels(const struct ways_known *known, uint64_t address, unsigned size)
{
    uint64_t offset = in_model(known, address), last;
    uint32_t labels, exact;

    if (offset < MODEL_SUBTYPE)
        return 0;
    if (offset < MODEL_SIZE)
        return ANSWER | TELLS_AVX | TELLS_MORE | TELLS_V2;
    if (address >> (64 - KEPT_SHIFT))
        return 0;
    last = address + (size ? size - 1 : 0);
    labels = kept_labels(&known->statics, address & ~3ull, last | 3);
    exact = labels ? kept_labels(&known->statics, address, last) : 0;
    labels = exact ? exact : labels; /* else it is a byte of a word, as Go's hash/crc32 reads it */
    return labels | kept_labels(&known->regions, address < NEAR ? 0 : address - NEAR + 1, address);
}

uint32_t
ways_field_labels(const struct ways_known *known, uint64_t offset)
{
    offset = offset << KEPT_SHIFT >> KEPT_SHIFT;
    return kept_label(known, &known->fields, offset, offset);
}

uint32_t
ways_told_labels(const struct ways_known *known, uint64_t address)
{
    if (in_model(known, address) < MODEL_SIZE)
        return ANSWER;
    if (address >> (64 - KEPT_SHIFT))
        return 0;
    return kept_label(known, &known->fillers, address, address) |
           (ways_answers(known, address) ? ways_kept_labels(known, address, NEAR) : 0);
}

int
ways_answers(const struct ways_known *known, uint64_t address)
{
    return in_model(known, address) < MODEL_SIZE || ways_kept_labels(known, address, 0);
}

uint16_t
ways_kept_fact(struct ways_known *known, uint64_t address)
{
    const struct ways_set *set = &known->statics;
    uint64_t offset = in_model(known, address);
    uint32_t labels, at = place_of(set->all, set->count, address << KEPT_SHIFT);

    if (address >> (64 - KEPT_SHIFT))
        return 0;
    if (offset >= MODEL_WORD && offset < MODEL_SIZE)
        return ways_word(known, CPU_MODEL, (unsigned)(offset - MODEL_WORD) * 8, &labels);
    if (at == set->count || set->all[at] >> KEPT_SHIFT != address)
        return 0;
    return ways_initial(known, KEPT_FACT(set->all[at]), KEPT_LABELS(set->all[at]));
}

int
ways_leads(struct ways_known *known, struct values *state, unsigned number)
{
    uint64_t address = state->points[number];
    struct bits bits;

    if (!(state->pointed >> number & 1) || address < LOWEST ||
        !ways_kept_labels(known, address, NEAR / 4))
        return 0;
    bits = answers_number(address);
    state->facts[number] = answers_fact(known, &bits);
    return 1;
}

void
ways_point(const struct ways_known *known, struct values *state, unsigned number)
{
    const struct bits *bits = &known->fact[state->facts[number] & (MOST_FACTS - 1)];
    uint64_t differs = ~(bits->zeros[0] ^ bits->ones[0]);

    if (!(state->facts[number] & FACT_BITS) || bits->ones[0] < LOWEST)
        return;
    for (unsigned grade = 1; grade < GRADES; grade++)
        differs |= (bits->ones[grade] ^ bits->ones[0]) | (bits->zeros[grade] ^ bits->zeros[0]);
    if (differs)
        return;
    state->pointed |= 1u << number;
    state->stacked &= ~(1u << number);
    state->points[number] = bits->ones[0];
}

int
ways_may_fill(const struct ways_known *known, uint64_t address)
{
    const struct ways_set *set = &known->written;

    return !(address >> (64 - KEPT_SHIFT)) && place_of(set->all, set->count, address + 1) % 2;
}

void
ways_fill(struct ways_known *known, uint64_t address, uint32_t labels)
{
    if (ways_may_fill(known, address) || (!known->written.count && !(address >> (64 - KEPT_SHIFT))))
        ways_keep(known, &known->regions, KEPT_WORD(address, 0, labels));
}

int
ways_pointer(const struct ways_known *known, uint64_t address, uint64_t *target)
{
    uint32_t at = place_of(known->slots.all, known->slots.count, address);

    if (at == known->slots.count || known->slots.all[at] != address ||
        ways_holds(&known->foreign, address, address))
        return 0;
    *target = known->pointers[at];
    return 1;
}

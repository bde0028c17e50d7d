/* What is known of CPUID's answers by their bits. */
#include "answers.h"

uint32_t
ways_labels(unsigned tier)
{
    static const uint16_t labels[] = {0, TELLS_V2, TELLS_MORE, TELLS_AVX, ANSWER};

    return labels[tier];
}

/* --- facts ---------------------------------------------------------------------------------------
 */

uint16_t
ways_number(int number, unsigned tier)
{
    if (tier == TIER_NONE || number < INT8_MIN || number > INT8_MAX)
        return 0;
    return (uint16_t)(FACT_NUMBER | tier << 8 | (uint8_t)number);
}

uint16_t
ways_agree(uint16_t one, unsigned one_sure, uint16_t other, unsigned other_sure)
{
    unsigned mine = 0, theirs = 0, both = 0;

    if (one == other)
        return one;
    if (is_number(one))
        mine = least(tier_of(one), other_sure);
    if (is_number(other))
        theirs = least(tier_of(other), one_sure);
    if (is_number(one) && is_number(other) && value_of(one) == value_of(other))
        both = least(tier_of(one), tier_of(other));
    if (both >= most(mine, theirs))
        return both ? up_to(one, both) | (other & FACT_INITIAL) : 0;
    return mine >= theirs ? up_to(one, mine) : up_to(other, theirs);
}

/* --- CPUID and XGETBV ----------------------------------------------------------------------------
 */

static void
put(struct values *state, unsigned number, uint32_t labels, uint16_t fact)
{
    state->labels[number] = (uint16_t)labels;
    state->facts[number] = fact;
    state->pointed &= ~(1u << number);
}

uint32_t
answers_bits(const struct ways_known *known, uint16_t fact, uint64_t mask, unsigned *low,
             unsigned *high)
{
    unsigned source = fact >> 7 & 0x7f, shift = fact & 63, size = source < WORDS ? 32 : 64;
    uint32_t labels = 0;

    *low = TIER_TOP;
    *high = TIER_NONE;
    for (unsigned at = 0; at + shift < size; at++) {
        unsigned tier;

        if (!(mask >> at & 1))
            continue;
        tier = known->bits[source][at + shift];
        labels |= ways_labels(tier);
        *low = least(*low, tier);
        *high = most(*high, tier);
    }
    return labels;
}

static void
put_word(const struct ways_known *known, struct values *state, unsigned number, enum source source)
{
    uint16_t fact = (uint16_t)(FACT_WORD | source << 7);
    unsigned low, high;

    put(state, number, answers_bits(known, fact, UINT32_MAX, &low, &high), fact);
}

/* The number in a register, of all CPUs; or less than nothing. */
static int64_t
constant(const struct values *state, unsigned number)
{
    uint16_t fact = state->facts[number];

    if (state->pointed >> number & 1)
        return (int64_t)(state->points[number] & UINT32_MAX);
    return is_number(fact) && tier_of(fact) == ALWAYS && value_of(fact) >= 0 ? value_of(fact) : -1;
}

void
ways_ask(const struct ways_space *space, const struct ways_known *known, struct values *state,
         const struct operation *each)
{
    static const uint8_t answering[] = {RAX, RBX, RCX, RDX};
    const uint8_t *bytes = space->code + each->offset;
    int64_t leaf = constant(state, RAX), subleaf = constant(state, RCX);

    if (bytes[each->length - 1] == 0xd0) { /* XGETBV */
        put(state, RDX, ANSWER, 0);
        put(state, RAX, ANSWER, 0);
        if (subleaf == 0)
            put_word(known, state, RAX, XCR0_EAX);
        return;
    }
    for (unsigned at = 0; at < sizeof answering; at++)
        put(state, answering[at], ANSWER, 0);
    switch (leaf) {
    case 0: /* how many leaves there are, and who made it */
    case 0x80000000:
        for (unsigned at = 0; at < sizeof answering; at++)
            put(state, answering[at], 0, 0);
        break;
    case 1:
        put_word(known, state, RCX, CPUID_1_ECX);
        put(state, RBX, 0, 0);
        put(state, RDX, 0, 0);
        break;
    case 7:
        if (subleaf > 0)
            break;
        put_word(known, state, RBX, CPUID_7_EBX);
        put_word(known, state, RCX, CPUID_7_ECX);
        put_word(known, state, RDX, CPUID_7_EDX);
        break;
    case 0x80000001:
        put_word(known, state, RCX, CPUID_EXT_1_ECX);
        break;
    default:
        break;
    }
}

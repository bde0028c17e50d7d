/* What is known of CPUID's answers by their bits, on CPUs of each grade. */
#include "answers.h"
#include "places.h"
#include "slots.h"
#include "works.h"

uint32_t
ways_labels(unsigned tier)
{
    static const uint16_t labels[] = {0, TELLS_V2, TELLS_MORE, TELLS_AVX, ANSWER};

    return labels[tier];
}

/* --- facts ---------------------------------------------------------------------------------------
 */

struct bits
answers_number(uint64_t value)
{
    struct bits bits = {.soft = 0};

    for (unsigned grade = 0; grade < GRADES; grade++) {
        bits.ones[grade] = value;
        bits.zeros[grade] = ~value;
    }
    return bits;
}

struct bits
answers_bits(const struct ways_known *known, uint16_t fact, uint32_t labels)
{
    struct bits bits = {.soft = (uint16_t)(labels & ANSWERS)};

    if (fact & FACT_BITS)
        return known->fact[fact & (MOST_FACTS - 1)];
    if (fact & FACT_NUMBER)
        return answers_number((uint64_t)(int8_t)(fact & 0xff));
    return bits;
}

uint16_t
ways_number(int number)
{
    if (number < INT8_MIN || number > INT8_MAX)
        return 0;
    return (uint16_t)(FACT_NUMBER | (uint8_t)number);
}

static int
is_same(const struct bits *one, const struct bits *other)
{
    uint64_t differs = 0;

    for (unsigned grade = 0; grade < GRADES; grade++)
        differs |=
            (one->zeros[grade] ^ other->zeros[grade]) | (one->ones[grade] ^ other->ones[grade]);
    return !differs && one->soft == other->soft;
}

/* The number of some bits in the table of facts, which is new at the end. */
static uint16_t
numbered(struct ways_known *known, const struct bits *bits)
{
    const uint32_t last = sizeof known->hashed / sizeof *known->hashed - 1;
    uint64_t hash = bits->soft;
    uint32_t at;

    for (unsigned grade = 0; grade < GRADES; grade++)
        hash = ((hash ^ bits->zeros[grade]) * 0x9e3779b97f4a7c15ull ^ bits->ones[grade]) *
               0x9e3779b97f4a7c15ull;
    for (at = hash >> 40 & last; known->hashed[at]; at = (at + 1) & last)
        if (is_same(&known->fact[known->hashed[at] - 1], bits))
            return (uint16_t)(FACT_BITS | (known->hashed[at] - 1));
    if (known->facts == MOST_FACTS)
        return 0;
    known->fact[known->facts] = *bits;
    known->hashed[at] = (uint16_t)++known->facts;
    return (uint16_t)(FACT_BITS | (known->facts - 1));
}

uint16_t
answers_fact(struct ways_known *known, const struct bits *bits)
{
    uint64_t any = 0, first = bits->ones[0];
    int same = 1;

    for (unsigned grade = 0; grade < GRADES; grade++) {
        any |= bits->zeros[grade] | bits->ones[grade];
        same &= bits->ones[grade] == first && bits->zeros[grade] == ~first;
    }
    if (same && first + 128 < 256)
        return ways_number((int)first);
    return any ? numbered(known, bits) : 0;
}

uint16_t
ways_fact(struct ways_known *known, const struct bits *bits, uint32_t *labels)
{
    *labels = answers_labels(bits);
    return answers_fact(known, bits);
}

uint32_t
answers_labels(const struct bits *bits)
{
    uint64_t unknown = 0;
    uint32_t labels = 0;

    for (unsigned tier = TIER_V2; tier <= TIER_TOP; tier++) {
        unsigned grade = tier - 1;
        uint64_t other =
            (bits->zeros[grade] & ~bits->zeros[tier]) | (bits->ones[grade] & ~bits->ones[tier]);

        labels |= other ? ways_labels(tier) : 0;
        unknown |= ~(bits->zeros[grade] | bits->ones[grade]);
    }
    return labels | (unknown ? bits->soft : 0u);
}

unsigned
ways_nonzero(const struct ways_known *known, uint16_t fact)
{
    struct bits bits = answers_bits(known, fact, 0);
    unsigned nonzero = 0;

    for (unsigned grade = 0; grade < GRADES; grade++)
        nonzero |= (unsigned)(bits.ones[grade] != 0) << grade;
    return nonzero;
}

/* On ways that no CPU of a grade takes it is anything. */
static void
leave_out(struct bits *bits, unsigned never)
{
    for (unsigned grade = 0; grade < GRADES; grade++)
        if (never >> grade & 1)
            bits->zeros[grade] = bits->ones[grade] = UINT64_MAX;
}

/* What is known of one of two values. */
static void
take_both(struct bits *bits, const struct bits *other)
{
    for (unsigned grade = 0; grade < GRADES; grade++) {
        bits->zeros[grade] &= other->zeros[grade];
        bits->ones[grade] &= other->ones[grade];
    }
    bits->soft |= other->soft;
}

uint16_t
ways_agree(struct ways_known *known, struct told_value one, struct told_value other)
{
    struct bits bits, second;

    if (one.fact == other.fact)
        return one.fact;
    if ((!one.fact && !(one.never & ~other.never)) || (!other.fact && !(other.never & ~one.never)))
        return 0;
    bits = answers_bits(known, one.fact, one.labels);
    second = answers_bits(known, other.fact, other.labels);
    leave_out(&bits, one.never & ~other.never);
    leave_out(&second, other.never & ~one.never);
    take_both(&bits, &second);
    return answers_fact(known, &bits);
}

/* Whether what is known of a value is all that its labels may tell of: it is a number on the CPUs
 * that come there, or its bits tell of the CPU themselves. */
static int
is_explained(const struct ways_known *known, struct told_value value)
{
    struct bits bits = answers_bits(known, value.fact, 0);
    uint64_t unknown = 0;

    for (unsigned grade = 0; grade < GRADES; grade++)
        unknown |= value.never >> grade & 1 ? 0 : ~(bits.zeros[grade] | bits.ones[grade]);
    return value.fact &&
           (!(unknown & UINT8_MAX) || !(value.labels & ANSWERS & ~answers_labels(&bits)));
}

uint32_t
ways_parted(const struct ways_known *known, uint16_t fact, struct told_value one,
            struct told_value other)
{
    uint32_t labels = one.labels | other.labels;
    struct bits bits;

    if (!(labels & ANSWERS) || !fact || !(one.never | other.never) || !is_explained(known, one) ||
        !is_explained(known, other))
        return labels;
    bits = answers_bits(known, fact, labels);
    return (labels & ~(uint32_t)ANSWERS) | answers_labels(&bits);
}

/* --- static memory -------------------------------------------------------------------------------
 */

uint16_t
ways_kept(struct ways_known *known, struct told_value value, int is_doubtful)
{
    struct bits bits = answers_bits(known, value.fact, value.labels);

    if (!value.never && !is_doubtful)
        return value.fact;
    if (is_doubtful) {
        __builtin_memset(bits.ones, 0, sizeof bits.ones);
        bits.soft |= value.labels & ANSWERS;
    }
    leave_out(&bits, value.never);
    return answers_fact(known, &bits);
}

uint16_t
ways_initial(struct ways_known *known, uint16_t fact, uint32_t labels)
{
    struct bits bits = answers_bits(known, fact, labels);
    int clears = 0;

    for (unsigned grade = 0; grade < GRADES; grade++)
        clears |= !(bits.zeros[grade] & bits.ones[grade]) && (bits.zeros[grade] & 0xff) == 0xff;
    for (unsigned grade = 0; grade < GRADES; grade++) {
        uint64_t never = bits.zeros[grade] & bits.ones[grade];

        if (never) { /* zero is written only to what was not zero */
            bits.ones[grade] = 0;
            bits.zeros[grade] = clears ? 0 : UINT64_MAX;
            bits.soft |= clears ? labels & ANSWERS : 0;
        }
    }
    return answers_fact(known, &bits);
}

/* --- CPUID and XGETBV ----------------------------------------------------------------------------
 */

uint16_t
ways_word(struct ways_known *known, enum source source, unsigned shift, uint32_t *labels)
{
    struct bits bits = {.soft = 0};

    for (unsigned at = shift; at < 32; at++) {
        unsigned what = known->bits[source][at], tier = what & ~(unsigned)GIVEN;
        uint64_t bit = 1ull << (at - shift);

        for (unsigned grade = 0; what && grade < GRADES; grade++)
            if (grade < tier)
                bits.zeros[grade] |= bit;
            else if (what & GIVEN || grade == ALL_TIERS)
                bits.ones[grade] |= bit;
    }
    *labels = answers_labels(&bits);
    for (unsigned grade = 0; grade < GRADES; grade++)
        bits.zeros[grade] |= ~(uint64_t)UINT32_MAX >> shift;
    return answers_fact(known, &bits);
}

enum { NOTHING = WORDS, ANYTHING };

/* What a leaf of CPUID answers in EAX, EBX, ECX and EDX: one of the known words, what tells of no
 * feature, or anything. */
static void
answering(int64_t leaf, int64_t subleaf, uint8_t words[4])
{
    __builtin_memset(words, ANYTHING, 4);
    switch (leaf) {
    case 0: /* how many there are, and who made it */
        __builtin_memset(words, NOTHING, 4);
        break;
    case 1:
        words[1] = NOTHING;
        words[2] = CPUID_1_ECX;
        words[3] = CPUID_1_EDX; /* what all CPUs have */
        break;
    case 7:
        if (subleaf > 0)
            break;
        words[1] = CPUID_7_EBX;
        words[2] = CPUID_7_ECX;
        words[3] = CPUID_7_EDX;
        break;
    case 0x80000001:
        words[2] = CPUID_EXT_1_ECX;
        break;
    default:
        break;
    }
}

/* The labels of a word, and what is known of it. */
static uint16_t
known_word(struct ways_known *known, unsigned word, uint32_t *labels)
{
    *labels = word == NOTHING ? 0 : ANSWER;
    return word < WORDS ? ways_word(known, (enum source)word, 0, labels) : 0;
}

/* The number in a register, of all CPUs; or less than nothing. */
static int64_t
constant(const struct values *state, unsigned number)
{
    uint16_t fact = state->facts[number];

    if (state->pointed >> number & 1)
        return (int64_t)(state->points[number] & UINT32_MAX);
    return fact & FACT_NUMBER ? (int8_t)(fact & 0xff) : -1;
}

void
ways_ask(const struct ways_space *space, struct ways_known *known, struct values *state,
         const struct operation *each)
{
    static const uint8_t registers[] = {RAX, RBX, RCX, RDX};
    const uint8_t *bytes = space->code + each->offset;
    int64_t leaf = constant(state, RAX), subleaf = constant(state, RCX);
    uint8_t words[] = {ANYTHING, ANYTHING, ANYTHING, ANYTHING};
    int is_xgetbv = bytes[each->length - 1] == 0xd0;
    uint32_t labels;

    if (!is_xgetbv)
        answering(leaf, subleaf, words);
    else if (subleaf == 0)
        words[0] = XCR0_EAX;
    for (unsigned at = 0; at < sizeof registers; at++)
        if (!is_xgetbv || registers[at] == RAX || registers[at] == RDX) {
            uint16_t fact = known_word(known, words[at], &labels);

            set_register(state, registers[at], labels);
            state->facts[registers[at]] = fact;
        }
}

int
ways_is_cpuid(const struct ways_space *space)
{
    unsigned stored = 0;

    for (uint32_t at = 0; at < space->operations; at++) {
        const struct operation *each = &space->operation[at];
        static const uint8_t order[] = {RAX, RBX, RCX, RDX};

        if (each->traits & IS_MOV && each->registers[0] == NO_REGISTER && each->base == RSP)
            for (unsigned to = 0; to < sizeof order; to++)
                stored |= (unsigned)(each->registers[1] == order[to] &&
                                     each->displacement == CPUID_RESULTS + 8 + 4 * (int)to)
                          << to;
    }
    return space->summary.asks && stored == 0xf;
}

void
ways_ask_on_stack(struct ways_known *known, struct values *state, const struct operation *call)
{
    const struct operation *before = call - 1;
    int64_t leaf = -1, subleaf = -1;
    uint8_t words[4];
    uint32_t labels;

    if (before->offset + before->length == call->offset && before->traits & IS_MOV &&
        before->registers[0] == NO_REGISTER && before->base == RSP && !before->displacement &&
        is_immediate(before)) {
        leaf = (int64_t)(before->immediate & UINT32_MAX);
        subleaf = (int64_t)(before->immediate >> 32);
    }
    answering(leaf, subleaf, words);
    for (int at = 0; at < 4; at++) {
        uint16_t fact = known_word(known, words[at], &labels);

        slots_set(state, SLOT(RSP, CPUID_RESULTS + 4 * at), labels, fact, 4);
    }
}

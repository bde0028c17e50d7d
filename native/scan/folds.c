/* What operations make of what is known of values, and which side of a branch CPUs of each grade
 * take. */
#include "answers.h"
#include "works.h"

/* --- flags and conditions ------------------------------------------------------------------------
 */

static void
set_flags(struct values *state, unsigned grade, unsigned known, unsigned set)
{
    state->flags_known |= known << 4 * grade;
    state->flags_set = (state->flags_set & ~(known << 4 * grade)) | (set & known) << 4 * grade;
}

/* Whether a condition holds on CPUs of a grade: 1, 0, or -1 where that is not known. */
static int
holds(const struct values *state, unsigned condition, unsigned grade)
{
    return works_holds(state->flags_known >> 4 * grade & FLAGS, state->flags_set >> 4 * grade,
                       condition);
}

/* --- folding -------------------------------------------------------------------------------------
 */

static uint16_t
fact_of(const struct ways_space *space, struct ways_known *known, const struct values *state,
        const struct operation *each, unsigned at)
{
    unsigned number = each->registers[at];

    if (number < 16)
        return state->facts[number];
    return number == NO_REGISTER && each->has_memory && !(at == 1 && is_immediate(each))
               ? ways_memory(space, known, state, each)
               : 0;
}

/* What is known of an operand. */
static struct bits
bits_of(const struct ways_space *space, struct ways_known *known, const struct values *state,
        const struct operation *each, unsigned at, const struct work_done *how, uint32_t labels,
        uint16_t fact)
{
    unsigned number = each->registers[at];
    struct bits bits;

    if (at == 1 && is_immediate(each))
        return answers_number(each->where[1] == OPERAND_IMM8 ? (uint64_t)(int8_t)each->immediate
                                                             : each->immediate);
    if (number < 16) {
        labels = state->labels[number];
    } else if (number == NO_REGISTER && each->has_memory) {
        labels = ways_read(space, known, state, each);
    }
    bits = answers_bits(known, fact, labels);
    for (unsigned grade = 0; how->is_upper[at] && grade < GRADES; grade++) {
        bits.zeros[grade] >>= 8;
        bits.ones[grade] >>= 8;
    }
    return bits;
}

/* The flags of a subtraction. */
static void
compare(struct values *state, const struct bits *one, const struct bits *other, unsigned grade,
        uint64_t mask)
{
    uint64_t sign = mask ^ mask >> 1, first = one->ones[grade] & mask;
    uint64_t second = other->ones[grade] & mask, difference = first - second;
    int is_less = (first ^ sign) < (second ^ sign), is_negative = (difference & sign) != 0;

    if (is_known_of(one, grade, mask) && is_known_of(other, grade, mask))
        set_flags(state, grade, FLAGS,
                  (difference ? 0 : ZERO) | (first < second ? CARRY : 0) |
                      (is_negative ? SIGN : 0) | (is_negative != is_less ? OVERFLOW : 0));
    else if ((first & other->zeros[grade]) || (one->zeros[grade] & second))
        set_flags(state, grade, ZERO, 0);
}

/* The flags of a value. */
static void
look_at(struct values *state, const struct bits *bits, unsigned grade, uint64_t mask, int is_logic)
{
    uint64_t sign = mask ^ mask >> 1;

    if (!(mask & ~bits->zeros[grade]))
        set_flags(state, grade, ZERO, ZERO);
    else if (bits->ones[grade] & mask)
        set_flags(state, grade, ZERO, 0);
    if ((bits->zeros[grade] | bits->ones[grade]) & sign)
        set_flags(state, grade, SIGN, bits->ones[grade] & sign ? SIGN : 0);
    if (is_logic)
        set_flags(state, grade, CARRY | OVERFLOW, 0);
}

static void
put_number(struct bits *bits, unsigned grade, uint64_t value)
{
    bits->ones[grade] = value;
    bits->zeros[grade] = ~value;
}

/* A value is shifted by a number of bits. */
static void
shift(struct bits *bits, unsigned grade, const struct work_done *how, unsigned count)
{
    uint64_t zeros = bits->zeros[grade], ones = bits->ones[grade], mask = how->mask;
    uint64_t sign = mask ^ mask >> 1;

    if (how->work == SHIFTS_LEFT) {
        bits->zeros[grade] = zeros << count | ((1ull << count) - 1);
        bits->ones[grade] = ones << count;
        return;
    }
    bits->zeros[grade] = (zeros & mask) >> count;
    bits->ones[grade] = (ones & mask) >> count;
    if (!how->is_signed || zeros & sign)
        bits->zeros[grade] |= ~(mask >> count);
    else if (ones & sign)
        bits->ones[grade] |= ~(mask >> count);
}

/* A value made of one. */
static void
fold_one(struct values *state, struct bits *bits, unsigned grade, const struct work_done *how,
         unsigned count)
{
    uint64_t zeros = bits->zeros[grade];

    switch (how->work) {
    case NOTS:
        bits->zeros[grade] = bits->ones[grade];
        bits->ones[grade] = zeros;
        return;
    case NEGS:
        if (!(how->mask & ~zeros))
            set_flags(state, grade, CARRY, 0);
        else if (bits->ones[grade] & how->mask)
            set_flags(state, grade, CARRY, CARRY);
        if (is_known_of(bits, grade, how->mask))
            put_number(bits, grade, 0 - bits->ones[grade]);
        else
            bits->zeros[grade] = bits->ones[grade] = 0;
        break;
    case BIT_TESTS: /* Go's way to test a bit */
        if ((zeros | bits->ones[grade]) >> count & 1)
            set_flags(state, grade, CARRY, bits->ones[grade] >> count & 1 ? CARRY : 0);
        return;
    default:
        shift(bits, grade, how, count);
    }
    look_at(state, bits, grade, how->mask, 0);
}

/* A value made of two. */
static void
fold_two(struct values *state, struct bits *bits, const struct bits *other, unsigned grade,
         const struct work_done *how)
{
    uint64_t zeros = bits->zeros[grade], ones = bits->ones[grade];
    uint64_t second = other->zeros[grade], third = other->ones[grade], both;

    switch (how->work) {
    case ANDS:
    case TESTS:
        bits->zeros[grade] = zeros | second;
        bits->ones[grade] = ones & third;
        break;
    case ORS:
        bits->zeros[grade] = zeros & second;
        bits->ones[grade] = ones | third;
        break;
    case XORS:
        both = (zeros | ones) & (second | third);
        bits->zeros[grade] = both & ~(ones ^ third);
        bits->ones[grade] = both & (ones ^ third);
        break;
    default:
        if (how->work != ADDS)
            compare(state, bits, other, grade, how->mask);
        both = is_known_of(bits, grade, how->mask) && is_known_of(other, grade, how->mask);
        bits->zeros[grade] = bits->ones[grade] = 0;
        if (both)
            put_number(bits, grade, how->work == ADDS ? ones + third : ones - third);
        if (how->work == ADDS)
            look_at(state, bits, grade, how->mask, 0);
        return;
    }
    look_at(state, bits, grade, how->mask, 1);
}

/* SETcc, CMOVcc, and SBB of a register from itself, which is all ones where there was a carry: what
 * compilers make of "failed ? 3 : 0", with NEG before it. */
static void
fold_condition(const struct values *state, struct bits *bits, const struct bits *other,
               unsigned grade, const struct work_done *how)
{
    int value = holds(state, how->work == SBBS ? IF_CARRY : how->condition, grade);

    if (how->work == SETS || how->work == SBBS) {
        uint64_t varies = how->work == SETS ? 1 : UINT64_MAX;

        put_number(bits, grade, value == 1 ? varies : 0);
        bits->zeros[grade] &= value < 0 ? ~varies : UINT64_MAX;
    } else if (value) {
        bits->zeros[grade] = other->zeros[grade] & (value < 0 ? bits->zeros[grade] : UINT64_MAX);
        bits->ones[grade] = other->ones[grade] & (value < 0 ? bits->ones[grade] : UINT64_MAX);
    }
}

/* A value is moved, and maybe extended. */
static void
extend(struct bits *bits, const struct work_done *how)
{
    uint64_t sign = how->from ^ how->from >> 1;

    if (how->from == UINT64_MAX)
        return;
    for (unsigned grade = 0; grade < GRADES; grade++) {
        bits->zeros[grade] &= how->from;
        bits->ones[grade] &= how->from;
        if (!how->is_signed || bits->zeros[grade] & sign)
            bits->zeros[grade] |= ~how->from;
        else if (bits->ones[grade] & sign)
            bits->ones[grade] |= ~how->from;
    }
}

/* What becomes of an operation's first operand, of which only a part may be written. */
static void
merge(struct bits *bits, const struct bits *before, const struct work_done *how)
{
    unsigned shift = how->is_upper[0] ? 8 : 0;
    uint64_t clear = how->mask == UINT32_MAX ? ~how->mask : 0;
    uint64_t kept = ~(how->mask << shift | clear);

    for (unsigned grade = 0; grade < GRADES; grade++) {
        bits->zeros[grade] =
            (bits->zeros[grade] << shift & ~kept) | (before->zeros[grade] & kept) | clear;
        bits->ones[grade] =
            ((bits->ones[grade] << shift & ~kept) | (before->ones[grade] & kept)) & ~clear;
    }
    bits->soft |= kept ? before->soft : 0;
}

/* Whether what an operation makes of answers is followed. */
static int
is_followed(const struct operation *each, const struct work_done *how)
{
    int counts = how->work == SHIFTS_LEFT || how->work == SHIFTS_RIGHT || how->work == BIT_TESTS;

    return how->work && how->work < JUMPS && how->work != ADCS &&
           (how->work != SBBS || each->same) && !(counts && each->registers[1] != NO_REGISTER);
}

/* What an operation makes of its operands, of which `bits` is the first and then the result. */
static void
fold(struct values *state, struct bits *bits, const struct bits *other,
     const struct operation *each, const struct work_done *how)
{
    uint32_t flags = state->flags & ANSWERS;
    uint64_t unknown = 0;
    int reads = how->work == SETS || how->work == MOVES_IF || how->work == SBBS;

    bits->soft |= other->soft;
    if (!reads && each->traits & WRITES_FLAGS)
        state->flags_known = 0;
    for (unsigned grade = 0; grade < GRADES; grade++) {
        if (reads)
            fold_condition(state, bits, other, grade, how);
        else if (how->work >= NOTS)
            fold_one(state, bits, grade, how,
                     is_immediate(each) ? each->immediate & (how->is_wide ? 63 : 31) : 1);
        else
            fold_two(state, bits, other, grade, how);
        unknown |= grade == ALL_TIERS ? 0 : ~(bits->zeros[grade] | bits->ones[grade]);
    }
    if (reads && unknown)
        bits->soft |= (uint16_t)flags;
    if (how->work == SBBS)
        state->flags_known = 0;
}

/* What is left of labels where an operation takes bits out, or tests them; or copies some, if there
 * was nothing else, as behind a choice, that the value could tell of. */
static uint32_t
narrowed(uint32_t labels, uint32_t told, struct bits bits, const struct operation *each,
         const struct work_done *how)
{
    int is_copied = how->work == COPIES && !(labels & ANSWERS & ~told);
    uint64_t mask = each->traits & IS_FLAGS_ONLY ? how->mask : UINT64_MAX;

    if (how->work == BIT_TESTS)
        mask = 1ull << (each->immediate & (how->is_wide ? 63 : 31));
    else if (how->work != ANDS && how->work != TESTS && how->work != SHIFTS_RIGHT && !is_copied)
        return labels;
    for (unsigned grade = 0; grade < GRADES; grade++) {
        bits.zeros[grade] |= ~mask;
        bits.ones[grade] &= mask;
    }
    return labels & (~(uint32_t)ANSWERS | answers_labels(&bits));
}

uint32_t
ways_fold(const struct ways_space *space, struct ways_known *known, struct values *state,
          const struct operation *each, uint32_t labels, uint16_t *fact)
{
    uint16_t first = fact_of(space, known, state, each, 0);
    uint16_t second = fact_of(space, known, state, each, 1);
    int reads = (each->traits & READS_FLAGS) != 0;
    struct bits bits, other, before, whole;
    struct work_done how = {.work = ELSE};

    *fact = 0;
    if (first | second || (reads && state->flags_known))
        how = works_of(each);
    if (!is_followed(each, &how)) {
        if (each->traits & WRITES_FLAGS)
            state->flags_known = 0;
        return labels;
    }
    before = bits = bits_of(space, known, state, each, 0, &how, labels, first);
    other = bits_of(space, known, state, each, 1, &how, labels, second);
    if (how.work == COPIES) {
        bits = other;
        first = how.mask >= UINT32_MAX ? 0 : first;
        extend(&bits, &how);
    } else {
        fold(state, &bits, &other, each, &how);
    }
    if (!(each->traits & IS_FLAGS_ONLY)) {
        whole = how.is_upper[0] ? answers_bits(known, first, labels) : before;
        if (each->registers[0] >= 16)
            whole = (struct bits){.soft = 0};
        merge(&bits, &whole, &how);
    }
    labels = narrowed(labels, answers_labels(&other), bits, each, &how);
    if (each->traits & IS_FLAGS_ONLY)
        return labels;
    *fact = answers_fact(known, &bits);
    return labels;
}

uint16_t
ways_sum(struct ways_known *known, const struct values *state, const struct operation *each)
{
    struct bits sum = answers_number((uint64_t)each->displacement), part;

    for (unsigned turn = 0; turn < 2; turn++) {
        unsigned number = turn ? each->index : each->base;

        if (number == NO_REGISTER)
            continue;
        if (number >= 16)
            return 0;
        part = answers_bits(known, state->facts[number], state->labels[number]);
        sum.soft |= part.soft;
        for (unsigned grade = 0; grade < GRADES; grade++)
            if (is_known_of(&sum, grade, UINT64_MAX) && is_known_of(&part, grade, UINT64_MAX))
                put_number(&sum, grade, sum.ones[grade] + (part.ones[grade] << turn * each->scale));
            else
                sum.zeros[grade] = sum.ones[grade] = 0;
    }
    return answers_fact(known, &sum);
}

/* On CPUs of which grades a condition is known; of which it holds. */
static unsigned
known_of(const struct values *state, unsigned condition, unsigned *held)
{
    unsigned known = 0;

    *held = 0;
    for (unsigned grade = 0; grade < GRADES; grade++) {
        int value = holds(state, condition, grade);

        known |= (unsigned)(value >= 0) << grade;
        *held |= (unsigned)(value == 1) << grade;
    }
    return known;
}

unsigned
ways_picks(const struct values *state, const struct operation *each, unsigned *second)
{
    struct work_done how = works_of(each);

    return how.work == MOVES_IF ? known_of(state, how.condition, second) : 0;
}

unsigned
ways_outcome(const struct values *state, const struct operation *each, unsigned *taken)
{
    struct work_done how;

    if (!state->flags_known || !(state->flags & (ANSWERS | ARGUMENTS)))
        return 0;
    how = works_of(each);
    return how.work == JUMPS ? known_of(state, how.condition, taken) : 0;
}

/* What operations make of what is known of values, and which side of a branch a CPU without a
 * feature takes. */
#include "answers.h"

enum flag { ZERO = 1, SIGN = 2, CARRY = 4, OVERFLOW = 8 };

/* --- flags and conditions ------------------------------------------------------------------------
 */

static void
set_flags(struct values *state, unsigned tier, unsigned known, unsigned set)
{
    state->flag_tier = (uint8_t)tier;
    state->flags_known = (uint8_t)known;
    state->flags_set = (uint8_t)(set & known);
}

static unsigned
signs(int value)
{
    return (value == 0 ? ZERO : 0u) | (value < 0 ? SIGN : 0u);
}

/* The flags of a subtraction of two small numbers; they are the same in all widths. */
static unsigned
compared(int one, int other)
{
    return signs(one - other) | ((unsigned)one < (unsigned)other ? CARRY : 0u);
}

/* Whether a condition (SDM vol. 1, appendix B) holds: 1, 0, or -1 where that is not known. */
static int
holds(const struct values *state, unsigned condition)
{
    static const uint8_t any[] = {OVERFLOW, CARRY, ZERO, CARRY | ZERO, SIGN, 0, 0, ZERO};
    unsigned known = state->flags_known, set = state->flags_set, kind = condition >> 1;
    int value = -1;

    if (!state->flag_tier)
        return -1;
    if (set & any[kind])
        value = 1;
    else if (any[kind] && (known & any[kind]) == any[kind])
        value = 0;
    if (kind >= 6 && value < 1) { /* less: the sign is not the overflow */
        if ((known & (SIGN | OVERFLOW)) != (SIGN | OVERFLOW))
            value = -1;
        else if (!(set & SIGN) != !(set & OVERFLOW))
            value = 1;
        else
            value = kind == 6 ? 0 : value;
    }
    return value < 0 ? -1 : value ^ (int)(condition & 1);
}

/* --- opcodes -------------------------------------------------------------------------------------
 */

/* Operations by what they do with bits. */
enum work {
    ADDS,
    ORS,
    ADCS,
    SBBS,
    ANDS,
    SUBS,
    XORS,
    COMPARES, /* as opcodes have them */
    TESTS,
    NOTS,
    NEGS,
    SHIFTS_LEFT,
    SHIFTS_RIGHT,
    BIT_TESTS,
    SETS,
    MOVES_IF,
    COPIES,
    JUMPS,
    ELSE
};

struct decoded {
    enum work work;
    unsigned condition, is_byte;
    uint8_t is_upper[2]; /* an operand is one of AH, CH, DH, BH */
};

static enum work
grouped(unsigned opcode, unsigned reg)
{
    static const uint8_t unary[] = {TESTS, TESTS, NOTS, NEGS, ELSE, ELSE, ELSE, ELSE};
    static const uint8_t shifts[] = {ELSE,        ELSE,         ELSE,        ELSE,
                                     SHIFTS_LEFT, SHIFTS_RIGHT, SHIFTS_LEFT, SHIFTS_RIGHT};

    switch (opcode) {
    case 0x80:
    case 0x81:
    case 0x83:
        return (enum work)reg;
    case 0xf6:
    case 0xf7:
        return (enum work)unary[reg];
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
        return (enum work)shifts[reg];
    case 0x84:
    case 0x85:
    case 0xa8:
    case 0xa9:
        return TESTS;
    case 0x0fba:
        return reg == 4 ? BIT_TESTS : ELSE;
    case 0x0fb6:
    case 0x0fb7:
    case 0x0fbe:
    case 0x0fbf:
    case 0x63:
        return COPIES;
    case 0xc6:
    case 0xc7:
        return reg ? ELSE : COPIES;
    default:
        break;
    }
    if (opcode < 0x40 && (opcode & 7) < 6)
        return (enum work)(opcode >> 3);
    if ((opcode & ~3u) == 0x88 || (opcode & ~15u) == 0xb0)
        return COPIES;
    if ((opcode & ~15u) == 0x70 || (opcode & ~15u) == 0x0f80)
        return JUMPS;
    if ((opcode & ~15u) == 0x0f90)
        return SETS;
    return (opcode & ~15u) == 0x0f40 ? MOVES_IF : ELSE;
}

static struct decoded
decoded_of(const struct ways_space *space, const struct operation *each)
{
    const uint8_t *at = space->code + each->offset, *end = at + each->length;
    struct decoded made = {.work = ELSE};
    unsigned opcode, modrm, has_rex = 0;

    while (at < end && (*at == 0x66 || *at == 0xf2 || *at == 0xf3 || *at == 0x2e || *at == 0x3e))
        at++;
    if (at < end && (*at & 0xf0) == 0x40) {
        has_rex = 1;
        at++;
    }
    if (at >= end)
        return made;
    opcode = *at++;
    if (opcode == 0x0f && at < end)
        opcode = 0x0f00u | *at++;
    modrm = at < end ? *at : 0;
    made.work = grouped(opcode, modrm >> 3 & 7);
    made.condition = opcode & 15;
    made.is_byte = opcode < 0x100 ? !(opcode & 1) : (opcode & ~8u) == 0x0fb6;
    if (opcode >= 0xb0 && opcode < 0xc0)
        made.is_byte = opcode < 0xb8;
    if (opcode == 0x83 || made.work == JUMPS || made.work == SETS || made.work == MOVES_IF)
        made.is_byte = made.work == SETS;
    for (unsigned number = 0; number < 2; number++) {
        unsigned field = each->where[number] == OPERAND_REG ? modrm >> 3 & 7 : modrm & 7;

        if (made.is_byte && !has_rex && field >= 4 &&
            (each->where[number] == OPERAND_REG ||
             (each->where[number] == OPERAND_RM && modrm >= 0xc0)))
            made.is_upper[number] = opcode < 0x100 || number == 1 || made.work == SETS;
    }
    return made;
}

/* --- folding -------------------------------------------------------------------------------------
 */

static int
is_immediate(const struct operation *each)
{
    return each->where[1] >= OPERAND_IMM8 && each->where[1] <= OPERAND_IMM64;
}

static uint16_t
fact_of(const struct ways_space *space, const struct ways_known *known, const struct values *state,
        const struct operation *each, unsigned at, const struct decoded *how)
{
    unsigned number = each->registers[at];
    uint16_t fact;

    if (at == 1 && is_immediate(each)) {
        int64_t value = (int64_t)each->immediate;

        if (each->where[1] == OPERAND_IMM8)
            value = (int8_t)value;
        else if (each->where[1] == OPERAND_IMM32)
            value = (int32_t)value;
        return value >= INT8_MIN && value <= INT8_MAX ? ways_number((int)value, ALWAYS) : 0;
    }
    if (number < 16)
        fact = state->facts[number];
    else if (number == NO_REGISTER && each->has_memory)
        return ways_memory(space, known, state, each);
    else
        return 0;
    if (!how->is_upper[at])
        return fact;
    return fact & FACT_WORD && (fact & 63) < 24 ? fact + 8 : 0;
}

static uint32_t
narrowed(uint32_t labels, uint32_t told)
{
    return (labels & ~(uint32_t)ANSWERS) | (labels & told);
}

/* Bits of a word are taken out, or tested. */
static uint32_t
mask_word(const struct ways_known *known, struct values *state, const struct operation *each,
          const struct decoded *how, uint32_t labels, uint16_t *fact)
{
    uint16_t word = *fact;
    uint64_t mask = is_immediate(each) ? each->immediate : UINT64_MAX;
    uint32_t told;
    unsigned low, high;

    *fact = 0;
    if (!is_immediate(each) && !each->same)
        return labels;
    if (how->is_byte)
        mask &= 0xff;
    told = answers_bits(known, word, mask, &low, &high);
    if (word & FACT_INVERTED) { /* one is missing: it is not zero */
        if (how->work == TESTS)
            set_flags(state, high, ZERO | CARRY | OVERFLOW, 0);
        return narrowed(labels, told);
    }
    set_flags(state, low, ZERO | SIGN | CARRY | OVERFLOW, ZERO);
    *fact = ways_number(0, low);
    return narrowed(labels, told);
}

static uint32_t
fold_word(const struct ways_known *known, struct values *state, const struct operation *each,
          const struct decoded *how, uint32_t labels, uint16_t *fact)
{
    unsigned low, high, bit = (unsigned)each->immediate, shift = 1;
    uint32_t told;

    switch (how->work) {
    case ANDS:
    case TESTS:
        return mask_word(known, state, each, how, labels, fact);
    case BIT_TESTS:
        told = answers_bits(known, *fact, 1ull << (bit & 63), &low, &high);
        set_flags(state, low, CARRY, *fact & FACT_INVERTED ? CARRY : 0);
        *fact = 0;
        return narrowed(labels, told);
    case NOTS:
        *fact ^= FACT_INVERTED;
        return labels;
    case SHIFTS_RIGHT:
        if (is_immediate(each))
            shift = bit & 63;
        *fact = (*fact & 63) + shift < 64 ? (uint16_t)(*fact + shift) : 0;
        return *fact ? narrowed(labels, answers_bits(known, *fact, UINT64_MAX, &low, &high))
                     : labels;
    case COPIES:
        return labels;
    default:
        *fact = 0;
        return labels;
    }
}

/* A value made of one number. */
static uint16_t
fold_one(struct values *state, const struct operation *each, const struct decoded *how,
         uint16_t fact)
{
    unsigned tier = tier_of(fact), count = is_immediate(each) ? each->immediate & 31 : 1;
    int value = value_of(fact);

    switch (how->work) {
    case NOTS:
        return ways_number(~value, tier);
    case NEGS:
        set_flags(state, tier, ZERO | SIGN | CARRY, signs(-value) | (value ? CARRY : 0u));
        return ways_number(-value, tier);
    case SHIFTS_LEFT:
        value = count < 8 && value >= 0 ? value << count : value ? INT32_MAX : 0;
        set_flags(state, tier, ZERO, signs(value));
        return ways_number(value, tier);
    case SHIFTS_RIGHT:
        if (value < 0)
            return 0;
        set_flags(state, tier, ZERO | SIGN, signs(value >> count));
        return ways_number(value >> count, tier);
    case BIT_TESTS:
        set_flags(state, tier, CARRY, value >> (each->immediate & 31 & 7) & 1 ? CARRY : 0);
        return 0;
    default:
        return 0;
    }
}

/* A value made of two numbers, or of nothing and anything else. */
static uint16_t
fold_two(struct values *state, const struct decoded *how, uint16_t one, uint16_t other)
{
    unsigned tier = is_number(one) && is_number(other) ? least(tier_of(one), tier_of(other)) : 0;
    unsigned bare = most(is_number(one) && !value_of(one) ? tier_of(one) : 0,
                         is_number(other) && !value_of(other) ? tier_of(other) : 0);
    int left = value_of(one), right = value_of(other), value;

    if ((how->work == ANDS || how->work == TESTS) && bare > TIER_NONE) {
        set_flags(state, bare, ZERO | SIGN | CARRY | OVERFLOW, ZERO);
        return ways_number(0, bare);
    }
    if (!tier)
        return 0;
    switch (how->work) {
    case ADDS:
        value = left + right;
        set_flags(state, tier, ZERO, signs(value));
        return ways_number(value, tier);
    case ORS:
    case XORS:
    case ANDS:
    case TESTS:
        value = how->work == ORS ? left | right : how->work == XORS ? left ^ right : left & right;
        set_flags(state, tier, ZERO | SIGN | CARRY | OVERFLOW, signs(value));
        return ways_number(value, tier);
    case SUBS:
    case COMPARES:
        value = left - right;
        /* Bytes may overflow, where larger ones do not. */
        if (value >= INT8_MIN && value <= INT8_MAX)
            set_flags(state, tier, ZERO | SIGN | CARRY | OVERFLOW, compared(left, right));
        return ways_number(value, tier);
    default:
        return 0;
    }
}

/* SETcc, CMOVcc and what else depends on flags. */
static uint16_t
fold_condition(const struct values *state, const struct operation *each, const struct decoded *how,
               uint16_t one, uint16_t other)
{
    int value = holds(state, how->condition);
    unsigned tier = state->flag_tier;
    uint16_t chosen = value ? other : one;

    if (how->work == SBBS && each->same && state->flags_known & CARRY)
        return ways_number(state->flags_set & CARRY ? -1 : 0, tier);
    if (how->work == SBBS || how->work == ADCS) {
        int carry = (state->flags_set & CARRY) != 0;

        if (!(state->flags_known & CARRY) || !is_number(one) || !is_number(other))
            return 0;
        value = how->work == SBBS ? value_of(one) - value_of(other) - carry
                                  : value_of(one) + value_of(other) + carry;
        return ways_number(value, least(tier, least(tier_of(one), tier_of(other))));
    }
    if (value < 0)
        return 0;
    if (how->work == SETS)
        return ways_number(value, tier);
    return is_number(chosen) ? up_to(chosen, least(tier, tier_of(chosen))) : 0;
}

uint32_t
ways_fold(const struct ways_space *space, const struct ways_known *known, struct values *state,
          const struct operation *each, uint32_t labels, uint16_t *fact)
{
    struct decoded how = decoded_of(space, each);
    uint16_t one = fact_of(space, known, state, each, 0, &how);
    uint16_t other = fact_of(space, known, state, each, 1, &how);
    unsigned is_bare = is_number(other) && !value_of(other);

    *fact = 0;
    if (how.work == SETS || how.work == MOVES_IF || how.work == SBBS || how.work == ADCS) {
        *fact = fold_condition(state, each, &how, one, other);
        if (how.work == SBBS || how.work == ADCS)
            set_flags(state, TIER_NONE, 0, 0);
        return labels;
    }
    if (each->traits & WRITES_FLAGS)
        set_flags(state, TIER_NONE, 0, 0);
    if (how.is_upper[0] && !(each->traits & IS_FLAGS_ONLY)) /* a part of its register is written */
        return labels;
    if (how.work == COPIES) {
        *fact = other;
        /* What is extended from a byte is none of these numbers. */
        if (is_number(other) && value_of(other) < 0 && !(each->traits & IS_MOV))
            *fact = 0;
        return labels;
    }
    if (one & FACT_WORD) {
        *fact = one;
        return fold_word(known, state, each, &how, labels, fact);
    }
    if ((one | other) & FACT_INITIAL && how.work != TESTS && how.work != ANDS &&
        !(how.work == COMPARES && is_bare))
        return labels;
    if (how.work >= NOTS && how.work <= BIT_TESTS)
        *fact = is_number(one) ? fold_one(state, each, &how, one) : 0;
    else if (how.work <= TESTS)
        *fact = fold_two(state, &how, one, other) | ((one | other) & FACT_INITIAL);
    *fact = is_number(*fact) || *fact & FACT_WORD ? *fact : 0;
    return labels;
}

int
ways_picks(const struct ways_space *space, const struct values *state, const struct operation *each,
           unsigned tier)
{
    struct decoded how = decoded_of(space, each);

    return how.work == MOVES_IF && state->flag_tier >= tier ? holds(state, how.condition) : -1;
}

unsigned
ways_outcome(const struct ways_space *space, const struct values *state,
             const struct operation *each, int *taken)
{
    struct decoded how;

    if (!state->flag_tier || !(state->flags & ANSWERS))
        return TIER_NONE;
    how = decoded_of(space, each);
    *taken = how.work == JUMPS ? holds(state, how.condition) : -1;
    return *taken < 0 ? TIER_NONE : state->flag_tier;
}

/* What one instruction does that leads to the next one (execute.h). Operations are as in the SDM,
 * vol. 2. */
#include "execute.h"
#include "works.h"

/* --- registers and memory ------------------------------------------------------------------------
 */

/* Writes the lowest bytes of a general register; of 32 bits the others become zero. */
void
execution_put(struct execution *run, unsigned number, unsigned size, struct number value)
{
    uint64_t mask = bits_of_size(size), gone = size == 4 ? UINT64_MAX : mask;

    run->general[number] = (run->general[number] & ~gone) | (value.value & mask);
    run->unknown[number] &= ~gone;
    if (!value.is_known)
        run->unknown[number] |= mask;
}

struct number
execution_address(const struct execution *run, const struct operation *each)
{
    struct number made = number_known((uint64_t)each->displacement);

    if (each->is_odd == OF_THREAD)
        made.value += THREAD;
    else if (each->is_odd)
        return number_unknown;
    if (each->index >= 16 && each->index != NO_REGISTER)
        return number_unknown;
    if (each->base < 16) {
        made.value += run->general[each->base];
        made.is_known &= !run->unknown[each->base];
    }
    if (each->index < 16) {
        made.value += run->general[each->index] << each->scale;
        made.is_known &= !run->unknown[each->index];
    }
    return made;
}

static int
is_memory(const struct operation *each, unsigned at)
{
    return each->registers[at] == NO_REGISTER &&
           (each->where[at] == OPERAND_RM || each->where[at] == OPERAND_OFFSET);
}

static int
is_vector(const struct operation *each, unsigned at)
{
    return each->registers[at] >= VECTORS && each->registers[at] < VECTORS + 16;
}

static struct number
load(const struct execution *run, const struct operation *each, unsigned size)
{
    struct number address = execution_address(run, each);

    return address.is_known ? memory_load(run, address.value, size) : number_unknown;
}

/* An operand that is no vector. */
static struct number
read(const struct execution *run, const struct operation *each, unsigned at)
{
    unsigned number = each->registers[at];

    if (is_memory(each, at))
        return load(run, each, each->sizes[at]);
    if (number == NO_REGISTER)
        return number_known(each->immediate);
    if (number >= 16)
        return number_unknown;
    if (each->upper[at]) {
        struct number word = execution_value(run, number, 2);

        word.value >>= 8;
        return word;
    }
    return execution_value(run, number, each->sizes[at]);
}

/* Writes one; whether it is known where. */
static int
write(struct execution *run, const struct operation *each, unsigned at, struct number value)
{
    unsigned number = each->registers[at];

    if (is_memory(each, at)) {
        struct number address = execution_address(run, each);

        return address.is_known && memory_store(run, address.value, each->sizes[at], value);
    }
    if (number >= 16)
        return 0;
    if (each->upper[at]) { /* AH and the like */
        struct number word = execution_value(run, number, 2);

        word.value = (word.value & 0xff) | (value.value & 0xff) << 8;
        word.is_known &= value.is_known;
        execution_put(run, number, 2, word);
        return 1;
    }
    execution_put(run, number, each->sizes[at], value);
    return 1;
}

int
execution_push(struct execution *run, struct number value)
{
    run->general[RSP] -= 8;
    return !run->unknown[RSP] && memory_store(run, run->general[RSP], 8, value);
}

struct number
execution_pop(struct execution *run)
{
    struct number value =
        run->unknown[RSP] ? number_unknown : memory_load(run, run->general[RSP], 8);

    run->general[RSP] += 8;
    return value;
}

/* --- operations ----------------------------------------------------------------------------------
 */

/* Sets flags by a result, and those of two others that are known. */
static void
set_flags(struct execution *run, struct number result, uint64_t mask, unsigned others, unsigned set)
{
    run->flags_known = result.is_known ? ZERO | SIGN | others : 0;
    run->flags_set =
        set | (result.value & mask ? 0u : ZERO) | (result.value & (mask ^ mask >> 1) ? SIGN : 0u);
}

/* What two operands make: a sum, a difference, bits. */
static int
combine(struct execution *run, const struct operation *each)
{
    struct number one = read(run, each, 0), other = read(run, each, 1), result;
    uint64_t mask = bits_of_size(each->sizes[0]), sign = mask ^ mask >> 1, value, more = 0;
    int is_carried = 0, is_over = 0, work = each->work;

    if ((each->same && (work == XORS || work == SUBS || work == SBBS)) ||
        ((work == ANDS || work == TESTS) &&
         ((one.is_known && !(one.value & mask)) || (other.is_known && !(other.value & mask)))))
        one = other = number_known(0);
    one.value &= mask;
    other.value &= mask;
    result.is_known = one.is_known && other.is_known;
    if (work == ADCS || work == SBBS) {
        result.is_known &= (run->flags_known & CARRY) != 0;
        more = (run->flags_set & CARRY) != 0;
    }
    switch (work) {
    case ADDS:
    case ADCS:
        value = (one.value + other.value + more) & mask;
        is_carried = value < one.value || (more && value == one.value);
        is_over = (~(one.value ^ other.value) & (one.value ^ value) & sign) != 0;
        break;
    case ANDS:
    case TESTS:
        value = one.value & other.value;
        break;
    case ORS:
        value = one.value | other.value;
        break;
    case XORS:
        value = one.value ^ other.value;
        break;
    default:
        value = (one.value - other.value - more) & mask;
        is_carried = one.value < other.value || (more && one.value == other.value);
        is_over = ((one.value ^ other.value) & (one.value ^ value) & sign) != 0;
    }
    result.value = value;
    set_flags(run, result, mask, CARRY | OVERFLOW,
              (is_carried ? CARRY : 0u) | (is_over ? OVERFLOW : 0u));
    return work == COMPARES || work == TESTS || write(run, each, 0, result);
}

/* What is made of one operand. */
static int
change(struct execution *run, const struct operation *each)
{
    struct number value = read(run, each, 0);
    uint64_t mask = bits_of_size(each->sizes[0]), sign = mask ^ mask >> 1, before = value.value;
    unsigned kept = run->flags_known & CARRY, carry = run->flags_set & CARRY;

    switch (each->work) {
    case NOTS:
        value.value = ~before & mask;
        return write(run, each, 0, value);
    case NEGS:
        value.value = (0 - before) & mask;
        set_flags(run, value, mask, CARRY | OVERFLOW,
                  (before ? CARRY : 0u) | (value.value == sign ? OVERFLOW : 0u));
        break;
    default:
        value.value = (before + (each->work == COUNTS_UP ? 1 : UINT64_MAX)) & mask;
        set_flags(run, value, mask, kept | OVERFLOW,
                  carry |
                      ((each->work == COUNTS_UP ? value.value : before) == sign ? OVERFLOW : 0u));
        run->flags_known |= kept;
    }
    return write(run, each, 0, value);
}

/* Shifts; of two registers too. */
static int
shift(struct execution *run, const struct operation *each)
{
    unsigned bits = 8u * each->sizes[0], last = each->count - 1u, number = each->registers[last];
    struct number one = read(run, each, 0), more = number_known(0), result = number_unknown, by;
    uint64_t mask = bits_of_size(each->sizes[0]), carry = 0;
    int is_left = each->work == SHIFTS_LEFT || each->work == FILLS_LEFT;

    if (number < 16)
        by = execution_value(run, number, 1);
    else
        by = number_known(each->where[last] == OPERAND_SHORT ? 1 : each->immediate);
    by.value &= bits == 64 ? 63 : 31;
    if (by.is_known && !by.value)
        return write(run, each, 0, one);
    if (last == 2)
        more = read(run, each, 1);
    else if (each->traits & IS_SIGNED && one.value >> (bits - 1) & 1)
        more = number_known(mask);
    if (by.is_known && one.is_known && more.is_known && by.value < bits) {
        unsigned count = (unsigned)by.value;

        result = number_known(is_left ? one.value << count | more.value >> (bits - count)
                                      : one.value >> count | more.value << (bits - count));
        result.value &= mask;
        carry = one.value >> (is_left ? bits - count : count - 1) & 1;
    }
    set_flags(run, result, mask, CARRY, carry ? CARRY : 0);
    return write(run, each, 0, result);
}

static int
rotate(struct execution *run, const struct operation *each)
{
    unsigned bits = 8u * each->sizes[0], number = each->registers[1];
    struct number one = read(run, each, 0), by;
    uint64_t mask = bits_of_size(each->sizes[0]), value = one.value & mask;
    unsigned count;

    by = number < 16 ? execution_value(run, number, 1)
                     : number_known(each->where[1] == OPERAND_SHORT ? 1 : each->immediate);
    count = (unsigned)by.value & (bits == 64 ? 63u : 31u) & (bits - 1);
    if (each->work == ROTATES_RIGHT)
        count = (bits - count) & (bits - 1);
    one.value = count ? (value << count | value >> (bits - count)) & mask : value;
    one.is_known &= by.is_known;
    run->flags_known &= ZERO | SIGN;
    return write(run, each, 0, one);
}

/* IMUL; of one operand, MUL and DIV nothing is known. */
static int
multiply(struct execution *run, const struct operation *each)
{
    struct number one, other;

    if (each->count < 2)
        return 0;
    one = read(run, each, each->count == 3);
    other = each->count == 3 ? number_known(each->immediate) : read(run, each, 1);
    one.value *= other.value;
    one.is_known &= other.is_known;
    run->flags_known = 0;
    return write(run, each, 0, one);
}

/* What spreads RAX's sign: into more of it, or into RDX. */
static int
widen(struct execution *run, const struct operation *each)
{
    unsigned from = each->work == WIDENS_TWO ? 2 : each->work == SPREADS_EIGHT ? 8 : 4;
    struct number value = execution_value(run, RAX, from);
    uint64_t mask = bits_of_size(from), is_negative = value.value & (mask ^ mask >> 1);

    if (each->work == WIDENS_TWO || each->work == WIDENS_FOUR) {
        value.value |= is_negative ? ~mask : 0;
        execution_put(run, RAX, 2 * from, value);
    } else {
        value.value = is_negative ? UINT64_MAX : 0;
        execution_put(run, RDX, from, value);
    }
    return 1;
}

/* CMPXCHG and XADD. */
static int
exchange_if(struct execution *run, const struct operation *each)
{
    unsigned size = each->sizes[0];
    uint64_t mask = bits_of_size(size);
    struct number old = read(run, each, 0), other = read(run, each, 1), sum = old;
    struct number expected = execution_value(run, RAX, size);
    int is_same = old.value == expected.value;

    run->flags_known = 0;
    if (each->work == EXCHANGES_ADDS) {
        sum.value = (old.value + other.value) & mask;
        sum.is_known &= other.is_known;
        return write(run, each, 1, old) && write(run, each, 0, sum);
    }
    if (!old.is_known || !expected.is_known)
        return 0;
    run->flags_known = ZERO;
    run->flags_set = is_same ? ZERO : 0;
    if (!is_same)
        execution_put(run, RAX, size, old);
    return !is_same || write(run, each, 0, other);
}

/* BT, and what sets or clears the bit, which may be in memory beside its operand. */
static int
test_bit(struct execution *run, const struct operation *each)
{
    unsigned size = each->sizes[0], bits = 8 * size;
    struct number number = read(run, each, 1), address = execution_address(run, each), one;
    int is_far = is_memory(each, 0) && each->registers[1] != NO_REGISTER;
    uint64_t bit = 1ull << (number.value & (bits - 1)), sign = 1ull << (bits - 1);

    if (is_far) {
        address.is_known &= number.is_known;
        address.value += (uint64_t)((int64_t)((number.value ^ sign) - sign) >> 3) & ~(size - 1ull);
        one = address.is_known ? memory_load(run, address.value, size) : number_unknown;
    } else {
        one = read(run, each, 0);
    }
    one.is_known &= number.is_known;
    run->flags_known = one.is_known ? CARRY : 0;
    run->flags_set = one.value & bit ? CARRY : 0;
    one.value = each->work == BIT_SETS ? one.value | bit : one.value & ~bit;
    if (each->work == BIT_TESTS)
        return 1;
    if (is_far)
        return address.is_known && memory_store(run, address.value, size, one);
    return write(run, each, 0, one);
}

/* SETcc and CMOVcc. */
static int
choose(struct execution *run, const struct operation *each)
{
    int met = works_holds(run->flags_known, run->flags_set, each->condition);
    struct number old = read(run, each, 0), made;

    if (each->work == SETS)
        return write(run, each, 0, (struct number){met == 1, met >= 0});
    made = read(run, each, 1);
    if (met < 0)
        made.is_known &= old.is_known && old.value == made.value;
    return write(run, each, 0, met ? made : old);
}

/* MOV, and what extends. */
static int
copy(struct execution *run, const struct operation *each)
{
    struct number value = read(run, each, 1);
    uint64_t mask = bits_of_size(each->sizes[1]), sign = mask ^ mask >> 1;

    if (each->traits & IS_SIGNED && value.value & sign)
        value.value |= ~mask;
    return write(run, each, 0, value);
}

static int
exchange(struct execution *run, const struct operation *each)
{
    struct number one = read(run, each, 0), other = read(run, each, 1);

    return write(run, each, 0, other) && write(run, each, 1, one);
}

/* Half of an operand that is a vector, or memory. */
static struct number
half_of(const struct execution *run, const struct operation *each, unsigned at, unsigned half,
        unsigned size)
{
    unsigned number = each->registers[at];

    if (is_vector(each, at)) {
        number -= VECTORS;
        return (struct number){run->vectors[number][half], run->halves[number] >> half & 1};
    }
    if (is_memory(each, at)) {
        struct number address = execution_address(run, each);

        return address.is_known ? memory_load(run, address.value + 8 * half, size) : number_unknown;
    }
    return number < 16 ? execution_value(run, number, size) : number_unknown;
}

static int
put_half(struct execution *run, const struct operation *each, unsigned half, unsigned size,
         struct number value)
{
    unsigned number = each->registers[0];
    struct number address;

    if (is_vector(each, 0)) {
        number -= VECTORS;
        run->vectors[number][half] = value.value & bits_of_size(size);
        run->halves[number] &= (uint8_t) ~(1u << half);
        run->halves[number] |= (uint8_t)((unsigned)value.is_known << half);
        return 1;
    }
    if (number < 16 && !half) {
        execution_put(run, number, size, value);
        return 1;
    }
    address = execution_address(run, each);
    return is_memory(each, 0) && address.is_known &&
           memory_store(run, address.value + 8 * half, size, value);
}

/* Plain moves of vectors, and what clears them. */
static int
move_vector(struct execution *run, const struct operation *each)
{
    unsigned size = each->sizes[0] < each->sizes[1] ? each->sizes[0] : each->sizes[1];
    struct number halves[2] = {number_known(0), number_known(0)};
    int is_xor = each->work == VECTOR_XORS;

    for (unsigned half = 0; 8 * half < size; half++) {
        struct number other = half_of(run, each, 0, half, 8);

        if (is_xor && each->same)
            continue;
        halves[half] = half_of(run, each, 1, half, size < 8 ? size : 8);
        halves[half].value ^= is_xor ? other.value : 0;
        halves[half].is_known &= !is_xor || other.is_known;
    }
    if (each->work == VECTOR_JOINS && !is_vector(each, 0)) { /* MOVHPS */
        halves[0] = half_of(run, each, 1, 1, 8);
    } else if (each->work == VECTOR_JOINS) {
        halves[1] = halves[0];
        halves[0] = half_of(run, each, 0, 0, 8);
    }
    if (!put_half(run, each, 0, size < 8 ? size : 8, halves[0]))
        return 0;
    return !(size > 8 || is_vector(each, 0)) || put_half(run, each, 1, 8, halves[1]);
}

/* Of what else writes a vector nothing is known. */
static int
lose_vector(struct execution *run, const struct operation *each)
{
    if (!is_vector(each, 0) || each->count < 2)
        return 0;
    run->halves[each->registers[0] - VECTORS] = 0;
    if (each->traits & WRITES_FLAGS)
        run->flags_known = 0;
    return 1;
}

/* CPUID and XGETBV. */
static int
ask(struct execution *run, const struct operation *each)
{
    static const uint8_t order[] = {RAX, RBX, RCX, RDX};
    const struct execute_model *model = &run->file->models[run->model];
    struct number leaf = execution_value(run, RAX, 4), subleaf = execution_value(run, RCX, 4);
    const struct execute_leaf *found = NULL;

    if (scan_classes[each->class].flags & CLASS_XGETBV) {
        execution_put(run, RAX, 4,
                      (struct number){model->xcr0, subleaf.is_known && !subleaf.value});
        execution_put(run, RDX, 4, number_known(0));
        return 1;
    }
    if (!leaf.is_known)
        return 0;
    for (uint32_t at = 0; at < model->count && at < MOST_LEAVES; at++) {
        const struct execute_leaf *row = &model->leaves[at];

        if (row->leaf == leaf.value &&
            (row->subleaf == ANY_SUBLEAF || row->subleaf == (subleaf.is_known ? subleaf.value : 0)))
            found = row;
    }
    for (unsigned at = 0; at < 4; at++)
        execution_put(run, order[at], 4,
                      found ? (struct number){found->words[at], found->known >> at & 1}
                            : number_unknown);
    return 1;
}

int
execution_operate(struct execution *run, const struct operation *each)
{
    struct number value;

    switch (each->work) {
    case ADDS:
    case ORS:
    case ADCS:
    case SBBS:
    case ANDS:
    case SUBS:
    case XORS:
    case COMPARES:
    case TESTS:
        return combine(run, each);
    case NOTS:
    case NEGS:
    case COUNTS_UP:
    case COUNTS_DOWN:
        return change(run, each);
    case SHIFTS_LEFT:
    case SHIFTS_RIGHT:
    case FILLS_LEFT:
    case FILLS_RIGHT:
        return shift(run, each);
    case BIT_TESTS:
    case BIT_SETS:
    case BIT_CLEARS:
        return test_bit(run, each);
    case SETS:
    case MOVES_IF:
        return choose(run, each);
    case COPIES:
        return copy(run, each);
    case ROTATES_LEFT:
    case ROTATES_RIGHT:
        return rotate(run, each);
    case MULTIPLIES:
        return multiply(run, each);
    case WIDENS_TWO:
    case WIDENS_FOUR:
    case SPREADS_FOUR:
    case SPREADS_EIGHT:
        return widen(run, each);
    case COMPARES_EXCHANGES:
    case EXCHANGES_ADDS:
        return exchange_if(run, each);
    case TAKES_ADDRESS:
        return write(run, each, 0, execution_address(run, each));
    case EXCHANGES:
        return exchange(run, each);
    case PUSHES:
        return each->sizes[0] != 2 && execution_push(run, read(run, each, 0));
    case POPS:
        value = execution_pop(run);
        return each->sizes[0] == 8 && write(run, each, 0, value);
    case LEAVES:
        run->general[RSP] = run->general[RBP];
        run->unknown[RSP] = run->unknown[RBP];
        execution_put(run, RBP, 8, execution_pop(run));
        return !run->unknown[RSP];
    case VECTOR_PARTS:
        if (is_vector(each, 0) && is_vector(each, 1))
            return lose_vector(run, each);
        return move_vector(run, each);
    case VECTOR_COPIES:
    case VECTOR_XORS:
    case VECTOR_JOINS:
        return move_vector(run, each);
    case IDLES:
        return 1;
    default:
        return each->traits & IS_ASKING ? ask(run, each) : lose_vector(run, each);
    }
}

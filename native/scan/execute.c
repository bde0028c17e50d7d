/* One run of a function (execute.h). */
#include "execute.h"
#include "sets.h"
#include "works.h"

enum {
    ROOM = 1 << 16, /* bytes that who asks for memory is given */
};

/* No static memory is as high as what a run has: the memory that it is given begins here, */
#define HEAP (1ull << STATIC_SHIFT)
/* its stack ends here, */
#define STACK (1ull << 46)
/* R14 points here in Go, which reads from it how far down the stack may go, */
#define GOROUTINE (1ull << 47)
/* and this is where it returns to. */
#define BACK (1ull << 48)

static const struct number unknown = {0, 0};

static struct number
known(uint64_t value)
{
    return (struct number){value, 1};
}

/* --- registers and memory ------------------------------------------------------------------------
 */

/* Writes the lowest bytes of a general register; of 32 bits the others become zero. */
static void
put(struct execution *run, unsigned number, unsigned size, struct number value)
{
    uint64_t mask = bits_of_size(size), gone = size == 4 ? UINT64_MAX : mask;

    run->general[number] = (run->general[number] & ~gone) | (value.value & mask);
    run->unknown[number] &= ~gone;
    if (!value.is_known)
        run->unknown[number] |= mask;
}

static struct number
address_of(const struct execution *run, const struct operation *each)
{
    struct number made = known((uint64_t)each->displacement);

    if (each->is_odd || (each->index >= 16 && each->index != NO_REGISTER))
        return unknown;
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
    struct number address = address_of(run, each);

    return address.is_known ? memory_load(run, address.value, size) : unknown;
}

/* An operand that is no vector. */
static struct number
read(const struct execution *run, const struct operation *each, unsigned at)
{
    unsigned number = each->registers[at];

    if (is_memory(each, at))
        return load(run, each, each->sizes[at]);
    if (number == NO_REGISTER)
        return known(each->immediate);
    if (number >= 16)
        return unknown;
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
        struct number address = address_of(run, each);

        return address.is_known && memory_store(run, address.value, each->sizes[at], value);
    }
    if (number >= 16 || each->upper[at])
        return 0;
    put(run, number, each->sizes[at], value);
    return 1;
}

static int
push(struct execution *run, struct number value)
{
    run->general[RSP] -= 8;
    return !run->unknown[RSP] && memory_store(run, run->general[RSP], 8, value);
}

static struct number
pop(struct execution *run)
{
    struct number value = run->unknown[RSP] ? unknown : memory_load(run, run->general[RSP], 8);

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
        one = other = known(0);
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
    struct number one = read(run, each, 0), more = known(0), result = unknown, by;
    uint64_t mask = bits_of_size(each->sizes[0]), carry = 0;
    int is_left = each->work == SHIFTS_LEFT || each->work == FILLS_LEFT;

    if (number < 16)
        by = execution_value(run, number, 1);
    else
        by = known(each->where[last] == OPERAND_SHORT ? 1 : each->immediate);
    by.value &= bits == 64 ? 63 : 31;
    if (by.is_known && !by.value)
        return write(run, each, 0, one);
    if (last == 2)
        more = read(run, each, 1);
    else if (each->traits & IS_SIGNED && one.value >> (bits - 1) & 1)
        more = known(mask);
    if (by.is_known && one.is_known && more.is_known && by.value < bits) {
        unsigned count = (unsigned)by.value;

        result = known(is_left ? one.value << count | more.value >> (bits - count)
                               : one.value >> count | more.value << (bits - count));
        result.value &= mask;
        carry = one.value >> (is_left ? bits - count : count - 1) & 1;
    }
    set_flags(run, result, mask, CARRY, carry ? CARRY : 0);
    return write(run, each, 0, result);
}

/* BT, and what sets or clears the bit. */
static int
test_bit(struct execution *run, const struct operation *each)
{
    struct number one = read(run, each, 0), number = read(run, each, 1);
    uint64_t bit;

    if (is_memory(each, 0) && each->registers[1] != NO_REGISTER)
        return 0; /* the bit may be in memory behind it */
    bit = 1ull << (number.value & (8u * each->sizes[0] - 1));
    one.is_known &= number.is_known;
    run->flags_known = one.is_known ? CARRY : 0;
    run->flags_set = one.value & bit ? CARRY : 0;
    one.value = each->work == BIT_SETS ? one.value | bit : one.value & ~bit;
    return each->work == BIT_TESTS || write(run, each, 0, one);
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
        struct number address = address_of(run, each);

        return address.is_known ? memory_load(run, address.value + 8 * half, size) : unknown;
    }
    return number < 16 ? execution_value(run, number, size) : unknown;
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
        put(run, number, size, value);
        return 1;
    }
    address = address_of(run, each);
    return is_memory(each, 0) && address.is_known &&
           memory_store(run, address.value + 8 * half, size, value);
}

/* Plain moves of vectors, and what clears them. */
static int
move_vector(struct execution *run, const struct operation *each)
{
    unsigned size = each->sizes[0] < each->sizes[1] ? each->sizes[0] : each->sizes[1];
    struct number halves[2] = {known(0), known(0)};
    int is_xor = each->work == VECTOR_XORS;

    for (unsigned half = 0; 8 * half < size; half++) {
        struct number other = half_of(run, each, 0, half, 8);

        if (is_xor && each->same)
            continue;
        halves[half] = half_of(run, each, 1, half, size < 8 ? size : 8);
        halves[half].value ^= is_xor ? other.value : 0;
        halves[half].is_known &= !is_xor || other.is_known;
    }
    if (!put_half(run, each, 0, size < 8 ? size : 8, halves[0]))
        return 0;
    return !(size > 8 || is_vector(each, 0)) || put_half(run, each, 1, 8, halves[1]);
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
        put(run, RAX, 4, (struct number){model->xcr0, subleaf.is_known && !subleaf.value});
        put(run, RDX, 4, known(0));
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
        put(run, order[at], 4,
            found ? (struct number){found->words[at], found->known >> at & 1} : unknown);
    return 1;
}

static int
operate(struct execution *run, const struct operation *each)
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
    case TAKES_ADDRESS:
        return write(run, each, 0, address_of(run, each));
    case EXCHANGES:
        return exchange(run, each);
    case PUSHES:
        return each->sizes[0] != 2 && push(run, read(run, each, 0));
    case POPS:
        value = pop(run);
        return each->sizes[0] == 8 && write(run, each, 0, value);
    case LEAVES:
        run->general[RSP] = run->general[RBP];
        run->unknown[RSP] = run->unknown[RBP];
        put(run, RBP, 8, pop(run));
        return !run->unknown[RSP];
    case VECTOR_COPIES:
    case VECTOR_XORS:
        return move_vector(run, each);
    case IDLES:
        return 1;
    default:
        return each->traits & IS_ASKING && ask(run, each);
    }
}

/* --- ways ----------------------------------------------------------------------------------------
 */

/* The instruction at an address; NULL where there is none of this file's. */
static const struct operation *
operation_at(const struct executed *file, uint64_t address)
{
    struct execute_decoded *kept = &file->space->decoded[address & (MOST_DECODED - 1)];
    uint32_t range;

    if (kept->address == address && kept->operation.length)
        return &kept->operation;
    range = links_range_of(file->links, address);
    if (range == file->links->ranges)
        return NULL;
    kept->address = address;
    scan_operation(file->code[range] + (address - file->links->code[range].start),
                   file->links->code[range].end - address, address, &kept->operation);
    return scan_classes[kept->operation.class].flags & CLASS_INVALID ? NULL : &kept->operation;
}

/* Another file's function that stands in a slot is called, or jumped to: memory is there for who
 * asks for it. Returns where that goes on, if it is known. */
static struct number
call_other(struct execution *run, uint32_t slot, uint64_t next, int is_call)
{
    static const uint8_t clobbered[] = {RCX, RDX, RSI, RDI, R8, R9, 10, 11};

    if (run->file->does[slot] != FOREIGN_MALLOC)
        return unknown;
    for (unsigned at = 0; at < sizeof clobbered; at++)
        put(run, clobbered[at], 8, unknown);
    run->flags_known = 0;
    put(run, RAX, 8, known(run->heap += ROOM));
    return is_call ? known(next) : pop(run);
}

/* Where a branch leads through a register or memory. */
static struct number
led(struct execution *run, const struct operation *each, uint64_t next, int is_call)
{
    const struct ways_set *foreign = &run->file->foreign;
    struct number to;

    if (each->registers[0] < 16) {
        to = execution_value(run, each->registers[0], 8);
    } else {
        struct number address = address_of(run, each);
        uint32_t slot = place_of(foreign->all, foreign->count, address.value);

        if (address.is_known && slot < foreign->count && foreign->all[slot] == address.value)
            return call_other(run, slot, next, is_call);
        to = address.is_known ? memory_load(run, address.value, 8) : unknown;
    }
    if (to.is_known && is_call && !push(run, known(next)))
        to.is_known = 0;
    return to;
}

/* Whether a compiler knows that a call does not come back: UD2 stands behind it. */
static int
ends_run(const struct executed *file, uint64_t next)
{
    const struct operation *each = operation_at(file, next);

    return each && scan_classes[each->class].flow == FLOW_TRAP && each->length == 2;
}

/* One instruction; where the run goes on is in `address`. */
static enum ended
step(struct execution *run, uint64_t *address)
{
    const struct operation *each = operation_at(run->file, *address);
    struct number to = unknown;
    uint64_t next;
    int met;

    if (!each)
        return RUN_LOST;
    next = *address + each->length;
    switch (scan_classes[each->class].flow) {
    case FLOW_NEXT:
        *address = next;
        return operate(run, each) ? RUN_GOES : RUN_LOST;
    case FLOW_JCC:
        met = each->work == JUMPS ? works_holds(run->flags_known, run->flags_set, each->condition)
                                  : -1;
        to = (struct number){met ? each->immediate : next, met >= 0};
        break;
    case FLOW_JMP:
        to = known(each->immediate);
        break;
    case FLOW_CALL:
        to = known(each->immediate);
        if (ends_run(run->file, next))
            return RUN_REFUSED;
        to.is_known = push(run, known(next));
        break;
    case FLOW_INDIRECT_CALL:
        if (ends_run(run->file, next))
            return RUN_REFUSED;
        to = led(run, operation_at(run->file, *address), next, 1);
        break;
    case FLOW_INDIRECT_JMP:
        to = led(run, each, next, 0);
        break;
    case FLOW_RET:
        to = pop(run);
        run->general[RSP] += each->where[0] == OPERAND_IMM16 ? each->immediate : 0;
        break;
    default:
        break;
    }
    *address = to.value;
    return to.is_known ? RUN_GOES : RUN_LOST;
}

enum ended
execute(struct execution *run, struct executed *file, unsigned model, uint64_t start, uint32_t most)
{
    enum ended ended = RUN_GOES;
    uint64_t address = start;

    *run = (struct execution){.file = file, .model = model, .heap = HEAP};
    run->memory = &file->space->memory[model];
    memory_clear(run->memory);
    for (unsigned number = 0; number < 16; number++)
        run->unknown[number] = UINT64_MAX;
    put(run, RSP, 8, known(STACK));
    put(run, 14, 8, known(GOROUTINE));
    push(run, known(BACK));
    memory_store(run, GOROUTINE + 16, 8, known(0));
    for (; ended == RUN_GOES && address != BACK; run->steps++) {
        if (run->steps == most)
            return RUN_LOST;
        ended = step(run, &address);
    }
    return ended == RUN_GOES ? RUN_ENDS : ended;
}

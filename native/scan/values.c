/* Where a value that tells what the CPU can do goes to inside of one function. */
#include "answers.h"
#include "sets.h"
#include "slots.h"
#include "works.h"

/* R12 to R15, RBX and RBP are kept by both. */
#define BOTH_KEEP (0xf000u | 1u << RBX | 1u << RBP)

#define IN_PAIR (1u << RAX | 1u << RDX)

const struct ways_convention ways_system_v = {
    {RDI, RSI, RDX, RCX, R8, R9}, 6, BOTH_KEEP, IN_PAIR, 0};
const struct ways_convention ways_windows = {
    {RCX, RDX, R8, R9}, 4, BOTH_KEEP | 1u << RSI | 1u << RDI, IN_PAIR, 0};
/* R14 is the goroutine. */
const struct ways_convention ways_go = {{RAX, RBX, RCX, RDI, RSI, R8},
                                        6,
                                        1u << RBP | 1u << 14,
                                        1u << RAX | 1u << RBX | 1u << RCX | 1u << RDI | 1u << RSI,
                                        1};

static uint32_t
labels_of(const struct values *state, unsigned number)
{
    return number < REGISTERS ? state->labels[number] : 0;
}

static void
set_register(struct values *state, unsigned number, uint32_t labels)
{
    state->labels[number] = (uint16_t)labels;
    if (number < 16) {
        state->pointed &= ~(1u << number);
        state->stacked &= ~(1u << number);
        state->facts[number] = 0;
    }
}

/* --- memory --------------------------------------------------------------------------------------
 */

uint64_t
ways_slot(const struct operation *each)
{
    return SLOT(each->base, each->displacement);
}

/* Static memory, a place on the stack, or what is behind a pointer. */
enum kind { STATIC, STACK, BEHIND };

struct place {
    enum kind kind;
    uint64_t where; /* the address; the slot */
    unsigned base, index;
};

static struct place
memory_of(const struct values *state, const struct operation *each, int framed)
{
    struct place place = {BEHIND, (uint64_t)each->displacement, each->base, each->index};

    if (each->is_static || each->absolute) {
        place.kind = STATIC;
    } else if (each->base == NO_REGISTER) {
        return place;
    } else if (state->pointed >> each->base & 1) {
        place.kind = STATIC;
        place.where += state->points[each->base];
    } else if (each->base == RSP || (framed && each->base == RBP)) {
        place.kind = STACK;
        place.where = SLOT(each->base, each->displacement);
    } else if (each->base < 16 && state->stacked >> each->base & 1) {
        place.kind = STACK;
        place.where += state->points[each->base];
    } else if (each->index < 16 && state->pointed >> each->index & 1 && !each->scale) {
        place.kind = STATIC;
        place.where += state->points[each->index];
    }
    return place;
}

int
ways_static(const struct ways_space *space, const struct values *state,
            const struct operation *each, uint64_t *address)
{
    struct place place = memory_of(state, each, (int)space->framed);

    *address = place.where;
    return each->has_memory && place.kind == STATIC;
}

uint64_t
ways_table(const struct ways_space *space, const struct values *state, const struct operation *each)
{
    uint64_t address;

    if (each->index >= 16 || !ways_static(space, state, each, &address))
        return 0;
    return address - (each->absolute ? 0 : (uint64_t)each->displacement);
}

/* The labels of what is read from memory. */
uint32_t
ways_read(const struct ways_space *space, const struct ways_known *known,
          const struct values *state, const struct operation *each)
{
    struct place place = memory_of(state, each, (int)space->framed);
    uint32_t labels = (labels_of(state, place.base) & ANSWERS) | labels_of(state, place.index);
    uint32_t at, told;

    switch (place.kind) {
    case STATIC:
        if (ways_holds(&known->foreign, place.where, place.where))
            labels |= ANSWER;
        return labels |
               ways_kept_labels(known, place.where, place.index == NO_REGISTER ? each->size : NEAR);
    case STACK:
        labels |= slots_labels(state, place.where,
                               place.where + (place.index == NO_REGISTER ? 0 : NEAR - 1));
        at = place_of(space->writes, space->written, place.where - 7);
        if ((at == space->written || space->writes[at] > place.where) &&
            (each->base == RSP || each->base == RBP) && (each->size == 1 || each->size == 4))
            labels |= known->behind & ANSWER ? HANDED : FLAG;
        return labels;
    default:
        told = ways_field_labels(known, place.where);
        labels |= told == ANSWER && !place.where ? (uint32_t)HANDED : told;
        if (space->summary.asks && space->summary.fields) /* it may have put it there itself */
            labels |= ANSWER;
        if (place.base != NO_REGISTER && each->size)
            labels |= each->size == 1 ? FLAG : WORD;
        return labels;
    }
}

uint16_t
ways_memory(const struct ways_space *space, struct ways_known *known, const struct values *state,
            const struct operation *each)
{
    struct place place = memory_of(state, each, (int)space->framed);
    uint32_t at;

    if (place.kind == STATIC && place.index == NO_REGISTER)
        return ways_kept_fact(known, place.where);
    at = place_of(state->slots, state->count, place.where << SLOT_LABELS);
    if (place.kind != STACK || place.index != NO_REGISTER || at == state->count ||
        state->slots[at] >> SLOT_LABELS != place.where)
        return 0;
    return SLOT_FACT(state->slots[at]);
}

static void
write_memory(struct ways_space *space, struct values *state, const struct operation *each,
             uint32_t labels, uint16_t fact, uint32_t guarded)
{
    struct place place = memory_of(state, each, (int)space->framed);
    struct ways_summary *made = &space->summary;

    if (place.kind == STACK) {
        slots_set(state, place.where, labels, fact, each->size);
    } else if (labels & ANSWERS && place.kind == STATIC && !(place.where >> (64 - KEPT_SHIFT))) {
        struct ways_set set = {made->static_memory, made->statics, MOST_KEPT};

        ways_keep(space->known, &set,
                  KEPT_WORD(place.where,
                            ways_kept(space->known, (struct told_value){fact, labels, state->never},
                                      guarded & ANSWERS && !state->never),
                            labels));
        made->statics = set.count;
    } else if (labels & space->known->behind && place.index == NO_REGISTER) {
        struct ways_set set = {made->field, made->fields, MOST_KEPT};

        ways_keep(space->known, &set, KEPT_WORD(place.where, 0, labels));
        made->fields = set.count;
    }
}

/* --- operations ----------------------------------------------------------------------------------
 */

static int
is_memory(const struct operation *each, unsigned at)
{
    return each->where[at] == OPERAND_OFFSET ||
           (each->where[at] == OPERAND_RM && each->registers[at] == NO_REGISTER);
}

/* LEA. */
static void
take_address(struct ways_space *space, struct values *state, const struct operation *each,
             uint32_t guarded)
{
    struct place place = memory_of(state, each, (int)space->framed);
    unsigned target = each->registers[0];
    uint32_t labels = labels_of(state, place.base) | labels_of(state, place.index);

    if (target >= 16)
        return;
    set_register(state, target, guarded ? guarded : labels);
    if (labels & ANSWERS && place.kind == BEHIND)
        state->facts[target] = ways_sum(space->known, state, each);
    if (place.kind == STATIC && place.index == NO_REGISTER) {
        state->pointed |= 1u << target;
        state->points[target] = place.where;
    } else if (place.kind == STACK) {
        uint32_t number = 0;

        if (place.index == NO_REGISTER) {
            state->stacked |= 1u << target;
            state->points[target] = place.where;
        }
        while (number < space->frames && space->frame[number] != place.where)
            number++;
        if (number == space->frames && number < sizeof space->frame / sizeof *space->frame)
            space->frame[space->frames++] = place.where;
        if (number < space->frames)
            state->frame[number / 64] |= 1ull << number % 64;
    }
}

/* The static address that an operation loads, or that of a place on the stack, if it is known. */
static int
loads_address(const struct ways_space *space, const struct ways_known *known,
              const struct values *state, const struct operation *each, uint64_t *point)
{
    unsigned target = each->registers[0], second = each->registers[1];
    uint64_t address;

    if (each->traits & IS_ADD && each->where[1] >= OPERAND_IMM8 && target < 16) {
        *point = state->points[target] + each->immediate;
        return (state->pointed | state->stacked) >> target & 1;
    }
    if (!(each->traits & IS_MOV))
        return 0;
    if (each->where[1] == OPERAND_IMM32 || each->where[1] == OPERAND_IMM64 ||
        each->where[1] == OPERAND_SIGNED32) {
        *point = each->immediate;
        return !known->convention->is_go; /* there it is a number */
    }
    if (second < 16) {
        *point = state->points[second];
        return (state->pointed | state->stacked) >> second & 1;
    }
    if (!is_memory(each, 1) || each->index != NO_REGISTER ||
        !ways_static(space, state, each, &address))
        return 0;
    return ways_pointer(known, address, point);
}

/* Whether an operation does not read its first operand: what copies, and SETcc. */
static int
only_writes(const struct operation *each)
{
    return each->traits & IS_COPY || (each->traits & READS_FLAGS && each->count == 1);
}

/* The labels of all that an operation reads. */
static uint32_t
operand_labels(const struct ways_space *space, const struct ways_known *known,
               const struct values *state, const struct operation *each)
{
    uint32_t labels = 0;

    for (unsigned at = only_writes(each); at < each->count; at++) {
        if (is_memory(each, at))
            labels |= ways_read(space, known, state, each);
        else
            labels |= labels_of(state, each->registers[at]);
    }
    if (labels & WORD && each->traits & IS_TEST && each->where[1] >= OPERAND_IMM8 &&
        each->where[1] <= OPERAND_SIGNED32)
        labels |= FLAG;
    if (each->traits & READS_FLAGS)
        labels |= state->flags;
    return labels;
}

/* What is known of a value that is copied and tells nothing itself. */
static uint16_t
copied(struct ways_known *known, const struct values *state, const struct operation *each)
{
    unsigned second = each->registers[1];
    uint64_t value = each->immediate;
    struct bits bits;

    if (second < 16)
        return state->facts[second];
    if (each->where[1] == OPERAND_IMM32)
        value &= UINT32_MAX;
    else if (each->where[1] != OPERAND_SIGNED32)
        return 0;
    if (value > INT8_MAX && value < UINT32_MAX)
        return 0;
    bits = answers_number(value);
    return answers_fact(known, &bits);
}

static void
exchange(struct values *state, unsigned one, unsigned other)
{
    uint32_t labels = labels_of(state, other);
    uint16_t fact = state->facts[other], second = state->facts[one];

    set_register(state, other, labels_of(state, one));
    set_register(state, one, labels);
    state->facts[one] = fact;
    state->facts[other] = second;
}

/* MUL, DIV, CDQ and the like. */
static void
set_double(struct ways_space *space, const struct ways_known *known, struct values *state,
           const struct operation *each)
{
    uint32_t labels = state->labels[RAX];

    for (unsigned at = 0; at < each->count; at++)
        labels |= is_memory(each, at) ? ways_read(space, known, state, each)
                                      : labels_of(state, each->registers[at]);
    if (each->count)
        set_register(state, RAX, labels);
    set_register(state, RDX, labels);
    state->flags_known = 0;
}

/* Whether what an operation makes on one side of a choice may tell which side that is. A copy does
 * if it is one of a constant; of other data it is the same on either side. In Go only a constant
 * does, or what has bits of one: what functions leave in the registers of results may be none. */
static int
may_tell(const struct ways_space *space, const struct ways_known *known, const struct values *state,
         const struct operation *each)
{
    int is_constant = each->where[1] >= OPERAND_IMM8 && !(each->traits & (IS_ADD | IS_FLAGS_ONLY));
    uint64_t point;

    if (is_constant || each->traits & (IS_LEA | IS_CLEARING))
        return 1;
    return !known->convention->is_go &&
           (!(each->traits & IS_COPY) || loads_address(space, known, state, each, &point));
}

/* Whether more may be known of what an operation makes than labels: it reads answers, or adds to
 * flags that all CPUs have. */
static int
is_folded(const struct ways_space *space, const struct values *state, const struct operation *each,
          uint32_t read)
{
    unsigned target = each->registers[0];

    return read & (ANSWERS | space->given) || (!(each->traits & IS_COPY) && space->told & ANSWERS &&
                                               target < 16 && state->facts[target]);
}

void
ways_step(struct ways_space *space, struct ways_known *known, struct values *state,
          const struct operation *each, uint32_t guarded)
{
    unsigned target = each->registers[0], source;
    uint32_t labels = guarded && may_tell(space, known, state, each) ? guarded : 0, read;
    uint64_t point = 0, table;
    uint16_t fact = 0;
    int points, is_stacked;

    if (each->traits & IS_ASKING) {
        ways_ask(space, known, state, each);
        return;
    }
    if (each->traits & IS_LEA) {
        take_address(space, state, each, guarded);
        return;
    }
    if (each->traits & IS_CLEARING && each->same) {
        set_register(state, target, labels);
        if (target < 16)
            state->facts[target] = ways_number(0);
        if (each->traits & WRITES_FLAGS)
            state->flags_known = 0;
        return;
    }
    if (each->traits & IS_EXCHANGE && target < 16 && each->registers[1] < 16) {
        exchange(state, target, each->registers[1]);
        return;
    }
    if (each->traits & IS_DOUBLE && each->count < 2) {
        set_double(space, known, state, each);
        return;
    }
    read = operand_labels(space, known, state, each);
    if (is_folded(space, state, each, read))
        read = ways_fold(space, known, state, each, read, &fact);
    else if (each->traits & WRITES_FLAGS)
        state->flags_known = 0;
    else if (each->traits & IS_COPY)
        fact = copied(known, state, each);
    labels |= read;
    space->told |= labels;
    if (each->traits & READS_FLAGS && state->flags & CHOICE) /* CMOV: what it takes is chosen */
        for (unsigned at = 0; at < each->count; at++)
            if (each->registers[at] < 16) {
                space->parts |= state->flags_known && state->pointed >> each->registers[at] & 1;
                state->pointed &= ~(1u << each->registers[at]);
                state->stacked &= ~(1u << each->registers[at]);
            }
    if (each->traits &
        WRITES_FLAGS) /* that it stands behind a choice makes none of what it tests */
        state->flags = works_whole(each) ? read & ~(uint32_t)ARGUMENTS : read;
    if (each->traits & IS_FLAGS_ONLY)
        return;
    if (is_memory(each, 0)) {
        write_memory(space, state, each, labels, fact, guarded);
    } else if (target < REGISTERS) {
        points = loads_address(space, known, state, each, &point);
        source = each->traits & IS_ADD ? target : each->registers[1];
        is_stacked = source < 16 && state->stacked >> source & 1;
        table = ways_table(space, state, each);
        if (each->traits & IS_COPY && table)
            state->table = table;
        set_register(state, target, labels);
        if (target < 16)
            state->facts[target] = fact;
        if (points && target < 16) {
            *(is_stacked ? &state->stacked : &state->pointed) |= 1u << target;
            state->points[target] = point;
        }
    }
}

/* Whether a register of an argument holds an address for what is called: no small number, nor what
 * is left over of a table from which an entry was read. */
int
ways_hands(const struct values *state, unsigned number)
{
    return state->pointed >> number & 1 && state->points[number] >= LOWEST &&
           state->points[number] != state->table;
}

uint32_t
ways_call(struct ways_space *space, struct ways_known *known, struct values *state, uint64_t answer)
{
    const struct ways_convention *convention = known->convention;
    uint32_t steps = 0, answers = answer & ANSWERS, on_stack = answer & LEAVES_ANSWERS;
    uint32_t filled = 0;

    for (unsigned at = 0; at < convention->number; at++) {
        unsigned number = convention->arguments[at];
        uint64_t point = state->points[number];
        uint32_t told;

        space->tells |= state->facts[number] && state->labels[number] & ANSWERS;
        told = ways_hands(state, number) ? ways_told_labels(known, point) : 0;
        filled |= told;
    }
    answers |= filled;
    space->tells |= filled;
    if (space->reads)
        answers |= ANSWER;
    for (unsigned at = 0; answers && (on_stack || !convention->is_go) && at < convention->number;
         at++)
        if (ways_hands(state, convention->arguments[at]))
            ways_fill(known, state->points[convention->arguments[at]], answers);
    for (unsigned word = 0; answers && word < 4; word++)
        for (uint64_t left = state->frame[word]; left; left &= left - 1, steps++)
            slots_fill(state, space->frame[word * 64 + (unsigned)__builtin_ctzll(left)], answers);
    for (unsigned at = 0; at < 16; at++) {
        uint16_t mask = (uint16_t)(0u - (convention->kept >> at & 1u));

        state->labels[at] &= mask;
        state->facts[at] &= mask;
    }
    __builtin_memset(state->labels + 16, 0, sizeof state->labels - 16 * sizeof *state->labels);
    state->pointed &= convention->kept;
    state->stacked &= convention->kept;
    state->flags = 0;
    state->table = 0;
    state->flags_known = 0;
    space->told |= answers;
    for (uint32_t left = convention->results; left; left &= left - 1)
        state->labels[__builtin_ctz(left)] = (uint16_t)answers;
    for (unsigned at = 0; on_stack && at < NEAR; at += 4)
        slots_set(state, SLOT(RSP, at), ANSWER, 0, 4);
    if (answers == (answer & ANSWERS))
        state->facts[RAX] = (uint16_t)(answer >> 16);
    if (state->facts[RAX] & FACT_BITS)
        ways_point(known, state, RAX);
    return steps;
}

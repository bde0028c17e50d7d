/* Where a value that tells what the CPU can do goes to inside of one function. */
#include "answers.h"
#include "places.h"
#include "works.h"

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
    struct place place = places_of(state, each, (int)space->framed);
    unsigned target = each->registers[0];
    uint32_t labels = labels_of(state, place.base) | labels_of(state, place.index);
    uint16_t sum = 0;

    if (target >= 16)
        return;
    if (labels & ANSWERS && place.kind == BEHIND)
        sum = ways_sum(space->known, state, each);
    set_register(state, target, guarded ? guarded : labels);
    state->facts[target] = sum;
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
    if (each->where[1] == OPERAND_IMM8 && each->registers[0] < 16 && !each->upper[0]) {
        bits = answers_number(value & UINT8_MAX);
        for (unsigned grade = 0; grade < GRADES; grade++) /* of the rest nothing is known */
            bits.zeros[grade] &= UINT8_MAX;
        return answers_fact(known, &bits);
    }
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
        places_write(space, state, each, labels, fact, guarded);
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

/* What a function is handed, and what it hands to those that it calls. */
#include "answers.h"
#include "sets.h"

/* An argument of a function as a number: those of one follow each other. */
static int
has_number(uint64_t target)
{
    return !(target >> (64 - KEPT_SHIFT - 3));
}

uint32_t
ways_handed(const struct ways_convention *convention, const struct values *state, uint32_t labels)
{
    uint32_t handed = 0;

    for (unsigned at = 0; at < convention->number; at++)
        if (state->labels[convention->arguments[at]] & labels)
            handed |= (uint32_t)ARGUMENT << at;
    return handed;
}

uint64_t
ways_passed(const struct ways_convention *convention, const struct values *state)
{
    uint64_t passed = 0;

    for (unsigned at = 0; at < convention->number; at++)
        passed |= (uint64_t)(state->labels[convention->arguments[at]] & ARGUMENTS) / ARGUMENT
                  << PASSED * at;
    return passed;
}

uint64_t
ways_numbers(const struct ways_convention *convention, const struct values *state)
{
    uint64_t numbers = 0;

    for (unsigned at = 0; at < convention->number; at++) {
        uint16_t fact = state->facts[convention->arguments[at]];

        if (fact & FACT_NUMBER)
            numbers |= 1ull << (NUMBERED + at) | (uint64_t)(uint8_t)fact << 8 * at;
    }
    return numbers;
}

int
ways_calls(const struct ways_space *space, const struct block *block)
{
    const struct operation *each = &space->operation[block->first];
    int calls = block->leaves;

    for (uint32_t left = block->count; left && !calls; left--, each++)
        calls = flow_of(each) == FLOW_CALL;
    return calls;
}

int
ways_tells(const struct ways_known *known, const struct values *state)
{
    int tells = 0;

    for (unsigned at = 0; at < known->convention->number; at++) {
        unsigned number = known->convention->arguments[at];

        tells |= state->facts[number] && state->labels[number] & ANSWERS;
        tells |= ways_hands(state, number) && ways_answers(known, state->points[number]);
    }
    return tells;
}

void
ways_hand(struct ways_space *space, struct ways_known *known, struct values *state, uint64_t target)
{
    const struct ways_convention *convention = known->convention;
    struct ways_set set = {space->summary.hands, space->summary.handed, MOST_KEPT};

    for (unsigned at = 0; has_number(target) && at < convention->number; at++) {
        unsigned number = convention->arguments[at];
        uint32_t labels = state->labels[number] & ANSWERS;
        uint16_t fact = state->facts[number];

        if (ways_leads(known, state, number)) {
            fact = state->facts[number];
            labels = ANSWER;
        } else if (fact) {
            fact = ways_kept(known, (struct told_value){fact, labels, state->never}, 0);
        }
        ways_keep(known, &set, KEPT_WORD(target << 3 | at, fact, labels));
    }
    space->summary.handed = set.count;
}

void
ways_keep_telling(struct ways_space *space, const struct ways_convention *convention)
{
    struct ways_summary *made = &space->summary;
    uint32_t kept = 0;

    if (made->handed + convention->number > MOST_KEPT) /* some of it is missing */
        made->handed = 0;
    for (uint32_t at = 0; at + convention->number <= made->handed; at += convention->number) {
        int tells = 0;

        for (uint32_t each = at; each < at + convention->number; each++)
            tells |= KEPT_FACT(made->hands[each]) && KEPT_LABELS(made->hands[each]);
        for (uint32_t each = at; tells && each < at + convention->number; each++)
            made->hands[kept++] = made->hands[each];
    }
    made->handed = kept;
}

void
ways_hear(const struct ways_space *space, const struct ways_known *known, struct values *state)
{
    const struct ways_set *set = &known->arguments;
    uint64_t first = space->start << 3;
    uint32_t at = set->count && has_number(space->start) && !known->convention->is_go
                      ? place_of(set->all, set->count, first << KEPT_SHIFT)
                      : set->count;

    for (; at < set->count && set->all[at] >> KEPT_SHIFT < first + known->convention->number;
         at++) {
        unsigned number = known->convention->arguments[(set->all[at] >> KEPT_SHIFT) - first];

        if (!KEPT_FACT(set->all[at]))
            continue;
        state->labels[number] = (uint16_t)KEPT_LABELS(set->all[at]);
        state->facts[number] = KEPT_FACT(set->all[at]);
        ways_point(known, state, number);
        if (state->pointed >> number & 1)
            state->labels[number] = 0;
    }
    for (at = 0; at < known->convention->number; at++)
        if (space->given & (uint32_t)ARGUMENT << at)
            state->facts[known->convention->arguments[at]] =
                ways_number((int8_t)(space->numbers >> 8 * at));
}

/* Whether an operation takes the address of the name of /proc/cpuinfo. */
static unsigned
asks(const struct ways_known *known, const struct operation *each)
{
    uint64_t address = each->is_static ? (uint64_t)each->displacement : each->immediate;
    int is_address = each->is_static || (each->traits & IS_MOV && each->where[1] >= OPERAND_IMM32);

    return known->questions.count && is_address && ways_holds(&known->questions, address, address);
}

/* How far above RSP what it was handed on the stack begins, behind the return address, before an
 * operation by which RSP goes down, for what follows; nowhere, behind one that is not in its first
 * block: where it goes up again is not followed. */
static int64_t
above(const struct ways_space *space, uint32_t at, int64_t depth)
{
    const struct operation *each = &space->operation[at];
    const uint8_t *code = space->code + each->offset;
    int pushes = each->length <= 2 && (code[each->length - 1] & 0xf8) == 0x50 &&
                 (each->length == 1 || *code == 0x41); /* SDM, PUSH */
    int changes = each->registers[0] == RSP && !(each->traits & IS_FLAGS_ONLY);

    if (!pushes && !changes)
        return depth;
    if (at >= space->block[0].count)
        return each->traits & IS_ADD ? depth : INT32_MAX;
    if (changes && each->where[1] < OPERAND_IMM8)
        return INT32_MAX;
    return depth + (pushes                  ? 8
                    : each->traits & IS_ADD ? -(int64_t)each->immediate
                                            : (int64_t)each->immediate);
}

/* What the function does with the stack, and whom it asks, before it is gone over. */
void
ways_look_over(struct ways_space *space, const struct ways_known *known)
{
    int64_t handed = 8;

    space->told = space->tells = space->picks = space->parts = space->framed = space->frames =
        space->written = space->reads = 0;
    space->summary.asks = 0;
    for (uint32_t at = 0; at < space->operations; at++) {
        const struct operation *each = &space->operation[at];
        /* An int that is compared in place may be an argument; a byte is as often in an object
         * that something else has filled. */
        int is_compared = each->traits & IS_FLAGS_ONLY &&
                          (each->size == 4 || (each->base == RSP && each->displacement >= handed));
        int first = each->where[0] == OPERAND_RM && each->registers[0] == NO_REGISTER;

        handed = above(space, at, handed);
        space->framed |= each->framing;
        space->picks |=
            (flow_of(each) == FLOW_INDIRECT_CALL || flow_of(each) == FLOW_INDIRECT_JMP) &&
            each->registers[0] < 16;
        space->summary.asks |= (each->traits & IS_ASKING) != 0;
        space->reads |= asks(known, each);
        if (((first && !is_compared) || each->traits & IS_LEA) &&
            (each->base == RSP || each->base == RBP))
            space->writes[space->written++] = ways_slot(each);
    }
    ways_sort(space->writes, space->written);
}

/* What a call leaves of what is known, and what it may bring.
 *
 * Where some of its arguments are known, as in `has("avx2")` and `ask(&flags)`, it is executed
 * (execute.h): then it is known what it returns, and puts where. */
#include "execute.h"
#include "sets.h"
#include "slots.h"

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

/* Whether a register of an argument holds an address for what is called: no small number, nor what
 * is left over of a table from which an entry was read. */
int
ways_hands(const struct values *state, unsigned number)
{
    return state->pointed >> number & 1 && state->points[number] >= LOWEST &&
           state->points[number] != state->table;
}

/* The number, or the address, that an argument is; whether that is known. */
static int
argument(const struct values *state, unsigned number, uint64_t *value)
{
    uint16_t fact = state->facts[number];

    if (state->pointed >> number & 1)
        *value = state->points[number];
    else if (state->stacked >> number & 1)
        *value = FRAME + state->points[number];
    else
        *value = fact & 0x7f;
    return ((state->pointed | state->stacked) >> number & 1) ||
           ((fact & FACT_NUMBER) && !(fact & 0x80));
}

/* Executes a call with what is known of its arguments; NULL: what it does is not known. */
static const struct execute_call *
execute_call(const struct ways_known *known, const struct values *state, uint64_t target)
{
    const struct ways_convention *convention = known->convention;
    struct execute_call wanted = {.target = target};

    if (!known->executed || convention->is_go)
        return NULL;
    for (unsigned at = 0; at < convention->number; at++)
        if (argument(state, convention->arguments[at], &wanted.arguments[at]))
            wanted.given |= 1u << at;
        else
            wanted.arguments[at] = 0;
    return wanted.given ? executed_call(known->executed, &wanted) : NULL;
}

/* Takes in what one does that may give some answers. */
static void
take_in(struct ways_space *space, struct ways_known *known, struct values *state,
        const struct execute_call *call, uint32_t answers)
{
    struct ways_set set = {space->summary.static_memory, space->summary.statics, MOST_KEPT};
    const struct execute_finding *returned = &call->returned;
    uint32_t labels = returned->is_known ? returned->labels : answers;

    for (uint32_t at = 0; at < call->puts; at++) {
        const struct execute_finding *put = &call->put[at];
        uint32_t told = put->is_known ? put->labels : (uint32_t)ANSWER;

        space->told |= told;
        if (is_of_frame(put->address))
            slots_set(state, put->address - FRAME, told, put->fact, put->size);
        else if (put->is_known && told)
            ways_keep(known, &set, KEPT_WORD(put->address, put->fact, told));
    }
    space->summary.statics = set.count;
    space->told |= labels;
    state->labels[RAX] = (uint16_t)labels;
    state->facts[RAX] = returned->is_known ? returned->fact : 0;
    if (returned->is_known && !labels) {
        state->pointed |= 1u << RAX;
        state->points[RAX] = returned->value;
    }
}

/* What is called leaves nothing known of what it need not keep. */
static void
leave(struct values *state, const struct ways_convention *convention)
{
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
}

/* Takes in the answers that a function puts behind what it is handed. */
static void
take_filled(struct ways_space *space, struct ways_known *known, struct values *state,
            uint64_t target)
{
    struct ways_set set = {space->summary.static_memory, space->summary.statics, MOST_KEPT};
    const struct ways_set *filled = &known->filled;
    uint32_t first =
        target && !(target >> (64 - KEPT_SHIFT - FILLED_SHIFT))
            ? place_of(filled->all, filled->count, target << FILLED_SHIFT << KEPT_SHIFT)
            : filled->count;

    for (unsigned at = 0; at < known->convention->number; at++) {
        unsigned number = known->convention->arguments[at];
        int hands = ways_hands(state, number), is_own = state->stacked >> number & 1;

        for (uint32_t each = first; (hands || is_own) && each < filled->count; each++) {
            uint64_t key = filled->all[each] >> KEPT_SHIFT, place = state->points[number];
            uint32_t labels = KEPT_LABELS(filled->all[each]);

            if (key >> FILLED_SHIFT != target)
                break;
            place += key & (NEAR - 1);
            if (is_own)
                slots_set(state, place, labels, 0, 4);
            else if (ways_may_fill(known, place))
                ways_keep(known, &set, KEPT_WORD(place, 0, labels));
        }
    }
    space->summary.statics = set.count;
}

uint32_t
ways_call(struct ways_space *space, struct ways_known *known, struct values *state, uint64_t answer,
          uint64_t target)
{
    const struct ways_convention *convention = known->convention;
    uint32_t steps = 0, answers = answer & ANSWERS, on_stack = answer & LEAVES_ANSWERS;
    const struct execute_call *made = answers && target ? execute_call(known, state, target) : NULL;
    uint32_t filled = 0;

    if (made) {
        leave(state, convention);
        take_in(space, known, state, made, answers);
        return 0;
    }
    take_filled(space, known, state, target);
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
    leave(state, convention);
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

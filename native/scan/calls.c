/* What a call leaves of what is known, and what it may bring. */
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

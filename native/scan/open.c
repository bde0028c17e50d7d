/* Which blocks of a function are reached without a choice before them. */
#include "ways.h"

/* Where one goes on after a block; returns how many. Where it is known where CPUs of a grade go on
 * it is there, unless a run never comes back from it. */
uint32_t
ways_onward(const struct ways_space *space, const struct block *block, uint32_t choices,
            unsigned grade, uint32_t ways[2])
{
    uint32_t number = 0;
    int known = ways_is_known(block, grade), is_choice = known || block->branches & choices;

    if (known && ways_lead(block, grade) == LEADS_OUT && block->leaves)
        return 0;
    for (uint32_t way = 0; way < block->number; way++) {
        if (is_choice && !space->block[block->ways[way]].alive)
            continue;
        if (known && block->ways[way] == ways_lead(block, grade)) {
            ways[0] = block->ways[way];
            return 1;
        }
        ways[number++] = block->ways[way];
    }
    if (is_choice && !known && number == 1 && ways[0] >= space->tables) /* between its cases */
        block = &space->block[ways[0]];
    else if (!is_choice || known || number + block->leaves <= 1)
        return number;
    ways[0] = block->meeting;
    return block->meeting < space->blocks;
}

/* The blocks that are reached from one without a choice between, where a choice is a branch on one
 * of some labels; and with what is known of CPUs of a grade. They are marked with a bit. */
void
ways_open(struct ways_space *space, uint32_t choices, unsigned grade, uint8_t *seen)
{
    uint32_t pending = 1;
    uint8_t bit = (uint8_t)(1u << grade);

    seen[0] |= bit;
    space->pending[0] = 0;
    while (pending) {
        const struct block *block = &space->block[space->pending[--pending]];
        uint32_t ways[2], number = ways_onward(space, block, choices, grade, ways);

        while (number--)
            if (!(seen[ways[number]] & bit)) {
                seen[ways[number]] |= bit;
                space->pending[pending++] = ways[number];
            }
    }
}

/* Those that CPUs of some grades reach, each marked with the bits of these. */
void
ways_open_for(struct ways_space *space, uint32_t choices, unsigned grades, uint8_t *seen)
{
    __builtin_memset(seen, 0, space->blocks);
    for (unsigned grade = 0; grades >> grade; grade++)
        if (grades >> grade & 1)
            ways_open(space, choices, grade, seen);
}

/* Where the ways through a function may end, and where they meet. */
#include "ways.h"

/* For each block those before it. */
static void
turn_round(struct ways_space *space)
{
    uint32_t *first = space->before_first;

    __builtin_memset(first, 0, (space->blocks + 2) * sizeof *first);
    for (uint32_t at = 0; at < space->blocks; at++)
        for (uint32_t way = 0; way < space->block[at].number; way++)
            first[space->block[at].ways[way] + 2]++;
    for (uint32_t at = 2; at < space->blocks + 2; at++)
        first[at] += first[at - 1];
    for (uint32_t at = 0; at < space->blocks; at++)
        for (uint32_t way = 0; way < space->block[at].number; way++)
            space->before[first[space->block[at].ways[way] + 1]++] = at;
}

/* The blocks from which the function may end; from the others a run never comes back. */
static void
find_alive(struct ways_space *space)
{
    uint32_t pending = 0;

    for (uint32_t at = 0; at < space->blocks; at++) {
        space->block[at].alive = space->block[at].leaves;
        if (space->block[at].leaves)
            space->pending[pending++] = at;
    }
    while (pending) {
        uint32_t at = space->pending[--pending];

        for (uint32_t each = space->before_first[at]; each < space->before_first[at + 1]; each++) {
            struct block *before = &space->block[space->before[each]];

            if (!before->alive) {
                before->alive = 1;
                space->pending[pending++] = space->before[each];
            }
        }
    }
}

/* Of a function that never comes back: it ends where what it calls does not, or goes round. */
static void
find_ends(struct ways_space *space)
{
    enum { MOST_LOOPS = 16 };
    unsigned loops = 0;

    for (uint32_t at = 0; at < space->blocks; at++)
        space->block[at].leaves = !space->block[at].number;
    find_alive(space);
    for (uint32_t at = space->blocks; at-- && !space->block[0].alive && loops < MOST_LOOPS;) {
        const struct block *block = &space->block[at];

        for (uint32_t way = 0; way < block->number && !block->alive; way++)
            if (block->ways[way] <= at) {
                space->block[block->ways[way]].leaves = 1;
                find_alive(space);
                loops++;
            }
    }
}

/* The blocks in postorder from the ends, over the graph turned round; returns how many. */
static uint32_t
postorder(struct ways_space *space)
{
    uint32_t found = 0, depth;

    for (uint32_t at = 0; at < space->blocks; at++)
        space->block[at].reached = 0;
    for (uint32_t end = 0; end < space->blocks; end++) {
        if (!space->block[end].leaves || space->block[end].reached)
            continue;
        depth = 0;
        space->block[end].reached = 1;
        space->cursor[end] = space->before_first[end];
        space->pending[depth++] = end;
        while (depth) {
            uint32_t at = space->pending[depth - 1], each;

            if (space->cursor[at] == space->before_first[at + 1]) {
                space->rank[at] = found;
                space->order[found++] = at;
                depth--;
                continue;
            }
            each = space->before[space->cursor[at]++];
            if (!space->block[each].reached) {
                space->block[each].reached = 1;
                space->cursor[each] = space->before_first[each];
                space->pending[depth++] = each;
            }
        }
    }
    return found;
}

static uint32_t
meeting_of(const struct ways_space *space, uint32_t one, uint32_t other)
{
    while (one != other) {
        while (space->rank[one] < space->rank[other])
            one = space->block[one].meeting;
        while (space->rank[other] < space->rank[one])
            other = space->block[other].meeting;
    }
    return one;
}

/* Cooper, Harvey and Kennedy's way to dominators, over the blocks turned round; the number behind
 * the last block stands for the end of all. */
int
ways_link(struct ways_space *space)
{
    uint32_t number, end = space->blocks, unknown = UINT32_MAX;
    int changed = 1, comes_back;

    turn_round(space);
    find_alive(space);
    comes_back = space->block[0].alive;
    if (!comes_back)
        find_ends(space);
    number = postorder(space);
    space->rank[end] = number;
    space->block[end].meeting = end;
    for (uint32_t at = 0; at < end; at++)
        space->block[at].meeting = unknown;
    while (changed) {
        changed = 0;
        for (uint32_t left = number; left--;) {
            uint32_t at = space->order[left], met = unknown;
            struct block *block = &space->block[at];

            for (uint32_t way = 0; way < block->number + block->leaves; way++) {
                uint32_t to = way < block->number ? block->ways[way] : end;

                if (way < block->number &&
                    (!space->block[to].alive || space->block[to].meeting == unknown))
                    continue;
                met = met == unknown ? to : meeting_of(space, to, met);
            }
            if (met != unknown && block->meeting != met) {
                block->meeting = met;
                changed = 1;
            }
        }
    }
    return comes_back;
}

/* A function as blocks: what follows what, and where the ways from a branch meet again. */
#include "ways.h"

static int
splits(const struct operation *each)
{
    unsigned flow = flow_of(each);

    return flow == FLOW_JCC || flow == FLOW_JMP || flow == FLOW_RET || flow == FLOW_INDIRECT_JMP;
}

static int
ends(const struct operation *each)
{
    return (scan_classes[each->class].flags & CLASS_END) != 0;
}

static int
is_inside(const struct ways_space *space, uint64_t address)
{
    return address >= space->start && address < space->end;
}

uint32_t
ways_target(struct ways_space *space, uint64_t target)
{
    const uint32_t last = sizeof space->hashed / sizeof *space->hashed - 1;
    uint32_t at = (uint32_t)(target * 0x9e3779b97f4a7c15ull >> 40) & last;

    for (; space->hashed[at]; at = (at + 1) & last)
        if (space->target[space->hashed[at] - 1] == target)
            return space->hashed[at] - 1u;
    if (space->targets == MOST_CALLS)
        return MOST_CALLS;
    space->target[space->targets] = target;
    space->answer[space->targets] = 0;
    space->hash[space->targets] = at;
    space->hashed[at] = (uint16_t)++space->targets;
    return space->targets - 1;
}

int
ways_decode(struct ways_space *space, uint32_t offset, uint32_t *pending)
{
    uint32_t size = (uint32_t)(space->end - space->start);

    while (offset < size && !space->at[offset]) {
        struct operation *each = &space->operation[space->operations];
        unsigned length =
            scan_operation(space->code + offset, size - offset, space->start + offset, each);

        if (flow_of(each) == FLOW_INVALID)
            return 1;
        if (space->operations == MOST_OPERATIONS)
            return 0;
        each->offset = offset;
        space->at[offset] = (uint16_t)++space->operations;
        offset += length;
        if (each->where[0] == OPERAND_TARGET && splits(each) && is_inside(space, each->immediate)) {
            uint32_t target = (uint32_t)(each->immediate - space->start);

            space->head[target] = 1;
            space->pending[(*pending)++] = target;
        }
        if (splits(each))
            space->head[offset] = 1;
        if (ends(each))
            return 1;
    }
    if (offset < size) /* where ways meet inside of another's instructions a block begins too */
        space->head[offset] = 1;
    return 1;
}

static void
cut(struct ways_space *space)
{
    uint32_t size = (uint32_t)(space->end - space->start);

    space->blocks = 0;
    for (uint32_t offset = 0; offset < size; offset++) {
        struct block *block = &space->block[space->blocks];
        uint32_t next;
        uint64_t heads = 0;

        for (; offset % sizeof heads == 0 && offset < size; offset += sizeof heads) {
            __builtin_memcpy(&heads, space->head + offset, sizeof heads);
            if (heads)
                break;
        }
        if (offset >= size)
            break;
        next = space->at[offset];
        if (!next || !space->head[offset])
            continue;
        space->cursor[next - 1] = space->blocks++; /* the block that begins with an operation */
        *block = (struct block){.first = next - 1};
        for (;;) {
            const struct operation *each = &space->operation[block->first + block->count++];
            uint32_t behind = each->offset + each->length;

            if (ends(each) || splits(each) || behind >= size || !space->at[behind] ||
                space->head[behind])
                break;
        }
    }
}

void
ways_add_way(struct ways_space *space, struct block *block, uint64_t offset)
{
    uint32_t next, to;

    if (offset >= space->end - space->start || !space->head[offset] || !space->at[offset])
        return;
    next = space->at[offset];
    to = space->cursor[next - 1];
    if (!block->number || block->ways[0] != to)
        block->ways[block->number++] = to;
}

static void
connect(struct ways_space *space)
{
    for (uint32_t at = 0; at < space->blocks; at++) {
        struct block *block = &space->block[at];
        const struct operation *last = &space->operation[block->first + block->count - 1];
        unsigned flow = flow_of(last);
        int is_near = splits(last) && last->where[0] == OPERAND_TARGET;

        if (!ends(last))
            ways_add_way(space, block, last->offset + last->length);
        if (is_near && is_inside(space, last->immediate))
            ways_add_way(space, block, last->immediate - space->start);
        block->leaves = flow == FLOW_RET || flow == FLOW_INDIRECT_JMP ||
                        (is_near && !is_inside(space, last->immediate));
    }
}

/* What is called, so that the caller can find out about it. */
static void
list_targets(struct ways_space *space)
{
    for (uint32_t at = 0; at < space->operations; at++) {
        const struct operation *each = &space->operation[at];
        unsigned flow = flow_of(each);

        if (each->where[0] == OPERAND_TARGET &&
            (flow == FLOW_CALL || !is_inside(space, each->immediate)))
            ways_target(space, each->immediate);
        else if ((flow == FLOW_INDIRECT_CALL || flow == FLOW_INDIRECT_JMP) && each->is_static)
            ways_target(space, 0 - (uint64_t)each->displacement);
    }
}

uint32_t
ways_begin(struct ways_space *space, struct ways_known *known, const uint8_t *code, uint64_t size,
           uint64_t address, uint64_t start, uint64_t end)
{
    uint32_t pending = 1;

    while (space->targets)
        space->hashed[space->hash[--space->targets]] = 0;
    space->operations = space->blocks = 0;
    if (start < address || end <= start || end - address > size || end - start > LARGEST)
        return 0;
    space->known = known;
    space->code = code + (start - address);
    space->low = address;
    space->size = size;
    space->start = start;
    space->end = end;
    __builtin_memset(space->at, 0, (end - start) * sizeof *space->at);
    __builtin_memset(space->head, 0, end - start + 1);
    space->head[0] = 1;
    space->pending[0] = 0;
    while (pending)
        if (!ways_decode(space, space->pending[--pending], &pending)) {
            space->operations = 0;
            return 0;
        }
    ways_decode_cases(space);
    cut(space);
    connect(space);
    ways_connect_cases(space);
    list_targets(space);
    return space->blocks;
}

void
ways_sort(uint64_t *all, uint32_t count)
{
    static const uint32_t gaps[] = {3548, 1577, 701, 301, 132, 57, 23, 10, 4, 1};

    for (unsigned each = 0; each < sizeof gaps / sizeof *gaps; each++)
        for (uint32_t at = gaps[each]; at < count; at++) {
            uint64_t value = all[at];
            uint32_t to = at;

            for (; to >= gaps[each] && all[to - gaps[each]] > value; to -= gaps[each])
                all[to] = all[to - gaps[each]];
            all[to] = value;
        }
}

/* --- blocks that wait, the first one at the top --------------------------------------------------
 */

void
ways_push(struct ways_space *space, uint32_t *count, uint32_t value)
{
    uint32_t at = (*count)++;

    for (; at && space->order[(at - 1) / 2] > value; at = (at - 1) / 2)
        space->order[at] = space->order[(at - 1) / 2];
    space->order[at] = value;
}

uint32_t
ways_pop(struct ways_space *space, uint32_t *count)
{
    uint32_t least = space->order[0], last = space->order[--*count], at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= *count)
            break;
        child += child + 1 < *count && space->order[child + 1] < space->order[child];
        if (space->order[child] >= last)
            break;
        space->order[at] = space->order[child];
        at = child;
    }
    space->order[at] = last;
    return least;
}

/* --- what ends a run -----------------------------------------------------------------------------
 */

/* Whether a run never comes back from what an operation calls, or leaves the function for. */
static int
is_last(struct ways_space *space, const struct operation *each)
{
    int goes = flow_of(each) == FLOW_CALL || !is_inside(space, each->immediate);
    uint32_t number;

    if (each->where[0] != OPERAND_TARGET || !goes)
        return 0;
    number = ways_target(space, each->immediate);
    return number < MOST_CALLS && space->answer[number] & NEVER_RETURNS;
}

int
ways_end(struct ways_space *space)
{
    for (uint32_t number = 0; number < space->blocks; number++) {
        struct block *block = &space->block[number];

        for (uint32_t at = 0; at < block->count; at++) {
            const struct operation *each = &space->operation[block->first + at];

            if (!is_last(space, each))
                continue;
            block->leaves = 0;
            if (flow_of(each) == FLOW_CALL) { /* what stands behind it is never come to */
                block->count = at + 1;
                block->number = 0;
            }
        }
    }
    return ways_link(space);
}

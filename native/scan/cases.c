/* The cases of switches that became jumps through tables.
 *
 * Where the file's constants are held, tables are read: of distances from the table itself (32
 * bits, as compilers make them for code that may stand anywhere), or of addresses. Where the only
 * switch of a function has a table that is not found, all code that nothing else leads to is taken
 * for its cases; of several it is not known which has which. */
#include "execute.h"
#include "sets.h"

enum { NEAREST = 16 }; /* operations before a jump among which one reads the table */

/* A jump to an entry of a table. */
static int
is_switch(const struct operation *each)
{
    return flow_of(each) == FLOW_INDIRECT_JMP && (each->registers[0] < 16 || each->index < 16);
}

/* The operation right before another one; NULL: one comes there in more ways. */
static const struct operation *
before(const struct ways_space *space, const struct operation *each)
{
    const struct operation *last = each - 1;

    return each > space->operation && last->offset + last->length == each->offset ? last : NULL;
}

static int
is_scaled(const struct operation *each)
{
    return each->has_memory && each->index < 16 && each->scale;
}

/* The operation that reads the entry that a jump leads to; NULL: there is none. */
static const struct operation *
reading(const struct ways_space *space, const struct operation *jump)
{
    for (unsigned left = NEAREST; jump && left; left--, jump = before(space, jump))
        if (is_scaled(jump))
            return jump;
    return NULL;
}

static int
takes_static(const struct operation *each, unsigned number)
{
    return each->traits & IS_LEA && each->is_static && each->registers[0] == number;
}

static void
read_constants(const struct ways_known *known, uint64_t address, unsigned size, uint64_t *value)
{
    const struct executed *file = known->executed;

    for (uint32_t number = 0; file && number < file->constants_count; number++) {
        const struct execute_constants *each = &file->constants[number];

        if (address - each->address < each->size && each->size - (address - each->address) >= size)
            __builtin_memcpy(value, each->bytes + (address - each->address), size);
    }
}

/* Where an entry of a table leads to, as an offset in the function; nowhere in it: its size. */
static uint32_t
entry(const struct ways_space *space, uint64_t table, unsigned size, uint32_t number)
{
    uint64_t at = table + (uint64_t)size * number, value = 0;
    int32_t distance;

    if (size == 8) {
        if (!ways_pointer(space->known, at, &value))
            read_constants(space->known, at, size, &value);
    } else {
        read_constants(space->known, at, size, &value);
        distance = (int32_t)value;
        value = distance ? table + (uint64_t)(int64_t)distance : 0;
    }
    return (uint32_t)(value - space->start < space->end - space->start ? value - space->start
                                                                       : space->end - space->start);
}

/* All static addresses that the function's code may take, in order (SDM, LEA and RIP-relative
 * addressing): a table ends where something else begins. */
static uint32_t
list_taken(struct ways_space *space)
{
    uint32_t size = (uint32_t)(space->end - space->start), count = 0;

    for (uint32_t at = 0; at + 7 <= size && count < MOST_OPERATIONS; at++) {
        const uint8_t *code = space->code + at;
        int32_t distance;

        if ((code[0] & 0xf8) != 0x48 || code[1] != 0x8d || (code[2] & 0xc7) != 5)
            continue;
        __builtin_memcpy(&distance, code + 3, sizeof distance);
        space->writes[count++] = space->start + at + 7 + (uint64_t)(int64_t)distance;
    }
    ways_sort(space->writes, count);
    return count;
}

/* The address of the table that an operation reads; 0: that is not known. It is in a register for
 * which it is taken right before, or, once for all, elsewhere. */
static uint64_t
table_of(const struct ways_space *space, const struct operation *each)
{
    const struct operation *near = each;
    uint32_t size = (uint32_t)(space->end - space->start);
    unsigned width = 1u << each->scale;
    uint64_t found = 0;

    if (each->absolute || each->is_static)
        return (uint64_t)each->displacement;
    if (each->base >= 16 || each->displacement)
        return 0;
    for (; near; near = before(space, near))
        if (takes_static(near, each->base))
            return (uint64_t)near->displacement;
    for (uint32_t at = 0; at < space->operations; at++) {
        const struct operation *other = &space->operation[at];
        uint64_t address = (uint64_t)other->displacement;

        if (!takes_static(other, each->base) || address == found ||
            entry(space, address, width, 0) == size)
            continue;
        if (found)
            return 0;
        found = address;
    }
    return found;
}

/* Decodes the cases of one switch as far as its table is known; whether it is. */
static int
decode_table(struct ways_space *space, uint32_t number, uint32_t taken)
{
    const struct operation *each = reading(space, &space->operation[number]);
    uint64_t table = each && each->scale > 1 ? table_of(space, each) : 0, limit;
    uint32_t size = (uint32_t)(space->end - space->start), pending, to, first = space->cases;
    unsigned width = table ? 1u << each->scale : 0;
    uint32_t next = place_of(space->writes, taken, table + 1);

    limit = next < taken ? (space->writes[next] - table) / (width ? width : 1) : MOST_CASES;
    for (uint32_t at = 0; table && at < limit && space->cases < MOST_CASES; at++) {
        int is_known = 0;

        to = entry(space, table, width, at);
        if (to == size)
            break;
        for (uint32_t other = first; other < space->cases; other++)
            is_known |= space->case_at[other] == to;
        if (is_known)
            continue;
        space->head[to] = 1;
        space->pending[0] = to;
        for (pending = 1; pending;)
            if (!ways_decode(space, space->pending[--pending], &pending))
                return 1;
        if (space->at[to])
            space->case_at[space->cases++] = to;
    }
    if (space->cases > first)
        space->switches[space->tabled++] = (struct switched){number, first, space->cases - first};
    return space->cases > first;
}

/* Where what fills the room between functions and loops ends: NOP of any length, INT3. */
static uint32_t
behind_filling(const struct ways_space *space, uint32_t offset, uint32_t size)
{
    struct operation each;

    while (offset < size && !space->at[offset]) {
        const uint8_t *code = space->code + offset, *end = space->code + size;

        while (code < end && (*code == 0x66 || *code == 0x2e))
            code++;
        if (code == end || !(*code == 0x90 || *code == 0xcc ||
                             (*code == 0x0f && code + 1 < end && code[1] == 0x1f)))
            break;
        offset += scan_operation(space->code + offset, size - offset, 0, &each);
    }
    return offset;
}

/* Decodes what stands between what is decoded: the cases of the only switch. What there is no room
 * for is left out. */
static void
decode_rest(struct ways_space *space, uint32_t number)
{
    uint32_t size = (uint32_t)(space->end - space->start), pending;

    for (uint32_t offset = 0; offset < size && space->cases < MOST_CASES;) {
        uint32_t before_it = space->operations, filled = behind_filling(space, offset, size);

        if (filled >= size || space->at[filled]) {
            offset =
                filled >= size ? size : filled + space->operation[space->at[filled] - 1].length;
            continue;
        }
        offset = filled;
        space->head[offset] = 1;
        space->pending[0] = offset;
        for (pending = 1; pending;)
            if (!ways_decode(space, space->pending[--pending], &pending)) {
                while (space->operations > before_it)
                    space->at[space->operation[--space->operations].offset] = 0;
                return;
            }
        if (!space->at[offset])
            return;
        space->case_at[space->cases++] = offset;
    }
    space->switches[space->tabled++] = (struct switched){number, 0, space->cases};
}

void
ways_decode_cases(struct ways_space *space)
{
    uint32_t jumps = 0, only = 0, taken = 0;

    space->cases = space->tabled = 0;
    for (uint32_t at = 0; at < space->operations && space->tabled < MOST_SWITCHES; at++) {
        if (!is_switch(&space->operation[at]))
            continue;
        if (!jumps++)
            taken = list_taken(space);
        only = at;
        decode_table(space, at, taken);
    }
    if (jumps == 1 && !space->tabled)
        decode_rest(space, only);
}

/* Whether a block reads what it jumps to from a table: no tail call through a pointer. */
static int
reads_table(const struct ways_space *space, const struct block *block)
{
    for (uint32_t at = block->first; at < block->first + block->count; at++)
        if (is_scaled(&space->operation[at]))
            return 1;
    return 0;
}

/* The block that ends with an operation. */
static struct block *
ending(struct ways_space *space, uint32_t number, uint32_t blocks)
{
    for (uint32_t at = 0; at < blocks; at++)
        if (space->block[at].first + space->block[at].count - 1 == number)
            return &space->block[at];
    return NULL;
}

/* By blocks without work of their own, each of which goes on in a case or the next of them. */
void
ways_connect_cases(struct ways_space *space)
{
    static const uint8_t nothing[] = {0x90};
    uint32_t blocks = space->blocks;

    space->tables = blocks;
    if (!space->cases || blocks + space->cases > MOST_OPERATIONS)
        return;
    scan_operation(nothing, sizeof nothing, 0, &space->operation[space->operations]);
    for (uint32_t number = 0; number < space->tabled; number++) {
        const struct switched *each = &space->switches[number];
        struct block *block = ending(space, each->jump, blocks);

        if (!block)
            continue;
        block->ways[block->number++] = space->blocks;
        block->leaves = !reads_table(space, block);
        for (uint32_t at = 0; at < each->count; at++) {
            uint32_t made = space->blocks++;

            space->block[made] = (struct block){.first = space->operations, .count = 1};
            ways_add_way(space, &space->block[made], space->case_at[each->first + at]);
            if (at + 1 < each->count)
                space->block[made].ways[space->block[made].number++] = made + 1;
        }
    }
}

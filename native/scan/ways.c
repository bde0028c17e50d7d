#include "ways.h"

enum { NEVER = UINT8_MAX };

/* A function that is gone over. */
struct function {
    struct ways_space *space;
    struct ways_known *known;
    struct ways_summary *made;
    struct values live;
    uint32_t steps, most_steps;
    int answers;
};

static int
is_outside(const struct ways_space *space, uint64_t address)
{
    return address < space->start || address >= space->end;
}

/* What is known of something that is called. */
static unsigned
answer_of(struct ways_space *space, uint64_t target)
{
    uint32_t number = ways_target(space, target);

    return number < MOST_CALLS ? space->answer[number] : 0;
}

/* --- which blocks are reached --------------------------------------------------------------------
 */

/* The blocks that are reached from one without a choice between, where a choice is a branch on one
 * of some labels. */
static void
open_from(struct ways_space *space, uint32_t choices, uint32_t start, uint8_t *seen)
{
    uint32_t pending = 1, end = space->blocks;

    __builtin_memset(seen, 0, end);
    seen[start] = 1;
    space->pending[0] = start;
    while (pending) {
        const struct block *block = &space->block[space->pending[--pending]];
        uint32_t ways[2], number = 0, back = block->leaves;
        int is_choice = (block->branches & choices) != 0;

        for (uint32_t way = 0; way < block->number; way++) {
            if (is_choice && !space->block[block->ways[way]].alive)
                continue;
            ways[number++] = block->ways[way];
        }
        back += number;
        if (is_choice && back > 1) {
            number = block->meeting < end;
            ways[0] = block->meeting;
        }
        while (number--)
            if (!seen[ways[number]]) {
                seen[ways[number]] = 1;
                space->pending[pending++] = ways[number];
            }
    }
}

/* --- going over it -------------------------------------------------------------------------------
 */

/* Whether an operation calls or jumps through static memory, and through which. */
static int
is_memory_call(const struct function *f, const struct operation *each, uint64_t *address)
{
    return each->where[0] == OPERAND_RM && each->registers[0] == NO_REGISTER &&
           ways_static(f->space, &f->live, each, address);
}

/* Whether a call through memory or a register calls a function that answers. */
static int
indirect_answers(struct function *f, const struct operation *each)
{
    const struct values *state = &f->live;
    unsigned number = each->registers[0];
    uint64_t address;

    if (number < 16)
        return state->pointed >> number & 1 &&
               answer_of(f->space, state->points[number]) & MAY_ANSWER;
    return is_memory_call(f, each, &address) && answer_of(f->space, 0 - address) & MAY_ANSWER;
}

/* One operation, in the block with a number. */
static void
over(struct function *f, const struct operation *each, struct block *block, int guarded)
{
    struct values *state = &f->live;
    int is_near = each->where[0] == OPERAND_TARGET, answers;

    switch (flow_of(each)) {
    case FLOW_JCC:
        block->branches |= (uint16_t)state->flags;
        break;
    case FLOW_JMP:
        if (is_near && is_outside(f->space, each->immediate))
            f->answers |= answer_of(f->space, each->immediate) & MAY_ANSWER;
        break;
    case FLOW_CALL:
    case FLOW_INDIRECT_CALL:
        answers = is_near ? (answer_of(f->space, each->immediate) & MAY_ANSWER) != 0
                          : indirect_answers(f, each);
        f->steps += ways_call(f->space, f->known, state, answers);
        break;
    case FLOW_RET:
        f->answers |= state->labels[RAX] & ANSWER;
        break;
    case FLOW_INDIRECT_JMP:
        break;
    default:
        ways_step(f->space, f->known, state, each, guarded);
    }
}

static void
push(struct ways_space *space, uint32_t *count, uint32_t value)
{
    uint32_t at = (*count)++;

    for (; at && space->order[(at - 1) / 2] > value; at = (at - 1) / 2)
        space->order[at] = space->order[(at - 1) / 2];
    space->order[at] = value;
}

static uint32_t
pop(struct ways_space *space, uint32_t *count)
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

/* Begins at a block: what is known there is live. */
static void
set_out(struct function *f, uint32_t number)
{
    const struct values *entry = &f->space->entry[number];

    f->live = *entry;
    f->live.slots = f->space->live;
    f->live.room = MOST_LIVE;
    if (!entry->reached) {
        ways_enter(&f->live, f->known->convention);
        __builtin_memset(f->live.labels, 0, sizeof f->live.labels);
    } else {
        __builtin_memcpy(f->live.slots, entry->slots, entry->count * sizeof *entry->slots);
    }
}

/* Finds out what each block begins with; blocks are gone over in the order of their addresses. */
static void
spread(struct function *f)
{
    struct ways_space *space = f->space;
    uint32_t pending = 0;

    space->used = 0;
    for (uint32_t at = 0; at < space->blocks; at++) {
        struct values *entry = &space->entry[at];

        entry->reached = entry->room = entry->count = 0;
        entry->slots = space->arena;
        space->block[at].visits = space->block[at].queued = 0;
    }
    ways_enter(&space->entry[0], f->known->convention);
    push(space, &pending, 0);
    while (pending && f->steps < f->most_steps) {
        uint32_t number = pop(space, &pending);
        struct block *block = &space->block[number];

        block->visits += block->visits < NEVER;
        block->queued = 0;
        set_out(f, number);
        f->steps += block->count;
        for (uint32_t at = 0; at < block->count; at++)
            over(f, &space->operation[block->first + at], block, block->guarded);
        for (uint32_t way = 0; way < block->number; way++) {
            uint32_t to = block->ways[way];
            struct values *entry = &space->entry[to];

            f->steps += f->live.count / SLOTS_A_STEP;
            if (!entry->reached) {
                ways_copy(space, entry, &f->live);
                entry->reached = 1;
                push(space, &pending, to);
            } else if (ways_join(space, entry, &f->live) && space->block[to].visits < MOST_VISITS &&
                       !space->block[to].queued) {
                space->block[to].queued = 1;
                push(space, &pending, to);
            }
        }
    }
}

/* --- what it does --------------------------------------------------------------------------------
 */

static void
add_escape(struct function *f, uint64_t address, enum way way, uint32_t unless, uint64_t site)
{
    struct ways_summary *made = f->made;

    if (made->escapes < MOST_CALLS)
        made->escape[made->escapes++] = (struct ways_escape){address, site, unless, way};
    else
        f->space->summary.is_whole = 0;
}

static void
add_call(struct function *f, struct ways_call call)
{
    if (f->made->calls < MOST_CALLS)
        f->made->call[f->made->calls++] = call;
    else
        f->space->summary.is_whole = 0;
}

static void
add_need(struct ways_summary *made, unsigned feature, uint64_t address, uint32_t unless)
{
    if (made->needed[feature / 64] >> feature % 64 & 1)
        return;
    made->needed[feature / 64] |= 1ull << feature % 64;
    made->need[made->needs++] = (struct ways_need){address, feature, unless};
}

/* Static addresses in registers of arguments leave the function; what it was handed itself may go
 * on to others. */
static void
hand_over(struct function *f, unsigned answer, uint32_t unless, uint64_t site)
{
    const struct ways_convention *convention = f->known->convention;

    for (unsigned at = 0; at < convention->number; at++) {
        unsigned number = convention->arguments[at];
        int gone = answer & IS_FOREIGN || answer & CALLS_ARGUMENT << at;

        if (f->live.pointed >> number & 1)
            add_escape(f, f->live.points[number], gone ? WAY_FOREIGN : WAY_KEPT, unless, site);
        else if (gone && !unless)
            f->made->invokes |= f->live.labels[number] & ARGUMENTS;
    }
}

/* A call, or a branch to another function. */
static void
leave(struct function *f, const struct operation *each, uint32_t unless, uint64_t site)
{
    const struct ways_convention *convention = f->known->convention;
    const struct values *state = &f->live;
    int outside = is_outside(f->space, each->immediate);
    uint32_t answers = 0;

    if (flow_of(each) == FLOW_JCC && outside) {
        if (state->flags & CHOICE)
            return;
        unless |= state->flags & ARGUMENTS;
    }
    if (flow_of(each) != FLOW_CALL && !outside)
        return;
    for (unsigned at = 0; at < convention->number; at++)
        if (state->labels[convention->arguments[at]] & CHOICE)
            answers |= (uint32_t)ARGUMENT << at;
    add_call(f, (struct ways_call){each->immediate, site, unless, answers});
    hand_over(f, answer_of(f->space, each->immediate), unless, site);
}

/* What leaves the function at one operation. */
static void
tell_leaving(struct function *f, const struct operation *each, uint32_t unless)
{
    uint64_t site = f->space->start + each->offset, address;
    const struct values *state = &f->live;
    unsigned flow = flow_of(each), second = each->registers[1];
    int points = second < 16 && state->pointed >> second & 1;

    if (each->where[0] == OPERAND_TARGET) {
        leave(f, each, unless, site);
    } else if (flow == FLOW_INDIRECT_CALL || flow == FLOW_INDIRECT_JMP || flow == FLOW_CALL) {
        int named = is_memory_call(f, each, &address);

        hand_over(f, named ? answer_of(f->space, 0 - address) : IS_FOREIGN, unless, site);
        if (each->registers[0] < 16 && !unless)
            f->made->invokes |= state->labels[each->registers[0]] & ARGUMENTS;
    } else if (flow == FLOW_RET) {
        if (state->pointed >> RAX & 1)
            add_escape(f, state->points[RAX], WAY_KEPT, unless, site);
        if (state->pointed >> RDX & 1)
            add_escape(f, state->points[RDX], WAY_KEPT, unless, site);
    } else if (points && (each->traits & IS_MOVQ || /* two at once are stored as a vector */
                          (each->traits & IS_MOV && each->registers[0] == NO_REGISTER &&
                           each->has_memory && !ways_static(f->space, state, each, &address)))) {
        add_escape(f, state->points[second], WAY_STORED, unless, site);
    }
}

/* Takes in what a block does. */
static void
tell(struct function *f, uint32_t number, uint32_t unless)
{
    struct ways_space *space = f->space;
    struct block *block = &space->block[number];

    set_out(f, number);
    for (uint32_t at = 0; at < block->count; at++) {
        const struct operation *each = &space->operation[block->first + at];
        const struct instruction_class *class = &scan_classes[each->class];

        if (!(class->flags & CLASS_RARE) && !(each->traits & NEVER_FAULTS))
            for (unsigned word = 0; word < 2; word++)
                for (uint64_t left = class->known[word]; left; left &= left - 1)
                    add_need(f->made, word * 64 + (unsigned)__builtin_ctzll(left),
                             space->start + each->offset, unless);
        tell_leaving(f, each, unless);
        over(f, each, block, 0);
    }
}

static void
clear(struct ways_summary *made)
{
    made->needs = made->calls = made->escapes = made->invokes = 0;
    __builtin_memset(made->needed, 0, sizeof made->needed);
}

/* What a block comes to: a function that it calls, a feature, an address that it lets go of. */
struct item {
    enum { CALLS, NEEDS, LETS_GO } kind;
    uint64_t what, site;
    uint32_t way;
};

static int
is_told(const struct ways_summary *made, const struct item *item)
{
    if (item->kind == NEEDS)
        return made->needed[item->what / 64] >> item->what % 64 & 1;
    for (uint32_t at = 0; item->kind == CALLS && at < made->calls; at++)
        if (made->call[at].target == item->what)
            return 1;
    for (uint32_t at = 0; item->kind == LETS_GO && at < made->escapes; at++)
        if (made->escape[at].address == item->what && made->escape[at].way == item->way)
            return 1;
    return 0;
}

/* The number of an item as a bit, which is new at the end; no bit where there is no room, or where
 * it is told already. */
static uint64_t
item_bit(const struct ways_summary *made, struct item *items, uint32_t *count, struct item item)
{
    uint32_t at = 0;

    while (at < *count && (items[at].kind != item.kind || items[at].what != item.what ||
                           items[at].way != item.way))
        at++;
    if (at == MOST_ITEMS || (at == *count && is_told(made, &item)))
        return 0;
    if (at == *count)
        items[(*count)++] = item;
    return 1ull << at;
}

/* What a block itself comes to, as bits. */
static uint64_t
own_items(struct function *f, uint32_t number, struct item *items, uint32_t *count)
{
    struct ways_summary *made = &f->space->side, *whole = &f->space->summary;
    uint64_t bits = 0;

    f->made = made;
    clear(made);
    tell(f, number, 0);
    f->made = whole;
    for (uint32_t at = 0; at < made->needs; at++)
        bits |= item_bit(whole, items, count,
                         (struct item){NEEDS, made->need[at].feature, made->need[at].address, 0});
    for (uint32_t at = 0; at < made->calls; at++)
        bits |= item_bit(whole, items, count,
                         (struct item){CALLS, made->call[at].target, made->call[at].site, 0});
    for (uint32_t at = 0; at < made->escapes; at++)
        bits |= item_bit(whole, items, count,
                         (struct item){LETS_GO, made->escape[at].address, made->escape[at].site,
                                       made->escape[at].way});
    return bits;
}

/* What a block comes to: what any way from it does; at a choice, what all ways do. */
static uint64_t
come_to(const struct ways_space *space, uint32_t number, struct item *items, uint32_t *count)
{
    const struct block *block = &space->block[number];
    const struct operation *last = &space->operation[block->first + block->count - 1];
    const struct ways_summary *whole = &space->summary;
    uint64_t some = 0, all = UINT64_MAX;
    uint32_t sides = 0;

    for (uint32_t way = 0; way < block->number; way++)
        if (space->block[block->ways[way]].alive) {
            some |= space->comes[block->ways[way]];
            all &= space->comes[block->ways[way]];
            sides++;
        }
    if (block->branches & CHOICE && block->leaves && last->where[0] == OPERAND_TARGET) {
        all &= item_bit(whole, items, count,
                        (struct item){CALLS, last->immediate, space->start + last->offset, 0});
        sides++;
    }
    return space->own[number] | (block->branches & CHOICE ? sides ? all : 0 : some);
}

/* Takes in what every side of a choice comes to: the choice does not guard that. */
static void
tell_all_sides(struct function *f)
{
    struct ways_space *space = f->space;
    struct item items[MOST_ITEMS];
    uint32_t count = 0;
    int changed = 1;

    for (uint32_t at = 0; at < space->blocks; at++) {
        const struct block *block = &space->block[at];

        space->own[at] =
            block->alive && space->entry[at].reached ? own_items(f, at, items, &count) : 0;
        space->comes[at] = space->own[at];
    }
    for (unsigned round = 0; changed && round < MOST_ROUNDS; round++) {
        changed = 0;
        for (uint32_t at = space->blocks; at--;) {
            uint64_t now = space->block[at].alive ? come_to(space, at, items, &count) : 0;

            changed |= now != space->comes[at];
            space->comes[at] = now;
        }
    }
    for (uint32_t at = 0; at < count; at++) {
        const struct item *item = &items[at];

        if (!(space->comes[0] >> at & 1))
            continue;
        if (item->kind == NEEDS)
            add_need(f->made, (unsigned)item->what, item->site, 0);
        else if (item->kind == CALLS)
            add_call(f, (struct ways_call){item->what, item->site, 0, 0});
        else
            add_escape(f, item->what, item->way, 0, item->site);
    }
}

static void
sort(uint64_t *all, uint32_t count)
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

/* Whether an operation takes the address of the name of /proc/cpuinfo. */
static unsigned
asks(const struct ways_known *known, const struct operation *each)
{
    uint64_t address = each->is_static ? (uint64_t)each->displacement : each->immediate;
    int is_address = each->is_static || (each->traits & IS_MOV && each->where[1] >= OPERAND_IMM32);

    return known->questions.count && is_address && ways_holds(&known->questions, address, address);
}

/* What the function does with the stack, and whom it asks, before it is gone over. */
static void
look_over(struct ways_space *space, const struct ways_known *known)
{
    space->framed = space->frames = space->written = space->reads = 0;
    for (uint32_t at = 0; at < space->operations; at++) {
        const struct operation *each = &space->operation[at];
        int first = each->where[0] == OPERAND_RM && each->registers[0] == NO_REGISTER;

        space->framed |= each->framing;
        space->reads |= asks(known, each);
        if ((first || each->traits & IS_LEA) && (each->base == RSP || each->base == RBP))
            space->writes[space->written++] = ways_slot(each);
    }
    sort(space->writes, space->written);
}

/* What is told of the blocks that are reached on every way. */
static void
tell_all(struct function *f)
{
    struct ways_space *space = f->space;
    uint8_t *everywhere = space->open[6];
    uint32_t labels = 0;

    open_from(space, CHOICE, 0, everywhere);
    for (uint32_t at = 0; at < space->blocks; at++)
        labels |= everywhere[at] ? space->block[at].branches : 0u;
    for (unsigned at = 0; at < 6; at++)
        if (labels & ARGUMENT << at)
            open_from(space, CHOICE | ARGUMENT << at, 0, space->open[at]);
    for (uint32_t number = 0; number < space->blocks; number++) {
        uint32_t unless = 0;

        for (unsigned at = 0; at < 6; at++)
            if (labels & ARGUMENT << at && !space->open[at][number])
                unless |= (uint32_t)ARGUMENT << at;
        if (everywhere[number])
            tell(f, number, unless);
    }
    if (labels & CHOICE)
        tell_all_sides(f);
}

void
ways_finish(struct ways_space *space, struct ways_known *known, uint32_t most_steps, int is_main)
{
    struct ways_summary *made = &space->summary;
    struct function f = {.space = space, .known = known, .made = made, .most_steps = most_steps};
    uint8_t *reachable = space->open[7], *without = space->open[8];

    clear(made);
    made->statics = made->fields = 0;
    made->is_whole = 1;
    look_over(space, known);
    ways_end(space, is_main);
    made->returns = space->block[0].alive;
    for (uint32_t at = 0; at < space->blocks; at++)
        space->block[at].guarded = space->block[at].branches = 0;
    open_from(space, 0, 0, reachable);
    for (unsigned pass = 0; pass < MOST_PASSES; pass++) {
        int news = 0;

        spread(&f);
        open_from(space, ANSWER, 0, without);
        for (uint32_t at = 0; at < space->blocks; at++)
            news |= reachable[at] && !without[at] && !space->block[at].guarded;
        if (!news)
            break;
        for (uint32_t at = 0; at < space->blocks; at++)
            space->block[at].guarded = reachable[at] && !without[at];
    }
    made->answers = f.answers != 0;
    made->steps = f.steps;
    made->is_whole &= f.steps < most_steps;
    tell_all(&f);
}

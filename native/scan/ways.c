#include "telling.h"

enum { NEVER = UINT8_MAX };

/* --- going over it -------------------------------------------------------------------------------
 */

/* What is known of what is called through memory or a register. */
static uint64_t
indirect_answers(struct gone_over *f, const struct operation *each)
{
    const struct values *state = &f->live;
    unsigned number = each->registers[0];
    uint64_t address;

    if (number < 16)
        return state->pointed >> number & 1 ? answer_of(f->space, state->points[number]) : 0;
    return is_memory_call(f, each, &address) ? answer_of(f->space, 0 - address) : 0;
}

/* The block at an address to which another leads. */
static uint32_t
block_at(const struct ways_space *space, const struct block *block, uint64_t address)
{
    if (is_outside(space, address))
        return LEADS_OUT;
    for (uint32_t way = 0; way < block->number; way++) {
        uint32_t first = space->block[block->ways[way]].first;

        if (space->start + space->operation[first].offset == address)
            return block->ways[way];
    }
    return LEADS_NOWHERE;
}

/* A conditional branch. */
static void
branch(struct gone_over *f, const struct operation *each, struct block *block)
{
    unsigned taken = 0;

    block->known = (uint8_t)ways_outcome(&f->live, each, &taken);
    /* What all CPUs agree in tells of none, as whether CPUID was asked already. */
    if (block->known != ALL_GRADES || (taken && taken != ALL_GRADES))
        block->branches |= (uint16_t)f->live.flags;
    if (!block->known)
        return;
    block->taken = (uint8_t)taken;
    block->leads = block_at(f->space, block, each->immediate);
    block->falls = block_at(f->space, block, f->space->start + each->offset + each->length);
}

/* What is called is handed something. */
static void
hand(struct gone_over *f, const struct operation *each)
{
    if (each->where[0] != OPERAND_TARGET || !is_outside(f->space, each->immediate))
        return;
    if (flow_of(each) != FLOW_CALL)
        f->space->tells |= (uint32_t)ways_tells(f->known, &f->live);
    if (f->hands)
        ways_hand(f->space, f->known, &f->live, each->immediate);
}

/* The answers in registers that a function must give back as they were: where it goes on elsewhere
 * with some, that is a part of it that a compiler put there (GCC, -freorder-blocks-and-partition),
 * which may return them. */
static uint32_t
parted(const struct gone_over *f)
{
    uint32_t labels = 0;

    for (unsigned number = 0; number < 16 && !f->known->convention->is_go; number++)
        if (f->known->convention->kept >> number & 1)
            labels |= f->live.labels[number];
    return labels & ANSWERS;
}

/* One operation, in the block with a number. */
void
ways_over(struct gone_over *f, const struct operation *each, struct block *block, uint32_t guarded)
{
    struct values *state = &f->live;
    int is_near = each->where[0] == OPERAND_TARGET;
    uint64_t answers;

    switch (flow_of(each)) {
    case FLOW_JCC:
        hand(f, each);
        branch(f, each, block);
        if (is_outside(f->space, each->immediate))
            f->answers |= parted(f);
        break;
    case FLOW_JMP:
        if (!is_near || !is_outside(f->space, each->immediate))
            break;
        hand(f, each);
        f->answers |= ((uint32_t)answer_of(f->space, each->immediate) & ANSWERS) | parted(f);
        break;
    case FLOW_CALL:
    case FLOW_INDIRECT_CALL:
        answers = is_near ? answer_of(f->space, each->immediate) : indirect_answers(f, each);
        hand(f, each);
        f->steps += ways_call(f->space, f->known, state, answers, is_near ? each->immediate : 0);
        if (answers & IS_CPUID && each > f->space->operation)
            ways_ask_on_stack(f->known, state, each);
        break;
    case FLOW_RET:
        f->answers |= state->labels[RAX] & ANSWERS;
        f->answers |= ways_leads(f->known, state, RAX) ? ANSWER : 0;
        break;
    case FLOW_INDIRECT_JMP:
        block->branches |=
            (uint16_t)(each->registers[0] < 16 ? state->labels[each->registers[0]]
                                               : ways_read(f->space, f->known, state, each));
        break;
    default:
        ways_step(f->space, f->known, state, each, guarded);
    }
}

/* Begins at a block: what is known there is live. */
void
ways_set_out(struct gone_over *f, uint32_t number)
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

/* Goes over a block. */
void
ways_go_over(struct gone_over *f, uint32_t number)
{
    struct block *block = &f->space->block[number];

    ways_set_out(f, number);
    for (uint32_t at = 0; at < block->count; at++)
        ways_over(f, &f->space->operation[block->first + at], block, block->guarded);
}

/* Nothing is known yet, and one begins at the first block. */
static void
begin(struct gone_over *f)
{
    struct ways_space *space = f->space;

    space->used = 0;
    for (uint32_t at = 0; at < space->blocks; at++) {
        struct values *entry = &space->entry[at];
        struct block *block = &space->block[at];

        entry->reached = entry->room = entry->count = 0;
        entry->slots = space->arena;
        block->guarded = block->branches = block->known = block->queued = 0;
    }
    ways_enter(&space->entry[0], f->known->convention);
    ways_hear(space, f->known, &space->entry[0]);
    space->block[0].queued = 1;
}

/* Finds out what each block begins with, from those on that are queued; blocks are gone over in the
 * order of their addresses. */
static void
spread(struct gone_over *f)
{
    struct ways_space *space = f->space;
    uint32_t pending = 0;

    for (uint32_t at = 0; at < space->blocks; at++) {
        space->block[at].visits = 0;
        if (space->block[at].queued)
            ways_push(space, &pending, at);
    }
    while (pending && f->steps < f->most_steps) {
        uint32_t number = ways_pop(space, &pending);
        struct block *block = &space->block[number];

        block->visits += block->visits < NEVER;
        block->queued = 0;
        ways_go_over(f, number);
        f->steps += block->count;
        for (uint32_t way = 0; way < block->number; way++) {
            uint32_t to = block->ways[way];
            struct values *entry = &space->entry[to];
            uint8_t never = f->live.never;

            for (unsigned grade = 0; block->known >> grade; grade++)
                if (ways_is_known(block, grade) && ways_lead(block, grade) != to)
                    never |= (uint8_t)(1u << grade);
            f->steps += f->live.count / SLOTS_A_STEP;
            if (!entry->reached) {
                ways_copy(space, entry, &f->live);
                entry->reached = 1;
                entry->never = never;
            } else if (!ways_join(space, entry, &f->live, never) ||
                       space->block[to].visits >= MOST_VISITS) {
                continue;
            }
            if (!space->block[to].queued)
                ways_push(space, &pending, to);
            space->block[to].queued = 1;
        }
    }
}

/* Marks the blocks that stand behind a choice, with the highest tier that it tells of; whether that
 * is new of any. */
static int
mark_guarded(struct gone_over *f)
{
    struct ways_space *space = f->space;
    uint8_t *reachable = space->open[7], *without = space->open[8];
    uint32_t labels = 0, choices = 0;
    int news = 0;

    for (uint32_t at = 0; at < space->blocks; at++)
        labels |= space->block[at].branches;
    for (unsigned tier = TIER_TOP; tier > TIER_NONE; tier--) {
        choices |= ways_labels(tier);
        if (!(labels & ways_labels(tier)))
            continue;
        __builtin_memset(without, 0, space->blocks);
        ways_open(space, choices, ANY_GRADE, without);
        for (uint32_t at = 0; at < space->blocks; at++)
            if (reachable[at] && !without[at] && !space->block[at].guarded) {
                space->block[at].guarded = (uint16_t)ways_labels(tier);
                space->block[at].queued = space->entry[at].reached != 0;
                news = 1;
            }
    }
    return news;
}

/* What is known of the value that it returns. */
static uint16_t
returned(struct gone_over *f)
{
    struct ways_space *space = f->space;
    struct told_value all = {0, 0, ALL_GRADES}, mine;
    int first = 1;

    for (uint32_t number = 0; number < space->blocks; number++) {
        const struct block *block = &space->block[number];
        const struct operation *last = &space->operation[block->first + block->count - 1];

        if (!block->leaves || !space->entry[number].reached)
            continue;
        ways_go_over(f, number);
        mine = (struct told_value){0, f->live.labels[RAX], f->live.never};
        if (flow_of(last) == FLOW_RET) {
            mine.fact = f->live.facts[RAX];
        } else if (flow_of(last) == FLOW_JMP && last->where[0] == OPERAND_TARGET) {
            mine.labels = (uint32_t)answer_of(space, last->immediate);
            mine.fact = (uint16_t)(mine.labels >> 16);
        }
        all.fact = first ? mine.fact : ways_agree(f->known, all, mine);
        all.labels |= mine.labels;
        all.never &= mine.never;
        first = 0;
    }
    return all.fact;
}

/* CPUs of which grades main does not tell of success, where it may those that have everything. */
static unsigned
failing(struct gone_over *f)
{
    struct ways_space *space = f->space;
    unsigned succeeds = 0;

    for (uint32_t number = 0; number < space->blocks; number++) {
        if (!space->block[number].leaves || !space->entry[number].reached)
            continue;
        ways_go_over(f, number);
        succeeds |= ALL_GRADES & ~(f->live.never | ways_nonzero(f->known, f->live.facts[RAX]));
    }
    return succeeds >> ALL_TIERS & 1 ? ALL_GRADES & ~succeeds : 0;
}

/* What it tells the functions that it calls. */
static void
hand_all(struct gone_over *f)
{
    f->hands = 1;
    for (uint32_t number = 0; number < f->space->blocks; number++)
        if (f->space->entry[number].reached && ways_calls(f->space, &f->space->block[number]))
            ways_go_over(f, number);
    f->hands = 0;
    ways_keep_telling(f->space, f->known->convention);
}

void
ways_finish(struct ways_space *space, struct ways_known *known, uint32_t most_steps, unsigned kind)
{
    struct ways_summary *made = &space->summary;
    struct gone_over f = {.space = space, .known = known, .made = made, .most_steps = most_steps};

    telling_clear(made);
    made->statics = made->fields = made->handed = 0;
    made->is_whole = 1;
    ways_look_over(space, known);
    made->returns = (uint8_t)ways_end(space);
    begin(&f);
    __builtin_memset(space->open[7], 0, space->blocks);
    ways_open(space, 0, ANY_GRADE, space->open[7]);
    for (unsigned pass = 0; pass < MOST_PASSES; pass++) {
        spread(&f);
        if (!mark_guarded(&f))
            break;
    }
    made->answers = (uint16_t)f.answers;
    made->returned = f.answers ? returned(&f) : 0;
    made->fails = kind & IS_MAIN && space->told & ANSWERS ? (uint8_t)failing(&f) : 0;
    made->steps = f.steps;
    made->is_whole &= f.steps < most_steps;
    if (!(kind & ONLY_ANSWERS))
        ways_tell_all(&f);
    else if (space->tells && made->is_whole && !known->convention->is_go)
        hand_all(&f);
}

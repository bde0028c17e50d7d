/* What a function does on every way through it: what it needs, calls and hands on. */
#include "telling.h"

enum { SURE_TIERS = (1 << TIER_TOP) - 1 }; /* what only CPUs with AVX call is no matter to others */

/* An address that may be called, with arguments of which some may be answers. */
static void
add_called(struct gone_over *f, uint64_t address, enum way way, uint32_t answers, uint32_t unless,
           uint64_t site)
{
    struct ways_summary *made = f->made;

    if (unless & FLAG) /* which address is taken hangs on what an object knows */
        return;
    if (made->escapes < MOST_CALLS)
        made->escape[made->escapes++] = (struct ways_escape){
            address, site, unless, (uint8_t)way, (uint8_t)answers, (uint16_t)f->tiers};
    else
        f->space->summary.is_whole = 0;
}

static void
add_escape(struct gone_over *f, uint64_t address, enum way way, uint32_t unless, uint64_t site)
{
    add_called(f, address, way, ARGUMENTS, unless, site);
}

static void
add_call(struct gone_over *f, struct ways_call call)
{
    if (f->made->calls < MOST_CALLS)
        f->made->call[f->made->calls++] = call;
    else
        f->space->summary.is_whole = 0;
}

static void
add_need(struct gone_over *f, unsigned feature, uint64_t address, uint32_t unless)
{
    struct ways_summary *made = f->made;

    if (made->needed[feature / 64] >> feature % 64 & 1 ||
        !(f->tiers >> f->known->tiers[feature] & 1))
        return;
    made->needed[feature / 64] |= 1ull << feature % 64;
    made->need[made->needs++] = (struct ways_need){address, feature, unless};
}

/* Which arguments of a call may be answers. */
static uint32_t
told_by(const struct gone_over *f)
{
    return ways_handed(f->known->convention, &f->live, f->choices | FLAG);
}

/* Static addresses in registers of arguments leave the function; what it was handed itself may go
 * on to others. Who keeps that of a function, and nothing beside it that tells of the CPU, may call
 * it. */
static void
hand_over(struct gone_over *f, uint64_t answer, uint32_t unless, uint64_t site)
{
    const struct ways_convention *convention = f->known->convention;
    uint32_t keeps = (uint32_t)(answer / KEEPS_ARGUMENT * ARGUMENT) & ARGUMENTS;
    uint32_t told = keeps ? told_by(f) & keeps : 0;

    for (unsigned at = 0; at < convention->number; at++) {
        unsigned number = convention->arguments[at];
        int gone = answer & IS_FOREIGN || answer & CALLS_ARGUMENT << at;
        int kept = answer & KEEPS_ARGUMENT << at && !told;

        if (ways_hands(&f->live, number)) {
            kept = kept && ways_is_code(f->space, f->live.points[number]);
            add_escape(f, f->live.points[number],
                       gone   ? WAY_FOREIGN
                       : kept ? WAY_STORED
                              : WAY_KEPT,
                       unless, site);
        } else if (!(unless & ~(uint32_t)FLAG) && f->tiers & SURE_TIERS) {
            f->made->invokes |= gone ? f->live.labels[number] & ARGUMENTS : 0u;
            f->made->keeps |= kept ? f->live.labels[number] & ARGUMENTS : 0u;
        }
    }
}

/* A call through a slot in static memory, which the loader fills. */
static void
call_slot(struct gone_over *f, uint64_t address, uint32_t unless, uint64_t site)
{
    uint64_t target;

    if (ways_pointer(f->known, address, &target))
        add_call(f, (struct ways_call){target, site, unless, 0, (uint16_t)f->tiers, 0, 0});
}

/* Whether a branch leads out of the function on CPUs of some grades: what guards that. */
static int
leads_out(const struct gone_over *f, const struct block *block, uint32_t *unless)
{
    unsigned unknown = f->here & ~block->known;
    int leads = 0;

    for (unsigned grade = 0; grade < GRADES; grade++)
        if (f->here & block->known & 1u << grade)
            leads |= ways_lead(block, grade) == LEADS_OUT;
    if (leads || !unknown)
        return leads;
    *unless |= f->live.flags & (ARGUMENTS | FLAG);
    return !(f->live.flags & f->choices);
}

/* A call, or a branch to another function. */
static void
leave(struct gone_over *f, const struct operation *each, const struct block *block, uint32_t unless,
      uint64_t site)
{
    int outside = is_outside(f->space, each->immediate);

    if (flow_of(each) == FLOW_JCC && outside && !leads_out(f, block, &unless))
        return;
    if (flow_of(each) != FLOW_CALL && !outside)
        return;
    add_call(f, (struct ways_call){each->immediate, site, unless, (uint16_t)told_by(f),
                                   (uint16_t)f->tiers, ways_passed(f->known->convention, &f->live),
                                   ways_numbers(f->known->convention, &f->live)});
    hand_over(f, answer_of(f->space, each->immediate), unless, site);
}

/* A call or a jump through memory or a register. What stands in static memory is called like any
 * function, unless it was put there, or is chosen, by an answer. */
static void
leave_indirectly(struct gone_over *f, const struct operation *each, uint32_t unless, uint64_t site)
{
    struct values *state = &f->live;
    unsigned number = each->registers[0];
    uint64_t address, table = ways_table(f->space, state, each);
    int named = is_memory_call(f, each, &address);
    uint32_t labels =
        number < 16 ? state->labels[number] : ways_read(f->space, f->known, state, each);

    if (table)
        state->table = table;
    hand_over(f, named ? answer_of(f->space, 0 - address) : IS_FOREIGN, unless, site);
    if (number < 16 && !(unless & ~(uint32_t)FLAG) && f->tiers & SURE_TIERS)
        f->made->invokes |= state->labels[number] & ARGUMENTS;
    if (labels & f->choices)
        return;
    if (table)
        add_called(f, table, WAY_TABLE, told_by(f), unless, site);
    else if (number < 16 && state->pointed >> number & 1)
        add_called(f, state->points[number], WAY_CALLED, told_by(f), unless, site);
    else if (named && each->is_static)
        call_slot(f, address, unless, site);
    else if (named)
        add_called(f, address, WAY_CALLED, told_by(f), unless, site);
}

/* An entry of a table, or one of two addresses, which a later call may call; of functions, wherever
 * that is. */
static void
tell_pick(struct gone_over *f, const struct operation *each, uint32_t unless, uint64_t site)
{
    const struct values *state = &f->live;
    unsigned known, taken = 0;
    uint64_t table;

    if (f->space->picks && each->traits & IS_MOV && each->size == 8) {
        table = ways_table(f->space, state, each);
        if (table && !(ways_read(f->space, f->known, state, each) & (f->choices | FLAG)))
            add_escape(f, table, WAY_TABLE, unless, site);
        return;
    }
    if (!(each->traits & READS_FLAGS) || each->registers[0] >= 16 || each->registers[1] >= 16)
        return;
    known = ways_picks(state, each, &taken);
    for (int at = 0; at < 2; at++)
        if ((f->here & known & (at ? taken : ~taken) ||
             (f->here & ~known && !(state->flags & (f->choices | FLAG)))) &&
            state->pointed >> each->registers[at] & 1 &&
            (f->space->picks || ways_is_code(f->space, state->points[each->registers[at]])))
            add_escape(f, state->points[each->registers[at]], WAY_CALLED,
                       unless | (state->flags & ARGUMENTS), site);
}

/* Whether a table of functions may be at an address: its first words tell of an object (code/
 * objects.py). */
static int
may_be_methods(const struct gone_over *f, uint64_t address)
{
    return address >= LOWEST && ways_holds(&f->known->slots, address, address + 24);
}

/* Whether CPUs that come to a block go on in another from there, whatever they are. */
static int
goes_on(const struct gone_over *f, const struct block *block, uint32_t to)
{
    unsigned unknown = f->here & ~block->known;
    int goes = unknown && !(block->branches & f->choices);

    for (unsigned grade = 0; grade < GRADES; grade++)
        goes |= f->here & block->known & 1u << grade && ways_lead(block, grade) == to;
    return goes;
}

/* Addresses that a block leaves in registers, of which behind it no longer all ways have one: a
 * later call may call one, or what stands behind it, or it is handed on or stored. */
static void
tell_parting(struct gone_over *f, const struct block *block, uint32_t unless)
{
    const struct values *state = &f->live;

    unless |= block->branches & ARGUMENTS;
    for (uint32_t way = 0; way < block->number; way++) {
        const struct values *entry = &f->space->entry[block->ways[way]];
        uint32_t lost = state->pointed & ~entry->pointed;

        for (lost = lost && goes_on(f, block, block->ways[way]) ? lost : 0; lost;
             lost &= lost - 1) {
            unsigned number = (unsigned)__builtin_ctz(lost);

            if (state->labels[number] & (f->choices | FLAG))
                continue;
            if (may_be_methods(f, state->points[number]))
                add_escape(f, state->points[number], WAY_KEPT, unless, f->space->start);
            if (f->space->picks || ways_is_code(f->space, state->points[number]))
                add_escape(f, state->points[number], f->space->picks ? WAY_CALLED : WAY_STORED,
                           unless, f->space->start);
        }
    }
}

/* Whether an operation stores an address in memory, of a register, or in a file that does not move
 * an immediate: of code, or if that is not static of a table of it too. */
static int
stores_address(const struct gone_over *f, const struct operation *each, uint64_t *stored)
{
    const struct values *state = &f->live;
    unsigned second = each->registers[1];
    uint64_t address;
    int is_move = each->traits & IS_MOV && each->registers[0] == NO_REGISTER && each->has_memory;

    *stored = second < 16 ? state->points[second] : each->immediate;
    if (second < 16) /* two at once are stored as a vector */
        is_move = (is_move || each->traits & IS_MOVQ) && state->pointed >> second & 1;
    else
        is_move = is_move && each->where[1] == OPERAND_SIGNED32 &&
                  (ways_is_code(f->space, *stored) || may_be_methods(f, *stored));
    return is_move &&
           (ways_is_code(f->space, *stored) || !ways_static(f->space, state, each, &address));
}

/* The labels of arguments that an operation stores in memory that others see: not in a place on the
 * stack, unless that is near one whose address is taken. */
static uint32_t
stores_argument(const struct gone_over *f, const struct operation *each)
{
    const struct ways_space *space = f->space;
    int stores = each->traits & IS_MOV && each->registers[0] == NO_REGISTER && each->has_memory;
    int is_seen = !stores || !(each->base == RSP || (space->framed && each->base == RBP));

    if (each->registers[1] >= 16 || !(stores || each->traits & IS_MOVQ) ||
        !(f->live.labels[each->registers[1]] & ARGUMENTS))
        return 0;
    for (uint32_t at = 0; !is_seen && at < space->frames; at++)
        is_seen = ways_slot(each) - space->frame[at] < NEAR;
    return is_seen ? f->live.labels[each->registers[1]] & ARGUMENTS : 0u;
}

/* What leaves the function at one operation. */
static void
tell_leaving(struct gone_over *f, const struct operation *each, const struct block *block,
             uint32_t unless)
{
    uint64_t site = f->space->start + each->offset, stored;
    const struct values *state = &f->live;
    unsigned flow = flow_of(each);

    if (each->where[0] == OPERAND_TARGET) {
        leave(f, each, block, unless, site);
    } else if (flow == FLOW_INDIRECT_CALL || flow == FLOW_INDIRECT_JMP || flow == FLOW_CALL) {
        leave_indirectly(f, each, unless, site);
    } else if (flow == FLOW_RET) {
        if (state->pointed >> RAX & 1)
            add_escape(f, state->points[RAX], WAY_KEPT, unless, site);
        if (state->pointed >> RDX & 1)
            add_escape(f, state->points[RDX], WAY_KEPT, unless, site);
    } else if (stores_address(f, each, &stored)) {
        add_escape(f, stored, WAY_STORED, unless, site);
    } else if (!(unless & ~(uint32_t)FLAG) && f->tiers & SURE_TIERS) {
        f->made->keeps |= stores_argument(f, each);
    }
}

/* The static address that an operation of a Go function takes, if a function or a pointer to one is
 * there, or a table of methods (runtime/runtime2.go, itab); or from where it takes a pointer. Go
 * calls no code but what is called by name or through such, so who takes one is taken to call it.
 */
static void
tell_taking(struct gone_over *f, const struct operation *each, uint32_t unless, uint64_t site)
{
    enum { FIRST_METHOD = 24 };
    const struct ways_space *space = f->space;
    uint64_t address, found;

    if (!f->known->convention->is_go || !ways_static(space, &f->live, each, &address) ||
        ways_answers(f->known, address))
        return;
    if (each->traits & IS_LEA) {
        if (ways_is_code(space, address) ||
            (ways_pointer(f->known, address, &found) && ways_is_code(space, found)) ||
            (ways_pointer(f->known, address + FIRST_METHOD, &found) && ways_is_code(space, found)))
            add_escape(f, address, WAY_TAKEN, unless, site);
    } else if (each->traits & IS_MOV && each->index < 16) {
        if (!(f->live.labels[each->index] & ANSWERS))
            add_escape(f, address, WAY_TAKEN, unless, site);
    } else if (each->traits & IS_MOV && ways_pointer(f->known, address, &found)) {
        add_escape(f, found, WAY_TAKEN, unless, site);
    }
}

/* Takes in what a block does. */
static void
tell(struct gone_over *f, uint32_t number, uint32_t unless)
{
    struct ways_space *space = f->space;
    struct block *block = &space->block[number];

    ways_set_out(f, number);
    for (uint32_t at = 0; at < block->count; at++) {
        const struct operation *each = &space->operation[block->first + at];
        const struct instruction_class *class = &scan_classes[each->class];

        if (!(class->flags & CLASS_RARE) && !(each->traits & NEVER_FAULTS))
            for (unsigned word = 0; word < 2; word++)
                for (uint64_t left = class->known[word]; left; left &= left - 1)
                    add_need(f, word * 64 + (unsigned)__builtin_ctzll(left),
                             space->start + each->offset, unless);
        tell_leaving(f, each, block, unless);
        tell_taking(f, each, unless, space->start + each->offset);
        if (space->picks || each->traits & READS_FLAGS)
            tell_pick(f, each, unless, space->start + each->offset);
        ways_over(f, each, block, 0);
    }
    tell_parting(f, block, unless);
}

void
ways_clear(struct ways_summary *made)
{
    made->needs = made->calls = made->escapes = made->invokes = made->keeps = 0;
    __builtin_memset(made->needed, 0, sizeof made->needed);
}

/* What a block comes to: a function that it calls, a feature, an address that it lets go of. */
struct item {
    enum { CALLS, NEEDS, LETS_GO } kind;
    uint64_t what, site;
    uint32_t way;
};

static int
is_told(const struct gone_over *f, const struct item *item)
{
    const struct ways_summary *made = &f->space->summary;

    if (item->kind == NEEDS)
        return made->needed[item->what / 64] >> item->what % 64 & 1;
    for (uint32_t at = 0; item->kind == CALLS && at < made->calls; at++)
        if (made->call[at].target == item->what && made->call[at].tiers == f->tiers)
            return 1;
    for (uint32_t at = 0; item->kind == LETS_GO && at < made->escapes; at++)
        if (made->escape[at].address == item->what && made->escape[at].way == item->way &&
            made->escape[at].tiers == f->tiers)
            return 1;
    return 0;
}

/* The number of an item as a bit, which is new at the end; no bit where there is no room, or where
 * it is told already. */
static uint64_t
item_bit(const struct gone_over *f, struct item *items, uint32_t *count, struct item item)
{
    uint32_t at = 0;

    while (at < *count && (items[at].kind != item.kind || items[at].what != item.what ||
                           items[at].way != item.way))
        at++;
    if (at == MOST_ITEMS || (at == *count && is_told(f, &item)))
        return 0;
    if (at == *count)
        items[(*count)++] = item;
    return 1ull << at;
}

/* What a block itself comes to, as bits. */
static uint64_t
own_items(struct gone_over *f, uint32_t number, struct item *items, uint32_t *count)
{
    struct ways_summary *made = &f->space->side, *whole = &f->space->summary;
    uint64_t bits = 0;

    f->made = made;
    f->here = f->grades;
    ways_clear(made);
    tell(f, number, 0);
    f->made = whole;
    for (uint32_t at = 0; at < made->needs; at++)
        bits |= item_bit(f, items, count,
                         (struct item){NEEDS, made->need[at].feature, made->need[at].address, 0});
    for (uint32_t at = 0; at < made->calls; at++)
        bits |= item_bit(f, items, count,
                         (struct item){CALLS, made->call[at].target, made->call[at].site, 0});
    for (uint32_t at = 0; at < made->escapes; at++)
        bits |= item_bit(f, items, count,
                         (struct item){LETS_GO, made->escape[at].address, made->escape[at].site,
                                       made->escape[at].way});
    return bits;
}

/* Which of space->open has the grades whose CPUs may come to a block. */
enum { COMING = 9 };

/* What a block comes to: what any way from it does; at a choice, what all ways do. */
static uint64_t
come_to(const struct gone_over *f, uint32_t number, struct item *items, uint32_t *count)
{
    const struct ways_space *space = f->space;
    const struct block *block = &space->block[number];
    const struct operation *last = &space->operation[block->first + block->count - 1];
    uint64_t some = 0, all = UINT64_MAX, certain = space->own[number];
    uint32_t sides = 0, ways[2], grades = f->grades & space->open[COMING][number];
    int is_case = number >= space->tables; /* one of a switch, and the rest of them */
    int is_choice = is_case || (block->branches & (f->choices | FLAG)) != 0;

    for (unsigned grade = 0; grades & block->known && grade < GRADES; grade++)
        if (grades & block->known & 1u << grade) {
            uint32_t known = ways_onward(space, block, 0, grade, ways);

            while (known--)
                certain |= space->comes[ways[known]];
        }
    if (!(grades & ~block->known))
        return grades ? certain : 0;

    for (uint32_t way = 0; way < block->number; way++)
        if (space->block[block->ways[way]].alive) {
            some |= space->comes[block->ways[way]];
            all &= space->comes[block->ways[way]];
            sides++;
        }
    if (is_choice && block->leaves && last->where[0] == OPERAND_TARGET) {
        all &= item_bit(f, items, count,
                        (struct item){CALLS, last->immediate, space->start + last->offset, 0});
        sides++;
    }
    if (block->leaves && last->where[0] != OPERAND_TARGET && !block->number)
        sides = 0; /* a jump that may lead elsewhere */
    return certain | (is_choice ? sides ? all : 0 : some);
}

/* Takes in what every side of a choice comes to: the choice does not guard that. */
static void
tell_all_sides(struct gone_over *f)
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
    ways_open_for(space, 0, f->grades, space->open[COMING]);
    for (unsigned round = 0; changed && round < MOST_ROUNDS; round++) {
        changed = 0;
        for (uint32_t at = space->blocks; at--;) {
            uint64_t now = space->block[at].alive ? come_to(f, at, items, &count) : 0;

            changed |= now != space->comes[at];
            space->comes[at] = now;
        }
    }
    for (uint32_t at = 0; at < count; at++) {
        const struct item *item = &items[at];

        if (!(space->comes[0] >> at & 1))
            continue;
        if (item->kind == NEEDS)
            add_need(f, (unsigned)item->what, item->site, 0);
        else if (item->kind == CALLS)
            add_call(f, (struct ways_call){item->what, item->site, 0, 0, (uint16_t)f->tiers, 0, 0});
        else
            add_escape(f, item->what, item->way, 0, item->site);
    }
}

/* What is told of the blocks that are reached on every way, without those that were told of. */
static void
tell_opened(struct gone_over *f, uint32_t choices, const uint8_t *told, uint8_t *everywhere)
{
    static const uint16_t guards[] = {ARGUMENT,      ARGUMENT << 1, ARGUMENT << 2, ARGUMENT << 3,
                                      ARGUMENT << 4, ARGUMENT << 5, FLAG};
    enum { GUARDS = sizeof guards / sizeof *guards };
    struct ways_space *space = f->space;
    uint32_t labels = 0;

    ways_open_for(space, choices, f->grades, everywhere);
    for (uint32_t at = 0; at < space->blocks; at++)
        labels |= everywhere[at] ? space->block[at].branches : 0u;
    labels &= ~choices;
    for (unsigned at = 0; at < GUARDS; at++)
        if (labels & guards[at])
            ways_open_for(space, choices | guards[at], f->grades, space->open[at]);
    for (uint32_t number = 0; number < space->blocks; number++) {
        uint32_t unless = 0;

        for (unsigned at = 0; at < GUARDS; at++)
            if (labels & guards[at] && !space->open[at][number])
                unless |= guards[at];
        f->here = told && told[number] ? 0 : everywhere[number];
        if (f->here)
            tell(f, number, unless);
    }
}

/* What is told for features of some tiers. In the cases of a switch any flag of an object is taken
 * for a choice: so much hangs on those there that nobody follows. */
static void
tell_tiers(struct gone_over *f)
{
    struct ways_space *space = f->space;
    uint8_t *first = space->open[7], *second = space->open[8];
    uint32_t labels = 0;

    space->through = 0;
    tell_opened(f, f->choices, NULL, first);
    space->through = 1;
    if (space->tables < space->blocks)
        tell_opened(f, f->choices | FLAG | WORD, first, second);
    space->through = 0;
    for (uint32_t at = 0; at < space->blocks; at++)
        labels |= first[at] ? space->block[at].branches : 0u;
    if (labels & (f->choices | FLAG))
        tell_all_sides(f);
}

/* Features of several tiers are told of at once where no test tells their CPUs apart. */
void
ways_tell_all(struct gone_over *f)
{
    const struct ways_space *space = f->space;
    /* Grades that a branch may tell from the next one, or CMOV. */
    uint32_t parts = space->picks && space->parts ? ALL_GRADES : 0;

    for (uint32_t at = 0; at < space->blocks; at++) {
        const struct block *block = &space->block[at];
        uint32_t takes = block->taken & block->known;

        if (!block->known)
            continue;
        ways_go_over(f, at); /* with all that became known */
        parts |= (block->known ^ block->known >> 1) | (takes ^ takes >> 1);
    }
    /* Of Go's functions it is not known well enough what they put into objects. */
    f->choices = HANDED | (f->known->convention->is_go ? FLAG : 0u);
    f->tiers = 0;
    for (unsigned tier = TIER_TOP; tier > TIER_NONE; tier--) {
        f->choices |= ways_labels(tier);
        f->tiers |= 1u << tier;
        if (tier > TIER_NONE + 1 && !(space->told & ways_labels(tier - 1)) &&
            !(parts >> (tier - 2) & 1))
            continue;
        f->tiers |= tier == TIER_NONE + 1;
        f->grades = 1u << (tier - 1) | (parts & ((1u << (tier - 1)) - 1));
        tell_tiers(f);
        f->tiers = 0;
    }
}

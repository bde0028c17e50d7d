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

void
telling_escape(struct gone_over *f, uint64_t address, enum way way, uint32_t unless, uint64_t site)
{
    add_called(f, address, way, ARGUMENTS, unless, site);
}

void
telling_call(struct gone_over *f, struct ways_call call)
{
    if (f->made->calls < MOST_CALLS)
        f->made->call[f->made->calls++] = call;
    else
        f->space->summary.is_whole = 0;
}

void
telling_need(struct gone_over *f, unsigned feature, uint64_t address, uint32_t unless)
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
            telling_escape(f, f->live.points[number],
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
        telling_call(f, (struct ways_call){target, site, unless, 0, (uint16_t)f->tiers, 0, 0});
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
    telling_call(f,
                 (struct ways_call){each->immediate, site, unless, (uint16_t)told_by(f),
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
    int is_go = f->known->convention->is_go;
    unsigned known, taken = 0;
    uint64_t table;

    if (f->space->picks && each->traits & IS_MOV && each->size == 8) {
        table = ways_table(f->space, state, each);
        if (table && !(ways_read(f->space, f->known, state, each) & (f->choices | FLAG)))
            telling_escape(f, table, WAY_TABLE, unless, site);
        return;
    }
    if (!(each->traits & READS_FLAGS) || each->registers[0] >= 16 || each->registers[1] >= 16)
        return;
    known = ways_picks(state, each, &taken);
    for (int at = 0; at < 2; at++)
        if ((f->here & known & (at ? taken : ~taken) ||
             (f->here & ~known && !(state->flags & (f->choices | FLAG)))) &&
            state->pointed >> each->registers[at] & 1 &&
            (f->space->picks || is_go ||
             ways_is_code(f->space, state->points[each->registers[at]])))
            telling_escape(f, state->points[each->registers[at]], is_go ? WAY_TAKEN : WAY_CALLED,
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
                telling_escape(f, state->points[number], WAY_KEPT, unless, f->space->start);
            if (f->space->picks || ways_is_code(f->space, state->points[number]))
                telling_escape(f, state->points[number], f->space->picks ? WAY_CALLED : WAY_STORED,
                               unless, f->space->start);
        }
    }
}

/* Whether an operation stores an address of a register in memory: of code, or if that is not static
 * of a table of it too. */
static int
stores_address(const struct gone_over *f, const struct operation *each, uint64_t *stored)
{
    const struct values *state = &f->live;
    unsigned second = each->registers[1];
    uint64_t address;
    int is_move = each->traits & IS_MOV && each->registers[0] == NO_REGISTER && each->has_memory;

    if (is_move && each->where[1] == OPERAND_SIGNED32 && !f->known->convention->is_go) {
        *stored = each->immediate; /* of a file that does not move */
        return each->wide && ways_is_code(f->space, *stored);
    }
    if (second >= 16 || !(state->pointed >> second & 1))
        return 0;
    *stored = state->points[second];
    return (is_move || each->traits & IS_MOVQ) && /* two at once are stored as a vector */
           (ways_is_code(f->space, *stored) || !ways_static(f->space, state, each, &address));
}

/* The labels of arguments that an operation stores in memory, but on the stack. */
static uint32_t
stores_argument(const struct gone_over *f, const struct operation *each)
{
    int is_own = each->base == RSP || (f->space->framed && each->base == RBP);
    int stores = each->traits & IS_MOV && each->registers[0] == NO_REGISTER && each->has_memory;

    return stores && !is_own && each->registers[1] < 16
               ? f->live.labels[each->registers[1]] & ARGUMENTS
               : 0u;
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
            telling_escape(f, state->points[RAX], WAY_KEPT, unless, site);
        if (state->pointed >> RDX & 1)
            telling_escape(f, state->points[RDX], WAY_KEPT, unless, site);
    } else if (stores_address(f, each, &stored)) {
        telling_escape(f, stored, WAY_STORED, unless, site);
    } else if (!(unless & ~(uint32_t)FLAG) && f->tiers & SURE_TIERS) {
        f->made->keeps |= stores_argument(f, each);
    }
}

/* Whether of what an operation puts into a register CMOV takes one or another further on in a
 * block.
 */
static int
is_picked(const struct gone_over *f, const struct operation *each, const struct block *block)
{
    const struct operation *end = f->space->operation + block->first + block->count, *next = each;
    unsigned number = each->registers[0];

    while (++next < end) {
        int is_pick = next->traits & READS_FLAGS && next->count == 2;

        if (is_pick && next->registers[0] < 16 && next->registers[1] < 16 &&
            (next->registers[0] == number || next->registers[1] == number))
            return 1;
        if (next->registers[0] == number && next->traits & (IS_COPY | IS_LEA))
            break;
    }
    return 0;
}

/* The static address that an operation of a Go function takes, if a function or a pointer to one is
 * there, or a table of methods (runtime/runtime2.go, itab); or from where it takes a pointer. Go
 * calls no code but what is called by name or through such, so who takes one is taken to call it.
 */
static void
tell_taking(struct gone_over *f, const struct operation *each, const struct block *block,
            uint32_t unless, uint64_t site)
{
    enum { FIRST_METHOD = 24 };
    const struct ways_space *space = f->space;
    uint64_t address, found;

    if (!f->known->convention->is_go || !ways_static(space, &f->live, each, &address) ||
        ways_answers(f->known, address))
        return;
    if (each->traits & IS_LEA) {
        if (is_picked(f, each, block))
            return;
        if (ways_is_code(space, address) ||
            (ways_pointer(f->known, address, &found) && ways_is_code(space, found)) ||
            (ways_pointer(f->known, address + FIRST_METHOD, &found) && ways_is_code(space, found)))
            telling_escape(f, address, WAY_TAKEN, unless, site);
    } else if (each->traits & IS_MOV && each->index < 16) {
        if (!(f->live.labels[each->index] & ANSWERS))
            telling_escape(f, address, WAY_TAKEN, unless, site);
    } else if (each->traits & IS_MOV && ways_pointer(f->known, address, &found)) {
        telling_escape(f, found, WAY_TAKEN, unless, site);
    }
}

/* Takes in what a block does. */
void
telling_block(struct gone_over *f, uint32_t number, uint32_t unless)
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
                    telling_need(f, word * 64 + (unsigned)__builtin_ctzll(left),
                                 space->start + each->offset, unless);
        tell_leaving(f, each, block, unless);
        tell_taking(f, each, block, unless, space->start + each->offset);
        if (space->picks || each->traits & READS_FLAGS)
            tell_pick(f, each, unless, space->start + each->offset);
        ways_over(f, each, block, 0);
    }
    tell_parting(f, block, unless);
}

void
telling_clear(struct ways_summary *made)
{
    made->needs = made->calls = made->escapes = made->invokes = made->keeps = 0;
    __builtin_memset(made->needed, 0, sizeof made->needed);
}

/* What is told of the blocks that are reached on every way, each marked. */
static void
tell_opened(struct gone_over *f, uint32_t choices, uint8_t *everywhere)
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
        f->here = everywhere[number];
        if (f->here)
            telling_block(f, number, unless);
    }
}

/* What is told for features of some tiers. */
static void
tell_tiers(struct gone_over *f)
{
    struct ways_space *space = f->space;
    uint8_t *reached = space->open[7];
    uint32_t labels = 0;

    tell_opened(f, f->choices, reached);
    for (uint32_t at = 0; at < space->blocks; at++)
        labels |= reached[at] ? space->block[at].branches : 0u;
    if (labels & (f->choices | FLAG))
        sides_tell(f);
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

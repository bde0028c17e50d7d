/* Ways that a CPU takes through a file (explore.h). */
#include "explore.h"
#include "sets.h"
#include "works.h"

static struct explore_branch *
branch_at(struct explore_space *space, uint64_t address)
{
    struct explore_branch *branch =
        &space->branch[(address * 0x9e3779b97f4a7c15ull) >> 40 & (MOST_BRANCHES - 1)];

    if (branch->address != address)
        *branch = (struct explore_branch){.address = address};
    return branch;
}

static void
copy_way(struct explore_way *to, const struct explore_way *from)
{
    memory_copy(&to->memory, &from->memory);
    to->run = from->run;
    to->run.memory = &to->memory;
    __builtin_memcpy(to->call, from->call, from->depth * sizeof *to->call);
    to->depth = from->depth;
    to->first = from->first;
    to->is_library = from->is_library;
    to->fails = from->fails;
    to->catches = from->catches;
    to->doubts = from->doubts;
    to->root = from->root;
}

/* Goes on where it is not known to which side of a branch: to the one that was taken less often;
 * the other one waits. */
static void
part(struct explore_space *space, struct explore_way *way, uint64_t address, uint64_t taken,
     uint64_t next)
{
    struct explore_branch *branch = branch_at(space, address);
    int side = branch->taken[1] < branch->taken[0];
    uint64_t sides[2] = {next, taken};

    if (branch->taken[!side] < MOST_TAKEN && space->ways < MOST_WAYS) {
        struct explore_way *other = &space->way[1 + space->ways++];

        copy_way(other, way);
        other->address = sides[!side];
        branch->taken[!side]++;
    }
    branch->taken[side] += branch->taken[side] < UINT8_MAX;
    way->address = sides[side];
}

/* Whether an instruction needs what is wanted, which the model lacks. */
static int
meets(struct explored *all, const struct operation *each)
{
    const struct instruction_class *class = &scan_classes[each->class];

    if (class->flags & CLASS_RARE || each->traits & NEVER_FAULTS)
        return 0;
    for (unsigned word = 0; word < 2; word++)
        if (class->known[word] & all->wanted[word]) {
            all->feature =
                word * 64 + (unsigned)__builtin_ctzll(class->known[word] & all->wanted[word]);
            return 1;
        }
    return 0;
}

/* Whether an instruction, the first of a way that the model lacks, reads a vector that it was
 * handed, as only who has asked may hand one of 256 bits; or clears the upper halves of such. */
static int
is_handed_vector(const struct operation *each)
{
    int reads = 0;

    for (unsigned at = 1; at < each->count; at++) {
        unsigned number = each->registers[at];

        if (number < 16) /* VCVTSI2SS */
            return 0;
        reads |= number >= VECTORS && number < VECTORS + 32;
    }
    if (each->count > 2 && each->registers[1] == each->registers[2]) /* VXORPS, to clear one */
        return 0;
    return reads || !each->count;
}

/* Whether what is met counts. In a library it does in what calls come to that have asked. */
static int
counts(const struct explored *all, const struct explore_way *way, const struct operation *each)
{
    const struct links_index *functions = &all->file->links->functions;
    uint32_t behind = place_of(functions->all, functions->count, way->address + 1);

    if (way->catches)
        return 0;
    return !all->is_library || (way->run.is_told && behind &&
                                functions->all[behind - 1] != way->root && !is_handed_vector(each));
}

/* Begins with a function, as one that nobody has told anything. */
static void
begin(struct explored *all, struct explore_way *way, uint64_t root)
{
    struct execution *run = &way->run;
    uint64_t heap = run->heap, zeroed = run->zeroed;
    uint32_t steps = run->steps;
    uint8_t is_uncertain = run->is_uncertain;

    execution_begin(run, all->file, all->model, &way->memory);
    run->heap = heap;
    run->zeroed = zeroed;
    run->steps = steps;
    run->is_way = 1;
    run->is_uncertain = is_uncertain;
    way->depth = 0;
    way->root = way->address = root;
    execution_push(run, number_known(0));       /* no code is there: it ends */
    way->is_library = (uint8_t)all->is_library; /* what it is handed may be told by who has asked */
    run->doubtful = all->is_library ? UINT32_MAX : 0;
    if (root == all->main)
        execution_put(run, RSI, 8, number_known(run->heap += ROOM));
}

/* What is called first has come back: the next one, or the run itself; whether there is one. */
static int
go_on(struct explored *all, struct explore_way *way)
{
    if (way->first < all->firsts) {
        begin(all, way, all->first[way->first++]);
        return 1;
    }
    if (way->root == all->main) {
        struct number made = execution_value(&way->run, RAX, 1);

        way->fails = made.is_known && made.value;
    }
    if (!all->space->is_first_done) {
        all->space->is_first_done = 1;
        memory_copy(&all->space->first, &way->memory);
        all->space->heap = way->run.heap;
        all->space->zeroed = way->run.zeroed;
    }
    return 0;
}

/* One instruction; whether the way goes on. */
static int
step(struct explored *all, struct explore_way *way)
{
    struct execution *run = &way->run;
    uint64_t address = way->address, next;
    const struct operation *each = execution_operation(all->file, address);
    int met;

    run->steps++;
    if (!address)
        return go_on(all, way);
    if (!each || (way->depth && run->steps - way->call[way->depth - 1].began > MOST_OF_CALL))
        return explore_give_up(way);
    if (meets(all, each)) {
        if (counts(all, way, each)) {
            all->is_met = 1;
            all->address = address;
            all->root = way->root;
        }
        return 0;
    }
    next = address + each->length;
    switch (scan_classes[each->class].flow) {
    case FLOW_NEXT:
        way->address = next;
        explore_operate(way, each, address);
        return 1;
    case FLOW_JCC:
        met = each->work == JUMPS ? works_holds(run->flags_known, run->flags_set, each->condition)
                                  : -1;
        way->address = met ? each->immediate : next;
        if (met >= 0)
            return 1;
        if (run->flags_doubtful || way->doubts)
            return 0;
        part(all->space, way, address, each->immediate, next);
        return 1;
    case FLOW_JMP:
        return explore_go(way, number_known(each->immediate), 0, 0);
    case FLOW_CALL:
        if (each->where[0] == OPERAND_TARGET)
            return !execution_ends(all->file, next) &&
                   explore_go(way, number_known(each->immediate), 1, next);
        explore_leave(run, 0); /* SYSCALL */
        way->address = next;
        return 1;
    case FLOW_INDIRECT_CALL:
        return !execution_ends(all->file, next) &&
               explore_go_indirectly(way, execution_operation(all->file, address), 1, next);
    case FLOW_INDIRECT_JMP:
        return explore_go_indirectly(way, each, 0, 0);
    case FLOW_RET:
        return explore_come_back(way, execution_pop(run));
    default:
        return 0;
    }
}

static void
follow(struct explored *all, struct explore_way *way)
{
    uint32_t began = way->run.steps;

    while (all->left && way->run.steps - began < MOST_OF_WAY && step(all, way))
        all->left--;
    if (way->root == all->main) {
        all->failed += way->fails;
        all->others += !way->fails;
    }
}

/* Follows all ways from one on. */
static void
follow_all(struct explored *all)
{
    struct explore_space *space = all->space;
    struct explore_way *way = &space->way[0];

    for (;;) {
        follow(all, way);
        if (!space->ways || all->is_met || !all->left)
            return;
        copy_way(way, &space->way[space->ways]);
        way->address = space->way[space->ways--].address;
    }
}

void
explore(struct explored *all)
{
    struct explore_space *space = all->space;
    struct explore_way *way = &space->way[0];

    all->is_met = all->failed = all->others = 0;
    space->is_first_done = 0;
    space->heap = HEAP;
    space->zeroed = 0;
    for (uint32_t at = 0; at < MOST_BRANCHES; at++)
        space->branch[at].address = 0;
    memory_clear(&space->first);
    memory_clear(&way->memory);
    space->ways = way->first = way->catches = way->doubts = 0;
    way->run = (struct execution){.heap = HEAP};
    way->depth = 0;
    way->address = 0;
    if (go_on(all, way))
        follow_all(all);
    for (uint32_t at = 0; at < all->count && all->left && !all->is_met; at++) {
        space->ways = way->catches = way->doubts = way->fails = 0;
        way->first = all->firsts;
        memory_copy(&way->memory, &space->first);
        way->run = (struct execution){.heap = space->heap, .zeroed = space->zeroed};
        way->run.is_uncertain = !space->is_first_done;
        begin(all, way, all->roots[at]);
        follow_all(all);
    }
}

/* Calls on a way (explore.h): into functions of the file, and of what others' functions do. */
#include "explore.h"
#include "sets.h"

enum { SIGILL_NUMBER = 4, FILLED = 64 }; /* bytes that another file's function may write to */

void
explore_leave(struct execution *run, int doubts)
{
    const struct ways_convention *convention = run->file->convention;

    for (unsigned number = 0; number < 16; number++)
        if (!(convention->kept >> number & 1) && number != RSP) {
            execution_put(run, number, 8, number_unknown);
            mark(run, number, doubts);
        }
    for (unsigned number = 0; number < 16; number++)
        run->halves[number] = 0;
    run->doubtful = (run->doubtful & 0xffff) | (doubts ? 0xffff0000 : 0);
    run->flags_known = 0;
    run->flags_doubtful = (uint32_t)doubts;
}

/* Whether what is handed over may tell of the CPU. */
static int
hands_doubt(const struct execution *run)
{
    int doubts = 0;

    for (unsigned at = 0; at < 4; at++)
        doubts |= holds_doubt(run, run->file->convention->arguments[at]);
    return doubts;
}

/* A call begins; whether there is room for it. */
static int
enter(struct explore_way *way, uint64_t back, int chooses)
{
    struct execution *run = &way->run;
    struct explore_call *call = &way->call[way->depth];

    if (way->depth == MOST_DEEP || run->unknown[RSP])
        return 0;
    *call = (struct explore_call){.back = back,
                                  .stack = run->general[RSP],
                                  .doubtful = run->doubtful,
                                  .began = run->steps,
                                  .chooses = (uint8_t)chooses};
    __builtin_memcpy(call->general, run->general, sizeof call->general);
    __builtin_memcpy(call->unknown, run->unknown, sizeof call->unknown);
    way->depth++;
    return execution_push(run, number_known(back));
}

/* Takes back all registers as a call found them. */
static void
restore(struct execution *run, const struct explore_call *call)
{
    __builtin_memcpy(run->general, call->general, sizeof call->general);
    __builtin_memcpy(run->unknown, call->unknown, sizeof call->unknown);
    run->doubtful = call->doubtful;
}

int
explore_give_up(struct explore_way *way)
{
    struct explore_call *call = way->depth ? &way->call[way->depth - 1] : NULL;
    int doubts;

    if (!call || call->asks || call->chooses)
        return 0;
    way->depth--;
    restore(&way->run, call);
    doubts = hands_doubt(&way->run) || way->doubts;
    explore_leave(&way->run, doubts);
    way->run.is_uncertain = 1;
    way->address = call->back;
    return 1;
}

int
explore_come_back(struct explore_way *way, struct number to)
{
    struct execution *run = &way->run;
    struct number made = execution_value(run, RAX, 8);
    int asks = 0, chose = 0;

    if (run->unknown[RSP] || !to.is_known)
        return explore_give_up(way);
    while (way->depth && way->call[way->depth - 1].stack <= run->general[RSP]) {
        struct explore_call *call = &way->call[--way->depth];

        asks |= call->asks;
        if (call->chooses) {
            restore(run, call);
            chose = 1;
        }
    }
    if (way->depth && asks)
        way->call[way->depth - 1].asks = 1;
    if (chose && !made.is_known)
        return 0;
    way->address = chose ? made.value : to.value;
    return 1;
}

/* Another file's function may write to what it is told of by so many arguments. */
static void
fill(struct execution *run, unsigned count)
{
    for (unsigned at = 0; at < count; at++) {
        struct number to = execution_value(run, run->file->convention->arguments[at], 8);

        if (!to.is_known || to.value < LOWEST ||
            (is_of_file(to.value) && !ways_may_fill(run->file->known, to.value)))
            continue;
        run->doubts = 1;
        for (uint64_t byte = 0; byte < FILLED; byte += 8)
            if (is_of_file(to.value) || memory_written(run->memory, (to.value + byte) & ~7ull))
                memory_store(run, to.value + byte, 8, number_unknown);
        run->doubts = 0;
    }
}

/* Calls the functions that another file's is handed, one after another, with what is handed behind
 * each; whether there is one. */
static int
call_back(struct explore_way *way, uint64_t next)
{
    struct execution *run = &way->run;
    const struct links_index *functions = &run->file->links->functions;
    const struct ways_convention *convention = run->file->convention;

    for (unsigned at = 0; at < convention->number; at++) {
        struct number to = execution_value(run, convention->arguments[at], 8),
                      with = number_unknown;
        uint32_t number = to.is_known ? place_of(functions->all, functions->count, to.value) : 0;
        int doubts = way->is_library;

        if (!to.is_known || number == functions->count || functions->all[number] != to.value)
            continue;
        if (at + 1 < convention->number) {
            with = execution_value(run, convention->arguments[at + 1], 8);
            doubts |= holds_doubt(run, convention->arguments[at + 1]);
        }
        if (!enter(way, next, 0))
            return 0;
        explore_leave(run, way->is_library);
        execution_put(run, RDI, 8, with);
        mark(run, RDI, doubts);
        way->address = to.value;
        return 1;
    }
    return 0;
}

/* Another file's function is called, and comes back to `next`; whether the way goes on. */
static int
call_foreign(struct explore_way *way, enum foreign does, uint64_t next)
{
    struct execution *run = &way->run;
    struct number first = execution_value(run, run->file->convention->arguments[0], 8), made;
    struct number second = execution_value(run, run->file->convention->arguments[1], 8);
    int doubts = hands_doubt(run) || way->doubts;

    way->address = next;
    if (does < FOREIGN_MODELLED && foreign_call(run, does)) {
        made = execution_value(run, RAX, 8);
        explore_leave(run, doubts);
        execution_put(run, RAX, 8, made);
        return 1;
    }
    made = number_unknown;
    switch (does) {
    case FOREIGN_EXITS:
        way->fails = first.is_known && first.value & UINT8_MAX;
        return 0;
    case FOREIGN_ENDS:
        way->fails = 1;
        return 0;
    case FOREIGN_THROWS:
        return 0;
    case FOREIGN_ASKS:
        way->doubts = doubts = 1;
        break;
    case FOREIGN_CATCHES:
        if (!first.is_known || first.value == SIGILL_NUMBER)
            way->catches = !second.is_known || second.value;
        break;
    case FOREIGN_NOTHING:
        made = number_known(0);
        break;
    case FOREIGN_GUARDS:
        if (!first.is_known)
            return 0;
        made = memory_load(run, first.value, 1);
        made.value = !made.value;
        break;
    case FOREIGN_RELEASES:
        if (!first.is_known || !memory_store(run, first.value, 1, number_known(1)))
            return 0;
        break;
    case FOREIGN_ELSE:
        fill(run, 4);
        if (call_back(way, next))
            return 1;
        break;
    case FOREIGN_LATER:
        break;
    default:
        fill(run, 2);
    }
    explore_leave(run, doubts);
    execution_put(run, RAX, 8, made);
    return 1;
}

/* What a set of places says that one does; whether it does. */
static int
does_at(const struct ways_set *set, const uint8_t *all, uint64_t address, enum foreign *does)
{
    uint32_t at = place_of(set->all, set->count, address);

    if (at == set->count || set->all[at] != address)
        return 0;
    *does = (enum foreign)all[at];
    return 1;
}

int
explore_go(struct explore_way *way, struct number to, int is_call, uint64_t next)
{
    struct execution *run = &way->run;
    const struct executed *file = run->file;
    enum foreign does;

    if (to.is_known && (does_at(&file->inner, file->inner_does, to.value, &does) ||
                        does_at(&file->foreign, file->does, to.value - ELSEWHERE, &does))) {
        if (is_call)
            return call_foreign(way, does, next);
        to = execution_pop(run);
        return to.is_known && explore_come_back(way, to) && call_foreign(way, does, way->address);
    }
    if (to.is_known && links_range_of(file->links, to.value) < file->links->ranges) {
        if (is_call && !enter(way, next, 0))
            return 0;
        way->address = to.value;
        return 1;
    }
    if (!is_call) /* of a jump: what would be called by it, or a switch */
        return explore_give_up(way);
    fill(run, 4);
    explore_leave(run, hands_doubt(run) || way->doubts);
    run->is_uncertain = 1;
    way->address = next;
    return 1;
}

int
explore_go_indirectly(struct explore_way *way, const struct operation *each, int is_call,
                      uint64_t next)
{
    struct execution *run = &way->run;
    const struct executed *file = run->file;
    struct number address, to;
    enum foreign does;
    uint64_t chooser;

    if (each->registers[0] < 16) {
        if (run->unknown[each->registers[0]] && holds_doubt(run, each->registers[0]))
            return 0;
        return explore_go(way, execution_value(run, each->registers[0], 8), is_call, next);
    }
    address = execution_address(run, each);
    if (!address.is_known)
        return 0;
    if (does_at(&file->foreign, file->does, address.value, &does)) {
        if (is_call)
            return call_foreign(way, does, next);
        to = execution_pop(run);
        return to.is_known && explore_come_back(way, to) && call_foreign(way, does, way->address);
    }
    if (ways_holds(&file->chosen, address.value, address.value) &&
        ways_pointer(file->known, address.value, &chooser)) {
        if (is_call && !enter(way, next, 0))
            return 0;
        if (!enter(way, way->address, 1))
            return 0;
        way->address = chooser;
        return 1;
    }
    run->is_told |= is_of_file(address.value) && ways_answers(file->known, address.value);
    to = memory_load(run, address.value, 8);
    if (!to.is_known && memory_doubts(run, address.value, 8))
        return 0;
    return explore_go(way, to, is_call, next);
}

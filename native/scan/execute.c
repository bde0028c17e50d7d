/* One run of a function (execute.h): which way it goes. */
#include "execute.h"
#include "sets.h"
#include "works.h"

/* How far behind FS what functions find on their stack again stands (GCC, -fstack-protector). */
enum { CANARY = 40 };

/* No static memory is as high as what a run has: its stack ends here, */
#define STACK (1ull << 46)
/* R14 points here in Go, which reads from it how far down the stack may go, */
#define GOROUTINE (1ull << 47)
/* and this is where it returns to. */
#define BACK (1ull << 48)

const struct operation *
execution_operation(const struct executed *file, uint64_t address)
{
    struct execute_decoded *kept = &file->space->decoded[address & (MOST_DECODED - 1)];
    uint32_t range;

    if (kept->address == address && kept->operation.length)
        return &kept->operation;
    range = links_range_of(file->links, address);
    if (range == file->links->ranges)
        return NULL;
    kept->address = address;
    scan_operation(file->code[range] + (address - file->links->code[range].start),
                   file->links->code[range].end - address, address, &kept->operation);
    return scan_classes[kept->operation.class].flags & CLASS_INVALID ? NULL : &kept->operation;
}

/* Where a branch leads through a register or memory. */
static struct number
led(struct execution *run, const struct operation *each, uint64_t next, int is_call)
{
    const struct ways_set *foreign = &run->file->foreign;
    struct number to;

    if (each->registers[0] < 16) {
        to = execution_value(run, each->registers[0], 8);
    } else {
        struct number address = execution_address(run, each);
        uint32_t slot = place_of(foreign->all, foreign->count, address.value);

        if (address.is_known && slot < foreign->count && foreign->all[slot] == address.value)
            return !foreign_call(run, (enum foreign)run->file->does[slot]) ? number_unknown
                   : is_call                                               ? number_known(next)
                                                                           : execution_pop(run);
        to = address.is_known ? memory_load(run, address.value, 8) : number_unknown;
    }
    if (to.is_known && is_call && !execution_push(run, number_known(next)))
        to.is_known = 0;
    return to;
}

int
execution_ends(const struct executed *file, uint64_t next)
{
    const struct operation *each = execution_operation(file, next);

    return each && scan_classes[each->class].flow == FLOW_TRAP && each->length == 2;
}

/* One instruction; where the run goes on is in `address`. */
static enum ended
step(struct execution *run, uint64_t *address)
{
    const struct operation *each = execution_operation(run->file, *address);
    struct number to = number_unknown;
    uint64_t next;
    int met;

    if (!each)
        return RUN_LOST;
    next = *address + each->length;
    switch (scan_classes[each->class].flow) {
    case FLOW_NEXT:
        *address = next;
        return execution_operate(run, each) ? RUN_GOES : RUN_LOST;
    case FLOW_JCC:
        met = each->work == JUMPS ? works_holds(run->flags_known, run->flags_set, each->condition)
                                  : -1;
        to = (struct number){met ? each->immediate : next, met >= 0};
        break;
    case FLOW_JMP:
        to = number_known(each->immediate);
        break;
    case FLOW_CALL:
        to = number_known(each->immediate);
        if (execution_ends(run->file, next))
            return RUN_REFUSED;
        to.is_known = execution_push(run, number_known(next));
        break;
    case FLOW_INDIRECT_CALL:
        if (execution_ends(run->file, next))
            return RUN_REFUSED;
        to = led(run, execution_operation(run->file, *address), next, 1);
        break;
    case FLOW_INDIRECT_JMP:
        to = led(run, each, next, 0);
        break;
    case FLOW_RET:
        to = execution_pop(run);
        run->general[RSP] += each->where[0] == OPERAND_IMM16 ? each->immediate : 0;
        break;
    default:
        break;
    }
    *address = to.value;
    return to.is_known ? RUN_GOES : RUN_LOST;
}

void
execution_begin(struct execution *run, struct executed *file, unsigned model,
                struct execute_memory *memory)
{
    *run = (struct execution){.file = file, .memory = memory, .model = model, .heap = HEAP};
    for (unsigned number = 0; number < 16; number++)
        run->unknown[number] = UINT64_MAX;
    execution_put(run, RSP, 8, number_known(STACK));
    execution_put(run, 14, 8, number_known(GOROUTINE));
    execution_push(run, number_known(BACK));
    memory_store(run, GOROUTINE + 16, 8, number_known(0));
    memory_store(run, THREAD, 8, number_known(THREAD));
    memory_store(run, THREAD + CANARY, 8, number_known(0));
}

enum ended
execute(struct execution *run, uint64_t start, uint32_t most)
{
    enum ended ended = RUN_GOES;
    uint64_t address = start;

    for (; ended == RUN_GOES && address != BACK; run->steps++) {
        if (run->steps == most)
            return RUN_LOST;
        ended = step(run, &address);
    }
    return ended == RUN_GOES ? RUN_ENDS : ended;
}

/* What one instruction does on a way that leads to the next one (explore.h): as a run executes it
 * (operate.c), with what of its result may tell of the CPU. What it makes is not known where that
 * is not followed. */
#include "explore.h"
#include "works.h"

static int
is_memory(const struct operation *each, unsigned at)
{
    return each->registers[at] == NO_REGISTER &&
           (each->where[at] == OPERAND_RM || each->where[at] == OPERAND_OFFSET);
}

/* Whether what an instruction reads of memory may; and what stands where nobody knows. */
static int
loads_doubt(struct execution *run, const struct operation *each, unsigned at)
{
    struct number address = execution_address(run, each);
    unsigned size = each->sizes[at < 2 ? at : 0] ? each->sizes[at < 2 ? at : 0] : 16;

    if (!address.is_known)
        return 1;
    run->is_told |= is_of_file(address.value) && ways_answers(run->file->known, address.value);
    return memory_doubts(run, address.value, size);
}

/* Whether what an instruction makes may. */
static int
makes_doubt(struct execution *run, const struct operation *each)
{
    int only_writes = each->traits & (IS_COPY | IS_LEA) || each->work == VECTOR_COPIES ||
                      each->work == VECTOR_PARTS ||
                      (each->traits & READS_FLAGS && each->count == 1);
    int doubts = 0;

    if (each->same && each->traits & IS_CLEARING)
        return 0;
    if (each->traits & IS_ASKING)
        return 1;
    for (unsigned at = 0; at < each->count; at++) {
        if (is_memory(each, at) && !(each->traits & IS_LEA)) {
            if (at || !only_writes)
                doubts |= loads_doubt(run, each, at);
        } else if (at || !only_writes) {
            doubts |= holds_doubt(run, each->registers[at]);
        }
    }
    if (each->traits & IS_LEA)
        doubts |= holds_doubt(run, each->base) | holds_doubt(run, each->index);
    if (each->traits & READS_FLAGS)
        doubts |= (int)run->flags_doubtful;
    if (each->traits & IS_DOUBLE && each->count < 2)
        doubts |= holds_doubt(run, RAX) | holds_doubt(run, RDX);
    if ((each->work == POPS || each->work == LEAVES) && !run->unknown[RSP])
        doubts |= memory_doubts(run, run->general[each->work == POPS ? RSP : RBP], 8);
    return doubts;
}

/* What an instruction makes, which is not known. */
static void
forget(struct execution *run, const struct operation *each)
{
    if (each->registers[0] < 16)
        execution_put(run, each->registers[0], 8, number_unknown);
    if ((each->traits & IS_DOUBLE && each->count < 2) || each->work == COMPARES_EXCHANGES ||
        each->traits & IS_ASKING) {
        execution_put(run, RAX, 8, number_unknown);
        execution_put(run, RDX, 8, number_unknown);
    }
    if (each->traits & IS_ASKING) {
        execution_put(run, RBX, 8, number_unknown);
        execution_put(run, RCX, 8, number_unknown);
    }
    run->flags_known = 0;
}

/* REP STOS and REP MOVS; whether it is one of which all is known. */
static int
repeat(struct execution *run, const uint8_t *code, unsigned length)
{
    unsigned wide = length == 3 && code[1] == 0x48, opcode = code[length - 1];
    unsigned size = wide ? 8 : opcode & 1 ? 4 : 1;
    int stores = (opcode & 0xfe) == 0xaa;
    struct number value = execution_value(run, RAX, size);

    if (*code != 0xf3 || length != 2 + wide || (!stores && (opcode & 0xfe) != 0xa4))
        return 0;
    if (run->unknown[RCX] | run->unknown[RDI] | (stores ? 0 : run->unknown[RSI]) ||
        run->general[RCX] > MOST_WRITTEN)
        return 0;
    for (; run->general[RCX]; run->general[RCX]--, run->general[RDI] += size) {
        run->doubts =
            (uint8_t)(stores ? holds_doubt(run, RAX) : memory_doubts(run, run->general[RSI], size));
        if (!stores) {
            value = memory_load(run, run->general[RSI], size);
            run->general[RSI] += size;
        }
        if (!memory_store(run, run->general[RDI], size, value))
            return 0;
    }
    return 1;
}

/* DIV and IDIV (F7 /6, /7) of what its operand's size holds; whether that was one. */
static int
divide(struct execution *run, const struct operation *each, const uint8_t *code)
{
    unsigned size = *code >> 4 == 4 && *code & 8 ? 8 : 4, at = *code >> 4 == 4;
    unsigned which = each->length > at + 1 && code[at] == 0xf7 ? code[at + 1] >> 3 & 7 : 0;
    struct number low = execution_value(run, RAX, size), high = execution_value(run, RDX, size), by;
    struct number address = execution_address(run, each);

    if (which < 6)
        return 0;
    if (each->registers[0] < 16)
        by = execution_value(run, each->registers[0], size);
    else
        by = address.is_known ? memory_load(run, address.value, size) : number_unknown;
    if (!low.is_known || !high.is_known || !by.is_known || !by.value || high.value ||
        (which == 7 && (low.value | by.value) >> (8 * size - 1)))
        return 0;
    execution_put(run, RDX, size, number_known(low.value % by.value));
    execution_put(run, RAX, size, number_known(low.value / by.value));
    run->flags_known = 0;
    return 1;
}

/* BSF and BSR, which is what TZCNT and LZCNT are where they are missing; whether that was one. */
static int
seek(struct execution *run, const struct operation *each, const uint8_t *code)
{
    unsigned at = *code == 0xf3, size;
    struct number value;

    if (each->length < 3)
        return 0;
    at += code[at] >> 4 == 4;
    if (each->length < at + 3 || code[at] != 0x0f || (code[at + 1] & 0xfe) != 0xbc ||
        each->registers[0] >= 16 || each->registers[1] >= 16)
        return 0;
    size = at && code[at - 1] >> 3 == 9 ? 8 : 4;
    value = execution_value(run, each->registers[1], size);
    if (!value.is_known || !value.value)
        return 0;
    value.value = (uint64_t)(code[at + 1] & 1 ? 63 - __builtin_clzll(value.value)
                                              : __builtin_ctzll(value.value));
    execution_put(run, each->registers[0], size, value);
    run->flags_known = 0;
    return 1;
}

/* Whether an instruction takes the address of the name of /proc/cpuinfo: what is read there may
 * tell of the CPU. */
static int
names_question(const struct ways_known *known, const struct operation *each)
{
    uint64_t address = each->traits & IS_LEA ? (uint64_t)each->displacement : each->immediate;

    return known->questions.count && each->traits & (IS_LEA | IS_MOV) &&
           ways_holds(&known->questions, address, address);
}

void
explore_operate(struct explore_way *way, const struct operation *each, uint64_t address)
{
    struct execution *run = &way->run;
    uint32_t range = links_range_of(run->file->links, address);
    const uint8_t *code = run->file->code[range] + (address - run->file->links->code[range].start);
    int doubts = makes_doubt(run, each) || way->doubts;

    if (names_question(run->file->known, each))
        way->doubts = 1;
    if (each->traits & IS_ASKING && way->depth)
        way->call[way->depth - 1].asks = 1;
    run->is_told |= (each->traits & IS_ASKING) != 0;
    run->doubts = (uint8_t)doubts;
    if (each->length >= 2 && *code == 0xf3 && repeat(run, code, each->length)) {
        run->doubts = 0;
        return;
    }
    if (each->traits & IS_DOUBLE && divide(run, each, code)) {
        run->doubts = 0;
    } else if (!seek(run, each, code) && !execution_operate(run, each)) {
        forget(run, each);
        run->is_uncertain |= is_memory(each, 0) && !(each->traits & IS_FLAGS_ONLY);
    }
    run->doubts = 0;
    if (!(each->traits & IS_FLAGS_ONLY))
        mark(run, each->registers[0], doubts);
    if (each->traits & IS_EXCHANGE || each->work == EXCHANGES_ADDS)
        mark(run, each->registers[1], doubts);
    if (each->traits & (IS_DOUBLE | IS_ASKING) || each->work == COMPARES_EXCHANGES)
        for (unsigned at = RAX; at <= (each->traits & IS_ASKING ? RBX : RDX); at++)
            mark(run, at, doubts);
    if (each->traits & WRITES_FLAGS)
        run->flags_doubtful = /* whether there is a pointer tells nothing */
            doubts && !(way->is_library && each->wide && each->same);
}

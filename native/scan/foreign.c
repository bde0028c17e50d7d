/* What a run does in functions of the C library: memory that it is given, and strings that it
 * compares (ISO/IEC 9899, 7.24 and 7.22.3). */
#include "execute.h"

enum { MOST_BYTES = 4096 }; /* that are compared or written */

static const struct number unknown = {0, 0};

/* Compares bytes, up to a zero, or without case; a number as memcmp and strcmp return one. */
static struct number
compare(const struct execution *run, uint64_t one, uint64_t other, uint64_t most, int is_text,
        int folds)
{
    for (uint64_t at = 0; at < most && at < MOST_BYTES; at++) {
        struct number mine = memory_load(run, one + at, 1), theirs;

        theirs = memory_load(run, other + at, 1);
        if (!mine.is_known || !theirs.is_known)
            return unknown;
        if (folds && mine.value - 'A' < 26)
            mine.value |= 32;
        if (folds && theirs.value - 'A' < 26)
            theirs.value |= 32;
        if (mine.value != theirs.value)
            return (struct number){mine.value < theirs.value ? UINT32_MAX : 1, 1};
        if (is_text && !mine.value)
            return (struct number){0, 1};
    }
    return (struct number){0, most <= MOST_BYTES};
}

/* Fills memory, or copies it; whether it is known where. */
static int
put(struct execution *run, uint64_t to, const struct number *from, struct number byte,
    struct number size)
{
    if (!size.is_known || size.value > MOST_BYTES || (from && !from->is_known))
        return 0;
    for (uint64_t left = size.value; left > 0; left--) {
        uint64_t at = from && from->value < to ? left - 1 : size.value - left;

        run->doubts = run->is_way && from && memory_doubts(run, from->value + at, 1);
        if (!memory_store(run, to + at, 1, from ? memory_load(run, from->value + at, 1) : byte))
            return 0;
    }
    run->doubts = 0;
    return 1;
}

/* How long a string is. */
static struct number
length(const struct execution *run, uint64_t text)
{
    for (uint64_t at = 0; at < MOST_BYTES; at++) {
        struct number byte = memory_load(run, text + at, 1);

        if (!byte.is_known)
            break;
        if (!byte.value)
            return (struct number){at, 1};
    }
    return unknown;
}

int
foreign_call(struct execution *run, enum foreign does)
{
    const struct ways_convention *convention = run->file->convention;
    struct number given[3], made = unknown;
    uint64_t room = run->heap + ROOM;
    int is_done = 1;

    for (unsigned at = 0; at < 3; at++)
        given[at] = execution_value(run, convention->arguments[at], 8);
    switch (does) {
    case FOREIGN_REALLOC: /* there is room behind what was given */
        if (!given[0].is_known)
            return 0;
        made = given[0].value ? given[0] : (struct number){run->heap = room, 1};
        break;
    case FOREIGN_CALLOC:
    case FOREIGN_MALLOC:
        made = (struct number){run->heap = room, 1};
        if (does == FOREIGN_CALLOC && (room - HEAP) / ROOM < 64)
            run->zeroed |= 1ull << (room - HEAP) / ROOM;
        break;
    case FOREIGN_MEMCMP:
    case FOREIGN_STRNCMP:
    case FOREIGN_STRNCASECMP:
        if (given[0].is_known && given[1].is_known && given[2].is_known)
            made = compare(run, given[0].value, given[1].value, given[2].value,
                           does != FOREIGN_MEMCMP, does == FOREIGN_STRNCASECMP);
        break;
    case FOREIGN_STRCMP:
    case FOREIGN_STRCASECMP:
        if (given[0].is_known && given[1].is_known)
            made = compare(run, given[0].value, given[1].value, MOST_BYTES, 1,
                           does == FOREIGN_STRCASECMP);
        break;
    case FOREIGN_STRLEN:
        made = given[0].is_known ? length(run, given[0].value) : unknown;
        break;
    case FOREIGN_MEMSET:
        is_done = given[0].is_known && put(run, given[0].value, NULL, given[1], given[2]);
        made = given[0];
        break;
    case FOREIGN_MEMCPY:
        is_done = given[0].is_known && put(run, given[0].value, &given[1], unknown, given[2]);
        made = given[0];
        break;
    default:
        return 0;
    }
    for (unsigned number = 0; number < 16; number++)
        if (!(convention->kept >> number & 1) && number != RSP)
            execution_put(run, number, 8, unknown);
    run->flags_known = 0;
    execution_put(run, RAX, 8, made);
    return is_done;
}

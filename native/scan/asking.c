#include "asking.h"
#include "sets.h"

enum state { NEW, WANTED, NAMED, GOING, SEEN, TOLD };

#define ANSWER_BITS (0xffff0000ull | ANSWERS)

/* Where something that is called is kept; NULL where there is no room. */
static struct asked *
asked_of(struct asking *file, uint64_t target)
{
    uint32_t at = (uint32_t)(target * 0x9e3779b97f4a7c15 >> 32) & (file->room - 1);

    for (;; at = (at + 1) & (file->room - 1)) {
        struct asked *asked = &file->asked[at];

        if (asked->target == target && target)
            return asked;
        if (asked->target)
            continue;
        if (!target || file->count >= file->room / 4 * 3)
            return NULL;
        file->count++;
        asked->target = target;
        return asked;
    }
}

static int
is_go(const struct asking *file, uint64_t address)
{
    return address >= file->go_start && address < file->go_end;
}

/* Whether what begins there is an entry of a PLT, or only jumps to what is another file's. */
static int
is_others(const struct asking *file, uint32_t range, uint64_t address)
{
    const struct links_range *where = &file->links->code[range];
    const uint8_t *code = file->code[range] + (address - where->start);
    unsigned length = links_stub(code, where->end - address);
    int32_t distance;

    if (file->tables[range] || !length)
        return file->tables[range];
    __builtin_memcpy(&distance, code + length - sizeof distance, sizeof distance);
    address += length + (uint64_t)(int64_t)distance;
    return ways_holds(&file->imports, address, address);
}

/* Asks for what a name tells. */
static int
want(struct asking *file, struct asked *asked)
{
    if (file->wants < MOST_WANTED && asked->state != WANTED) {
        asked->state = WANTED;
        file->wanted[file->wants++] = asked->target;
    }
    return 0;
}

static int look(struct asking *file, uint64_t start, uint64_t end, unsigned depth,
                uint64_t numbers);

/* What its own code tells of a function; whether that is known. */
static int
see(struct asking *file, struct asked *asked, unsigned depth)
{
    const struct links_index *functions = &file->links->functions;
    uint32_t number = place_of(functions->all, functions->count, asked->target);
    int begins = number < functions->count && functions->all[number] == asked->target;
    uint64_t end = begins ? file->limits[number] : 0;
    enum state before = asked->state;
    const struct ways_summary *made;
    int known;

    asked->word = 0;
    if (depth > MOST_DEPTH) /* it is asked again from elsewhere */
        return 1;
    asked->state = SEEN;
    if (end > asked->target && end - asked->target > SMALL)
        asked->word = ARGUMENTS / ARGUMENT * KEEPS_ARGUMENT; /* it may */
    if (asked->word || end <= asked->target || file->left <= 0)
        return 1;
    asked->state = GOING;
    known = look(file, asked->target, end, depth, 0);
    asked->state = known == ASKING_WANTS ? before : SEEN;
    if (known != ASKING_DONE)
        return known;
    made = &file->spaces[depth]->summary;
    asked->word = made->answers | (uint32_t)made->returned << 16 |
                  made->invokes / ARGUMENT * CALLS_ARGUMENT |
                  made->keeps / ARGUMENT * KEEPS_ARGUMENT;
    asked->word |= made->returns ? 0u : NEVER_RETURNS;
    asked->word |= made->asks ? LEAVES_ANSWERS : 0u;
    asked->word |= is_go(file, asked->target) && ways_is_cpuid(file->spaces[depth]) ? IS_CPUID : 0u;
    return 1;
}

/* The word of what is known of a function. */
static uint64_t
word_of(const struct asked *asked)
{
    uint64_t word = asked->word;
    uint32_t traits = asked->traits;

    if (asked->answers)
        word = (word & ~ANSWER_BITS) | asked->answers;
    if (asked->state == TOLD)
        return word;
    if (!(traits & IS_NAMED))
        return word & ~(uint64_t)(LEAVES_ANSWERS | IS_CPUID);
    if (traits & ASKS_BY_NAME && !(word & ANSWERS))
        word = (word & ~ANSWER_BITS) | MAY_ANSWER;
    if (traits & NEVER_BY_NAME)
        word |= NEVER_RETURNS;
    if (traits & FILLS)
        word |= MAY_ANSWER;
    if (traits & (FILLS | ASKS_BY_NAME))
        word |= LEAVES_ANSWERS;
    return word;
}

/* The word of what is called; whether it is known. */
static int
tell(struct asking *file, uint64_t target, unsigned depth, uint64_t *word)
{
    uint32_t stub = place_of(file->stubs.all, file->stubs.count, target), range;
    struct asked *asked;
    uint64_t inner, slot = target > INT64_MAX ? 0 - target : target;

    *word = 0;
    if (ways_holds(&file->chosen, slot, slot))
        return 1; /* it answers, but not what it has chosen */
    if (target > INT64_MAX && !ways_holds(&file->imports, 0 - target, 0 - target)) {
        int known = !ways_pointer(file->known, 0 - target, &inner) || inner > INT64_MAX ||
                    tell(file, inner, depth, word);

        *word = (*word & ANSWER_BITS) | IS_FOREIGN;
        return known;
    }
    if (stub < file->stubs.count && file->stubs.all[stub] == target)
        target = file->functions[stub];
    asked = asked_of(file, target);
    if (!asked) {
        file->is_whole = 0;
        return 1;
    }
    if (asked->state == NEW || asked->state == WANTED) {
        range = links_range_of(file->links, target);
        if (target > INT64_MAX || (range < file->links->ranges && is_others(file, range, target)) ||
            is_go(file, target))
            return want(file, asked);
        asked->state = range < file->links->ranges ? NAMED : TOLD;
        asked->word = range < file->links->ranges ? 0u : IS_FOREIGN;
    }
    if (asked->state == NAMED && !see(file, asked, depth))
        return 0;
    *word = word_of(asked);
    return 1;
}

/* Of a Go function: it answers if it calls nothing else than what does, or never comes back. What
 * has CPUID in it has put the answer on the stack. */
static void
spare(struct asking *file, struct ways_space *space)
{
    struct asked *asked = asked_of(file, space->start);
    struct ways_summary *made = &space->summary;

    if (made->asks)
        made->answers |= MAY_ANSWER;
    else
        for (uint32_t at = 0; at < space->targets; at++)
            if (!(space->answer[at] & (ANSWERS | NEVER_RETURNS)))
                made->answers = 0;
    if (made->fields && asked)
        asked->traits |= FILLS;
    made->fields = 0;
    if (asked && asked->traits & IS_RUNTIME)
        made->answers = made->statics = 0;
}

/* How far one function is gone over: while what answers is found out, no further than that is. */
static uint32_t
most_steps(const struct asking *file)
{
    int64_t left = file->left > 1 ? file->left : 1;

    return file->only_answers && left < file->most_steps ? (uint32_t)left : file->most_steps;
}

static int
look(struct asking *file, uint64_t start, uint64_t end, unsigned depth, uint64_t numbers)
{
    struct ways_space *space = file->spaces[depth];
    uint32_t range = links_range_of(file->links, start), told = 0, most = 0;
    unsigned kind =
        (start == file->main ? IS_MAIN : 0u) | (file->only_answers && !depth ? ONLY_ANSWERS : 0u);

    if (!space) {
        file->lacks = 1;
        return ASKING_WANTS;
    }
    if (range == file->links->ranges ||
        !ways_begin(space, file->known, file->code[range],
                    file->links->code[range].end - file->links->code[range].start,
                    file->links->code[range].start, start, end))
        return ASKING_NOTHING;
    space->numbers = numbers;
    space->given = (uint32_t)(numbers >> NUMBERED) * ARGUMENT;
    do {
        int known = 1;

        for (; told < space->targets; told++)
            known &= tell(file, space->target[told], depth + 1, &space->answer[told]);
        if (!known)
            return ASKING_WANTS;
        file->known->convention = is_go(file, start) ? &ways_go : file->convention;
        most = most_steps(file);
        ways_finish(space, file->known, most, kind);
    } while (told < space->targets);
    file->left -= space->summary.steps;
    file->is_whole &= space->summary.is_whole || most < file->most_steps;
    if (is_go(file, start))
        spare(file, space);
    return ASKING_DONE;
}

enum asking_end
asking_look(struct asking *file, uint64_t start, uint64_t end, uint64_t numbers)
{
    struct asked *asked = is_go(file, start) ? asked_of(file, start) : NULL;

    file->wants = file->lacks = 0;
    if (asked && (asked->state == NEW || asked->state == WANTED)) {
        want(file, asked);
        return ASKING_WANTS;
    }
    return (enum asking_end)look(file, start, end, 0, numbers);
}

void
asking_tell(struct asking *file, uint64_t target, uint32_t word, uint32_t traits)
{
    struct asked *asked = asked_of(file, target);

    if (!asked)
        return;
    asked->word = word;
    asked->traits = (uint8_t)traits;
    asked->state = target <= INT64_MAX && is_go(file, target) ? NAMED : TOLD;
}

void
asking_answers(struct asking *file, uint64_t start, uint32_t answers)
{
    struct asked *asked = asked_of(file, start);

    if (asked)
        asked->answers = answers;
}

void
asking_forget(struct asking *file)
{
    for (uint32_t at = 0; file->count && at < file->room; at++)
        if (file->asked[at].state == SEEN)
            file->asked[at].state = NAMED;
}

/* Where a value that tells what the CPU can do goes to inside of one function. */
#include "answers.h"
#include "sets.h"
#include "works.h"

/* R12 to R15, RBX and RBP are kept by both. */
#define BOTH_KEEP (0xf000u | 1u << RBX | 1u << RBP)

#define IN_PAIR (1u << RAX | 1u << RDX)

const struct ways_convention ways_system_v = {
    {RDI, RSI, RDX, RCX, R8, R9}, 6, BOTH_KEEP, IN_PAIR, 0};
const struct ways_convention ways_windows = {
    {RCX, RDX, R8, R9}, 4, BOTH_KEEP | 1u << RSI | 1u << RDI, IN_PAIR, 0};
/* R14 is the goroutine. */
const struct ways_convention ways_go = {{RAX, RBX, RCX, RDI, RSI, R8},
                                        6,
                                        1u << RBP | 1u << 14,
                                        1u << RAX | 1u << RBX | 1u << RCX | 1u << RDI | 1u << RSI,
                                        1};

/* A place on the stack as a number, in order: the register that it is counted from, how far. Below
 * it are what is known of the value there, and its labels. */
#define SLOT(base, offset) ((uint64_t)((base) == RBP) << 32 | (uint32_t)((offset) + (1ll << 31)))
#define SLOT_LABELS 31
#define SLOT_FACT(word) ((uint16_t)((word) >> 16 & 0x7fff))

/* --- what is known at a place --------------------------------------------------------------------
 */

void
ways_enter(struct values *state, const struct ways_convention *convention)
{
    __builtin_memset(state->labels, 0, sizeof state->labels);
    __builtin_memset(state->facts, 0, sizeof state->facts);
    __builtin_memset(state->frame, 0, sizeof state->frame);
    for (unsigned at = 0; at < convention->number; at++)
        state->labels[convention->arguments[at]] = (uint16_t)(ARGUMENT << at);
    state->pointed = state->flags = state->count = 0;
    state->flags_known = state->flags_set = 0;
    state->spilled = state->never = 0;
    state->table = 0;
    state->reached = 1;
}

/* Gives a state room for so many places on the stack; how many there are then. */
static uint32_t
make_room(struct ways_space *space, struct values *state, uint32_t count)
{
    uint32_t wanted = count + count / 2 + 4;

    if (count <= state->room)
        return count;
    if (wanted > ARENA - space->used) {
        space->summary.is_whole = 0;
        return state->room;
    }
    state->slots = space->arena + space->used;
    state->room = wanted;
    space->used += wanted;
    return count;
}

void
ways_copy(struct ways_space *space, struct values *to, const struct values *from)
{
    uint32_t room = to->room, count;
    uint64_t *slots = to->slots;

    *to = *from;
    to->room = room;
    to->slots = slots;
    count = make_room(space, to, from->count);
    __builtin_memcpy(to->slots, from->slots, count * sizeof *slots);
    to->count = count;
}

/* A place on the stack as two ways leave it; 0 for one that does not know it. */
static uint64_t
join_slot(struct ways_known *known, uint64_t mine, unsigned my_never, uint64_t theirs,
          unsigned never)
{
    uint64_t slot = (mine | theirs) >> SLOT_LABELS << SLOT_LABELS, fact = 0;

    if (SLOT_FACT(mine) | SLOT_FACT(theirs))
        fact = ways_agree(known, (struct told_value){SLOT_FACT(mine), (uint16_t)mine, my_never},
                          (struct told_value){SLOT_FACT(theirs), (uint16_t)theirs, never});
    return slot | fact << 16 | ((mine | theirs) & 0xffff);
}

/* A place on the stack that another way does not know; what becomes other by that. */
static uint64_t
lose(struct ways_known *known, struct values *mine, uint32_t at, unsigned never)
{
    uint64_t before = mine->slots[at];

    mine->slots[at] = join_slot(known, before, mine->never, 0, never);
    return mine->slots[at] ^ before;
}

/* Takes in the places on the stack of another; whether there was anything new. */
static int
join_slots(struct ways_space *space, struct values *mine, const struct values *theirs,
           unsigned never)
{
    struct ways_known *all = space->known;
    uint64_t *old = space->merged, fresh = 0;
    uint32_t at = 0, other = 0, count, news, known = mine->count, changed = 0;

    mine->spilled |= theirs->spilled;
    while (at < known && other < theirs->count) { /* as nearly always, mine has theirs */
        const uint64_t *my = mine->slots + at, *their = theirs->slots + other;
        uint64_t one = my[0], two = their[0];

        if (at + 4 <= known && other + 4 <= theirs->count &&
            !((one ^ two) | (my[1] ^ their[1]) | (my[2] ^ their[2]) | (my[3] ^ their[3]))) {
            at += 4;
            other += 4;
            continue;
        }
        if (__builtin_expect(!((one ^ two) >> SLOT_LABELS), 1)) {
            uint64_t both =
                SLOT_FACT(one ^ two) ? join_slot(all, one, mine->never, two, never) : one | two;

            fresh |= both ^ one;
            mine->slots[at] = both;
            other++;
        } else if (one > two) {
            break;
        } else if (SLOT_FACT(one)) {
            fresh |= lose(all, mine, at, never);
        }
        at++;
    }
    for (uint32_t left = at; other == theirs->count && left < known; left++)
        if (SLOT_FACT(mine->slots[left]))
            fresh |= lose(all, mine, left, never);
    news = fresh != 0;
    if (other == theirs->count)
        return (int)news;
    __builtin_memcpy(old, mine->slots, known * sizeof *old);
    if (make_room(space, mine, known + theirs->count) != known + theirs->count)
        return (int)news;
    if (at)
        __builtin_memcpy(mine->slots, old, at * sizeof *old);
    for (count = at; at < known || other < theirs->count;) {
        uint64_t one = at < known ? old[at] >> SLOT_LABELS : UINT64_MAX;
        uint64_t two = other < theirs->count ? theirs->slots[other] >> SLOT_LABELS : UINT64_MAX;

        if (one == two) {
            mine->slots[count] =
                join_slot(all, old[at], mine->never, theirs->slots[other++], never);
            changed |= mine->slots[count++] != old[at++];
        } else if (one < two) {
            mine->slots[count] = join_slot(all, old[at], mine->never, 0, never);
            changed |= mine->slots[count++] != old[at++];
        } else if (known + news < MOST_SLOTS) {
            news++;
            mine->slots[count++] = join_slot(all, 0, mine->never, theirs->slots[other++], never);
        } else {
            other++;
        }
    }
    mine->count = count;
    return (news | changed) != 0;
}

/* What is known of registers and flags. */
static uint32_t
join_facts(struct ways_known *known, struct values *mine, const struct values *theirs,
           unsigned never)
{
    uint32_t news = 0;

    for (unsigned at = 0; at < 16; at++)
        if (mine->facts[at] != theirs->facts[at]) {
            uint16_t fact = ways_agree(
                known, (struct told_value){mine->facts[at], mine->labels[at], mine->never},
                (struct told_value){theirs->facts[at], theirs->labels[at], never});

            news |= fact ^ mine->facts[at];
            mine->facts[at] = fact;
        }
    if (mine->flags_known &&
        (theirs->flags_known != mine->flags_known || theirs->flags_set != mine->flags_set)) {
        mine->flags_known = 0;
        news = 1;
    }
    return news;
}

int
ways_join(struct ways_space *space, struct values *mine, const struct values *theirs,
          unsigned never)
{
    uint32_t lost = mine->pointed & ~theirs->pointed;
    uint32_t news = join_facts(space->known, mine, theirs, never);
    uint64_t fresh = 0;

    for (unsigned at = 0; at < REGISTERS; at += 4) { /* four at once */
        uint64_t known, other;

        __builtin_memcpy(&known, mine->labels + at, sizeof known);
        __builtin_memcpy(&other, theirs->labels + at, sizeof other);
        fresh |= other & ~known;
        known |= other;
        __builtin_memcpy(mine->labels + at, &known, sizeof known);
    }
    news |= fresh != 0;
    news |= (uint32_t)join_slots(space, mine, theirs, never);
    for (uint32_t left = mine->pointed & theirs->pointed; left; left &= left - 1) {
        unsigned at = (unsigned)__builtin_ctz(left);

        lost |= (uint32_t)(theirs->points[at] != mine->points[at]) << at;
    }
    for (uint32_t left = lost & mine->pointed; left; left &= left - 1) { /* it goes over a list */
        unsigned at = (unsigned)__builtin_ctz(left);
        uint64_t point = mine->points[at];

        if (point >= LOWEST && ways_kept_labels(space->known, point, NEAR))
            mine->labels[at] |= ANSWER;
    }
    mine->pointed &= ~lost;
    for (unsigned at = 0; at < 4; at++) {
        news |= (theirs->frame[at] & ~mine->frame[at]) != 0;
        mine->frame[at] |= theirs->frame[at];
    }
    news |= theirs->flags & ~mine->flags;
    mine->flags |= theirs->flags;
    mine->table = mine->table == theirs->table ? mine->table : 0;
    if (mine->never & ~never) {
        mine->never &= (uint8_t)never;
        news = 1;
    }
    return (news | lost) != 0;
}

static void
set_slot(struct values *state, uint64_t slot, uint32_t labels, uint16_t fact)
{
    uint32_t at = place_of(state->slots, state->count, slot << SLOT_LABELS);
    int known = at < state->count && state->slots[at] >> SLOT_LABELS == slot;
    uint64_t word = slot << SLOT_LABELS | (labels & ANSWERS ? (uint64_t)fact << 16 : 0) | labels;

    state->spilled |= SLOT_FACT(word) != 0;
    if (labels && known) {
        state->slots[at] = word;
    } else if (labels && state->count < state->room) {
        insert(state->slots, &state->count, at, word);
    } else if (!labels && known) {
        state->count--;
        for (; at < state->count; at++)
            state->slots[at] = state->slots[at + 1];
    }
}

/* Takes an answer for what is written to memory on the stack from a place on. */
static void
set_answers(struct values *state, uint64_t first, uint32_t labels)
{
    uint32_t start = place_of(state->slots, state->count, first << SLOT_LABELS), end = start, from;
    uint32_t fresh = NEAR / 4, to;

    for (; end < state->count && state->slots[end] >> SLOT_LABELS < first + NEAR; end++) {
        uint64_t slot = state->slots[end] >> SLOT_LABELS;

        if ((slot - first) % 4 == 0) {
            state->slots[end] = slot << SLOT_LABELS | labels;
            fresh--;
        }
    }
    if (!fresh)
        return;
    if (state->count + fresh > state->room) {
        for (unsigned at = 0; at < NEAR; at += 4)
            set_slot(state, first + at, labels, 0);
        return;
    }
    for (uint32_t at = state->count; at-- > end;)
        state->slots[at + fresh] = state->slots[at];
    from = end;
    to = end + fresh;
    for (uint64_t slot = first + NEAR; slot > first;) {
        slot -= 4;
        while (from > start && state->slots[from - 1] >> SLOT_LABELS > slot)
            state->slots[--to] = state->slots[--from];
        from -= from > start && state->slots[from - 1] >> SLOT_LABELS == slot;
        state->slots[--to] = slot << SLOT_LABELS | labels;
    }
    state->count += fresh;
}

/* The labels of a place on the stack, and of seven bytes before it. */
static uint32_t
slot_labels(const struct values *state, uint64_t slot)
{
    uint32_t labels = 0, at = place_of(state->slots, state->count, (slot - 7) << SLOT_LABELS);

    for (; at < state->count && state->slots[at] >> SLOT_LABELS <= slot; at++)
        labels |= state->slots[at] & 0xffff;
    return labels;
}

static uint32_t
labels_of(const struct values *state, unsigned number)
{
    return number < REGISTERS ? state->labels[number] : 0;
}

static void
set_register(struct values *state, unsigned number, uint32_t labels)
{
    state->labels[number] = (uint16_t)labels;
    if (number < 16) {
        state->pointed &= ~(1u << number);
        state->facts[number] = 0;
    }
}

/* --- memory --------------------------------------------------------------------------------------
 */

uint64_t
ways_slot(const struct operation *each)
{
    return SLOT(each->base, each->displacement);
}

/* Static memory, a place on the stack, or what is behind a pointer. */
enum kind { STATIC, STACK, BEHIND };

struct place {
    enum kind kind;
    uint64_t where; /* the address; the slot */
    unsigned base, index;
};

static struct place
memory_of(const struct values *state, const struct operation *each, int framed)
{
    struct place place = {BEHIND, (uint64_t)each->displacement, each->base, each->index};

    if (each->is_static || each->absolute) {
        place.kind = STATIC;
    } else if (each->base == NO_REGISTER) {
        return place;
    } else if (state->pointed >> each->base & 1) {
        place.kind = STATIC;
        place.where += state->points[each->base];
    } else if (each->base == RSP || (framed && each->base == RBP)) {
        place.kind = STACK;
        place.where = SLOT(each->base, each->displacement);
    } else if (each->index < 16 && state->pointed >> each->index & 1 && each->unscaled) {
        place.kind = STATIC;
        place.where += state->points[each->index];
    }
    return place;
}

int
ways_static(const struct ways_space *space, const struct values *state,
            const struct operation *each, uint64_t *address)
{
    struct place place = memory_of(state, each, (int)space->framed);

    *address = place.where;
    return each->has_memory && place.kind == STATIC;
}

uint64_t
ways_table(const struct ways_space *space, const struct values *state, const struct operation *each)
{
    uint64_t address;

    if (each->index >= 16 || !ways_static(space, state, each, &address))
        return 0;
    return address - (each->absolute ? 0 : (uint64_t)each->displacement);
}

/* The labels of what is read from memory. */
uint32_t
ways_read(const struct ways_space *space, const struct ways_known *known,
          const struct values *state, const struct operation *each)
{
    struct place place = memory_of(state, each, (int)space->framed);
    uint32_t labels = (labels_of(state, place.base) & ANSWERS) | labels_of(state, place.index);
    uint32_t at;

    switch (place.kind) {
    case STATIC:
        if (ways_holds(&known->foreign, place.where, place.where))
            labels |= ANSWER;
        return labels |
               ways_kept_labels(known, place.where, place.index == NO_REGISTER ? each->size : NEAR);
    case STACK:
        labels |= slot_labels(state, place.where);
        at = place_of(space->writes, space->written, place.where - 7);
        if ((at == space->written || space->writes[at] > place.where) &&
            (each->size == 1 || each->size == 4))
            labels |= HANDED;
        return labels;
    default:
        if (ways_holds(&known->fields, place.where, place.where) ||
            (space->summary.asks && space->summary.fields)) /* it may have put it there itself */
            labels |= ANSWER;
        if (place.base != NO_REGISTER && each->size)
            labels |= each->size == 1 ? FLAG : WORD;
        return labels;
    }
}

uint16_t
ways_memory(const struct ways_space *space, struct ways_known *known, const struct values *state,
            const struct operation *each)
{
    struct place place = memory_of(state, each, (int)space->framed);
    uint32_t at;

    if (place.kind == STATIC && place.index == NO_REGISTER)
        return ways_kept_fact(space, known, place.where);
    at = place_of(state->slots, state->count, place.where << SLOT_LABELS);
    if (place.kind != STACK || place.index != NO_REGISTER || at == state->count ||
        state->slots[at] >> SLOT_LABELS != place.where)
        return 0;
    return SLOT_FACT(state->slots[at]);
}

static void
write_memory(struct ways_space *space, struct values *state, const struct operation *each,
             uint32_t labels, uint16_t fact, uint32_t guarded)
{
    struct place place = memory_of(state, each, (int)space->framed);
    struct ways_summary *made = &space->summary;

    if (place.kind == STACK) {
        set_slot(state, place.where, labels, fact);
    } else if (labels & ANSWERS && place.kind == STATIC && !(place.where >> (64 - KEPT_SHIFT))) {
        struct ways_set set = {made->static_memory, made->statics, MOST_KEPT};

        ways_keep(space->known, &set,
                  KEPT_WORD(place.where,
                            ways_kept(space->known, (struct told_value){fact, labels, state->never},
                                      guarded & ANSWERS && !state->never),
                            labels));
        made->statics = set.count;
    } else if (labels & ANSWERS && place.index == NO_REGISTER) {
        struct ways_set set = {made->field, made->fields, MOST_KEPT};

        ways_add(&set, place.where);
        made->fields = set.count;
    }
}

/* --- operations ----------------------------------------------------------------------------------
 */

static int
is_memory(const struct operation *each, unsigned at)
{
    return each->where[at] == OPERAND_OFFSET ||
           (each->where[at] == OPERAND_RM && each->registers[at] == NO_REGISTER);
}

/* LEA. */
static void
take_address(struct ways_space *space, struct values *state, const struct operation *each,
             uint32_t guarded)
{
    struct place place = memory_of(state, each, (int)space->framed);
    unsigned target = each->registers[0];
    uint32_t labels = labels_of(state, place.base) | labels_of(state, place.index);

    if (target >= 16)
        return;
    set_register(state, target, guarded ? guarded : labels);
    if (labels & ANSWERS && place.kind == BEHIND)
        state->facts[target] = ways_sum(space, space->known, state, each);
    if (place.kind == STATIC && (place.index == NO_REGISTER || place.index == place.base)) {
        state->pointed |= 1u << target;
        state->points[target] = place.where;
    } else if (place.kind == STACK) {
        uint32_t taken = 0, number = 0;

        for (unsigned at = 0; at < 4; at++)
            for (uint64_t left = state->frame[at]; left; left &= left - 1)
                taken++;
        while (number < space->frames && space->frame[number] != place.where)
            number++;
        if (number == space->frames && number < sizeof space->frame / sizeof *space->frame)
            space->frame[space->frames++] = place.where;
        if (number < space->frames && taken < MOST_FRAME)
            state->frame[number / 64] |= 1ull << number % 64;
    }
}

/* The static address that an operation loads, if it is known. */
static int
loads_address(const struct ways_space *space, const struct ways_known *known,
              const struct values *state, const struct operation *each, uint64_t *point)
{
    unsigned target = each->registers[0], second = each->registers[1];
    uint64_t address;

    if (each->traits & IS_ADD && each->where[1] >= OPERAND_IMM8 && target < 16) {
        *point = state->points[target] + each->immediate;
        return state->pointed >> target & 1;
    }
    if (!(each->traits & IS_MOV))
        return 0;
    if (each->where[1] == OPERAND_IMM32 || each->where[1] == OPERAND_IMM64 ||
        each->where[1] == OPERAND_SIGNED32) {
        *point = each->immediate;
        return !known->convention->is_go; /* there it is a number */
    }
    if (second < 16) {
        *point = state->points[second];
        return state->pointed >> second & 1;
    }
    if (!is_memory(each, 1) || each->index != NO_REGISTER ||
        !ways_static(space, state, each, &address))
        return 0;
    return ways_pointer(known, address, point);
}

/* The labels of all that an operation reads. */
static uint32_t
operand_labels(const struct ways_space *space, const struct ways_known *known,
               const struct values *state, const struct operation *each)
{
    uint32_t labels = 0;

    for (unsigned at = (each->traits & IS_COPY) != 0; at < each->count; at++) {
        if (is_memory(each, at))
            labels |= ways_read(space, known, state, each);
        else
            labels |= labels_of(state, each->registers[at]);
    }
    if (labels & WORD && each->traits & IS_TEST && each->where[1] >= OPERAND_IMM8 &&
        each->where[1] <= OPERAND_SIGNED32)
        labels |= FLAG;
    if (each->traits & READS_FLAGS)
        labels |= state->flags;
    return labels;
}

/* What is known of a value that is copied and tells nothing itself. Behind a choice larger numbers
 * are kept as well, up to where addresses may begin. */
static uint16_t
copied(struct ways_known *known, const struct values *state, const struct operation *each,
       int is_guarded)
{
    enum { LARGE = 1 << 20 };
    unsigned second = each->registers[1];
    uint64_t value = each->immediate;
    struct bits bits;

    if (second < 16)
        return state->facts[second];
    if (each->where[1] == OPERAND_IMM32)
        value &= UINT32_MAX;
    else if (each->where[1] != OPERAND_SIGNED32)
        return 0;
    if (value > INT8_MAX && value < UINT32_MAX && !(is_guarded && value < LARGE))
        return 0;
    bits = answers_number(value);
    return answers_fact(known, &bits);
}

static void
exchange(struct values *state, unsigned one, unsigned other)
{
    uint32_t labels = labels_of(state, other);
    uint16_t fact = state->facts[other], second = state->facts[one];

    set_register(state, other, labels_of(state, one));
    set_register(state, one, labels);
    state->facts[one] = fact;
    state->facts[other] = second;
}

/* MUL, DIV, CDQ and the like. */
static void
set_double(struct ways_space *space, const struct ways_known *known, struct values *state,
           const struct operation *each)
{
    uint32_t labels = state->labels[RAX];

    for (unsigned at = 0; at < each->count; at++)
        labels |= is_memory(each, at) ? ways_read(space, known, state, each)
                                      : labels_of(state, each->registers[at]);
    if (each->count)
        set_register(state, RAX, labels);
    set_register(state, RDX, labels);
    state->flags_known = 0;
}

/* Whether what an operation makes on one side of a choice may tell which side that is. In Go it is
 * a constant, or has bits of one: what functions leave in the registers of results may be none. */
static int
may_tell(const struct ways_known *known, const struct operation *each)
{
    int is_constant = each->where[1] >= OPERAND_IMM8 && !(each->traits & (IS_ADD | IS_FLAGS_ONLY));

    return !known->convention->is_go || is_constant || each->traits & (IS_LEA | IS_CLEARING);
}

/* Whether more may be known of what an operation makes than labels. */
static int
is_folded(const struct ways_space *space, const struct values *state, const struct operation *each,
          uint32_t read, uint32_t guarded)
{
    unsigned target = each->registers[0];

    if (read & ANSWERS)
        return 1;
    if (each->traits & IS_COPY)
        return 0;
    if (!(guarded & ANSWERS)) /* flags that all CPUs have, in a word with others */
        return space->told & ANSWERS && target < 16 && state->facts[target] &&
               works_joins(space, each);
    return target < 16 ? state->facts[target] : is_memory(each, 0) && each->is_static;
}

void
ways_step(struct ways_space *space, struct ways_known *known, struct values *state,
          const struct operation *each, uint32_t guarded)
{
    unsigned target = each->registers[0];
    uint32_t labels = may_tell(known, each) ? guarded : 0, read;
    uint64_t point = 0, table;
    uint16_t fact = 0;
    int points;

    if (each->traits & IS_ASKING) {
        ways_ask(space, known, state, each);
        return;
    }
    if (each->traits & IS_LEA) {
        take_address(space, state, each, guarded);
        return;
    }
    if (each->traits & IS_CLEARING && each->same) {
        set_register(state, target, labels);
        if (target < 16)
            state->facts[target] = ways_number(0);
        if (each->traits & WRITES_FLAGS)
            state->flags_known = 0;
        return;
    }
    if (each->traits & IS_EXCHANGE && target < 16 && each->registers[1] < 16) {
        exchange(state, target, each->registers[1]);
        return;
    }
    if (each->traits & IS_DOUBLE && each->count < 2) {
        set_double(space, known, state, each);
        return;
    }
    read = operand_labels(space, known, state, each);
    if (is_folded(space, state, each, read, labels))
        read = ways_fold(space, known, state, each, read, &fact);
    else if (each->traits & WRITES_FLAGS)
        state->flags_known = 0;
    else if (each->traits & IS_COPY)
        fact = copied(known, state, each, (guarded & ANSWERS) != 0);
    labels |= read;
    space->told |= labels;
    if (each->traits & READS_FLAGS && state->flags & CHOICE) /* CMOV: what it takes is chosen */
        for (unsigned at = 0; at < each->count; at++)
            if (each->registers[at] < 16) {
                space->parts |= state->flags_known && state->pointed >> each->registers[at] & 1;
                state->pointed &= ~(1u << each->registers[at]);
            }
    if (each->traits &
        WRITES_FLAGS) /* that it stands behind a choice makes none of what it tests */
        state->flags = works_whole(space, each) ? read & ~(uint32_t)ARGUMENTS : read;
    if (each->traits & IS_FLAGS_ONLY)
        return;
    if (is_memory(each, 0)) {
        write_memory(space, state, each, labels, fact, guarded);
    } else if (target < REGISTERS) {
        points = loads_address(space, known, state, each, &point);
        table = ways_table(space, state, each);
        if (each->traits & IS_COPY && table)
            state->table = table;
        set_register(state, target, labels);
        if (target < 16)
            state->facts[target] = fact;
        if (points && target < 16) {
            state->pointed |= 1u << target;
            state->points[target] = point;
        }
    }
}

/* Whether a register of an argument holds an address for what is called: no small number, nor what
 * is left over of a table from which an entry was read. */
int
ways_hands(const struct values *state, unsigned number)
{
    return state->pointed >> number & 1 && state->points[number] >= LOWEST &&
           state->points[number] != state->table;
}

/* What is called may write to the places whose addresses were taken. */
static void
forget(const struct ways_space *space, struct values *state)
{
    for (unsigned word = 0; state->spilled && word < 4; word++)
        for (uint64_t left = state->frame[word]; left; left &= left - 1) {
            uint64_t low = space->frame[word * 64 + (unsigned)__builtin_ctzll(left)];
            uint32_t at = place_of(state->slots, state->count, low << SLOT_LABELS);

            for (; at < state->count && state->slots[at] >> SLOT_LABELS < low + NEAR; at++)
                state->slots[at] &= ~(0x7fffull << 16);
        }
}

uint32_t
ways_call(struct ways_space *space, struct ways_known *known, struct values *state, uint32_t answer)
{
    const struct ways_convention *convention = known->convention;
    uint32_t steps = 0, answers = answer & ANSWERS, on_stack = answer & LEAVES_ANSWERS;

    for (unsigned at = 0; at < convention->number; at++) {
        unsigned number = convention->arguments[at];
        uint64_t point = state->points[number];

        space->tells |= state->facts[number] && state->labels[number] & ANSWERS;
        if (ways_hands(state, number) &&
            (ways_answers(known, point) || ways_holds(&known->fillers, point, point))) {
            answers |= ANSWER;
            space->tells = 1;
        }
    }
    if (space->reads)
        answers |= ANSWER;
    forget(space, state);
    for (unsigned at = 0; answers && (on_stack || !convention->is_go) && at < convention->number;
         at++)
        if (ways_hands(state, convention->arguments[at]))
            ways_fill(known, state->points[convention->arguments[at]]);
    for (unsigned word = 0; answers && word < 4; word++)
        for (uint64_t left = state->frame[word]; left; left &= left - 1, steps++)
            set_answers(state, space->frame[word * 64 + (unsigned)__builtin_ctzll(left)], answers);
    for (unsigned at = 0; at < 16; at++) {
        uint16_t mask = (uint16_t)(0u - (convention->kept >> at & 1u));

        state->labels[at] &= mask;
        state->facts[at] &= mask;
    }
    __builtin_memset(state->labels + 16, 0, sizeof state->labels - 16 * sizeof *state->labels);
    state->pointed &= convention->kept;
    state->flags = 0;
    state->table = 0;
    state->flags_known = 0;
    space->told |= answers;
    for (uint32_t left = convention->results; left; left &= left - 1)
        state->labels[__builtin_ctz(left)] = (uint16_t)answers;
    for (unsigned at = 0; on_stack && at < NEAR; at += 4)
        set_slot(state, SLOT(RSP, at), ANSWER, 0);
    if (answers == (answer & ANSWERS))
        state->facts[RAX] = (uint16_t)(answer >> 16);
    if (state->facts[RAX] & FACT_BITS)
        ways_point(known, state, RAX);
    return steps;
}

/* What is known at a place: on the stack and in registers, and how what two ways know is joined. */
#include "slots.h"
#include "answers.h"
#include "sets.h"

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

int
slots_join(struct ways_space *space, struct values *mine, const struct values *theirs,
           unsigned never)
{
    struct ways_known *all = space->known;
    uint64_t *old = space->merged, fresh = 0;
    uint32_t at = 0, other = 0, count, news, known = mine->count, changed = 0;

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

void
slots_set(struct values *state, uint64_t slot, uint32_t labels, uint16_t fact, unsigned size)
{
    static const uint16_t sizes[] = {SLOT_BYTES, 0, SLOT_TWO, SLOT_FOUR, SLOT_FOUR};
    uint32_t at = place_of(state->slots, state->count, slot << SLOT_LABELS);
    int known = at < state->count && state->slots[at] >> SLOT_LABELS == slot;
    uint64_t word = slot << SLOT_LABELS |
                    (labels & (ANSWERS | ARGUMENTS) ? (uint64_t)fact << 16 : 0) | labels |
                    sizes[size < 5 ? size : 0];

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

void
slots_fill(struct values *state, uint64_t first, uint32_t labels)
{
    uint32_t start = place_of(state->slots, state->count, first << SLOT_LABELS), end = start, from;
    uint32_t fresh = NEAR / 4, to;

    for (; end < state->count && state->slots[end] >> SLOT_LABELS < first + NEAR; end++) {
        uint64_t slot = state->slots[end] >> SLOT_LABELS;

        if ((slot - first) % 4 == 0) {
            state->slots[end] = slot << SLOT_LABELS | labels | SLOT_FOUR;
            fresh--;
        }
    }
    if (!fresh)
        return;
    if (state->count + fresh > state->room) {
        for (unsigned at = 0; at < NEAR; at += 4)
            slots_set(state, first + at, labels, 0, 4);
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
        state->slots[--to] = slot << SLOT_LABELS | labels | SLOT_FOUR;
    }
    state->count += fresh;
}

uint32_t
slots_labels(const struct values *state, uint64_t slot, uint64_t last)
{
    uint32_t labels = 0, at = place_of(state->slots, state->count, (slot - 7) << SLOT_LABELS);

    for (; at < state->count && state->slots[at] >> SLOT_LABELS <= last; at++)
        if ((state->slots[at] >> SLOT_LABELS) + SLOT_SIZE(state->slots[at]) > slot)
            labels |= state->slots[at] & 0xffff & ~(unsigned)SLOT_BYTES;
    return labels;
}

/* --- registers
 * ------------------------------------------------------------------------------------
 */

void
ways_enter(struct values *state, const struct ways_convention *convention)
{
    __builtin_memset(state->labels, 0, sizeof state->labels);
    __builtin_memset(state->facts, 0, sizeof state->facts);
    __builtin_memset(state->frame, 0, sizeof state->frame);
    for (unsigned at = 0; at < convention->number; at++)
        state->labels[convention->arguments[at]] = (uint16_t)(ARGUMENT << at);
    state->pointed = state->stacked = state->flags = state->count = 0;
    state->flags_known = state->flags_set = 0;
    state->never = 0;
    state->table = 0;
    state->reached = 1;
}

/* What is known of registers and flags; of labels that others bring those are left that are told.
 */
static uint32_t
join_facts(struct ways_known *known, struct values *mine, const struct values *theirs,
           unsigned never, uint16_t *brought)
{
    uint32_t news = 0;

    for (unsigned at = 0; at < 16; at++) {
        struct told_value one = {mine->facts[at], mine->labels[at], mine->never};
        struct told_value other = {theirs->facts[at], theirs->labels[at], never};
        uint32_t labels;

        if (one.fact != other.fact) {
            mine->facts[at] = ways_agree(known, one, other);
            news |= one.fact ^ mine->facts[at];
        }
        labels = ways_parted(known, mine->facts[at], one, other);
        if (labels != (one.labels | other.labels)) {
            news |= labels ^ one.labels;
            mine->labels[at] = brought[at] = (uint16_t)labels;
        }
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
    uint32_t lost = mine->pointed & ~theirs->pointed, moved = mine->stacked & ~theirs->stacked;
    uint16_t brought[REGISTERS];
    uint64_t fresh = 0;
    uint32_t news;

    __builtin_memcpy(brought, theirs->labels, sizeof brought);
    news = join_facts(space->known, mine, theirs, never, brought);

    for (unsigned at = 0; at < REGISTERS; at += 4) { /* four at once */
        uint64_t known, other;

        __builtin_memcpy(&known, mine->labels + at, sizeof known);
        __builtin_memcpy(&other, brought + at, sizeof other);
        fresh |= other & ~known;
        known |= other;
        __builtin_memcpy(mine->labels + at, &known, sizeof known);
    }
    news |= fresh != 0;
    news |= (uint32_t)slots_join(space, mine, theirs, never);
    for (uint32_t left = mine->pointed & theirs->pointed; left; left &= left - 1) {
        unsigned at = (unsigned)__builtin_ctz(left);

        lost |= (uint32_t)(theirs->points[at] != mine->points[at]) << at;
    }
    for (uint32_t left = mine->stacked & theirs->stacked; left; left &= left - 1) {
        unsigned at = (unsigned)__builtin_ctz(left);

        moved |= (uint32_t)(theirs->points[at] != mine->points[at]) << at;
    }
    mine->stacked &= ~moved;
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
    return (news | lost | moved) != 0;
}

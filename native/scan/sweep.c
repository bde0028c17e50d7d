/* Bytes of which nothing is known: see scan.h.
 *
 * They are decoded straight on from their first byte. As each load waits for the one before, six
 * lanes do so at the same time, of which all but the first begin at a guess: after some
 * instructions a lane is where the one before it would have come to, as a rule; what stands before
 * that place is decoded again. So the answer is the same as with one lane. */
#include "work.h"

enum { MOST_WAITING = SWEEP_RUN + 2 * SWEEP_MARGIN };

/* A sweep at work. Instructions have numbers. */
struct sweep {
    struct work *w;
    uint64_t address, since, low; /* of the first byte; the offset of the last odd one; the number
                                   * of the first that is not next to that */
    /* The hits that wait: whether they are believed depends on what follows. */
    struct {
        uint64_t number, address;
        unsigned kind;
    } waiting[MOST_WAITING];
    unsigned first, count;
};

static void
believe_waiting(struct sweep *s, uint64_t below)
{
    while (s->count && s->waiting[s->first].number < below) {
        count_hit(s->w, s->waiting[s->first].kind, s->waiting[s->first].address);
        s->first = (s->first + 1) % MOST_WAITING;
        s->count--;
    }
}

/* Takes note of an instruction that has been noted, in their order. */
static void
meet(struct sweep *s, uint64_t number, uint64_t offset, uint32_t leaf)
{
    struct scan_tally *tally = s->w->tally;
    unsigned kind = LEAF_CLASS(leaf), flags = scan_classes[kind].flags;
    int is_run = number >= s->low + SWEEP_RUN + SWEEP_MARGIN;

    if (is_run)
        believe_waiting(s, number - SWEEP_MARGIN);
    if (flags & (CLASS_RARE | CLASS_DATA | CLASS_INVALID)) {
        if (is_run)
            tally->swept += offset - s->since;
        else
            tally->unknown += offset - s->since;
        tally->discarded += s->count;
        s->count = 0;
        s->since = offset;
        s->low = number + SWEEP_MARGIN;
    } else if (!(flags & CLASS_QUIET)) {
        if (number >= s->low) {
            unsigned free = (s->first + s->count++) % MOST_WAITING;

            s->waiting[free].number = number;
            s->waiting[free].address = s->address + offset;
            s->waiting[free].kind = kind;
        } else {
            tally->discarded++;
        }
    }
}

/* Bytes that are decoded at the same time as others, and what was noted of them. */
struct lane {
    const uint8_t *at, *limit;
    struct scan_swept *free;
    uint32_t count;
};

/* Decodes one instruction of a lane, without a branch: at its limit a lane stays where it is. */
static inline __attribute__((always_inline)) uint32_t
advance(struct lane *lane, uint32_t number)
{
    uint32_t leaf = decode(lane->at), going = lane->at < lane->limit;

    *lane->free = (struct scan_swept){(uint32_t)(uintptr_t)lane->at, leaf, number};
    lane->free += (leaf & LEAF_NOTED) != 0 && going;
    lane->count += going;
    lane->at += leaf & LEAF_LENGTH & (0u - going);
    return going;
}

/* Sweeps SWEEP_BYTES and what of the last instruction is behind; returns how many bytes. `number`
 * is that of the first instruction, and becomes that of the next one. */
static uint64_t
sweep_lanes(struct sweep *s, const uint8_t *start, uint64_t offset, uint64_t *number)
{
    struct scan_swept(*swept)[SWEEP_LANE + 1] = s->w->space->swept;
    const uint8_t *at = start + offset;
    struct lane lanes[STREAMS];
    uint32_t step = 0, going;

#define BEGIN(of)                                                                                  \
    lanes[of] = (struct lane){at + of * SWEEP_LANE, at + (of + 1) * SWEEP_LANE, swept[of], 0};
#define ADVANCE(of) going |= advance(&lanes[of], step);
    EACH_STREAM(BEGIN)
    do {
        going = 0;
        EACH_STREAM(ADVANCE)
        step++;
    } while (going);
    for (unsigned of = 0; of < STREAMS; of++) {
        const uint8_t *limit = lanes[of].limit, *guess = limit - SWEEP_LANE;
        uint32_t before = 0;

        while (at != guess && at < limit)
            if (at < guess) {
                uint32_t leaf = decode(at);

                if (leaf & LEAF_NOTED)
                    meet(s, *number, (uint64_t)(at - start), leaf);
                ++*number;
                at += leaf & LEAF_LENGTH;
            } else {
                guess += decode(guess) & LEAF_LENGTH;
                before++;
            }
        if (at != guess)
            continue;
        for (const struct scan_swept *each = swept[of]; each < lanes[of].free; each++)
            if (each->number >= before)
                meet(s, *number + each->number - before,
                     (uint64_t)(at - start) + (each->at - (uint32_t)(uintptr_t)at), each->leaf);
        *number += lanes[of].count - before;
        at = lanes[of].at;
    }
    return (uint64_t)(at - start) - offset;
}

void
scan_sweep(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    const uint8_t *start = w->code + (range->start - w->address), *end = w->code + w->size;
    struct sweep s = {.w = w, .address = range->start};
    uint64_t size = range->end - range->start, offset = 0, at = 0;

    w->tally->steps += size / 4;
    while (offset < size)
        if (size - offset >= STREAMS * SWEEP_LANE + 2 * READ_AHEAD) {
            offset += sweep_lanes(&s, start, offset, &at);
        } else {
            uint32_t leaf = next_leaf(start + offset, end, size - offset);

            if (leaf & LEAF_NOTED)
                meet(&s, at, offset, leaf);
            at++;
            offset += leaf & LEAF_LENGTH;
        }
    believe_waiting(&s, at);
    w->tally->swept += size - s.since;
    scan_end_function(w, number);
}

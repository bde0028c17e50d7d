/* Which hits of a function are believed: see scan.h. */
#include "work.h"

enum { NO_INSTRUCTION = 0 }; /* the class of what is none */

/* Where a near branch goes, seen from the start of its function; `next` is the offset behind it. */
static int64_t
target_of(const struct body *body, uint32_t leaf, uint32_t next)
{
    const uint8_t *behind = body->code + next;
    int8_t near;
    int16_t far;
    int32_t farther;

    switch (LEAF_DISTANCE(leaf)) {
    case 1:
        __builtin_memcpy(&near, behind - 1, 1);
        return (int64_t)next + near;
    case 2:
        __builtin_memcpy(&far, behind - 2, 2);
        return (int64_t)next + far;
    default:
        __builtin_memcpy(&farther, behind - 4, 4);
        return (int64_t)next + farther;
    }
}

/* Marks in `targets` where the near branches of a function go. */
static void
mark_targets(uint64_t *targets, const struct body *body, const struct noted *noted)
{
    __builtin_memset(targets, 0, (body->size / 64 + 1) * sizeof *targets);
    for (uint32_t at = 0; at < noted->count; at++) {
        const struct scan_event *event = &noted->events[at];

        if (LEAF_DISTANCE(event->leaf)) {
            uint32_t next = offset_of(body, event) + (event->leaf & LEAF_LENGTH);
            int64_t target = target_of(body, event->leaf, next);

            if (target >= 0 && target < body->size)
                targets[target / 64] |= 1ull << target % 64;
        }
    }
}

/* Whether each hit follows the start or a branch's target, with nothing between that ends. */
static int
live(struct work *w, const struct body *body, const struct noted *noted)
{
    uint64_t *targets = w->space->targets;
    uint32_t low = 0, last = noted->order[noted->hits - 1];
    int asked = 1, marked = 0; /* what follows the start is live */

    /* Between two ends what follows a live hit is live. */
    for (uint32_t at = 0; at <= last; at++) {
        uint32_t leaf = noted->events[at].leaf, offset = offset_of(body, &noted->events[at]);

        if (leaf & LEAF_LOUD && !asked) {
            if (!marked)
                mark_targets(targets, body, noted);
            marked = asked = 1;
            while (low <= offset && !(targets[low / 64] >> low % 64 & 1))
                low++;
            if (low > offset)
                return 0;
        }
        if (scan_classes[LEAF_CLASS(leaf)].flags & CLASS_END) {
            low = offset + (leaf & LEAF_LENGTH);
            asked = 0;
        }
    }
    return 1;
}

/* What control flow was seen to reach of a function: the length of each instruction, the class of
 * each hit; and the offsets of hits in the order in which they were found. */
struct reached {
    uint8_t *lengths, *kinds;
    uint32_t *order, found;
};

/* Follows one way from an offset to its end; returns whether that is an indirect jump. */
static int
follow(struct work *w, const struct body *body, uint32_t offset, struct reached *r,
       uint32_t *pending)
{
    uint32_t run = r->found;

    while (offset < body->size && !r->lengths[offset]) {
        uint32_t leaf = leaf_at(body, offset);
        unsigned length = leaf & LEAF_LENGTH;
        unsigned kind = LEAF_CLASS(leaf), flags = scan_classes[kind].flags;

        if (flags & CLASS_INVALID) {
            /* What leads here is no code: it follows a call that does not return, say. */
            for (; run < r->found; run++)
                if (scan_classes[r->kinds[r->order[run]]].flags & CLASS_RARE)
                    r->kinds[r->order[run]] = NO_INSTRUCTION;
            return 0;
        }
        r->lengths[offset] = (uint8_t)length;
        if (!(flags & CLASS_QUIET)) {
            r->kinds[offset] = (uint8_t)kind;
            r->order[r->found++] = offset;
        }
        offset += length;
        if (flags & CLASS_NEAR) {
            int64_t target = target_of(body, leaf, offset);

            if (target >= 0 && target < body->size && !r->lengths[target])
                w->space->pending[(*pending)++] = (uint32_t)target;
        }
        if (flags & CLASS_END)
            return scan_classes[kind].flow == FLOW_INDIRECT_JMP;
    }
    return 0;
}

/* Takes the hits in bytes that flow did not reach; none if anything there is odd. */
static void
take_unseen(const struct body *body, uint32_t low, uint32_t high, struct reached *r)
{
    struct body part = {body->code, high, body->readable};
    uint32_t run = r->found;
    uint32_t leaf;

    for (uint32_t offset = low; offset < high; offset += leaf & LEAF_LENGTH) {
        unsigned kind, flags;

        leaf = leaf_at(&part, offset);
        kind = LEAF_CLASS(leaf);
        flags = scan_classes[kind].flags;

        if (flags & (CLASS_RARE | CLASS_DATA | CLASS_INVALID)) {
            while (r->found > run)
                r->kinds[r->order[--r->found]] = NO_INSTRUCTION;
            return;
        }
        if (!(flags & CLASS_QUIET)) {
            r->kinds[offset] = (uint8_t)kind;
            r->order[r->found++] = offset;
        }
    }
}

/* Counts the hits that control flow from the start reaches, and those that may be reached unseen;
 * returns how many. */
static uint32_t
walk(struct work *w, const struct body *body, uint64_t address, int unseen)
{
    struct reached r = {w->space->lengths, w->space->kinds, w->space->order, 0};
    uint32_t pending = 1, count = 0, low = 0;

    w->tally->steps += body->size;
    __builtin_memset(r.lengths, 0, body->size);
    __builtin_memset(r.kinds, NO_INSTRUCTION, body->size);
    w->space->pending[0] = 0;
    while (pending)
        unseen |= follow(w, body, w->space->pending[--pending], &r, &pending);
    for (uint32_t at = 0; unseen && at <= body->size; at++) {
        if (at < body->size && !r.lengths[at])
            continue;
        if (low < at)
            take_unseen(body, low, at, &r);
        if (at < body->size && at + r.lengths[at] > low)
            low = at + r.lengths[at];
    }
    for (uint32_t at = 0; at < body->size; at++)
        if (r.kinds[at] != NO_INSTRUCTION) {
            count_hit(w, r.kinds[at], address + at);
            count++;
        }
    return count;
}

enum doubt {
    SURE,   /* nothing is odd, and there are many hits of each set of features */
    UNSURE, /* there are few of one: are they live? */
    ODD,
};

/* Of the sum over a function. */
static enum doubt
doubt_of(struct work *w)
{
    uint32_t groups[256] = {0};
    enum doubt doubt = SURE;

    for (unsigned at = 0; at < w->kinds; at++) {
        unsigned kind = w->met[at];

        if (scan_classes[kind].flags & (CLASS_RARE | CLASS_INVALID))
            return ODD;
        groups[scan_classes[kind].group] += w->hits[kind];
    }
    for (unsigned at = 0; at < w->kinds; at++)
        if (groups[scan_classes[w->met[at]].group] <= FEW)
            doubt = UNSURE;
    return doubt;
}

/* Empties the sum over a function; returns how many instructions were in it. */
static uint32_t
forget(struct work *w)
{
    uint32_t sum = 0;

    for (; w->kinds; w->kinds--) {
        unsigned kind = w->met[w->kinds - 1];

        sum += kind != NO_INSTRUCTION ? w->hits[kind] : 0;
        w->hits[kind] = 0;
    }
    return sum;
}

/* Gathers the features of a page, of hits that were just added; returns whether there are any. */
static uint32_t
mark_page(const struct work *w, uint64_t page, struct scan_mark *mark)
{
    *mark = (struct scan_mark){page, {0, 0}};
    for (unsigned at = 0; at < w->kinds; at++)
        if (w->last[w->met[at]] >> 12 == page) {
            mark->known[0] |= scan_classes[w->met[at]].known[0];
            mark->known[1] |= scan_classes[w->met[at]].known[1];
        }
    return (mark->known[0] | mark->known[1]) != 0;
}

/* Sums the hits of a function up; returns how many of its pages are in `marks`. */
static uint32_t
add_hits(struct work *w, const struct body *body, uint64_t start, const struct noted *noted)
{
    struct scan_mark *marks = w->space->marks;
    uint64_t page = start >> 12;
    uint32_t pages = 0;

    for (uint32_t at = 0; at < noted->hits; at++) {
        const struct scan_event *event = &noted->events[noted->order[at]];
        uint64_t address = start + offset_of(body, event);

        if (address >> 12 != page) {
            pages += mark_page(w, page, &marks[pages]);
            page = address >> 12;
        }
        add_instruction(w, LEAF_CLASS(event->leaf), address);
    }
    return pages + mark_page(w, page, &marks[pages]);
}

void
scan_settle(struct work *w, uint32_t number, const struct noted *noted)
{
    const struct scan_range *range = &w->ranges[number];
    struct body body = body_of(w, number);
    uint32_t pages = add_hits(w, &body, range->start, noted);
    enum doubt doubt = doubt_of(w);

    if (doubt == SURE || (doubt == UNSURE && live(w, &body, noted))) {
        for (uint32_t at = 0; at < pages; at++)
            scan_mark(w, &w->space->marks[at]);
    } else {
        uint32_t sound = forget(w), left = walk(w, &body, range->start, range->lsda != 0);

        w->tally->discarded += sound > left ? sound - left : 0;
    }
    scan_end_function(w, number);
}

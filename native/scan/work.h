/* What the parts of a scan share. scan.c goes over functions, believe.c finds out which of their
 * hits are believed; sweep.c does both with other bytes; count.c counts what is believed. */
#ifndef CPUPROBE_WORK_H
#define CPUPROBE_WORK_H

#include "scan.h"

#define EACH_STREAM(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

/* A scan at work, and the sum over the function that it counts. */
struct work {
    const uint8_t *code;
    uint64_t size, address;
    const struct scan_range *ranges;
    uint32_t next, count;
    struct scan_tally *tally;
    const struct scan_output *output;
    struct scan_space *space;
    /* by class: how many hits, the first and the last one's address */
    uint32_t hits[256];
    uint64_t first[256], last[256];
    uint8_t met[256];
    unsigned kinds;
};

/* The bytes of a function, and how far may be read behind its end. */
struct body {
    const uint8_t *code;
    uint32_t size;
    uint64_t readable; /* from `code` on */
};

/* Where an event is in its function. */
static inline uint32_t
offset_of(const struct body *body, const struct scan_event *event)
{
    return event->at - (uint32_t)(uintptr_t)body->code;
}

static inline struct body
body_of(const struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    uint64_t offset = range->start - w->address;

    return (struct body){w->code + offset, (uint32_t)(range->end - range->start), w->size - offset};
}

/* No instruction: what is left of one that the end cuts off. */
static inline uint32_t
cut_off(unsigned length)
{
    return LEAF_LOUD | LEAF_NOTED | length;
}

/* The leaf at an offset of a function. */
static inline uint32_t
leaf_at(const struct body *body, uint32_t offset)
{
    uint32_t left = body->size - offset, leaf;

    if (__builtin_expect(body->readable - offset < READ_AHEAD, 0))
        return scan_decode_last(body->code + offset, left);
    leaf = decode(body->code + offset);
    return __builtin_expect((leaf & LEAF_LENGTH) > left, 0) ? cut_off(left) : leaf;
}

/* The leaf at `at`, of bytes that can be read as far as `end` and of which so many are left. */
static inline uint32_t
next_leaf(const uint8_t *at, const uint8_t *end, uint64_t left)
{
    uint32_t leaf = end - at < READ_AHEAD ? scan_decode_last(at, left) : decode(at);

    return (leaf & LEAF_LENGTH) > left ? cut_off((unsigned)left) : leaf;
}

/* Adds a hit to the sum over its function. */
static inline void
add_instruction(struct work *w, unsigned kind, uint64_t address)
{
    if (!w->hits[kind]++) {
        w->met[w->kinds++] = (uint8_t)kind;
        w->first[kind] = address;
    }
    w->last[kind] = address;
}

/* Marks a page with features. */
static inline void
scan_mark(struct work *w, const struct scan_mark *mark)
{
    uint64_t *known = w->output->pages[mark->page - (w->address >> 12)];

    known[0] |= mark->known[0];
    known[1] |= mark->known[1];
}

/* Counts a believed hit, in the order of addresses. */
static inline void
count_hit(struct work *w, unsigned kind, uint64_t address)
{
    const struct instruction_class *class = &scan_classes[kind];
    struct scan_mark mark = {address >> 12, {class->known[0], class->known[1]}};

    add_instruction(w, kind, address);
    scan_mark(w, &mark);
}

/* Ends a function: its hits, if there are any, become uses of features. */
void scan_end_function(struct work *w, uint32_t number);

/* What was noted of a function: all of it, and which of that are hits, in their order. */
struct noted {
    const struct scan_event *events;
    uint32_t count;
    const uint32_t *order;
    uint32_t hits;
};

/* Counts what is believed of bytes of no known function. */
void scan_sweep(struct work *w, uint32_t number);

/* Counts of a function those hits that are believed. */
void scan_settle(struct work *w, uint32_t number, const struct noted *noted);

/* The same of what was noted, if there are hits. */
static inline void
settle_noted(struct work *w, uint32_t number, const struct scan_event *events, uint32_t count)
{
    uint32_t *order = w->space->order; /* a walk needs it, but not what is noted */
    uint32_t hits = 0;

    for (uint32_t at = 0; at < count; at++) {
        order[hits] = at;
        hits += (events[at].leaf & LEAF_LOUD) != 0;
    }
    if (hits)
        scan_settle(w, number, &(struct noted){events, count, order, hits});
}

#endif

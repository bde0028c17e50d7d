/* What the parts of a scan share. scan.c goes over the bytes, believe.c finds out which hits of a
 * function are believed, count.c counts these. */
#ifndef CPUPROBE_WORK_H
#define CPUPROBE_WORK_H

#include "scan.h"

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
    uint64_t page;
    scan_mask on_page;
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

/* Adds an instruction to the sum over its function; for the pages see scan_mark. */
static inline void
add_instruction(struct work *w, unsigned kind, uint64_t address)
{
    if (!w->hits[kind]++) {
        w->met[w->kinds++] = (uint8_t)kind;
        w->first[kind] = address;
    }
    w->last[kind] = address;
}

/* Marks the page of an address with the features of a class; in the order of addresses. */
void scan_mark(struct work *w, unsigned kind, uint64_t address);

/* Counts a believed hit, in the order of addresses. */
static inline void
count_hit(struct work *w, unsigned kind, uint64_t address)
{
    add_instruction(w, kind, address);
    scan_mark(w, kind, address);
}

/* Ends a function: its hits, if there are any, become uses of features. */
void scan_end_function(struct work *w, uint32_t number);

/* Counts of a function those hits that are believed; of what was noted all is in `events`. */
void scan_settle(struct work *w, uint32_t number, const struct scan_event *events, uint32_t count);

#endif

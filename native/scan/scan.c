#include "work.h"

/* --- what has no place among others ------------------------------------------------------------
 */

/* A function too large for a walk: nothing odd is believed there. */
static void
count_long(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    const uint8_t *start = w->code + (range->start - w->address), *end = w->code + w->size;
    uint64_t size = range->end - range->start;
    uint32_t leaf;

    w->tally->steps += size / 4;
    for (uint64_t offset = 0; offset < size; offset += leaf & LEAF_LENGTH) {
        unsigned kind, flags;

        leaf = next_leaf(start + offset, end, size - offset);
        kind = LEAF_CLASS(leaf);
        flags = scan_classes[kind].flags;
        if (flags & (CLASS_QUIET | CLASS_INVALID))
            continue;
        if (flags & CLASS_RARE)
            w->tally->discarded++;
        else
            count_hit(w, kind, range->start + offset);
    }
    scan_end_function(w, number);
}

/* A function that cannot be decoded with others: it ends where the code does. */
static void
count_last(struct work *w, uint32_t number, struct scan_event *events)
{
    struct body body = body_of(w, number);
    uint32_t count = 0, leaf;

    for (uint32_t at = 0; at < body.size; at += leaf & LEAF_LENGTH) {
        leaf = leaf_at(&body, at);
        events[count] = (struct scan_event){(uint32_t)(uintptr_t)(body.code + at), leaf};
        count += (leaf & LEAF_NOTED) != 0;
    }
    settle_noted(w, number, events, count);
}

/* --- functions, six at a time ------------------------------------------------------------------
 */

/* What of a function each step needs, to be kept in registers. */
struct view {
    const uint8_t *at, *limit;
    struct scan_event *free;
};

/* One of the functions that are decoded at the same time, and what was noted of it. */
struct stream {
    struct view view;
    struct scan_event *events;
    uint32_t number;
};

/* Whether a range lies inside of the code. */
static int
holds(const struct work *w, const struct scan_range *range)
{
    return range->source < SOURCES && range->start >= w->address && range->start < range->end &&
           range->end - w->address <= w->size;
}

/* Gives a stream the next function; what is none is done on the way. Returns whether there is one.
 */
static int
turn_to_next(struct work *w, struct stream *s)
{
    while (w->next < w->count) {
        uint32_t number = w->next++;
        const struct scan_range *range = &w->ranges[number];

        if (!holds(w, range))
            continue;
        if (range->source == NO_FUNCTION) {
            scan_sweep(w, number);
        } else if (range->end - range->start > WALK_LIMIT) {
            count_long(w, number);
        } else if (range->end - w->address + READ_AHEAD > w->size) {
            count_last(w, number, s->events);
        } else {
            s->number = number;
            s->view = (struct view){w->code + (range->start - w->address),
                                    w->code + (range->end - w->address), s->events};
            w->tally->steps += (range->end - range->start) / 4;
            return 1;
        }
    }
    return 0;
}

/* Ends the function of a stream, whose last leaf is given; returns whether there is another one. */
static __attribute__((noinline)) int
turn(struct work *w, struct stream *s, uint32_t leaf)
{
    struct view *v = &s->view;

    if (v->at > v->limit) {
        const uint8_t *last = v->at - (leaf & LEAF_LENGTH);

        v->free -= (leaf & LEAF_NOTED) != 0;
        *v->free++ =
            (struct scan_event){(uint32_t)(uintptr_t)last, cut_off((unsigned)(v->limit - last))};
    }
    settle_noted(w, s->number, s->events, (uint32_t)(v->free - s->events));
    return turn_to_next(w, s);
}

/* Decodes one instruction of a stream; returns whether the stream goes on. */
static inline __attribute__((always_inline)) int
step(struct work *w, struct stream *s, struct view *v)
{
    uint32_t leaf = decode(v->at);

    *v->free = (struct scan_event){(uint32_t)(uintptr_t)v->at, leaf};
    v->free += (leaf & LEAF_NOTED) != 0;
    v->at += leaf & LEAF_LENGTH;
    if (__builtin_expect(v->at >= v->limit, 0)) {
        s->view = *v;
        if (!turn(w, s, leaf))
            return 0;
        *v = s->view;
    }
    return 1;
}

/* The rest of a stream alone. */
static void
finish(struct work *w, struct stream *s)
{
    struct view view = s->view;

    while (step(w, s, &view))
        ;
}

void
cpuprobe_scan(const uint8_t *code, uint64_t size, uint64_t address, const struct scan_range *ranges,
              uint32_t count, struct scan_tally *tally, const struct scan_output *output,
              struct scan_space *space)
{
    struct work w = {.code = code, .size = size, .address = address};
    struct stream streams[STREAMS];
    struct view views[STREAMS];
    unsigned begun = 0, ended = STREAMS;

    w.ranges = ranges;
    w.count = count;
    w.tally = tally;
    w.output = output;
    w.space = space;
    for (unsigned at = 0; at < STREAMS; at++)
        streams[at].events = space->events[at];
    while (begun < STREAMS && turn_to_next(&w, &streams[begun]))
        begun++;
#define BEGIN(at) views[at] = streams[at].view;
#define STEP(at)                                                                                   \
    if (!step(&w, &streams[at], &views[at])) {                                                     \
        ended = at;                                                                                \
        break;                                                                                     \
    }
#define LEAVE(at) streams[at].view = views[at];
    if (begun == STREAMS) {
        EACH_STREAM(BEGIN)
        for (;;) {
            EACH_STREAM(STEP)
        }
        EACH_STREAM(LEAVE)
    }
    for (unsigned at = 0; at < begun; at++)
        if (at != ended)
            finish(&w, &streams[at]);
}

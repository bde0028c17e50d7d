#include "scan.h"

/* A hit as a number: where it is in its function, and its class. */
#define HIT(offset, kind) ((uint32_t)(offset) | (uint32_t)(kind) << 24)
#define HIT_OFFSET(hit) ((hit)&0xffffff)
#define HIT_CLASS(hit) ((hit) >> 24)
enum { NO_INSTRUCTION = 0 }; /* the class of what is none */

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

/* --- counting ----------------------------------------------------------------------------------
 */

static void
end_page(struct work *w)
{
    uint64_t *known = w->output->pages[w->page - (w->address >> 12)];

    known[0] |= w->on_page[0];
    known[1] |= w->on_page[1];
    w->on_page[0] = w->on_page[1] = 0;
}

/* Counts a believed hit, in the order of addresses. */
static inline void
count_hit(struct work *w, unsigned kind, uint64_t address)
{
    const struct instruction_class *class = &scan_classes[kind];

    if (!w->hits[kind]++) {
        w->met[w->kinds++] = (uint8_t)kind;
        w->first[kind] = address;
    }
    w->last[kind] = address;
    if (address >> 12 != w->page) {
        end_page(w);
        w->page = address >> 12;
    }
    w->on_page[0] |= class->known[0];
    w->on_page[1] |= class->known[1];
}

static void
keep_place(struct scan_use *use, uint64_t address, uint32_t count, uint32_t range)
{
    unsigned at = use->places;

    if (at == MOST_PLACES && address >= use->place[--at].address)
        return;
    for (; at && use->place[at - 1].address > address; at--)
        use->place[at] = use->place[at - 1];
    use->place[at] = (struct scan_place){address, count, range};
    use->places += use->places < MOST_PLACES;
}

/* Lists a function that holds a sought feature, a row for each feature. */
static void
list_function(struct work *w, uint32_t range, const uint8_t *features, unsigned found,
              const uint32_t *counts)
{
    const scan_mask *sought = &w->output->sought;
    uint64_t first = UINT64_MAX, last = 0;

    for (unsigned at = 0; at < w->kinds; at++) {
        unsigned kind = w->met[at];
        const scan_mask *known = &scan_classes[kind].known;

        if (((*known)[0] & (*sought)[0]) | ((*known)[1] & (*sought)[1])) {
            first = w->first[kind] < first ? w->first[kind] : first;
            last = w->last[kind] > last ? w->last[kind] : last;
        }
    }
    for (unsigned at = 0; at < found; at++) {
        unsigned feature = features[at];

        if (feature < scan_known_features && (*sought)[feature / 64] >> feature % 64 & 1)
            w->output->listed[w->tally->listed++] =
                (struct scan_listed){first, last, w->tally->base + range, feature, counts[feature]};
    }
}

/* Sums a function's hits up by feature; returns how many features there are. */
static unsigned
sum_features(struct work *w, uint8_t *features, uint32_t *counts, uint64_t *first)
{
    uint64_t seen[MOST_FEATURES / 64 + 1] = {0};
    unsigned found = 0;

    for (unsigned at = 0; at < w->kinds; at++) {
        unsigned kind = w->met[at];
        const struct instruction_class *class = &scan_classes[kind];

        for (unsigned each = 0; each < class->counted; each++) {
            unsigned feature = class->features[each];

            if (!(seen[feature / 64] >> feature % 64 & 1)) {
                seen[feature / 64] |= 1ull << feature % 64;
                features[found++] = (uint8_t)feature;
                counts[feature] = 0;
                first[feature] = w->first[kind];
            }
            counts[feature] += w->hits[kind];
            if (w->first[kind] < first[feature])
                first[feature] = w->first[kind];
        }
    }
    return found;
}

/* Ends a function: its hits become uses of features. */
static void
end_function(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    uint32_t counts[MOST_FEATURES];
    uint64_t first[MOST_FEATURES];
    uint8_t features[MOST_FEATURES];
    scan_mask known = {0, 0};
    unsigned found = sum_features(w, features, counts, first);

    end_page(w);
    for (unsigned at = 0; at < found; at++) {
        struct scan_use *use = &w->tally->uses[features[at]];

        use->instructions[range->source] += counts[features[at]];
        use->functions++;
        keep_place(use, first[features[at]], counts[features[at]], w->tally->base + number);
    }
    if (w->output->listed)
        list_function(w, number, features, found, counts);
    for (unsigned at = 0; at < w->kinds; at++) {
        const struct instruction_class *class = &scan_classes[w->met[at]];

        w->tally->signs |= class->flags & (CLASS_CPUID | CLASS_XGETBV);
        known[0] |= class->known[0];
        known[1] |= class->known[1];
        w->hits[w->met[at]] = 0;
    }
    w->kinds = 0;
    if (range->source != NO_FUNCTION && range->end - range->start >= LARGE && known[0] | known[1])
        __builtin_memcpy(w->output->functions[w->tally->functions++], known, sizeof known);
}

/* --- what is believed --------------------------------------------------------------------------
 */

/* The bytes of a function, and how far may be read behind its end. */
struct body {
    const uint8_t *code;
    uint32_t size;
    uint64_t readable; /* from `code` on */
};

/* The leaf at an offset of a function; what its end cuts off is no instruction. */
static inline uint32_t
leaf_at(const struct body *body, uint32_t offset, unsigned *length)
{
    uint32_t left = body->size - offset, leaf;

    if (__builtin_expect(body->readable - offset < READ_AHEAD, 0))
        return scan_decode_last(body->code + offset, left, length);
    leaf = decode(body->code + offset, length);
    if (__builtin_expect(*length > left, 0)) {
        *length = left;
        return LEAF_LOUD | LEAF_TURNS;
    }
    return leaf;
}

/* Where a near branch at an offset goes, seen from the start of its function. */
static int64_t
target_of(const struct body *body, unsigned tail, uint32_t next)
{
    const uint8_t *behind = body->code + next;
    int8_t near;
    int16_t far;
    int32_t farther;

    switch (tail) { /* its last bytes are the distance */
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

/* A place where a function may turn, as a number: where the next instruction is, how many bytes of
 * a distance stand before it, its class. */
#define TURN(next, leaf) ((uint32_t)(next) | ((leaf)&LEAF_TAIL & 7) << 21 | LEAF_CLASS(leaf) << 24)
#define TURN_NEXT(turn) ((turn)&0x1fffff)
#define TURN_TAIL(turn) ((turn) >> 21 & 7)
#define TURN_CLASS(turn) ((turn) >> 24)

/* The turns of a function: those behind its first hit, and then those before. */
struct turns {
    uint32_t *all, late, early;
};

static inline uint32_t
turn_number(const struct turns *turns, uint32_t number)
{
    return number < turns->early ? turns->all[turns->late + number]
                                 : turns->all[number - turns->early];
}

/* Whether each hit follows the start or a branch's target, with nothing between that ends. */
static int
live(struct work *w, const struct body *body, const uint32_t *hits, uint32_t count,
     const struct turns *turns)
{
    uint64_t *targets = w->space->targets;
    uint32_t low = 0, high = body->size, turn = 0, hit = 0, number = turns->early + turns->late;

    __builtin_memset(targets, 0, (body->size / 64 + 1) * sizeof *targets);
    for (uint32_t at = 0; at < number; at++)
        if (scan_classes[TURN_CLASS(turns->all[at])].flags & CLASS_NEAR) {
            int64_t target = target_of(body, TURN_TAIL(turns->all[at]), TURN_NEXT(turns->all[at]));

            if (target >= 0 && target < body->size)
                targets[target / 64] |= 1ull << target % 64;
        }
    /* Between two ends what follows a live hit is live. */
    for (; hit < count; low = high) {
        uint32_t where = HIT_OFFSET(hits[hit]), from = low;

        for (high = body->size; turn < number; turn++) {
            uint32_t each = turn_number(turns, turn);

            if (scan_classes[TURN_CLASS(each)].flags & CLASS_END) {
                high = TURN_NEXT(each);
                turn++;
                break;
            }
        }
        if (where >= high)
            continue;
        while (low && from <= where && !(targets[from / 64] >> from % 64 & 1))
            from++;
        if (from > where)
            return 0;
        while (hit < count && HIT_OFFSET(hits[hit]) < high)
            hit++;
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
        unsigned length;
        uint32_t leaf = leaf_at(body, offset, &length);
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
            int64_t target = target_of(body, leaf & LEAF_TAIL, offset);

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
    unsigned length;

    for (uint32_t offset = low; offset < high; offset += length) {
        unsigned kind = LEAF_CLASS(leaf_at(&part, offset, &length));
        unsigned flags = scan_classes[kind].flags;

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

/* What control flow from the start reaches, and what may be reached unseen; returns how many hits
 * are put into `believed`, in their order. */
static uint32_t
walk(struct work *w, const struct body *body, int unseen)
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
        if (r.kinds[at] != NO_INSTRUCTION)
            w->space->believed[count++] = HIT(at, r.kinds[at]);
    return count;
}

/* --- functions ---------------------------------------------------------------------------------
 */

enum doubt {
    SURE,   /* nothing is odd, and there are many hits of each set of features */
    UNSURE, /* there are few of one: are they live? */
    ODD,
};

static enum doubt
doubt_of(const uint32_t *hits, uint32_t count)
{
    uint32_t groups[256] = {0};
    uint8_t met[256];
    unsigned number = 0, few = 0;

    for (uint32_t at = 0; at < count; at++) {
        const struct instruction_class *class = &scan_classes[HIT_CLASS(hits[at])];

        if (class->flags & (CLASS_RARE | CLASS_INVALID))
            return ODD;
        if (!groups[class->group]++)
            met[number++] = class->group;
    }
    for (unsigned at = 0; at < number; at++)
        few |= groups[met[at]] <= FEW;
    return few ? UNSURE : SURE;
}

static struct body
body_of(const struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    uint64_t offset = range->start - w->address;

    return (struct body){w->code + offset, (uint32_t)(range->end - range->start), w->size - offset};
}

/* Counts the hits of a function, or what a walk leaves of them. */
static void
count_function(struct work *w, uint32_t number, const uint32_t *hits, uint32_t count, int is_sure)
{
    const struct scan_range *range = &w->ranges[number];

    if (!is_sure) {
        struct body body = body_of(w, number);
        uint32_t sound = 0, left;

        for (uint32_t at = 0; at < count; at++)
            sound += HIT_CLASS(hits[at]) != NO_INSTRUCTION;
        left = walk(w, &body, range->lsda != 0);
        w->tally->discarded += sound > left ? sound - left : 0;
        hits = w->space->believed;
        count = left;
    }
    for (uint32_t at = 0; at < count; at++)
        count_hit(w, HIT_CLASS(hits[at]), range->start + HIT_OFFSET(hits[at]));
    if (count)
        end_function(w, number);
}

/* A function too large for a walk: nothing odd is believed there. */
static void
count_long(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    const uint8_t *start = w->code + (range->start - w->address), *end = w->code + w->size;
    uint64_t size = range->end - range->start;
    unsigned length;

    w->tally->steps += size / 4;
    for (uint64_t offset = 0; offset < size; offset += length) {
        uint64_t left = size - offset;
        uint32_t leaf = (uint64_t)(end - start) - offset < READ_AHEAD
                            ? scan_decode_last(start + offset, left, &length)
                            : decode(start + offset, &length);
        unsigned kind = LEAF_CLASS(leaf), flags = scan_classes[kind].flags;

        if (flags & CLASS_QUIET || length > left || flags & CLASS_INVALID)
            continue;
        if (flags & CLASS_RARE)
            w->tally->discarded++;
        else
            count_hit(w, kind, range->start + offset);
    }
    if (w->kinds)
        end_function(w, number);
}

/* The hits of a sweep that wait: whether they are believed depends on what follows. */
struct waiting {
    struct {
        uint64_t number, address;
        unsigned kind;
    } hits[SWEEP_RUN + 2 * SWEEP_MARGIN];
    unsigned first, count;
};

static void
believe_waiting(struct work *w, struct waiting *waiting, uint64_t below)
{
    while (waiting->count && waiting->hits[waiting->first].number < below) {
        count_hit(w, waiting->hits[waiting->first].kind, waiting->hits[waiting->first].address);
        waiting->first = (waiting->first + 1) % (SWEEP_RUN + 2 * SWEEP_MARGIN);
        waiting->count--;
    }
}

/* Decodes straight through bytes of which nothing is known. Between two odd instructions those are
 * believed that are not next to either, if there are enough; both ends of the bytes are where known
 * functions end and begin, and are as good as any. */
static void
sweep(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    const uint8_t *start = w->code + (range->start - w->address), *end = w->code + w->size;
    uint64_t size = range->end - range->start, since = 0, low = 0, at = 0;
    struct waiting waiting = {.count = 0};
    unsigned length;

    w->tally->steps += size / 4;
    for (uint64_t offset = 0; offset < size; offset += length, at++) {
        uint64_t left = size - offset;
        uint32_t leaf = (uint64_t)(end - start) - offset < READ_AHEAD
                            ? scan_decode_last(start + offset, left, &length)
                            : decode(start + offset, &length);
        unsigned kind, flags;

        if (length > left) {
            length = (unsigned)left;
            leaf = LEAF_LOUD | LEAF_TURNS;
        }
        kind = LEAF_CLASS(leaf);
        flags = scan_classes[kind].flags;
        if (at >= low + SWEEP_RUN + SWEEP_MARGIN)
            believe_waiting(w, &waiting, at - SWEEP_MARGIN);
        if (flags & (CLASS_RARE | CLASS_DATA | CLASS_INVALID)) {
            if (at >= low + SWEEP_RUN + SWEEP_MARGIN)
                w->tally->swept += offset - since;
            else
                w->tally->unknown += offset - since;
            w->tally->discarded += waiting.count;
            waiting.count = 0;
            since = offset;
            low = at + SWEEP_MARGIN;
        } else if (!(flags & CLASS_QUIET)) {
            if (at >= low) {
                unsigned free = (waiting.first + waiting.count++) % (SWEEP_RUN + 2 * SWEEP_MARGIN);

                waiting.hits[free].number = at;
                waiting.hits[free].address = range->start + offset;
                waiting.hits[free].kind = kind;
            } else {
                w->tally->discarded++;
            }
        }
    }
    believe_waiting(w, &waiting, at);
    w->tally->swept += size - since;
    if (w->kinds)
        end_function(w, number);
}

/* One of the functions that are decoded at the same time: for its hits, from the first one on for
 * its turns too; and once more, where hits are in doubt, for the turns before. */
struct stream {
    const uint8_t *at, *start, *limit;
    uint32_t *hits, count, number;
    struct turns turns;
    uint32_t wanted; /* what is noted of leaves: LEAF_LOUD, LEAF_TURNS */
    int again;
};

/* Whether a range lies inside of the code. */
static int
holds(const struct work *w, const struct scan_range *range)
{
    return range->source < SOURCES && range->start >= w->address && range->start < range->end &&
           range->end - w->address <= w->size;
}

/* A function that cannot be decoded with others: it ends where the code does. */
static void
count_last(struct work *w, uint32_t number)
{
    struct body body = body_of(w, number);
    /* A walk has read them before it writes there. */
    uint32_t *hits = w->space->order, count = 0;
    struct turns turns = {w->space->pending, 0, 0};
    enum doubt doubt;
    unsigned length;

    for (uint32_t at = 0; at < body.size; at += length) {
        uint32_t leaf = leaf_at(&body, at, &length);

        if (leaf & LEAF_LOUD)
            hits[count++] = HIT(at, LEAF_CLASS(leaf));
        if (leaf & LEAF_TURNS)
            turns.all[turns.late++] = TURN(at + length, leaf);
    }
    if (!count)
        return;
    doubt = doubt_of(hits, count);
    count_function(w, number, hits, count,
                   doubt == SURE || (doubt == UNSURE && live(w, &body, hits, count, &turns)));
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
            sweep(w, number);
        } else if (range->end - range->start > WALK_LIMIT) {
            count_long(w, number);
        } else if (range->end - w->address + READ_AHEAD > w->size) {
            count_last(w, number);
        } else {
            s->start = s->at = w->code + (range->start - w->address);
            s->limit = w->code + (range->end - w->address);
            s->count = s->turns.late = s->turns.early = 0;
            s->again = 0;
            s->number = number;
            s->wanted = LEAF_LOUD;
            w->tally->steps += (range->end - range->start) / 4;
            return 1;
        }
    }
    return 0;
}

/* Begins with the function of a stream again, as far as its first hit. */
static void
turn_back(struct work *w, struct stream *s)
{
    s->again = 1;
    s->wanted = LEAF_TURNS;
    s->at = s->start;
    s->limit = s->start + HIT_OFFSET(s->hits[0]);
    w->tally->steps += HIT_OFFSET(s->hits[0]) / 4;
}

/* Ends a way through the function of a stream, whose last instruction has a length; returns whether
 * it has another, through this function or the next one. */
static int
turn(struct work *w, struct stream *s, unsigned length)
{
    enum doubt doubt = UNSURE;
    int is_sure;

    if (!s->again) {
        if (s->at > s->limit) { /* what the end cuts off is no instruction */
            uint32_t offset = (uint32_t)(s->at - s->start) - length;

            s->count -= s->count && HIT_OFFSET(s->hits[s->count - 1]) == offset;
            s->hits[s->count++] = HIT(offset, NO_INSTRUCTION);
        }
        if (!s->count)
            return turn_to_next(w, s);
        doubt = doubt_of(s->hits, s->count);
    }
    is_sure = doubt == SURE;
    if (doubt == UNSURE) {
        struct body body = body_of(w, s->number);

        if (!s->again && HIT_OFFSET(s->hits[0]) > 0) {
            turn_back(w, s);
            return 1;
        }
        is_sure = live(w, &body, s->hits, s->count, &s->turns);
    }
    count_function(w, s->number, s->hits, s->count, is_sure);
    return turn_to_next(w, s);
}

/* Notes a hit or a turn of a stream, whose instruction has a length. */
static void
note(struct stream *s, const uint8_t *at, uint32_t leaf, unsigned length)
{
    uint32_t offset = (uint32_t)(at - s->start);

    if (leaf & s->wanted & LEAF_LOUD) {
        s->hits[s->count++] = HIT(offset, LEAF_CLASS(leaf));
        s->wanted = LEAF_LOUD | LEAF_TURNS;
    }
    if (leaf & s->wanted & LEAF_TURNS) {
        s->turns.all[s->turns.late + s->turns.early] = TURN(offset + length, leaf);
        s->turns.early += s->again != 0;
        s->turns.late += s->again == 0;
    }
}

/* What of a stream each step needs, to be kept in registers. */
struct view {
    const uint8_t *at, *limit;
    uint32_t wanted;
};

static inline struct view
view_of(const struct stream *s)
{
    return (struct view){s->at, s->limit, s->wanted};
}

/* Decodes one instruction of a stream; returns whether the stream goes on. */
static inline __attribute__((always_inline)) int
step(struct work *w, struct stream *s, struct view *v)
{
    unsigned length;
    uint32_t leaf = decode(v->at, &length);
    int goes_on = 1;

    if (__builtin_expect(leaf & v->wanted, 0)) {
        note(s, v->at, leaf, length);
        v->wanted = s->wanted;
    }
    v->at += length;
    if (__builtin_expect(v->at >= v->limit, 0)) {
        s->at = v->at;
        goes_on = turn(w, s, length);
        *v = view_of(s);
    }
    return goes_on;
}

void
cpuprobe_scan(const uint8_t *code, uint64_t size, uint64_t address, const struct scan_range *ranges,
              uint32_t count, struct scan_tally *tally, const struct scan_output *output,
              struct scan_space *space)
{
    struct work w = {.code = code, .size = size, .address = address};
    struct stream a = {.hits = space->hits[0], .turns = {space->turns[0], 0, 0}};
    struct stream b = {.hits = space->hits[1], .turns = {space->turns[1], 0, 0}};
    struct stream c = {.hits = space->hits[2], .turns = {space->turns[2], 0, 0}};
    struct view at_a, at_b, at_c;
    int first, second, third;

    w.ranges = ranges;
    w.count = count;
    w.tally = tally;
    w.output = output;
    w.space = space;
    w.page = address >> 12;
    first = turn_to_next(&w, &a);
    second = turn_to_next(&w, &b);
    third = turn_to_next(&w, &c);
    at_a = view_of(&a);
    at_b = view_of(&b);
    at_c = view_of(&c);
    while (first && second && third) {
        first = step(&w, &a, &at_a);
        second = step(&w, &b, &at_b);
        third = step(&w, &c, &at_c);
    }
    while (first)
        first = step(&w, &a, &at_a);
    while (second)
        second = step(&w, &b, &at_b);
    while (third)
        third = step(&w, &c, &at_c);
}

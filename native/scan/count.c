/* Believed hits become uses of features, pages and functions that hold them. */
#include "work.h"

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

void
scan_end_function(struct work *w, uint32_t number)
{
    const struct scan_range *range = &w->ranges[number];
    uint32_t counts[MOST_FEATURES];
    uint64_t first[MOST_FEATURES];
    uint8_t features[MOST_FEATURES];
    scan_mask known = {0, 0};
    unsigned found;

    if (!w->kinds)
        return;
    found = sum_features(w, features, counts, first);
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

void
cpuprobe_join(struct scan_tally *tally, const struct scan_tally *other)
{
    for (unsigned feature = 0; feature < scan_features; feature++) {
        struct scan_use *use = &tally->uses[feature];
        const struct scan_use *more = &other->uses[feature];

        for (unsigned source = 0; source < SOURCES; source++)
            use->instructions[source] += more->instructions[source];
        use->functions += more->functions;
        for (unsigned at = 0; at < more->places; at++)
            keep_place(use, more->place[at].address, more->place[at].count, more->place[at].range);
    }
    tally->discarded += other->discarded;
    tally->swept += other->swept;
    tally->unknown += other->unknown;
    tally->steps += other->steps;
    tally->signs |= other->signs;
}

void
cpuprobe_join_pages(scan_mask *pages, const scan_mask *other, uint64_t count)
{
    for (uint64_t at = 0; at < count; at++) {
        pages[at][0] |= other[at][0];
        pages[at][1] |= other[at][1];
    }
}

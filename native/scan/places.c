/* The memory that an operation names, and what is known there. */
#include "places.h"
#include "answers.h"
#include "sets.h"
#include "slots.h"

uint64_t
ways_slot(const struct operation *each)
{
    return SLOT(each->base, each->displacement);
}

struct place
places_of(const struct values *state, const struct operation *each, int framed)
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
    } else if (each->base < 16 && state->stacked >> each->base & 1) {
        place.kind = STACK;
        place.where += state->points[each->base];
    } else if (each->index < 16 && state->pointed >> each->index & 1 && !each->scale) {
        place.kind = STATIC;
        place.where += state->points[each->index];
    }
    return place;
}

int
ways_static(const struct ways_space *space, const struct values *state,
            const struct operation *each, uint64_t *address)
{
    struct place place = places_of(state, each, (int)space->framed);

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
    struct place place = places_of(state, each, (int)space->framed);
    uint32_t labels = (labels_of(state, place.base) & ANSWERS) | labels_of(state, place.index);
    uint32_t at, told;

    switch (place.kind) {
    case STATIC:
        if (ways_holds(&known->foreign, place.where, place.where))
            labels |= ANSWER;
        return labels |
               ways_kept_labels(known, place.where, place.index == NO_REGISTER ? each->size : NEAR);
    case STACK:
        labels |= slots_labels(state, place.where,
                               place.where + (place.index == NO_REGISTER ? 0 : NEAR - 1));
        at = place_of(space->writes, space->written, place.where - 7);
        if ((at == space->written || space->writes[at] > place.where) &&
            (each->base == RSP || each->base == RBP) && (each->size == 1 || each->size == 4))
            labels |= known->behind & ANSWER ? HANDED : FLAG;
        return labels;
    default:
        told = ways_field_labels(known, place.where);
        labels |= told & ANSWER && !place.where ? (uint32_t)HANDED : told;
        if (space->summary.asks && space->summary.fields) /* it may have put it there itself */
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
    struct place place = places_of(state, each, (int)space->framed);
    uint32_t at;

    if (place.kind == STATIC && place.index == NO_REGISTER)
        return ways_kept_fact(known, place.where);
    at = place_of(state->slots, state->count, place.where << SLOT_LABELS);
    if (place.kind != STACK || place.index != NO_REGISTER || at == state->count ||
        state->slots[at] >> SLOT_LABELS != place.where)
        return 0;
    return SLOT_FACT(state->slots[at]);
}

void
places_write(struct ways_space *space, struct values *state, const struct operation *each,
             uint32_t labels, uint16_t fact, uint32_t guarded)
{
    struct place place = places_of(state, each, (int)space->framed);
    struct ways_summary *made = &space->summary;

    if (place.kind == STACK) {
        slots_set(state, place.where, labels, fact, each->size);
    } else if (labels & ANSWERS && place.kind == STATIC && !(place.where >> (64 - KEPT_SHIFT))) {
        struct ways_set set = {made->static_memory, made->statics, MOST_KEPT};

        ways_keep(space->known, &set,
                  KEPT_WORD(place.where,
                            ways_kept(space->known, (struct told_value){fact, labels, state->never},
                                      guarded & ANSWERS && !state->never),
                            labels));
        made->statics = set.count;
    } else if (labels & space->known->behind && place.index == NO_REGISTER) {
        struct ways_set set = {made->field, made->fields, MOST_KEPT};

        ways_keep(space->known, &set, KEPT_WORD(place.where, 0, labels));
        made->fields = set.count;
    }
}

/* What one operation names: registers and memory. */
#ifndef CPUPROBE_PLACES_H
#define CPUPROBE_PLACES_H

#include "ways.h"

/* Static memory, a place on the stack, or what is behind a pointer. */
enum kind { STATIC, STACK, BEHIND };

struct place {
    enum kind kind;
    uint64_t where; /* the address; the slot */
    unsigned base, index;
};

static inline uint32_t
labels_of(const struct values *state, unsigned number)
{
    return number < REGISTERS ? state->labels[number] : 0;
}

static inline void
set_register(struct values *state, unsigned number, uint32_t labels)
{
    state->labels[number] = (uint16_t)labels;
    if (number < 16) {
        state->pointed &= ~(1u << number);
        state->stacked &= ~(1u << number);
        state->facts[number] = 0;
    }
}

struct place places_of(const struct values *state, const struct operation *each, int framed);

/* What an operation writes to memory, behind the choices of some labels. */
void places_write(struct ways_space *space, struct values *state, const struct operation *each,
                  uint32_t labels, uint16_t fact, uint32_t guarded);

#endif

/* What is known of values that tell of the CPU: facts, as ways.h has them. */
#ifndef CPUPROBE_ANSWERS_H
#define CPUPROBE_ANSWERS_H

#include "ways.h"

/* What is known of a value by its fact; where there is none, it may tell what `labels` say. */
struct bits answers_bits(const struct ways_known *known, uint16_t fact, uint32_t labels);

/* The fact that stands for it; none where nothing is known, or where there are too many. */
uint16_t answers_fact(struct ways_known *known, const struct bits *bits);

/* The labels of what a value may tell of: on CPUs of which grades it is another. */
uint32_t answers_labels(const struct bits *bits);

/* A number that is the same on all CPUs. */
struct bits answers_number(uint64_t value);

/* Whether all of some bits are known on CPUs of a grade. */
static inline int
is_known_of(const struct bits *bits, unsigned grade, uint64_t mask)
{
    return !(mask & ~(bits->zeros[grade] | bits->ones[grade]));
}

#endif

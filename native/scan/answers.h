/* What is known of values that tell of the CPU: facts, as ways.h has them. */
#ifndef CPUPROBE_ANSWERS_H
#define CPUPROBE_ANSWERS_H

#include "ways.h"

static inline int
is_number(uint16_t fact)
{
    return (fact & FACT_NUMBER) != 0;
}

/* Of a number, up to which one of the tiers a CPU lacks it holds. */
static inline unsigned
tier_of(uint16_t fact)
{
    return fact >> 8 & 7;
}

static inline int
value_of(uint16_t fact)
{
    return (int8_t)(fact & 0xff);
}

static inline unsigned
least(unsigned one, unsigned other)
{
    return one < other ? one : other;
}

static inline unsigned
most(unsigned one, unsigned other)
{
    return one > other ? one : other;
}

/* A number with another tier. */
static inline uint16_t
up_to(uint16_t fact, unsigned tier)
{
    return tier ? (uint16_t)((fact & ~(7 << 8)) | tier << 8) : 0;
}

/* What some bits of a word may tell of: labels; the lowest and the highest tier. */
uint32_t answers_bits(const struct ways_known *known, uint16_t fact, uint64_t mask, unsigned *low,
                      unsigned *high);

#endif

/* What an instruction does with bits, as far as that is followed (folds.c). */
#ifndef CPUPROBE_WORKS_H
#define CPUPROBE_WORKS_H

#include "ways.h"

/* Operations by what they do with bits. */
enum work {
    ADDS,
    ORS,
    ADCS,
    SBBS,
    ANDS,
    SUBS,
    XORS,
    COMPARES, /* as opcodes have them */
    TESTS,
    NOTS,
    NEGS,
    SHIFTS_LEFT,
    SHIFTS_RIGHT,
    BIT_TESTS,
    SETS,
    MOVES_IF,
    COPIES,
    JUMPS,
    ELSE
};

struct work_done {
    enum work work;
    unsigned condition, is_byte, is_wide;
    uint64_t mask, from; /* the bits of its value, and those of what it extends */
    uint8_t is_signed;   /* it keeps the sign: SAR, MOVSX */
    uint8_t is_upper[2]; /* an operand is one of AH, CH, DH, BH */
};

static inline int
is_immediate(const struct operation *each)
{
    return each->where[1] >= OPERAND_IMM8 && each->where[1] <= OPERAND_IMM64;
}

struct work_done works_of(const struct ways_space *space, const struct operation *each);

/* Whether an operation tests 64 bits as a whole: of arguments these are lengths and pointers, while
 * what tells of the CPU is a flag or some bits. */
int works_whole(const struct ways_space *space, const struct operation *each);

/* Whether it puts bits together, or takes some out. */
int works_joins(const struct ways_space *space, const struct operation *each);

#endif

/* What an instruction does with bits, as far as that is followed (folds.c). */
#ifndef CPUPROBE_WORKS_H
#define CPUPROBE_WORKS_H

#include "operands.h"

struct work_done {
    enum work work;
    unsigned condition, is_wide;
    uint64_t mask, from; /* the bits of its value, and those of what it extends */
    uint8_t is_signed, is_upper[2];
};

static inline int
is_immediate(const struct operation *each)
{
    return each->where[1] >= OPERAND_IMM8 && each->where[1] <= OPERAND_IMM64;
}

/* The bits of so many bytes, of eight if there are more. */
static inline uint64_t
bits_of_size(unsigned size)
{
    return size < 8 ? (1ull << 8 * size) - 1 : UINT64_MAX;
}

static inline struct work_done
works_of(const struct operation *each)
{
    int extends = each->work == COPIES && each->sizes[1] && each->sizes[1] < each->sizes[0];

    return (struct work_done){
        .work = (enum work)each->work,
        .condition = each->condition,
        .is_wide = each->sizes[0] == 8,
        .mask = bits_of_size(each->sizes[0]),
        .from = extends ? bits_of_size(each->sizes[1]) : UINT64_MAX,
        .is_signed = (each->traits & IS_SIGNED) != 0,
        .is_upper = {each->upper[0], each->upper[1]},
    };
}

/* Whether an operation tests 64 bits as a whole: of arguments these are lengths and pointers, while
 * what tells of the CPU is a flag or some bits. */
static inline int
works_whole(const struct operation *each)
{
    return each->wide && (each->same || !(each->traits & IS_TEST));
}

/* Whether it puts bits together, or takes some out. */
static inline int
works_joins(const struct operation *each)
{
    return each->work == ORS || each->work == ANDS || each->work == SHIFTS_LEFT ||
           each->work == SHIFTS_RIGHT;
}

#endif

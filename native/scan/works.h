/* What an instruction does with bits, as far as that is followed (folds.c). */
#ifndef CPUPROBE_WORKS_H
#define CPUPROBE_WORKS_H

#include "operands.h"

enum flag { ZERO = 1, SIGN = 2, CARRY = 4, OVERFLOW = 8, FLAGS = 15 };

enum { IF_CARRY = 2 }; /* of conditions (SDM vol. 1, appendix B) */

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

/* Whether an operation tests 64 bits as a whole: of arguments these are lengths and pointers
 * (base64, c-blosc), while what tells of the CPU is a flag or some bits. */
static inline int
works_whole(const struct operation *each)
{
    return each->wide && (each->same || !(each->traits & IS_TEST));
}

/* Whether a condition (SDM vol. 1, appendix B) holds with some flags, of which so many are known:
 * 1, 0, or -1 where that is not known, as what hangs on parity never is. */
static inline int
works_holds(unsigned known, unsigned set, unsigned condition)
{
    static const uint8_t any[] = {OVERFLOW, CARRY, ZERO, CARRY | ZERO, SIGN, 0, 0, ZERO};
    unsigned kind = condition >> 1 & 7;
    int value = -1;

    set &= known;
    if (set & any[kind])
        value = 1;
    else if (any[kind] && (known & any[kind]) == any[kind])
        value = 0;
    if (kind >= 6 && value < 1) { /* less: the sign is not the overflow */
        if ((known & (SIGN | OVERFLOW)) != (SIGN | OVERFLOW))
            value = -1;
        else if (!(set & SIGN) != !(set & OVERFLOW))
            value = 1;
        else
            value = kind == 6 ? 0 : value;
    }
    return value < 0 ? -1 : value ^ (int)(condition & 1);
}

#endif

/* What an instruction does with bits, by its opcode. */
#include "works.h"

static enum work
grouped(unsigned opcode, unsigned reg)
{
    static const uint8_t unary[] = {TESTS, TESTS, NOTS, NEGS, ELSE, ELSE, ELSE, ELSE};
    static const uint8_t shifts[] = {ELSE,        ELSE,         ELSE,        ELSE,
                                     SHIFTS_LEFT, SHIFTS_RIGHT, SHIFTS_LEFT, SHIFTS_RIGHT};

    switch (opcode) {
    case 0x80:
    case 0x81:
    case 0x83:
        return (enum work)reg;
    case 0xf6:
    case 0xf7:
        return (enum work)unary[reg];
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
        return (enum work)shifts[reg];
    case 0x84:
    case 0x85:
    case 0xa8:
    case 0xa9:
        return TESTS;
    case 0x0fba:
        return reg == 4 ? BIT_TESTS : ELSE;
    case 0x0fb6:
    case 0x0fb7:
    case 0x0fbe:
    case 0x0fbf:
    case 0x63:
        return COPIES;
    case 0xc6:
    case 0xc7:
        return reg ? ELSE : COPIES;
    default:
        break;
    }
    if (opcode < 0x40 && (opcode & 7) < 6)
        return (enum work)(opcode >> 3);
    if ((opcode & ~3u) == 0x88 || (opcode & ~15u) == 0xb0)
        return COPIES;
    if ((opcode & ~15u) == 0x70 || (opcode & ~15u) == 0x0f80)
        return JUMPS;
    if ((opcode & ~15u) == 0x0f90)
        return SETS;
    return (opcode & ~15u) == 0x0f40 ? MOVES_IF : ELSE;
}

struct work_done
works_of(const struct ways_space *space, const struct operation *each)
{
    const uint8_t *at = space->code + each->offset, *end = at + each->length;
    struct work_done made = {.work = ELSE};
    unsigned opcode, modrm, has_rex = 0, is_short = 0;

    for (; at < end && (*at == 0x66 || *at == 0xf2 || *at == 0xf3 || *at == 0x2e || *at == 0x3e);
         at++)
        is_short |= *at == 0x66;
    if (at < end && (*at & 0xf0) == 0x40) {
        has_rex = 1;
        made.is_wide = *at >> 3 & 1;
        at++;
    }
    if (at >= end)
        return made;
    opcode = *at++;
    if (opcode == 0x0f && at < end)
        opcode = 0x0f00u | *at++;
    modrm = at < end ? *at : 0;
    made.work = grouped(opcode, modrm >> 3 & 7);
    made.condition = opcode & 15;
    made.is_byte = opcode < 0x100 ? !(opcode & 1) : (opcode & ~8u) == 0x0fb6;
    if (opcode >= 0xb0 && opcode < 0xc0)
        made.is_byte = opcode < 0xb8;
    if (opcode == 0x83 || made.work == JUMPS || made.work == SETS || made.work == MOVES_IF)
        made.is_byte = made.work == SETS;
    made.mask = made.is_wide ? UINT64_MAX : is_short ? UINT16_MAX : UINT32_MAX;
    made.from = opcode == 0x63 ? UINT32_MAX : UINT64_MAX;
    if (opcode >= 0x0fb6 && opcode <= 0x0fbf)
        made.from = opcode & 1 ? UINT16_MAX : UINT8_MAX;
    else if (made.is_byte)
        made.mask = UINT8_MAX;
    made.is_signed = opcode == 0x0fbe || opcode == 0x0fbf || opcode == 0x63 ||
                     (made.work == SHIFTS_RIGHT && (modrm >> 3 & 7) == 7);
    for (unsigned number = 0; number < 2; number++) {
        unsigned field = each->where[number] == OPERAND_REG ? modrm >> 3 & 7 : modrm & 7;

        if (made.is_byte && !has_rex && field >= 4 &&
            (each->where[number] == OPERAND_REG ||
             (each->where[number] == OPERAND_RM && modrm >= 0xc0)))
            made.is_upper[number] = opcode < 0x100 || number == 1 || made.work == SETS;
    }
    return made;
}

int
works_whole(const struct ways_space *space, const struct operation *each)
{
    enum { REX_W = 0x48 };
    int is_wide = (space->code[each->offset] & 0xf8) == REX_W;

    return is_wide && (each->same || !(each->traits & IS_TEST));
}

int
works_joins(const struct ways_space *space, const struct operation *each)
{
    enum work work = works_of(space, each).work;

    return work == ORS || work == ANDS || work == SHIFTS_LEFT || work == SHIFTS_RIGHT;
}

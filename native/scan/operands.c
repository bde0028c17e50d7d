#include "operands.h"

static int64_t
signed_at(const uint8_t *at, unsigned bytes)
{
    int8_t one;
    int16_t two;
    int32_t four;
    int64_t eight;

    switch (bytes) {
    case 1:
        __builtin_memcpy(&one, at, 1);
        return one;
    case 2:
        __builtin_memcpy(&two, at, 2);
        return two;
    case 4:
        __builtin_memcpy(&four, at, 4);
        return four;
    default:
        __builtin_memcpy(&eight, at, 8);
        return eight;
    }
}

/* The memory that ModRM names. SDM vol. 2A, tables 2-2 and 2-3. */
static void
read_memory(const struct scan_found *f, const struct shape *shape, uint64_t next,
            struct operation *made)
{
    unsigned modrm = *f->modrm, mod = modrm >> 6, rm = modrm & 7;
    const uint8_t *at = f->modrm + 1;

    made->has_memory = 1;
    if (rm == 4) {
        unsigned sib = *at++, index = (sib >> 3 & 7) | f->index;

        made->scale = (uint8_t)(sib >> 6);
        if (shape->vectors)
            made->index = (uint8_t)(VECTORS + (index | f->high));
        else if (index != RSP)
            made->index = (uint8_t)(GENERAL + index);
        rm = sib & 7;
        if (mod != 0 || rm != RBP)
            made->base = (uint8_t)(GENERAL + (rm | f->base));
        else
            mod = 2; /* a displacement of 32 bits, and no base */
    } else if (mod == 0 && rm == RBP) {
        made->is_static = 1;
        made->displacement = (int64_t)next + signed_at(at, 4);
        if (f->narrow)
            made->displacement &= 0xffffffff;
        return;
    } else {
        made->base = (uint8_t)(GENERAL + (rm | f->base));
    }
    if (mod == 1)
        made->displacement =
            signed_at(at, 1) *
            (1 << (f->evex ? (f->broadcast ? shape->broadcast : shape->scale) : 0));
    else if (mod == 2)
        made->displacement = signed_at(at, 4);
    if (f->narrow)
        made->displacement &= 0xffffffff;
    made->absolute = made->base == NO_REGISTER && !f->segment;
}

/* The register with a number; whether it is one of AH, CH, DH, BH. */
static unsigned
whole(const struct scan_found *f, unsigned base, unsigned number, unsigned *upper)
{
    *upper = 0;
    if (base == BYTES) {
        *upper = !f->has_rex && number >= 4 && number < 8;
        return GENERAL + (*upper ? number - 4 : number);
    }
    if (base == GENERAL || base == VECTORS)
        return base + number;
    return base + (number & 7);
}

/* The register of an operand, which may be memory. */
static unsigned
register_of(const struct scan_found *f, unsigned where, unsigned base, const uint8_t *end,
            unsigned *upper)
{
    unsigned modrm = *f->modrm;

    *upper = 0;
    switch (where) {
    case OPERAND_REG:
        return whole(f, base, (modrm >> 3 & 7) | f->reg, upper);
    case OPERAND_RM:
        if (base == NO_REGISTER || modrm < 0xc0)
            return NO_REGISTER;
        /* Only vectors have the bit that is the index's elsewhere. */
        return whole(f, base, (modrm & 7) | (base == VECTORS ? f->rm : f->rm & 15u), upper);
    case OPERAND_VVVV:
        return whole(f, base, f->vvvv, upper);
    case OPERAND_OPCODE:
        return whole(f, base, (f->modrm[base == X87 ? 0 : -1] & 7) | f->rm, upper);
    case OPERAND_LAST:
        return whole(f, base, end[-1] >> 4, upper);
    case OPERAND_FIXED:
        return base;
    default:
        return NO_REGISTER;
    }
}

/* An immediate that ends where its instruction does. */
static uint64_t
immediate(unsigned where, const uint8_t *end)
{
    switch (where) {
    case OPERAND_IMM8:
        return end[-1];
    case OPERAND_SIGNED8:
    case OPERAND_SHORT:
        return (uint64_t)signed_at(end - 1, 1);
    case OPERAND_IMM16:
        return (uint16_t)signed_at(end - 2, 2);
    case OPERAND_IMM32:
        return (uint32_t)signed_at(end - 4, 4);
    case OPERAND_SIGNED32:
        return (uint64_t)signed_at(end - 4, 4);
    case OPERAND_IMM64:
        return (uint64_t)signed_at(end - 8, 8);
    default:
        return 0;
    }
}

unsigned
scan_operation(const uint8_t *code, size_t available, uint64_t address, struct operation *made)
{
    uint8_t copy[READ_AHEAD] = {0};
    const struct shape *shape;
    struct scan_found f;
    unsigned length, tail, upper;
    uint32_t leaf;

    if (available < READ_AHEAD) {
        for (size_t at = 0; at < available; at++)
            copy[at] = code[at];
        code = copy;
    }
    leaf = scan_find(code, &length, &f);
    *made = (struct operation){.base = NO_REGISTER, .index = NO_REGISTER};
    if (length > available) { /* cut off: no instruction */
        made->length = (uint8_t)available;
        return (unsigned)available;
    }
    made->length = (uint8_t)length;
    made->class = LEAF_CLASS(leaf);
    shape = &scan_shapes[f.shape];
    made->traits = shape->traits;
    made->work = shape->work;
    made->is_odd = f.narrow ? 1 : f.segment;
    if (made->work)
        made->condition = f.modrm[-1] & 15;
    tail = leaf & LEAF_TAIL;
    for (unsigned at = 0; at < MOST_OPERANDS; at++) {
        unsigned where = shape->operands[at].where, base = shape->operands[at].base;

        if (where == OPERAND_NONE) {
            made->registers[at] = NO_REGISTER;
            continue;
        }
        made->where[at] = (uint8_t)where;
        made->registers[at] = (uint8_t)register_of(&f, where, base, code + length, &upper);
        made->count = (uint8_t)(at + 1);
        if (at < 2) {
            made->sizes[at] = shape->operands[at].size;
            made->upper[at] = (uint8_t)upper;
        }
        if (where == OPERAND_RM && made->registers[at] == NO_REGISTER && !made->has_memory)
            read_memory(&f, shape, address + length, made);
        if (where == OPERAND_OFFSET) {
            made->has_memory = 1;
            made->absolute = !f.segment;
            made->displacement = signed_at(code + length - tail, tail);
            if (tail == 4)
                made->displacement &= 0xffffffff;
        }
        if (where == OPERAND_TARGET)
            made->immediate = address + length + (uint64_t)signed_at(code + length - tail, tail);
        else if (where >= OPERAND_IMM8)
            made->immediate = immediate(where, code + length);
    }
    made->size = shape->memory;
    made->same = made->registers[0] == made->registers[1] && made->registers[0] != NO_REGISTER &&
                 made->upper[0] == made->upper[1];
    made->wide = shape->wide;
    made->framing = made->traits & IS_MOV && made->wide && made->registers[0] == RBP &&
                    made->registers[1] == RSP;
    return length;
}

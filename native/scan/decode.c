/* What is not decoded in line: prefixes, escapes, VEX, XOP, EVEX, REX2. Compiled twice: where
 * nobody asks for operands, nothing is done for them. */
#include "operands.h"

#define TWICE static inline __attribute__((always_inline))

/* Legacy prefixes so far, and REX if it was the last; the lowest four bits select a row. */
enum {
    SEEN_W = 1,
    SEEN_66 = 2,
    SEEN_F3 = 4,
    SEEN_F2 = 8,
    SEEN_ROW = 15,
    SEEN_REX = 16,
    SEEN_LOCK = 32,
    SEEN_67 = 64,
    SEEN_R = 128,
};
/* What VEX may not have before it. */
#define NOT_BEFORE_VEX (SEEN_66 | SEEN_F3 | SEEN_F2 | SEEN_REX | SEEN_LOCK)

/* What each prefix leaves of what was seen, and what it adds: REX counts only if it is the last, of
 * F2 and F3 the last counts. */
struct prefix {
    uint8_t is_one, keeps, adds;
};
#define ALL_BUT(bits) (255 & ~(SEEN_W | SEEN_REX | SEEN_R | (bits)))
#define REX(wr)                                                                                    \
    {                                                                                              \
        1, ALL_BUT(0), SEEN_REX | (wr)                                                             \
    }
#define FOUR(of) of, of, of, of
#define EIGHT(of) FOUR(of), FOUR(of)

static const struct prefix prefixes[256] = {
    [0x26] = {1, ALL_BUT(0), 0},
    [0x2e] = {1, ALL_BUT(0), 0},
    [0x36] = {1, ALL_BUT(0), 0},
    [0x3e] = {1, ALL_BUT(0), 0},
    [0x40] = FOUR(REX(0)),
    FOUR(REX(SEEN_R)),
    FOUR(REX(SEEN_W)),
    FOUR(REX(SEEN_W | SEEN_R)),
    [0x64] = {1, ALL_BUT(0), 0},
    [0x65] = {1, ALL_BUT(0), 0},
    [0x66] = {1, ALL_BUT(0), SEEN_66},
    [0x67] = {1, ALL_BUT(0), SEEN_67},
    [0xf0] = {1, ALL_BUT(0), SEEN_LOCK},
    [0xf2] = {1, ALL_BUT(SEEN_F3), SEEN_F2},
    [0xf3] = {1, ALL_BUT(SEEN_F2), SEEN_F3},
};

/* The fields of VEX, XOP and EVEX; registers as numbers. */
struct fields {
    unsigned reg, vvvv, rm, index, modrm;
    unsigned ll, b, aaa, z;
    unsigned wide_vvvv; /* with EVEX.V' */
};

static const uint32_t invalid = LEAF_LOUD | LEAF_NOTED; /* a leaf of class 0: no instruction */

/* What is left of a leaf that is no instruction here: its length. */
static uint32_t
refused(uint32_t leaf)
{
    return invalid | (leaf & (LEAF_TAIL | LEAF_MODRM));
}

/* Whether the fields are as a leaf wants them. */
static int
permitted(uint32_t leaf, const struct fields *f)
{
    unsigned check = LEAF_CHECK(leaf);

    if (check & VVVV_UNUSED && f->vvvv != 0)
        return 0;
    if (check & V_UNUSED && f->wide_vvvv != f->vvvv)
        return 0;
    if (check & LOW_REG && f->reg > 7)
        return 0;
    if (check & NARROW_REG && f->reg > 15)
        return 0;
    if (check & LOW_RM && f->rm > 7)
        return 0;
    if (check & LOW_VVVV && f->vvvv > 7)
        return 0;
    if (check & VSIB && (f->modrm & 7) != 4)
        return 0;
    if (check & UNIQUE && check & VSIB) {
        /* Only with VEX vvvv names a register, the mask. */
        if (f->reg == f->index ||
            (!(check & VVVV_UNUSED) && (f->reg == f->vvvv || f->index == f->vvvv)))
            return 0;
    } else if (check & UNIQUE) {
        if (f->reg == f->vvvv || f->reg == f->rm || f->rm == f->vvvv)
            return 0;
    }
    if (check & UNLIKE && (f->reg == f->wide_vvvv || (f->modrm >= 0xc0 && f->reg == f->rm)))
        return 0;
    if ((check & NO_MASK && f->aaa) || (check & MASK && !f->aaa))
        return 0;
    return !f->z || (f->aaa && !(check & NO_ZEROING));
}

/* No instruction, of so many bytes. */
static uint32_t
none(unsigned whole, unsigned *length)
{
    *length = whole < LONGEST ? whole : LONGEST;
    return invalid;
}

/* A leaf as APX's prefixes make it. */
static uint32_t
of_apx(uint32_t leaf, unsigned flow)
{
    return invalid | (leaf & (LEAF_TAIL | LEAF_MODRM)) | LEAF_OF_CLASS(scan_apx_classes[flow]);
}

/* The leaf of an entry, at a place if it is split. */
static uint32_t
leaf_of(struct scan_entry entry, unsigned place)
{
    return scan_leaves[entry.leaves + (entry.split & place)];
}

/* The number of a shape; `row` is of scan_shape_rows. */
static unsigned
shape_of(unsigned row, unsigned opcode, unsigned place)
{
    struct scan_entry entry = scan_shape_entries[scan_shape_rows[row] * 256u + opcode];

    return scan_shape_leaves[entry.leaves + (entry.split & place)];
}

/* Ends an instruction whose opcode is the byte before `rest`, `head` bytes from its start. */
static uint32_t
finished(uint32_t leaf, const uint8_t *rest, unsigned head, unsigned *length)
{
    unsigned whole = head + (leaf & LEAF_TAIL);

    if (leaf & LEAF_MODRM)
        whole += operand_length(rest[0], rest[1]);
    *length = whole < LONGEST ? whole : LONGEST;
    return whole <= LONGEST ? leaf : invalid;
}

TWICE uint32_t
legacy(const uint8_t *code, const uint8_t *at, unsigned seen, unsigned *length,
       struct scan_found *found)
{
    unsigned map = 0, rex = seen & SEEN_REX ? at[-1] : 0, opcode = *at++, row, kind;
    uint32_t leaf;

    if (opcode == 0x0f) {
        map = 1;
        opcode = *at++;
        if (opcode == 0x38 || opcode == 0x3a) {
            map = opcode == 0x38 ? 2 : 3;
            opcode = *at++;
        }
    }
    row = map * 16 + (seen & SEEN_ROW);
    kind = opcode;
    if (map == 1 && opcode == 0x0f) { /* 3DNow!: the opcode stands behind the operands */
        row = scan_now_rows[0];
        kind = at[operand_length(at[0], at[1])];
    }
    leaf = leaf_of(scan_entries[row * 256 + kind], scan_bytes.places[*at]);
    if (found) {
        found->shape = shape_of(row, kind, scan_bytes.places[*at]);
        found->modrm = at;
        found->reg = (rex & 4) << 1;
        found->index = (rex & 2) << 2;
        found->rm = found->base = (rex & 1) << 3;
        found->has_rex = rex != 0;
    }
    if (map == 0 && (opcode & 0xfc) == 0xa0 && seen & SEEN_67)
        leaf -= 4; /* the address has 32 bits */
    if (seen & SEEN_LOCK && !(LEAF_CHECK(leaf) & LOCKABLE && (!(leaf & LEAF_MODRM) || *at < 0xc0)))
        leaf = refused(leaf);
    if (seen & SEEN_R && LEAF_CHECK(leaf) & NO_REX_R)
        leaf = refused(leaf);
    return finished(leaf, at, (unsigned)(at - code), length);
}

TWICE uint32_t
vex(const uint8_t *code, const uint8_t *at, unsigned seen, unsigned *length,
    struct scan_found *found)
{
    unsigned lead = at[0], second = at[1], third, map = 1, row, opcode, shapes;
    struct fields f = {0};
    uint32_t leaf;

    if (lead == 0xc5) {
        third = (second & 0x7f);
        at += 2;
    } else {
        map = second & 31;
        third = at[2];
        at += 3;
    }
    opcode = *at++;
    row = (third & 3) << 2 | (lead == 0xc5 ? 0 : third >> 7 << 1) | (third >> 2 & 1);
    if (lead == 0x8f) {
        if (map > 10) {
            return none((unsigned)(at - code), length);
        }
        shapes = SHAPES_XOP + (map - 8) * 16 + row;
        row = scan_xop_rows[(map - 8) * 16 + row];
    } else {
        static const uint8_t numbers[8] = {255, 0, 1, 2, 255, 3, 255, 4};

        if (map > 7 || numbers[map] == 255) {
            return none((unsigned)(at - code) + (map == 0), length);
        }
        shapes = SHAPES_VEX + numbers[map] * 16u + row;
        row = scan_vex_rows[numbers[map] * 16 + row];
    }
    f.modrm = *at;
    leaf = leaf_of(scan_entries[row * 256 + opcode], scan_bytes.places[f.modrm]);
    if (found) {
        unsigned inverted = lead == 0xc5 ? ~second & 0x80 : ~second;

        found->shape = shape_of(shapes, opcode, scan_bytes.places[f.modrm]);
        found->modrm = at;
        found->reg = (inverted >> 7 & 1) << 3;
        found->index = (inverted >> 6 & 1) << 3;
        found->rm = found->base = (inverted >> 5 & 1) << 3;
        found->vvvv = ~third >> 3 & 15;
    }
    if (LEAF_CHECK(leaf) == VVVV_UNUSED) { /* as a rule */
        if ((~third & 0x78) != 0)
            leaf = refused(leaf);
    } else if (LEAF_CHECK(leaf)) {
        unsigned inverted = lead == 0xc5 ? ~second & 0x80 : ~second;

        f.reg = (f.modrm >> 3 & 7) | (inverted >> 7 & 1) << 3;
        f.rm = (f.modrm & 7) | (inverted >> 5 & 1) << 3;
        f.index = (at[1] >> 3 & 7) | (inverted >> 6 & 1) << 3;
        f.vvvv = f.wide_vvvv = ~third >> 3 & 15;
        if (!permitted(leaf, &f))
            leaf = refused(leaf);
    }
    if (seen & NOT_BEFORE_VEX)
        leaf = refused(leaf);
    return finished(leaf, at, (unsigned)(at - code), length);
}

/* What a leaf may want that some fields of EVEX do not have, or that takes more than them to tell.
 */
static inline unsigned
refusable(unsigned p0, unsigned p1, unsigned p2)
{
    unsigned lacking = LOW_VVVV | VSIB | UNIQUE | UNLIKE | LOW_RM;

    lacking |= (~p1 & 0x78) != 0 ? VVVV_UNUSED : 0;
    lacking |= (~p2 & 0x08) != 0 ? V_UNUSED : 0;
    lacking |= (~p0 & 0x90) != 0 ? LOW_REG : 0;
    lacking |= (~p0 & 0x10) != 0 ? NARROW_REG : 0;
    lacking |= (p2 & 0x07) != 0 ? NO_MASK : MASK;
    lacking |= (p2 & 0x80) != 0 ? NO_ZEROING : 0;
    return lacking;
}

TWICE uint32_t
evex(const uint8_t *code, const uint8_t *at, unsigned seen, unsigned *length,
     struct scan_found *found)
{
    unsigned p0 = at[1], p1 = at[2], p2 = at[3], opcode = at[4], modrm = at[5], sib = at[6];
    unsigned map = p0 & 7, extended, row, key;
    struct fields f = {.modrm = modrm};
    uint32_t leaf;

    at += 5;
    /* APX has two bits for sixteen more general registers, and in map 4 nothing of L'L and z. */
    extended = p0 & 8 || (!(p1 & 4) && modrm < 0xc0);
    if (map == 0 || (map == 4 ? p2 >> 5 != 0 : !extended && !(p1 & 4))) {
        return none((unsigned)(at - code) + 1, length);
    }
    row = scan_evex_rows[(map - 1) * 8 + (p1 & 3) * 2 + (p1 >> 7)];
    key = (p2 >> 4 & 7) << 4 | (modrm >= 0xc0) << 3 | (modrm >> 3 & 7);
    leaf = leaf_of(scan_entries[row * 256 + opcode], key);
    if (found) {
        found->shape = extended ? 0
                                : shape_of(SHAPES_EVEX + (map - 1) * 8 + (p1 & 3) * 2 + (p1 >> 7),
                                           opcode, key);
        found->modrm = at;
        found->reg = (~p0 >> 7 & 1) << 3 | (~p0 >> 4 & 1) << 4;
        found->rm = (~p0 >> 5 & 1) << 3 | (~p0 >> 6 & 1) << 4;
        found->base = (~p0 >> 5 & 1) << 3;
        found->index = (~p0 >> 6 & 1) << 3;
        found->high = (~p2 >> 3 & 1) << 4;
        found->vvvv = (~p1 >> 3 & 15) | found->high;
        found->broadcast = p2 >> 4 & 1;
        found->evex = 1;
    }
    f.aaa = p2 & 7;
    f.z = p2 >> 7;
    if (LEAF_CHECK(leaf) & refusable(p0, p1, p2) || (f.z && !f.aaa)) {
        f.reg = (modrm >> 3 & 7) | (~p0 >> 7 & 1) << 3 | (~p0 >> 4 & 1) << 4;
        f.rm = (modrm & 7) | (~p0 >> 5 & 1) << 3 | (~p0 >> 6 & 1) << 4;
        f.vvvv = ~p1 >> 3 & 15;
        f.wide_vvvv = f.vvvv | (~p2 >> 3 & 1) << 4;
        f.index = (sib >> 3 & 7) | (~p0 >> 6 & 1) << 3 | (~p2 >> 3 & 1) << 4;
        if (!permitted(leaf, &f))
            leaf = refused(leaf);
    }
    if (seen & NOT_BEFORE_VEX)
        leaf = refused(leaf);
    if (extended && !LEAF_CLASS(leaf)) {
        return none((unsigned)(at - code) + 1, length);
    }
    if (extended)
        leaf = of_apx(leaf, FLOW_NEXT);
    return finished(leaf, at, (unsigned)(at - code), length);
}

/* REX2: D5, a byte with the map and REX's low bits, the opcode. */
static uint32_t
rex2(const uint8_t *code, const uint8_t *at, unsigned seen, unsigned *length)
{
    unsigned payload = at[1], opcode = at[2], map = payload >> 7, upper = opcode >> 4;
    uint32_t leaf;

    if (payload == 0 && opcode == 0xa1) /* JMPABS */
        return finished(of_apx(8, FLOW_JMP), at + 3, (unsigned)(at + 3 - code), length);
    if (seen & SEEN_REX ||
        (map ? upper == 3 || upper == 8 : upper == 4 || upper == 7 || upper == 0xa || upper == 0xe))
        return none((unsigned)(at + 2 - code), length);
    seen = (seen & (SEEN_ROW & ~SEEN_W)) | (payload >> 3 & SEEN_W);
    leaf = leaf_of(scan_entries[(map * 16 + (seen & SEEN_ROW)) * 256 + opcode],
                   scan_bytes.places[at[3]]);
    /* Nobody puts it before UD0; jump tables hold such bytes. */
    if (!LEAF_CLASS(leaf) || scan_classes[LEAF_CLASS(leaf)].flow == FLOW_TRAP)
        return none((unsigned)(at + 2 - code), length);
    leaf = of_apx(leaf, scan_classes[LEAF_CLASS(leaf)].flow);
    return finished(leaf, at + 3, (unsigned)(at + 3 - code), length);
}

TWICE uint32_t
whole(const uint8_t *code, unsigned *length, struct scan_found *found)
{
    const uint8_t *at = code;
    unsigned seen = 0;

    if (*at == 0x62)
        return evex(code, at, seen, length, found);
    if (*at == 0xc5 || *at == 0xc4)
        return vex(code, at, seen, length, found);
    for (; prefixes[*at].is_one; at++) {
        if (at - code == LONGEST - 1) {
            *length = LONGEST;
            return invalid;
        }
        seen = (seen & prefixes[*at].keeps) | prefixes[*at].adds;
        if (found) {
            found->narrow = (seen & SEEN_67) != 0;
            if ((*at & 0xe7) == 0x26 || (*at & 0xfe) == 0x64)
                found->segment = *at == 0x64 ? OF_THREAD : 1;
        }
    }
    switch (*at) {
    case 0x62:
        return evex(code, at, seen, length, found);
    case 0x8f:
        if ((at[1] & 31) < 8)
            break;
        /* fall through */
    case 0xc4:
    case 0xc5:
        return vex(code, at, seen, length, found);
    case 0xd5:
        return rex2(code, at, seen, length);
    }
    return legacy(code, at, seen, length, found);
}

uint32_t
scan_decode_rest(const uint8_t *code, unsigned *length)
{
    return whole(code, length, NULL);
}

uint32_t
scan_find(const uint8_t *code, unsigned *length, struct scan_found *found)
{
    *found = (struct scan_found){.modrm = code};
    return whole(code, length, found);
}

uint32_t
scan_decode_last(const uint8_t *code, size_t available)
{
    uint8_t copy[READ_AHEAD] = {0};
    uint32_t leaf;

    if (available >= READ_AHEAD)
        return decode(code);
    for (size_t at = 0; at < available; at++)
        copy[at] = code[at];
    leaf = decode(copy);
    return (leaf & LEAF_LENGTH) <= available ? leaf : invalid | (uint32_t)available;
}

size_t
scan_decode_all(const uint8_t *code, size_t size, uint8_t *lengths, uint8_t *kinds)
{
    size_t number = 0;

    for (size_t at = 0; at < size; at += lengths[number++]) {
        uint32_t leaf = scan_decode_last(code + at, size - at);

        lengths[number] = leaf & LEAF_LENGTH;
        kinds[number] = (uint8_t)LEAF_CLASS(leaf);
    }
    return number;
}

/* One instruction of 64-bit code: how long it is, and to which class of forms it belongs. No text,
 * no operands, no allocation, nothing but tables (tables.c) and arithmetic.
 *
 * SDM vol. 2A, chapter 2 (prefixes, ModRM, VEX, EVEX); XOP: APM vol. 3, section 1.2.5; REX2 and
 * EVEX map 4: Intel 355828, chapter 3. Where bytes are no instruction it goes on behind as many as
 * iced-x86 takes for one. */
#ifndef CPUPROBE_DECODE_H
#define CPUPROBE_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* How an instruction goes on. */
enum flow {
    FLOW_NEXT,
    FLOW_JCC,
    FLOW_JMP,
    FLOW_CALL,
    FLOW_INDIRECT_JMP,
    FLOW_INDIRECT_CALL,
    FLOW_RET,
    FLOW_INTERRUPT,
    FLOW_TRAP,
    FLOW_INVALID,
};

enum {
    CLASS_QUIET = 1,   /* every x86-64 CPU executes it, and it says nothing else either */
    CLASS_INVALID = 2, /* no instruction */
    CLASS_RARE = 4,    /* believed only where control flow leads to it */
    CLASS_DATA = 8,    /* a sign of data where nothing is known of the bytes around */
    CLASS_CPUID = 16,
    CLASS_XGETBV = 32,
    CLASS_END = 64,   /* never goes on at the next instruction */
    CLASS_NEAR = 128, /* may go on at a target in the code, which its last bytes name */
};

/* Forms that mean the same to a scan. */
struct instruction_class {
    uint8_t flags;
    uint8_t flow;
    uint8_t group;       /* the number of its set of needed features */
    uint8_t counted;     /* how many features it has */
    uint8_t features[3]; /* indices into scan_feature_names: those it needs, then unknown ones */
    uint64_t known[2];   /* those it needs, as bits */
};

/* An entry of a row, by opcode: where its leaves begin, and whether there is one for each place: of
 * ModRM (struct modrm), or of fields of EVEX. */
#define ENTRY_LEAVES(entry) ((entry)&0xffff)
#define ENTRY_SPLIT(entry) ((entry) >> 16)

/* A leaf has the bytes behind the operands, whether there are operands in ModRM, what else must
 * hold, and the class. */
enum {
    LEAF_TAIL = 15,
    LEAF_MODRM = 16,
    LEAF_TURNS = 1 << 18, /* it may not go on at the next instruction: CLASS_END, CLASS_NEAR */
    LEAF_LOUD = 1 << 19,  /* not CLASS_QUIET */
};
#define LEAF_CHECK(leaf) ((leaf) >> 5 & 0xfff)
#define LEAF_REST (1u << 31) /* not decoded in line: a prefix, another map, no instruction */
#define LEAF_CLASS(leaf) ((leaf) >> 20 & 0xff)
#define LEAF_OF_CLASS(kind) ((uint32_t)(kind) << 20)

/* What must hold. The first two are of legacy forms, the rest of those with VEX, XOP and EVEX. */
enum {
    LOCKABLE = 1,      /* LOCK may stand before it, if ModRM names memory */
    NO_REX_R = 2,      /* there are only eight such registers */
    VVVV_UNUSED = 1,   /* vvvv is 1111 */
    V_UNUSED = 2,      /* EVEX.V' is 1 */
    LOW_REG = 4,       /* ModRM.reg names one of eight: R, and R', are 1 */
    LOW_VVVV = 8,      /* so does vvvv */
    VSIB = 16,         /* there is a SIB byte */
    UNIQUE = 32,       /* reg, vvvv and the index are different registers; of AMX, rm */
    UNLIKE = 64,       /* reg is neither vvvv nor rm */
    NO_MASK = 128,     /* EVEX.aaa is 000 */
    MASK = 256,        /* EVEX.aaa is not 000 */
    NO_ZEROING = 512,  /* EVEX.z is 0 */
    LOW_RM = 1024,     /* ModRM.rm names one of eight */
    NARROW_REG = 2048, /* ModRM.reg names one of sixteen: EVEX.R' is 1 */
};

enum {
    LONGEST = 15,    /* bytes of an instruction */
    READ_AHEAD = 32, /* no decoding looks further */
    MOST_FEATURES = 160,
    MOST_KNOWN = 128,
};

/* tables.c; features with a row in the feature table come first. */
extern const unsigned scan_features, scan_known_features, scan_classes_number;
extern const char *const scan_feature_names[];
extern const struct instruction_class scan_classes[];
extern const uint8_t scan_apx_classes[]; /* by flow */
extern const uint32_t scan_leaves[], scan_entries[];
/* Rows of entries. The first 64 are legacy: by map, F2, F3, 66, W. */
extern const uint8_t scan_now_rows[];
extern const uint8_t scan_vex_rows[], scan_xop_rows[]; /* by map, pp, W, L */
extern const uint8_t scan_evex_rows[];                 /* by map, pp, W */

/* Of each ModRM byte: where in a split its leaf is (memory by reg, then all registers), and how
 * long ModRM, SIB and displacement are; the uppermost bit if that depends on SIB. */
extern const struct modrm {
    uint8_t place, length;
} scan_modrm[256];

static inline unsigned
operand_length(unsigned length, unsigned sib)
{
    /* A SIB byte without a base: the displacement has 32 bits (SDM vol. 2A, table 2-3). */
    return (length & 0x7f) + ((length >> 7 << 2) & (0u - ((sib & 7) == 5)));
}

/* What is not decoded in line. */
uint32_t scan_decode_rest(const uint8_t *code, unsigned *length);

/* Of a first byte that is 66, F2 or F3: its bits to skip, and the rows to skip. */
extern const struct mandatory {
    uint8_t bits, rows;
} scan_mandatory[256];

/* The leaf of the instruction at `code`, from where READ_AHEAD bytes can be read. */
static inline uint32_t
decode(const uint8_t *code, unsigned *length)
{
    uint64_t word;
    uint32_t entry, leaf;
    unsigned bits, row, rex, escape;
    struct modrm modrm;

    /* One of 66, F2, F3, then REX, then 0F: each may be there or not, and without a branch. */
    __builtin_memcpy(&word, code, sizeof word);
    bits = scan_mandatory[word & 0xff].bits;
    row = scan_mandatory[word & 0xff].rows;
    word >>= bits;
    rex = (word & 0xf0) == 0x40;
    row += word >> 3 & rex;
    word >>= 8 * rex;
    escape = (word & 0xff) == 0x0f;
    row += 16 * escape;
    word >>= 8 * escape;
    entry = scan_entries[row * 256 + (word & 0xff)];
    modrm = scan_modrm[word >> 8 & 0xff];
    leaf = scan_leaves[ENTRY_LEAVES(entry) + (ENTRY_SPLIT(entry) & modrm.place)];
    if (__builtin_expect(leaf & LEAF_REST, 0))
        return scan_decode_rest(code, length);
    *length = (bits >> 3) + rex + escape + 1 + (leaf & LEAF_TAIL) +
              (operand_length(modrm.length, word >> 16 & 0xff) & (0u - (leaf >> 4 & 1)));
    return leaf;
}

/* The same near the end of what can be read: an instruction that is cut off is none. */
uint32_t scan_decode_last(const uint8_t *code, size_t available, unsigned *length);

/* The length and the class of each instruction, decoding straight on; returns how many there are.
 */
size_t scan_decode_all(const uint8_t *code, size_t size, uint8_t *lengths, uint8_t *kinds);

#endif
